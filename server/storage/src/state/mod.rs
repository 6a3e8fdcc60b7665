//! The state file: rows by revision, leases and small named values in one transactional file,
//! a projection of the log that lags behind it and is consistent after any crash. Must not know
//! what the rows mean.

mod backend;
mod flush;
mod open;
pub(crate) mod tables;
#[cfg(test)]
mod tests;
mod view;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use redb::Database;

pub use self::flush::FlushBatch;
pub use self::view::View;
use crate::disk::{Disk, DiskFile};
use crate::wal::{FsyncStats, SyncCounters};
use crate::{Error, LogPosition};

/// One stored event of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Main part of the revision; not negative.
    pub main: i64,
    /// Position within the transaction of that revision.
    pub sub: u32,
    /// Whether the event deletes the key.
    pub tombstone: bool,
    /// The key.
    pub key: Bytes,
    /// Revision that created the key; 0 for a tombstone.
    pub create_revision: i64,
    /// Writes since the key was created; 0 for a tombstone.
    pub version: i64,
    /// Attached lease, 0 for none.
    pub lease: i64,
    /// The value.
    pub value: Bytes,
}

/// One granted lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRow {
    /// Lease id.
    pub id: i64,
    /// Granted time to live in seconds.
    pub ttl_seconds: i64,
}

/// How to open a state file.
#[derive(Clone, Debug)]
pub struct StateOptions {
    /// Bytes of file pages kept in memory.
    pub cache_bytes: usize,
    /// False skips every sync: for data that is thrown away anyway.
    pub sync: bool,
}

impl Default for StateOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 16 << 20,
            sync: true,
        }
    }
}

/// Space the state file takes, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeOnDisk {
    /// Length of the file; never 0.
    pub allocated: u64,
    /// Estimated part of it that holds live rows; the rest is reused by later flushes.
    pub in_use: u64,
}

/// The open state file. One writer at a time (others wait), readers never block.
pub struct State {
    db: Arc<Database>,
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    row_bytes: AtomicU64,
    commits: SyncCounters,
}

impl State {
    /// Opens the file, creating it when there is none.
    ///
    /// # Errors
    /// Says which file is in use, foreign, of another version or damaged.
    pub fn open(disk: Arc<dyn Disk>, path: &Path, options: StateOptions) -> Result<Self, Error> {
        let (db, file) = open::open(disk.as_ref(), path, &options)?;
        let state = Self {
            db: Arc::new(db),
            file,
            path: path.to_owned(),
            row_bytes: AtomicU64::new(0),
            commits: SyncCounters::default(),
        };
        let row_bytes = state.view()?.row_bytes()?;
        state.row_bytes.store(row_bytes, Ordering::Relaxed);
        Ok(state)
    }

    /// A snapshot of everything flushed so far; holding it delays the reuse of freed space.
    pub fn view(&self) -> Result<View, Error> {
        View::open(Arc::clone(&self.db), &self.path)
    }

    /// Position of the last log entry contained in the file, `None` before the first flush.
    pub fn applied(&self) -> Result<Option<LogPosition>, Error> {
        self.view()?.applied()
    }

    /// The stored membership, as the caller encoded it.
    pub fn membership(&self) -> Result<Option<Bytes>, Error> {
        self.view()?.membership()
    }

    /// A small value stored by an earlier flush.
    pub fn meta(&self, name: &str) -> Result<Option<Bytes>, Error> {
        self.view()?.meta(name)
    }

    /// All granted leases, by id.
    pub fn leases(&self) -> Result<Vec<LeaseRow>, Error> {
        self.view()?.leases()
    }

    /// How long the writing transactions took to commit.
    pub fn commit_stats(&self) -> FsyncStats {
        self.commits.stats()
    }

    /// Space taken; cheap.
    pub fn size(&self) -> SizeOnDisk {
        let allocated = self.file.len().unwrap_or(0).max(1);
        // Pages are filled to about nine tenths by appends; the constant is the fixed tables.
        let row_bytes = self.row_bytes.load(Ordering::Relaxed);
        let in_use = (row_bytes + row_bytes / 8 + (64 << 10)).min(allocated);
        SizeOnDisk { allocated, in_use }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
