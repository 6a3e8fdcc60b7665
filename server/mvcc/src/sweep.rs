//! How far the reclaiming of rows is.
//!
//! Owns which rows a sweep takes and who waits for the end of it. Must not decide what can be read,
//! and must not know of locks or of the disk.

use std::ops::Bound;

use crate::{Revision, index::unreadable, keyspace::Keyspace};

/// Keys looked at in one hold of the lock.
pub(crate) const HOLD_KEYS: usize = 512;
/// Marks dropped in one hold of the lock.
const HOLD_MARKS: usize = 4096;

/// Rows deleted in one piece, one transaction.
const PIECE_ROWS: usize = 8192;

/// Where the sweep is.
#[derive(Debug)]
pub(crate) struct Sweep {
    pub(crate) under_way: Option<UnderWay>,
    /// Rows deleted in one piece; tests make it small to meet the disk in between.
    pub(crate) piece_rows: usize,
}

impl Default for Sweep {
    fn default() -> Self {
        Self {
            under_way: None,
            piece_rows: PIECE_ROWS,
        }
    }
}

/// Works in rounds: rows are collected in the order of keys, but deleted in that of the file,
/// where those of one time are neighbours.
#[derive(Debug)]
pub(crate) struct UnderWay {
    /// The compaction mark it works for.
    pub(crate) target: i64,
    /// The last key that was looked at.
    after: Option<Box<[u8]>>,
    /// Whether all keys were looked at.
    pub(crate) collected: bool,
    /// Rows to delete, no longer in the past; descending once they are being deleted, from the
    /// end. The oldest go first: were a deletion removed before the versions it ended, a crash in
    /// between would bring its key back.
    pub(crate) rows: Vec<(i64, u32)>,
    pub(crate) deleting: bool,
}

/// How far sweeps have come.
pub(crate) struct Swept {
    /// Compaction mark up to which everything is reclaimed.
    upto: i64,
    waiting: Vec<(i64, Done)>,
}

/// Called from the thread that sweeps; must only signal.
pub(crate) type Done = Box<dyn FnOnce() + Send>;

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

    /// Compaction mark up to which everything is reclaimed.
    pub(crate) fn upto(&self) -> i64 {
        self.upto
    }

    /// Lets `done` wait for `revision`; gives it back when there is nothing to wait for.
    pub(crate) fn wait(&mut self, revision: i64, done: Done) -> Option<Done> {
        if revision <= self.upto {
            return Some(done);
        }
        self.waiting.push((revision, done));
        None
    }

    /// Notes that everything up to `upto` is reclaimed, and gives back who waited for that.
    pub(crate) fn finish(&mut self, upto: i64) -> Vec<Done> {
        self.upto = upto;
        let waiting = std::mem::take(&mut self.waiting);
        let (ready, later) = waiting
            .into_iter()
            .partition(|(revision, _)| *revision <= upto);
        self.waiting = later;
        ready.into_iter().map(|(_, done)| done).collect()
    }
}

impl UnderWay {
    pub(crate) fn new(target: i64) -> Self {
        Self {
            target,
            after: None,
            collected: false,
            rows: Vec::new(),
            deleting: false,
        }
    }

    /// Takes unreadable marks out of the past and notes their rows; as much as one hold allows.
    pub(crate) fn take_marks(&mut self, keyspace: &mut Keyspace) {
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
