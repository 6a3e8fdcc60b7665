//! Carrying the whole state from one member to another.
//!
//! Owns the taking of a snapshot, its division into chunks, and the replacement of a store by one.
//! Must not know how it is sent.

use std::{fmt, mem, sync::atomic::Ordering};

use bytes::Bytes;
use handfast_storage::{
    chunk::ChunkBuilder,
    spool::Cursor,
    state::{FlushBatch, Row, View},
};

use crate::{
    Error, SnapshotHeader, Store, load,
    meta::{
        self, META_CLUSTER, META_COMPACTED, META_FINGERPRINT, META_RAISED, META_REVISION,
        META_SWEEPING, encode,
    },
    revision::FIRST_REVISION,
    sweep::{Sweep, Swept},
};

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
        from: Cursor,
        limit: usize,
        visit: &mut dyn FnMut(Row) -> bool,
    ) -> Result<(), Error> {
        Ok(self.view.scan(from, limit, visit)?)
    }

    /// The rows from a place on, until they take about `bytes`; at least one if there is any.
    /// `None` when there is none left.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn chunk(&self, from: Cursor, bytes: usize) -> Result<Option<SnapshotChunk>, Error> {
        let mut rows = ChunkBuilder::default();
        let mut next = from;
        self.view.scan(from, usize::MAX, &mut |row| {
            rows.push(&row);
            next = (row.main, row.sub + 1);
            rows.len() < bytes
        })?;
        if rows.is_empty() {
            return Ok(None);
        }
        let rows = rows.finish();
        Ok(Some(SnapshotChunk { from, next, rows }))
    }
}

/// A part of a snapshot's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotChunk {
    /// Where it begins.
    pub from: Cursor,
    /// Where the next one begins.
    pub next: Cursor,
    /// The rows, as [`decode_rows`](handfast_storage::chunk::decode_rows) reads them.
    pub rows: Bytes,
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
        let cluster = meta::cluster(&view)?;
        let header = SnapshotHeader {
            applied,
            membership: view.membership()?,
            revision: meta::revision(&view)?,
            compact_revision: meta::compacted(&view)?,
            raised: meta::raised(&view)?,
            swept: meta::swept(&view)?,
            sweeping: meta::sweeping(&view)?,
            leases: view.leases()?,
            alarms: cluster.alarms(),
            join_secret: cluster.secret(),
            fingerprint: meta::fingerprint(&view)?,
        };
        Ok(Some(Snapshot { header, view }))
    }

    /// Replaces everything by a snapshot of another member, whose rows come in ascending order.
    /// Rows behind its revision are left out, for they are of a newer one that is being received
    /// already. Durable when it returns; watchers go on from the new history. Blocks until all is
    /// read; until then reads are answered from the old state.
    ///
    /// # Errors
    /// Those of `rows`, [`Error::Storage`] also when the rows end before the revision does: then
    /// the old state is still there. After an error
    /// in the rebuilding from the new state the store refuses everything with [`Error::Halted`].
    pub fn install(
        &self,
        header: SnapshotHeader,
        rows: &mut dyn Iterator<Item = Result<Row, handfast_storage::Error>>,
    ) -> Result<(), Error> {
        let _applying = self.applying.lock();
        let mut sweep = self.sweeping.lock();
        let _flushing = self.flushing.lock();
        let mut rows = Complete {
            rows,
            revision: header.revision,
            last: header.raised,
            ended: false,
        };
        self.state.replace(&mut rows, &batch(header))?;
        let loaded = load::load(&self.state, &self.options, &self.recent);
        let mut shared = self.shared.write();
        let loaded = loaded.and_then(|loaded| {
            self.lessor.clear();
            loaded.leases.restore(&self.lessor)?;
            Ok((loaded.shared, loaded.swept))
        });
        let (loaded, swept) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                shared.keyspace.halt(&error);
                return Err(error);
            }
        };
        let old = mem::replace(&mut *shared, loaded);
        let revision = shared.keyspace.revision;
        self.alarm_kinds
            .store(shared.cluster.kinds(), Ordering::Relaxed);
        self.recent.reset(revision);
        self.watch().reset(revision);
        drop(shared);
        *sweep = Sweep::default();
        let waiting = mem::replace(&mut *self.swept.lock(), Swept::new(swept));
        drop(sweep);
        // What they waited to be reclaimed went with the old file.
        waiting.release();
        drop(old);
        Ok(())
    }
}

/// The rows up to a revision; an error at their end if they do not reach it.
struct Complete<'r> {
    rows: &'r mut dyn Iterator<Item = Result<Row, handfast_storage::Error>>,
    revision: i64,
    last: i64,
    ended: bool,
}

impl Iterator for Complete<'_> {
    type Item = Result<Row, handfast_storage::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.rows.next() {
            Some(Ok(row)) if row.main <= self.revision => {
                self.last = self.last.max(row.main);
                Some(Ok(row))
            }
            Some(Err(error)) => Some(Err(error)),
            Some(Ok(_)) | None => {
                self.ended = true;
                let (last, revision) = (self.last, self.revision);
                // A store that was never written to is at its first revision without a row.
                (last.max(FIRST_REVISION) != revision).then(|| {
                    Err(handfast_storage::Error::BadChunk {
                        detail: format!("its rows end at revision {last}, not at {revision}"),
                    })
                })
            }
        }
    }
}

/// What to write beside the rows.
fn batch(header: SnapshotHeader) -> FlushBatch {
    let mark = encode(header.compact_revision);
    FlushBatch {
        meta: vec![
            (META_REVISION, encode(header.revision)),
            (META_COMPACTED, mark.clone()),
            // Its rows may come from several snapshots, each swept to another extent.
            (META_SWEEPING, mark),
            (META_RAISED, encode(header.raised)),
            (META_CLUSTER, header.cluster().encode()),
            (META_FINGERPRINT, header.fingerprint.encode()),
        ],
        lease_puts: header.leases,
        applied: header.applied,
        membership: header.membership,
        ..FlushBatch::default()
    }
}
