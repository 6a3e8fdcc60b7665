//! Reading: a snapshot with its tables held open, because opening one costs more than a read.
//! Must not write.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable, ReadableTableMetadata};

use super::backend::failed;
use super::tables::{
    KEY_BYTES, LEASE, META, META_APPLIED, META_MEMBERSHIP, META_PREFIX, META_ROW_BYTES, REV,
    decode_position, decode_row, row_key,
};
use super::{LeaseRow, Row};
use crate::{Error, LogPosition};

/// A snapshot of the state file, cheap to clone. Later flushes do not show in it.
#[derive(Clone)]
pub struct View {
    inner: Arc<Inner>,
}

struct Inner {
    rev: ReadOnlyTable<&'static [u8; KEY_BYTES], &'static [u8]>,
    meta: ReadOnlyTable<&'static str, &'static [u8]>,
    lease: ReadOnlyTable<i64, i64>,
    path: PathBuf,
    // Last, so that the tables are gone before it: dropping the engine cuts off its readers.
    _db: Arc<Database>,
}

impl View {
    pub(super) fn open(db: Arc<Database>, path: &Path) -> Result<Self, Error> {
        let txn = db.begin_read().map_err(failed(path))?;
        let inner = Inner {
            rev: txn.open_table(REV).map_err(failed(path))?,
            meta: txn.open_table(META).map_err(failed(path))?,
            lease: txn.open_table(LEASE).map_err(failed(path))?,
            path: path.to_owned(),
            _db: db,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The row of one revision.
    pub fn get(&self, main: i64, sub: u32) -> Result<Option<Row>, Error> {
        let key = row_key(main, sub);
        let found = self.inner.rev.get(&key).map_err(failed(&self.inner.path))?;
        found
            .map(|guard| self.decode(&key, guard.value()))
            .transpose()
    }

    /// Visits rows in ascending order from a revision on (inclusive), until `limit_rows` were
    /// visited or `visit` returns false.
    pub fn scan(
        &self,
        from: (i64, u32),
        limit_rows: usize,
        visit: &mut dyn FnMut(Row) -> bool,
    ) -> Result<(), Error> {
        let start = row_key(from.0, from.1);
        let rows = self
            .inner
            .rev
            .range::<&[u8; KEY_BYTES]>(&start..)
            .map_err(failed(&self.inner.path))?;
        for entry in rows.take(limit_rows) {
            let (key, value) = entry.map_err(failed(&self.inner.path))?;
            if !visit(self.decode(key.value(), value.value())?) {
                break;
            }
        }
        Ok(())
    }

    /// Number of stored rows; cheap.
    pub fn row_count(&self) -> Result<u64, Error> {
        self.inner.rev.len().map_err(failed(&self.inner.path))
    }

    /// Revision of the last stored row.
    pub fn last_revision(&self) -> Result<Option<(i64, u32)>, Error> {
        let last = self.inner.rev.last().map_err(failed(&self.inner.path))?;
        Ok(last.map(|(key, _)| {
            let [a, b, c, d, e, f, g, h, i, j, k, l] = *key.value();
            (
                i64::from_be_bytes([a, b, c, d, e, f, g, h]),
                u32::from_be_bytes([i, j, k, l]),
            )
        }))
    }

    /// Position of the last log entry contained, `None` before the first flush.
    pub fn applied(&self) -> Result<Option<LogPosition>, Error> {
        let Some(bytes) = self.named(META_APPLIED)? else {
            return Ok(None);
        };
        match decode_position(&bytes) {
            Some(position) => Ok(Some(position)),
            None => Err(Error::corrupt(
                &self.inner.path,
                0,
                "the applied position is malformed",
            )),
        }
    }

    /// The stored membership, as the caller encoded it.
    pub fn membership(&self) -> Result<Option<Bytes>, Error> {
        self.named(META_MEMBERSHIP)
    }

    /// A small value stored by an earlier flush.
    pub fn meta(&self, name: &str) -> Result<Option<Bytes>, Error> {
        self.named(&format!("{META_PREFIX}{name}"))
    }

    /// All granted leases, by id.
    pub fn leases(&self) -> Result<Vec<LeaseRow>, Error> {
        let mut leases = Vec::new();
        for entry in self.inner.lease.iter().map_err(failed(&self.inner.path))? {
            let (id, ttl) = entry.map_err(failed(&self.inner.path))?;
            leases.push(LeaseRow {
                id: id.value(),
                ttl_seconds: ttl.value(),
            });
        }
        Ok(leases)
    }

    pub(super) fn row_bytes(&self) -> Result<u64, Error> {
        let bytes = self.named(META_ROW_BYTES)?;
        let bytes = bytes.and_then(|bytes| bytes.as_ref().try_into().ok());
        Ok(bytes.map_or(0, u64::from_le_bytes))
    }

    fn named(&self, name: &str) -> Result<Option<Bytes>, Error> {
        let found = self
            .inner
            .meta
            .get(name)
            .map_err(failed(&self.inner.path))?;
        Ok(found.map(|guard| Bytes::copy_from_slice(guard.value())))
    }

    fn decode(&self, key: &[u8; KEY_BYTES], bytes: &[u8]) -> Result<Row, Error> {
        decode_row(key, bytes)
            .ok_or_else(|| Error::corrupt(&self.inner.path, 0, "a row is malformed"))
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View")
            .field("path", &self.inner.path)
            .finish_non_exhaustive()
    }
}
