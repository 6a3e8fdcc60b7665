//! Reclaiming what a compaction made unreadable.
//!
//! Owns the course of the sweep: in which pieces rows go, and what must be durable before. The mark
//! itself is set when the compaction is applied; which rows go is decided in `sweep`.

use crate::{
    Error, Store,
    meta::{META_SWEEPING, META_SWEPT, encode},
    sweep::{HOLD_KEYS, UnderWay},
};

/// Keys looked at in one piece.
const PIECE_KEYS: usize = 16 * HOLD_KEYS;
/// Rows collected before they are deleted; bounds the memory of a sweep.
const ROUND_ROWS: usize = 1 << 20;

impl Store {
    /// Does one bounded piece of the sweep; whether there is more to do. Blocks for the disk.
    ///
    /// A sweep that a restart interrupts begins again: what it had deleted is not found then.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Halted`]; the piece is then tried again by the next call.
    pub fn sweep(&self) -> Result<bool, Error> {
        let mut sweep = self.sweeping.lock();
        let compacted = self.compact_revision();
        let piece_rows = sweep.piece_rows;
        let under_way = match &mut sweep.under_way {
            Some(under_way) => under_way,
            None => {
                if compacted <= self.swept.lock().upto() {
                    return Ok(false);
                }
                // A replay must find what the entries before the compaction could still read, so
                // the compaction itself has to be durable before anything is deleted.
                self.flush()?;
                sweep.under_way.insert(UnderWay::new(compacted))
            }
        };
        if !under_way.deleting {
            self.collect(under_way)?;
            return Ok(true);
        }
        self.delete(under_way, piece_rows)?;
        if under_way.deleting || !under_way.collected {
            return Ok(true);
        }
        let target = under_way.target;
        self.state
            .delete_rows(&[], &[(META_SWEPT, encode(target))])?;
        sweep.under_way = None;
        let ready = self.swept.lock().finish(target);
        drop(sweep);
        ready.into_iter().for_each(|done| done());
        Ok(compacted > target)
    }

    /// Calls `done` once everything up to compaction mark `revision` is reclaimed, at once when it
    /// already is. It is called from the thread that sweeps and must only signal.
    pub fn when_swept(&self, revision: i64, done: Box<dyn FnOnce() + Send>) {
        let ready = self.swept.lock().wait(revision, done);
        if let Some(done) = ready {
            done();
        }
    }

    /// Takes unreadable marks out of the past and notes their rows.
    fn collect(&self, under_way: &mut UnderWay) -> Result<(), Error> {
        for _ in 0..PIECE_KEYS / HOLD_KEYS {
            let mut shared = self.shared.write();
            if let Some(reason) = &shared.keyspace.halted {
                return Err(Error::Halted(reason.clone()));
            }
            under_way.take_marks(&mut shared.keyspace);
            drop(shared);
            if under_way.collected || under_way.rows.len() >= ROUND_ROWS {
                under_way.rows.sort_unstable_by(|a, b| b.cmp(a));
                under_way.deleting = true;
                break;
            }
        }
        Ok(())
    }

    fn delete(&self, under_way: &mut UnderWay, piece_rows: usize) -> Result<(), Error> {
        let rows = &mut under_way.rows;
        let left = rows.len().saturating_sub(piece_rows);
        if left < rows.len() {
            rows[left..].reverse();
            let sweeping = [(META_SWEEPING, encode(under_way.target))];
            let deleted = self.state.delete_rows(&rows[left..], &sweeping);
            let view = deleted.and_then(|()| self.state.view()).inspect_err(|_| {
                // As it was, for the next try.
                rows[left..].reverse();
            })?;
            rows.truncate(left);
            let old_view = std::mem::replace(&mut self.shared.write().keyspace.view, view);
            drop(old_view);
        }
        under_way.deleting = left > 0;
        Ok(())
    }
}
