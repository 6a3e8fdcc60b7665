//! The store: one apply entry, many readers.
//!
//! Owns the lock between them and the life cycle. Must not know how keys are ordered, how a
//! transaction is evaluated or how rows lie on the disk.

use std::{fmt, mem, sync::Arc};

use bytes::Bytes;
use handfast_proto::{
    Message,
    command::{Command, command::Op},
    etcdserverpb::{RangeRequest, RangeResponse, TxnRequest, TxnResponse},
};
use handfast_storage::{LogPosition, state::State};
use parking_lot::{Mutex, RwLock};

use crate::{
    Applied, Error, LogEntry, Outcome, Payload, StoreOptions,
    apply::{LeaseChanges, Writer},
    compact::{Sweep, Swept},
    flush::{FLUSH_BYTES, FlushSignal},
    keyspace::Keyspace,
    lease::Lessor,
    load,
    range::evaluate,
    recent::{Recent, Window},
    select::Access,
    txn,
    watch::WatchHub,
};

/// Reads of "now" that a compaction overtook are repeated this often before they hold the lock.
const RETRIES: usize = 3;

/// The replicated state of one member. Shared as `Arc<Store>`; every method may block for a short
/// time, and those that say so for the time of a disk write.
pub struct Store {
    pub(crate) state: Arc<State>,
    pub(crate) options: StoreOptions,
    pub(crate) shared: RwLock<Shared>,
    pub(crate) recent: Arc<Recent>,
    pub(crate) lessor: Lessor,
    pub(crate) signal: FlushSignal,
    /// Locks nest in the order of the next four, and `shared` inside them all.
    pub(crate) applying: Mutex<()>,
    pub(crate) sweeping: Mutex<Sweep>,
    pub(crate) flushing: Mutex<()>,
    pub(crate) swept: Mutex<Swept>,
    hub: Arc<WatchHub>,
}

/// What the lock guards.
pub(crate) struct Shared {
    pub(crate) keyspace: Keyspace,
    pub(crate) applied: Option<LogPosition>,
    /// The part of `applied` that the state file has.
    pub(crate) durable: Option<LogPosition>,
    pub(crate) membership: Option<Bytes>,
    pub(crate) membership_changed: bool,
    pub(crate) lease_changes: LeaseChanges,
}

/// Figures for status and metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreStats {
    /// Keys that exist now.
    pub keys: usize,
    /// Superseded revisions and tombstones not swept yet.
    pub superseded: usize,
    /// Newest revision.
    pub revision: i64,
    /// Compaction mark, -1 when there was none.
    pub compact_revision: i64,
    /// Bytes applied but not flushed.
    pub unflushed_bytes: usize,
    /// Bytes of values held in memory.
    pub cached_bytes: usize,
    /// Bytes the state file takes.
    pub db_size: u64,
    /// Bytes of it that hold data.
    pub db_size_in_use: u64,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("revision", &self.revision())
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Rebuilds the store from its state file. Blocks for about a second per million rows.
    ///
    /// # Errors
    /// [`Error::Storage`] when the file cannot be read, [`Error::Malformed`] when it makes no
    /// sense.
    pub fn open(state: Arc<State>, options: StoreOptions) -> Result<Self, Error> {
        let window = Window {
            bytes: options.recent_bytes,
            ..Window::default()
        };
        let recent = Arc::new(Recent::new(window, crate::revision::FIRST_REVISION));
        let lessor = Lessor::new(Arc::clone(&options.clock));
        let loaded = load::load(&state, &options, &recent, &lessor)?;
        recent.reset(loaded.shared.keyspace.revision);
        Ok(Self {
            state,
            options,
            shared: RwLock::new(loaded.shared),
            hub: WatchHub::new(Arc::clone(&recent)),
            recent,
            lessor,
            signal: FlushSignal::default(),
            applying: Mutex::default(),
            sweeping: Mutex::default(),
            flushing: Mutex::default(),
            swept: Mutex::new(Swept::new(loaded.swept)),
        })
    }

    /// Position of the last entry applied.
    #[must_use]
    pub fn applied(&self) -> Option<LogPosition> {
        self.shared.read().applied
    }

    /// Position up to which a restart needs no log.
    #[must_use]
    pub fn durable_applied(&self) -> Option<LogPosition> {
        self.shared.read().durable
    }

    /// The last membership applied.
    #[must_use]
    pub fn membership(&self) -> Option<Bytes> {
        self.shared.read().membership.clone()
    }

    /// The newest revision.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.shared.read().keyspace.revision
    }

    /// The compaction mark, -1 when there was none.
    #[must_use]
    pub fn compact_revision(&self) -> i64 {
        self.shared.read().keyspace.compacted
    }

    /// Where watch streams are opened.
    #[must_use]
    pub fn watch(&self) -> &Arc<WatchHub> {
        &self.hub
    }

    /// The leases.
    #[must_use]
    pub fn leases(&self) -> &Lessor {
        &self.lessor
    }

    /// Applies committed entries in order, one answer each; readers and watchers see all of them
    /// at once. Entries of one position must come in one call.
    ///
    /// Flushes first, and blocks on that, when too much is not flushed. After an
    /// [`Error::Halted`] or [`Error::Storage`] the entry is not applied, and the store must be
    /// reopened.
    pub fn apply(&self, entries: Vec<LogEntry>) -> Vec<Applied> {
        let _applying = self.applying.lock();
        self.make_room();
        let decoded: Vec<_> = entries.into_iter().map(Decoded::new).collect();
        let mut answers = Vec::with_capacity(decoded.len());
        {
            let mut shared = self.shared.write();
            for entry in decoded {
                answers.push(shared.apply(entry, &self.lessor));
            }
            let batch = shared.keyspace.end_batch();
            self.hub.publish(&batch);
        }
        if self.recent.unflushed_bytes() >= FLUSH_BYTES {
            self.signal.notify();
        }
        answers
    }

    /// Reads a range that [`validate::range`](crate::validate::range) let pass.
    ///
    /// Long ranges are read in many short holds of the lock, at one revision.
    ///
    /// # Errors
    /// [`Error::Compacted`], also when the compaction comes while a read of an old revision is
    /// under way, [`Error::FutureRevision`], [`Error::Storage`], [`Error::Halted`].
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Error> {
        for _ in 0..RETRIES {
            match evaluate(self, request, None) {
                Err(Error::Compacted { .. }) if request.revision <= 0 => {}
                other => return other,
            }
        }
        evaluate(&self.shared.read().keyspace, request, None)
    }

    /// Evaluates a transaction of which
    /// [`validate::txn_is_read_only`](crate::validate::txn_is_read_only) holds, at one revision.
    ///
    /// # Errors
    /// Those of [`range`](Self::range).
    pub fn read_only_txn(&self, request: &TxnRequest) -> Result<TxnResponse, Error> {
        for _ in 0..RETRIES {
            match txn::read_only(self, request) {
                Err(Error::Compacted { .. }) => {}
                other => return other,
            }
        }
        txn::read_only(&self.shared.read().keyspace, request)
    }

    /// Refuses every change from now on, for the state can no longer be written or trusted.
    pub fn halt(&self, reason: &str) {
        let mut shared = self.shared.write();
        if shared.keyspace.halted.is_none() {
            shared.keyspace.halt(&Error::Halted(reason.to_owned()));
        }
    }

    /// Why the store refuses every change, when it does.
    #[must_use]
    pub fn halted(&self) -> Option<String> {
        self.shared.read().keyspace.halted.clone()
    }

    /// Figures for status and metrics.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        let size = self.state.size();
        let shared = self.shared.read();
        StoreStats {
            keys: shared.keyspace.index.len(),
            superseded: shared.keyspace.past.len(),
            revision: shared.keyspace.revision,
            compact_revision: shared.keyspace.compacted,
            unflushed_bytes: self.recent.unflushed_bytes(),
            cached_bytes: shared.keyspace.cache.bytes(),
            db_size: size.allocated,
            db_size_in_use: size.in_use,
        }
    }

    /// Waits for a flush when too much is only in memory.
    fn make_room(&self) {
        while self.recent.unflushed_bytes() > self.options.unflushed_limit_bytes {
            if let Err(error) = self.flush() {
                self.shared.write().keyspace.halt(&error);
                return;
            }
        }
    }
}

