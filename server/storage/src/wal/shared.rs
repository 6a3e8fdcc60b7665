//! What callers and the log's thread share: the queue, the bounds of the log, its newest entries
//! and where the others lie. Must not do IO.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::index::SparseIndex;
use super::log::Log;
use super::segment::Segment;
use super::syncs::SyncCounters;
use super::tail::Tail;
use super::{Done, Entry, Vote};
use crate::LogPosition;

/// Something to write.
pub(super) enum Op {
    Append {
        serial: u64,
        entries: Vec<Entry>,
        done: Option<Done>,
    },
    Vote {
        vote: Vote,
        done: Option<Done>,
    },
    Truncate {
        last: Option<LogPosition>,
        done: Option<Done>,
    },
    Committed(LogPosition),
    Purge(LogPosition),
}

impl Op {
    /// Whether nobody waits for it.
    pub(super) fn is_lazy(&self) -> bool {
        matches!(self, Self::Committed(_) | Self::Purge(_))
    }

    /// Takes the callback out.
    pub(super) fn split(mut self) -> (Self, Option<Done>) {
        let done = match &mut self {
            Self::Append { done, .. } | Self::Vote { done, .. } | Self::Truncate { done, .. } => {
                done.take()
            }
            Self::Committed(_) | Self::Purge(_) => None,
        };
        (self, done)
    }
}

/// An I/O error that every later call gets too.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    kind: io::ErrorKind,
    message: String,
}

impl Failure {
    pub(super) fn new(error: &io::Error) -> Self {
        let remedy = match error.kind() {
            io::ErrorKind::StorageFull => "free space on its disk",
            _ => "look after its disk",
        };
        Self {
            kind: error.kind(),
            message: format!(
                "the log cannot be written: {error}; {remedy} and start this member again"
            ),
        }
    }

    pub(super) fn closed() -> Self {
        Self {
            kind: io::ErrorKind::BrokenPipe,
            message: "the log is closed".to_owned(),
        }
    }

    pub(super) fn error(&self) -> io::Error {
        io::Error::new(self.kind, self.message.clone())
    }
}

pub(super) struct Inner {
    pub(super) queue: Vec<Op>,
    /// Somebody waits for something in the queue.
    urgent: bool,
    pub(super) refusing: Option<Failure>,
    closing: bool,
    /// Serial of the last append.
    pub(super) serial: u64,
    /// How many operations somebody waits for were queued, taken by the writer, and made durable.
    submitted: u64,
    pub(super) taken: u64,
    pub(super) durable: u64,
    /// Number of truncations so far, for reads that must not straddle one.
    pub(super) truncations: u64,
    /// The log with everything in the queue.
    pub(super) log: Log,
    pub(super) tail: Tail,
    pub(super) index: SparseIndex,
    pub(super) segments: VecDeque<Arc<Segment>>,
}

impl Inner {
    fn take(&mut self, ops: &mut Vec<Op>) {
        self.urgent = false;
        self.taken = self.submitted;
        std::mem::swap(&mut self.queue, ops);
    }

    /// Serial of the oldest operation that is not durable.
    pub(super) fn oldest_unsynced(&self) -> Option<u64> {
        (self.durable < self.submitted).then_some(self.durable + 1)
    }

    /// Index of the first entry the tail holds; entries before it have a place on disk.
    pub(super) fn tail_start(&self) -> u64 {
        self.tail.start(self.log.next().unwrap_or(0))
    }

    pub(super) fn segment(&self, number: u64) -> Option<Arc<Segment>> {
        let first = self.segments.front()?.number;
        let at = usize::try_from(number.checked_sub(first)?).ok()?;
        self.segments.get(at).cloned()
    }
}

/// Tells a driver that there is something to write.
pub(super) type Notify = Arc<dyn Fn() + Send + Sync>;

/// State under one lock, held briefly by everybody.
pub(super) struct Shared {
    pub(super) inner: Mutex<Inner>,
    wake: Condvar,
    /// Called where there is no thread to be woken.
    notify: Option<Notify>,
    pub(super) syncs: SyncCounters,
}

impl Shared {
    pub(super) fn new(
        log: Log,
        index: SparseIndex,
        segments: VecDeque<Arc<Segment>>,
        tail_cache_bytes: usize,
        notify: Option<Notify>,
    ) -> Self {
        let inner = Inner {
            queue: Vec::new(),
            urgent: false,
            refusing: None,
            closing: false,
            serial: 0,
            submitted: 0,
            taken: 0,
            durable: 0,
            truncations: 0,
            log,
            tail: Tail::new(tail_cache_bytes),
            index,
            segments,
        };
        Self {
            inner: Mutex::new(inner),
            wake: Condvar::new(),
            notify,
            syncs: SyncCounters::default(),
        }
    }

    /// Runs `make` under the lock and queues what it returns. Gives back the reason when the log
    /// refuses, in which case `make` was not run.
    pub(super) fn submit(&self, make: impl FnOnce(&mut Inner) -> Option<Op>) -> Option<Failure> {
        let mut inner = self.inner.lock();
        if let Some(failure) = &inner.refusing {
            return Some(failure.clone());
        }
        let op = make(&mut inner)?;
        let mut wake = false;
        if !op.is_lazy() {
            inner.submitted += 1;
            wake = !std::mem::replace(&mut inner.urgent, true);
        }
        inner.queue.push(op);
        drop(inner);
        if wake {
            self.wake();
        }
        None
    }

    /// Waits for something urgent and moves the whole queue into `ops`; false once the log is
    /// closed and everything was taken.
    pub(super) fn take(&self, ops: &mut Vec<Op>) -> bool {
        let mut inner = self.inner.lock();
        while !inner.urgent && !inner.closing {
            self.wake.wait(&mut inner);
        }
        inner.take(ops);
        !(ops.is_empty() && inner.closing)
    }

    /// Moves the whole queue into `ops` if [`Shared::take`] would not have to wait; false when
    /// nothing will follow, because the log is closed.
    pub(super) fn take_now(&self, ops: &mut Vec<Op>) -> bool {
        let mut inner = self.inner.lock();
        if inner.urgent || inner.closing {
            inner.take(ops);
        }
        !inner.closing
    }

    /// Refuses everything from now on; returns the callbacks of what was still queued.
    pub(super) fn fail(&self, failure: Failure) -> Vec<Done> {
        let mut inner = self.inner.lock();
        inner.refusing.get_or_insert(failure);
        let queue = std::mem::take(&mut inner.queue);
        drop(inner);
        queue.into_iter().filter_map(|op| op.split().1).collect()
    }

    /// Refuses new operations and lets the thread end after the queued ones.
    pub(super) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closing = true;
        inner.refusing.get_or_insert_with(Failure::closed);
        drop(inner);
        self.wake();
    }

    fn wake(&self) {
        match &self.notify {
            Some(notify) => notify(),
            None => {
                self.wake.notify_one();
            }
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
