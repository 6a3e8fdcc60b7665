//! Reclaiming what a compaction made unreadable.
//!
//! Owns the sweep: which rows go, in which pieces, and who waits for the end of it. The mark itself
//! is set when the compaction is applied; must not decide what can be read.

use std::ops::Bound;

use crate::{
    Error, Revision, Store,
    flush::{META_SWEPT, encode},
    index::unreadable,
    keyspace::Keyspace,
};

/// Keys looked at in one hold of the lock.
const HOLD_KEYS: usize = 512;
/// Marks dropped in one hold of the lock.
const HOLD_MARKS: usize = 4096;
/// Keys looked at in one piece.
const PIECE_KEYS: usize = 16 * HOLD_KEYS;
/// Rows deleted in one piece, one transaction.
const PIECE_ROWS: usize = 8192;
/// Rows collected before they are deleted; bounds the memory of a sweep.
const ROUND_ROWS: usize = 1 << 20;

/// Where the sweep is.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    under_way: Option<UnderWay>,
}

/// Works in rounds: rows are collected in the order of keys, but deleted in that of the file,
/// where those of one time are neighbours.
#[derive(Debug)]
struct UnderWay {
    /// The compaction mark it works for.
    target: i64,
    /// The last key that was looked at.
    after: Option<Box<[u8]>>,
    /// Whether all keys were looked at.
    collected: bool,
    /// Rows to delete, no longer in the past; descending once they are being deleted, from the
    /// end. The oldest go first: were a deletion removed before the versions it ended, a crash in
    /// between would bring its key back.
    rows: Vec<(i64, u32)>,
    deleting: bool,
}

/// How far sweeps have come.
pub(crate) struct Swept {
    /// Compaction mark up to which everything is reclaimed.
    upto: i64,
    waiting: Vec<(i64, Done)>,
}

type Done = Box<dyn FnOnce() + Send>;

impl Swept {
    pub(crate) fn new(upto: i64) -> Self {
        Self {
            upto,
            waiting: Vec::new(),
        }
    }

    /// Tells everybody, for there is nothing left to wait for.
    pub(crate) fn release(self) {
        self.waiting.into_iter().for_each(|(_, done)| done());
    }

    fn finish(&mut self, upto: i64) -> Vec<Done> {
        self.upto = upto;
        let waiting = std::mem::take(&mut self.waiting);
        let (ready, later) = waiting
            .into_iter()
            .partition(|(revision, _)| *revision <= upto);
        self.waiting = later;
        ready.into_iter().map(|(_, done)| done).collect()
    }
}

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
        let under_way = match &mut sweep.under_way {
            Some(under_way) => under_way,
            None => {
                if compacted <= self.swept.lock().upto {
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
        self.delete(under_way)?;
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
        {
            let mut swept = self.swept.lock();
            if revision > swept.upto {
                swept.waiting.push((revision, done));
                return;
            }
        }
        done();
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

    fn delete(&self, under_way: &mut UnderWay) -> Result<(), Error> {
        let rows = &mut under_way.rows;
        let left = rows.len().saturating_sub(PIECE_ROWS);
        if left < rows.len() {
            rows[left..].reverse();
            let deleted = self.state.delete_rows(&rows[left..], &[]);
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

impl UnderWay {
    fn new(target: i64) -> Self {
        Self {
            target,
            after: None,
            collected: false,
            rows: Vec::new(),
            deleting: false,
        }
    }

    fn take_marks(&mut self, keyspace: &mut Keyspace) {
        let low = self
            .after
            .as_deref()
            .map_or(Bound::Unbounded, Bound::Excluded);
        let mut keys = keyspace.past.range(low, Bound::Unbounded);
        let (mut room, mut doomed_keys) = (HOLD_MARKS, Vec::new());
        let mut after = None;
        for (key, marks) in keys.by_ref().take(HOLD_KEYS) {
            let current = keyspace.index.get(key).map(|meta| meta.revision.main);
            let doomed = unreadable(marks, current, self.target);
            let count = doomed.min(room);
            if count > 0 {
                room -= count;
                self.rows.extend(marks.iter().take(count).map(|mark| {
                    let Revision { main, sub } = mark.revision();
                    (main, sub)
                }));
                doomed_keys.push((key.clone(), count));
            }
            if count < doomed {
                break;
            }
            after = Some(key.clone());
        }
        self.collected = room > 0 && keys.next().is_none();
        if after.is_some() {
            self.after = after;
        }
        for (key, count) in doomed_keys {
            keyspace.past.forget(&key, count);
        }
    }
}
