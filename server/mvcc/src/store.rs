//! The store: one apply entry, many readers.
//!
//! Owns the lock between them and the life cycle. Must not know how keys are ordered, how a
//! transaction is evaluated or how rows lie on the disk.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use handfast_proto::etcdserverpb::{RangeRequest, RangeResponse, TxnRequest, TxnResponse};
use handfast_storage::{LogPosition, state::State};

use crate::{Applied, Error, LogEntry, StoreOptions, lease::Lessor, watch::WatchHub};

/// The replicated state of one member.
pub struct Store {}

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

/// Parks the flush driver until there is enough to flush.
#[derive(Debug, Default)]
pub struct FlushSignal {}

impl FlushSignal {
    /// Waits until a flush is wanted or `timeout` has passed; whether one is wanted.
    pub fn wait(&self, _timeout: Duration) -> bool {
        unimplemented!()
    }
    /// Ends the wait early, for a shutdown.
    pub fn notify(&self) {
        unimplemented!()
    }
}

impl Store {
    /// Rebuilds the store from its state file.
    pub fn open(_state: Arc<State>, _options: StoreOptions) -> Result<Self, Error> {
        unimplemented!()
    }
    /// Position of the last entry applied.
    pub fn applied(&self) -> Option<LogPosition> {
        unimplemented!()
    }
    /// Position up to which a restart needs no log.
    pub fn durable_applied(&self) -> Option<LogPosition> {
        unimplemented!()
    }
    /// The last membership applied.
    pub fn membership(&self) -> Option<Bytes> {
        unimplemented!()
    }
    /// Applies committed entries in order.
    pub fn apply(&self, _entries: Vec<LogEntry>) -> Vec<Applied> {
        unimplemented!()
    }
    /// Reads a range.
    pub fn range(&self, _request: &RangeRequest) -> Result<RangeResponse, Error> {
        unimplemented!()
    }
    /// Evaluates a transaction that holds only ranges.
    pub fn read_only_txn(&self, _request: &TxnRequest) -> Result<TxnResponse, Error> {
        unimplemented!()
    }
    /// The newest revision.
    pub fn revision(&self) -> i64 {
        unimplemented!()
    }
    /// The compaction mark, -1 when there was none.
    pub fn compact_revision(&self) -> i64 {
        unimplemented!()
    }
    /// Writes what was applied since the last flush; whether there was anything.
    pub fn flush(&self) -> Result<bool, Error> {
        unimplemented!()
    }
    /// Does one bounded piece of the compaction sweep; whether there is more to do.
    pub fn sweep(&self) -> Result<bool, Error> {
        unimplemented!()
    }
    /// Calls `done` once the sweep for `revision` has finished, at once when it already has.
    pub fn when_swept(&self, _revision: i64, _done: Box<dyn FnOnce() + Send>) {
        unimplemented!()
    }
    /// What the flush driver parks on.
    pub fn wants_flush(&self) -> &FlushSignal {
        unimplemented!()
    }
    /// A hash over the live history up to `revision` (0 for the newest), equal on equal members.
    pub fn hash_kv(&self, _revision: i64) -> Result<HashKv, Error> {
        unimplemented!()
    }
    /// Where watch streams are opened.
    pub fn watch(&self) -> &Arc<WatchHub> {
        unimplemented!()
    }
    /// The leases.
    pub fn leases(&self) -> &Lessor {
        unimplemented!()
    }
    /// Figures for status and metrics.
    pub fn stats(&self) -> StoreStats {
        unimplemented!()
    }
}

/// The answer of [`Store::hash_kv`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashKv {
    /// The hash.
    pub hash: u32,
    /// The compaction mark it was computed at, -1 when there was none.
    pub compact_revision: i64,
    /// The newest revision it covers.
    pub revision: i64,
}
