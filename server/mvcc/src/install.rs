//! Carrying the whole state from one member to another.
//!
//! Owns what a snapshot consists of, and the replacement of a store by one. Must not know how a
//! snapshot is encoded or sent.

use std::{fmt, mem};

use bytes::Bytes;
use handfast_storage::{
    LogPosition,
    state::{FlushBatch, LeaseRow, Row, View},
};

use crate::{
    Error, Store, load,
    meta::{self, META_COMPACTED, META_REVISION, encode},
    sweep::{Sweep, Swept},
};

/// All of a snapshot but its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// Last log entry contained.
    pub applied: LogPosition,
    /// The membership at that entry, if there was any yet.
    pub membership: Option<Bytes>,
    /// Store revision at that entry.
    pub revision: i64,
    /// Compaction mark at that entry, -1 when there was none.
    pub compact_revision: i64,
    /// All leases.
    pub leases: Vec<LeaseRow>,
}

/// The state at one log position, on disk; later changes do not show in it. Holding it delays the
/// reuse of freed space.
pub struct Snapshot {
    /// All but the rows.
    pub header: SnapshotHeader,
    view: View,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    /// Visits up to `limit` rows in ascending order, from a revision on (inclusive), until `visit`
    /// returns false.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn rows(
        &self,
        from: (i64, u32),
        limit: usize,
        visit: &mut dyn FnMut(Row) -> bool,
    ) -> Result<(), Error> {
        Ok(self.view.scan(from, limit, visit)?)
    }
}

impl Store {
    /// Flushes, and takes hold of what is then on disk. `None` when nothing was ever applied.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Halted`].
    pub fn snapshot(&self) -> Result<Option<Snapshot>, Error> {
        self.flush()?;
        let view = self.state.view()?;
        let Some(applied) = view.applied()? else {
            return Ok(None);
        };
        let header = SnapshotHeader {
            applied,
            membership: view.membership()?,
            revision: meta::revision(&view)?,
            compact_revision: meta::compacted(&view)?,
            leases: view.leases()?,
        };
        Ok(Some(Snapshot { header, view }))
    }

    /// Replaces everything by a snapshot of another member, whose rows come in ascending order.
    /// Durable when it returns; watchers go on from the new history. Blocks until all is read.
    ///
    /// # Errors
    /// Those of `rows`, and [`Error::Storage`]: then the old state is still there. After an error
    /// in the rebuilding from the new state the store refuses everything with [`Error::Halted`].
    pub fn install(
        &self,
        header: SnapshotHeader,
        rows: &mut dyn Iterator<Item = Result<Row, handfast_storage::Error>>,
    ) -> Result<(), Error> {
        let _applying = self.applying.lock();
        let mut sweep = self.sweeping.lock();
        let _flushing = self.flushing.lock();
        let batch = FlushBatch {
            lease_puts: header.leases,
            applied: header.applied,
            membership: header.membership,
            meta: vec![
                (META_REVISION, encode(header.revision)),
                (META_COMPACTED, encode(header.compact_revision)),
            ],
            ..FlushBatch::default()
        };
        self.state.replace(rows, &batch)?;
        let mut shared = self.shared.write();
        self.lessor.clear();
        let loaded = match load::load(&self.state, &self.options, &self.recent, &self.lessor) {
            Ok(loaded) => loaded,
            Err(error) => {
                shared.keyspace.halt(&error);
                return Err(error);
            }
        };
        let old = mem::replace(&mut *shared, loaded.shared);
        let revision = shared.keyspace.revision;
        self.recent.reset(revision);
        self.watch().reset(revision);
        drop(shared);
        *sweep = Sweep::default();
        let waiting = mem::replace(&mut *self.swept.lock(), Swept::new(loaded.swept));
        drop(sweep);
        // What they waited to be reclaimed went with the old file.
        waiting.release();
        drop(old);
        Ok(())
    }
}
