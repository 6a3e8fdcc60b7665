//! The raft log: segmented files behind one thread that turns all queued appends into one write
//! and one sync. Must not know what payloads mean.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::disk::Disk;
use crate::{Error, LogPosition};

/// Whose log this is; a log of another member is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Cluster id.
    pub cluster_id: u64,
    /// Member id.
    pub member_id: u64,
}

/// The persisted vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// Term voted in.
    pub term: u64,
    /// Candidate voted for.
    pub node_id: u64,
    /// Whether that candidate is known to lead.
    pub committed: bool,
}

/// One log entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands in the log.
    pub position: LogPosition,
    /// What was proposed; opaque here.
    pub payload: Bytes,
}

/// How to open a log.
#[derive(Clone, Debug)]
pub struct WalOptions {
    /// Size of a full-grown segment file; the first ones are smaller.
    pub segment_bytes: u64,
    /// Bytes of newest entries kept in memory.
    pub tail_cache_bytes: usize,
    /// False skips every sync: for data that is thrown away anyway.
    pub sync: bool,
    /// False makes segments inside the append that needs one instead of ahead of it, so that
    /// the order of disk operations is the same in every run of a simulation.
    pub prepare_ahead: bool,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            tail_cache_bytes: 16 << 20,
            sync: true,
            prepare_ahead: true,
        }
    }
}

/// What the log contains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalState {
    /// The saved vote.
    pub vote: Option<Vote>,
    /// The saved committed position; may lag behind what was saved last before a crash.
    pub committed: Option<LogPosition>,
    /// Last purged entry.
    pub purged: Option<LogPosition>,
    /// Last entry, or the last purged one when there is none behind it.
    pub last: Option<LogPosition>,
}

/// How long syncs took since the log was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FsyncStats {
    /// Number of syncs.
    pub count: u64,
    /// Their total duration.
    pub total: Duration,
    /// The longest one.
    pub max: Duration,
}

/// Called once, on the log's thread, when an operation is durable or failed; must not block.
pub type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// The open log.
#[derive(Debug)]
pub struct Wal {}

impl Wal {
    /// Opens or creates the log in `dir`.
    pub fn open(
        _disk: Arc<dyn Disk>,
        _dir: &Path,
        _identity: Identity,
        _options: WalOptions,
    ) -> Result<Self, Error> {
        unimplemented!()
    }
    /// What the log contains, operations still in the queue included.
    pub fn state(&self) -> WalState {
        unimplemented!()
    }
    /// Appends entries.
    pub fn append(&self, _entries: Vec<Entry>, _done: Done) {
        unimplemented!()
    }
    /// Saves a vote.
    pub fn save_vote(&self, _vote: Vote, _done: Done) {
        unimplemented!()
    }
    /// Notes the committed position; becomes durable with the next append or vote.
    pub fn save_committed(&self, _position: LogPosition) {
        unimplemented!()
    }
    /// Removes all entries behind `index`, or all entries.
    pub fn truncate_after(&self, _index: Option<u64>, _done: Done) {
        unimplemented!()
    }
    /// Forgets entries up to and including `upto`.
    pub fn purge(&self, _upto: LogPosition) {
        unimplemented!()
    }
    /// Reads the entries of an index range.
    pub fn read(&self, _range: Range<u64>, _max_bytes: usize) -> io::Result<Vec<Entry>> {
        unimplemented!()
    }
    /// How long syncs took.
    pub fn fsync_stats(&self) -> FsyncStats {
        unimplemented!()
    }
    /// Writes what is queued and stops the thread.
    pub fn close(self) {
        unimplemented!()
    }
}
