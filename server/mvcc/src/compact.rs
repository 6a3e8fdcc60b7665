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
    revision::NEVER_COMPACTED,
};

/// Keys looked at in one piece.
const PIECE_KEYS: usize = 1024;
/// Rows deleted in one piece, one transaction.
const PIECE_ROWS: usize = 4096;

/// Where the sweep is.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    under_way: Option<UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    /// The compaction mark it works for.
    target: i64,
    /// The last key that is finished.
    after: Option<Box<[u8]>>,
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

/// What one piece reclaims.
#[derive(Default)]
struct Piece {
    /// Keys with the number of their oldest marks that go.
    keys: Vec<(Box<[u8]>, usize)>,
    rows: Vec<(i64, u32)>,
    after: Option<Box<[u8]>>,
    is_last: bool,
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
                sweep.under_way.insert(UnderWay {
                    target: compacted,
                    after: None,
                })
            }
        };
        let target = under_way.target;
        let piece = {
            let shared = self.shared.read();
            if let Some(reason) = &shared.keyspace.halted {
                return Err(Error::Halted(reason.clone()));
            }
            piece(&shared.keyspace, under_way.after.as_deref(), target)
        };
        self.reclaim(&piece)?;
        under_way.after = piece.after;
        if piece.is_last {
            self.state
                .delete_rows(&[], &[(META_SWEPT, encode(target))])?;
            sweep.under_way = None;
            let ready = self.swept.lock().finish(target);
            ready.into_iter().for_each(|done| done());
        }
        Ok(!piece.is_last || compacted > target)
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

    fn reclaim(&self, piece: &Piece) -> Result<(), Error> {
        if piece.rows.is_empty() {
            return Ok(());
        }
        self.state.delete_rows(&piece.rows, &[])?;
        let view = self.state.view()?;
        let old_view = {
            let mut shared = self.shared.write();
            for (key, count) in &piece.keys {
                shared.keyspace.past.forget(key, *count);
            }
            std::mem::replace(&mut shared.keyspace.view, view)
        };
        drop(old_view);
        Ok(())
    }
}

impl Default for Swept {
    fn default() -> Self {
        Self::new(NEVER_COMPACTED)
    }
}

fn piece(keyspace: &Keyspace, after: Option<&[u8]>, target: i64) -> Piece {
    let mut piece = Piece {
        after: after.map(Into::into),
        ..Piece::default()
    };
    let low = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut keys = keyspace.past.range(low, Bound::Unbounded);
    for (key, marks) in keys.by_ref().take(PIECE_KEYS) {
        let current = keyspace.index.get(key).map(|meta| meta.revision.main);
        let doomed = unreadable(marks, current, target);
        let count = doomed.min(PIECE_ROWS - piece.rows.len());
        if count > 0 {
            piece.rows.extend(marks.iter().take(count).map(|mark| {
                let Revision { main, sub } = mark.revision();
                (main, sub)
            }));
            piece.keys.push((key.clone(), count));
        }
        if count < doomed {
            return sorted(piece);
        }
        piece.after = Some(key.clone());
    }
    piece.is_last = keys.next().is_none();
    sorted(piece)
}

/// The state file is ordered by revision.
fn sorted(mut piece: Piece) -> Piece {
    piece.rows.sort_unstable();
    piece
}
