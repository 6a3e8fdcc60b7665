//! The store: one writer, many readers.
//!
//! Owns the lock between them, the opening and the reads. What writes to it (`feed`, `flush`,
//! `compact`, `install`, `recover`) stands on top of it. Must not know how keys are ordered, how a
//! transaction is evaluated or how rows lie on the disk.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use handfast_proto::etcdserverpb::{RangeRequest, RangeResponse, TxnRequest, TxnResponse};
use handfast_storage::{LogPosition, state::State, wal::FsyncStats};
use parking_lot::{Mutex, RwLock};

use crate::{
    Alarm, Error, FlushSignal, HashPoint, StoreOptions, cluster,
    keyspace::{Keyspace, Tally},
    lease::Lessor,
    load,
    range::evaluate,
    recent::{Recent, Window},
    select::Access,
    shared::Shared,
    sweep::{Sweep, Swept},
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
    pub(crate) hub: Arc<WatchHub>,
    /// A bit for each kind of alarm that is raised, so that requests need not take the lock.
    pub(crate) alarm_kinds: AtomicU32,
    /// Calls of `apply`.
    pub(crate) calls: AtomicU64,
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
    /// How long writes of the state file took.
    pub commits: FsyncStats,
    /// What was done so far.
    pub done: Tally,
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
        let loaded = load::load(&state, &options, &recent)?;
        loaded.leases.restore(&lessor)?;
        recent.reset(loaded.shared.keyspace.revision);
        Ok(Self {
            alarm_kinds: AtomicU32::new(loaded.shared.cluster.kinds()),
            calls: AtomicU64::new(0),
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

    /// The alarms that are raised, by member and kind.
    #[must_use]
    pub fn alarms(&self) -> Vec<Alarm> {
        self.shared.read().cluster.alarms()
    }

    /// Whether an alarm of this kind (1 is NOSPACE, 2 is CORRUPT) is raised for any member; cheap.
    #[must_use]
    pub fn has_alarm(&self, kind: i32) -> bool {
        self.alarm_kinds.load(Ordering::Relaxed) & cluster::bit(kind) != 0
    }

    /// The secret that join tokens are made of, once there is one.
    #[must_use]
    pub fn join_secret(&self) -> Option<Bytes> {
        self.shared.read().cluster.secret()
    }

    /// Fingerprints of everything applied up to each of the newest log indexes divisible by 64,
    /// ascending. Members that applied the same log have the same ones, whatever their restarts
    /// and snapshots. Empty on data begun by a version that kept none.
    #[must_use]
    pub fn hash_points(&self) -> Vec<HashPoint> {
        self.shared.read().fingerprint.points()
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
            commits: self.state.commit_stats(),
            done: shared.keyspace.done,
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

#[cfg(test)]
mod tests;