impl Access for Store {
    fn with<T>(&self, read: impl FnOnce(&Keyspace) -> T) -> T {
        read(&self.shared.read().keyspace)
    }

    fn remember(&self, write: impl FnOnce(&mut Keyspace)) {
        // Not worth waiting for a writer.
        if let Some(mut shared) = self.shared.try_write() {
            write(&mut shared.keyspace);
        }
    }
}

/// An entry, decoded before the lock is taken.
struct Decoded {
    position: LogPosition,
    content: Content,
}

enum Content {
    Blank,
    Op(Op),
    Membership(Bytes),
    Malformed(String),
}

impl Decoded {
    fn new(entry: LogEntry) -> Self {
        let content = match entry.payload {
            Payload::Blank => Content::Blank,
            // A copy, for the payload may be a slice of a whole segment of the log.
            Payload::Membership(bytes) => Content::Membership(Bytes::copy_from_slice(&bytes)),
            Payload::Command(bytes) => match Command::decode(bytes).map(|command| command.op) {
                Ok(Some(op)) => Content::Op(op),
                Ok(None) => Content::Malformed("a command that names no operation".into()),
                Err(error) => Content::Malformed(error.to_string()),
            },
        };
        Self {
            position: entry.position,
            content,
        }
    }
}

impl Shared {
    fn apply(&mut self, entry: Decoded, lessor: &Lessor) -> Applied {
        if let Some(reason) = &self.keyspace.halted {
            let result = Err(Error::Halted(reason.clone()));
            return Applied {
                revision: self.keyspace.revision,
                result,
            };
        }
        debug_assert!(
            self.applied <= Some(entry.position),
            "entries come in order"
        );
        let result = match entry.content {
            Content::Blank => Ok(Outcome::Blank),
            Content::Malformed(detail) => Err(Error::Malformed(detail)),
            Content::Membership(membership) => {
                self.membership = Some(membership);
                self.membership_changed = true;
                Ok(Outcome::Blank)
            }
            Content::Op(op) => {
                let mut writer = Writer {
                    keyspace: &mut self.keyspace,
                    lessor,
                    lease_changes: &mut self.lease_changes,
                };
                writer.run(&op, entry.position.term)
            }
        };
        match &result {
            Err(error @ (Error::Storage(_) | Error::Halted(_))) => self.keyspace.halt(error),
            _ => self.applied = Some(entry.position),
        }
        Applied {
            revision: self.keyspace.revision,
            result,
        }
    }

    /// Takes what a flush has to write of the leases.
    pub(crate) fn take_lease_changes(&mut self) -> LeaseChanges {
        mem::take(&mut self.lease_changes)
    }
}

#[cfg(test)]
mod tests;
