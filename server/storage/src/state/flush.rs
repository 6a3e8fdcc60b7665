//! Writing: flushes, compaction sweeps and whole replacements, each one transaction. Must not
//! decide when to write.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use redb::{CursorError, Durability, ReadableTable, Table, WriteTransaction};
use std::ops::Bound;

use super::backend::failed;
use super::tables::{
    KEY_BYTES, LEASE, META, META_APPLIED, META_MEMBERSHIP, META_PREFIX, META_ROW_BYTES,
    META_SCHEMA, REV, encode_position, encode_row, row_key,
};
use super::{LeaseRow, Row, State};
use crate::{Error, LogPosition};

/// What one flush writes.
#[derive(Clone, Debug, Default)]
pub struct FlushBatch {
    /// New rows, ascending and behind every stored row.
    pub rows: Vec<Row>,
    /// Leases granted or granted anew.
    pub lease_puts: Vec<LeaseRow>,
    /// Leases gone.
    pub lease_deletes: Vec<i64>,
    /// Last log entry contained in this and all earlier batches.
    pub applied: LogPosition,
    /// The membership, when it changed.
    pub membership: Option<Bytes>,
    /// Small values to store by name.
    pub meta: Vec<(&'static str, Bytes)>,
}

type Failure = Result<(), Error>;

impl State {
    /// Writes a batch in one transaction: after a crash either all of it is there or nothing.
    /// With `durable` it has reached the disk when this returns, otherwise with a later
    /// durable flush; readers see it at once in both cases.
    ///
    /// # Errors
    /// After an I/O error the state file refuses everything until it is opened again.
    pub fn flush(&self, batch: FlushBatch, durable: bool) -> Failure {
        let txn = self.begin(durable)?;
        let added = self.append_rows(&txn, &mut batch.rows.iter().map(Ok))?;
        self.write_rest(&txn, &batch, added, 0)?;
        self.finish(txn)
    }

    /// Removes rows by revision and stores `meta` in the same durable transaction. Revisions
    /// that are not there are skipped, so a repeated sweep is harmless.
    pub fn delete_rows(&self, revisions: &[(i64, u32)], meta: &[(&'static str, Bytes)]) -> Failure {
        let path = &self.path;
        let txn = self.begin(true)?;
        let mut removed = 0;
        {
            let mut rev = txn.open_table(REV).map_err(failed(path))?;
            for &(main, sub) in revisions {
                if let Some(old) = rev.remove(&row_key(main, sub)).map_err(failed(path))? {
                    removed += (KEY_BYTES + old.value().len()) as u64;
                }
            }
            let mut table = txn.open_table(META).map_err(failed(path))?;
            self.put_named(&mut table, meta)?;
            self.adjust_row_bytes(&mut table, 0, removed)?;
        }
        self.finish(txn)
    }

    /// Replaces everything by `rows` (ascending) and the rest of `batch` (whose own rows must be
    /// empty), durably and atomically: how a snapshot from another member is taken over. An
    /// error from the iterator leaves the old content in place.
    pub fn replace(
        &self,
        rows: &mut dyn Iterator<Item = Result<Row, Error>>,
        batch: &FlushBatch,
    ) -> Failure {
        let path = &self.path;
        let txn = self.begin(true)?;
        txn.delete_table(REV).map_err(failed(path))?;
        txn.delete_table(LEASE).map_err(failed(path))?;
        txn.open_table(LEASE).map_err(failed(path))?;
        {
            let mut meta = txn.open_table(META).map_err(failed(path))?;
            meta.retain(|name, _| name == META_SCHEMA)
                .map_err(failed(path))?;
        }
        let added = self.append_rows(&txn, rows)?;
        self.write_rest(&txn, batch, added, 0)?;
        self.finish(txn)
    }

    fn begin(&self, durable: bool) -> Result<WriteTransaction, Error> {
        let mut txn = self.db.begin_write().map_err(failed(&self.path))?;
        if durable {
            // Costs one more sync per flush and saves a walk over the whole file after a crash.
            txn.set_quick_repair(true);
        } else {
            txn.set_durability(Durability::None)
                .map_err(|error| Error::State {
                    path: self.path.clone(),
                    detail: error.to_string(),
                })?;
        }
        Ok(txn)
    }

    fn finish(&self, txn: WriteTransaction) -> Failure {
        let start = std::time::Instant::now();
        txn.commit().map_err(failed(&self.path))?;
        self.commits.count(start.elapsed());
        let row_bytes = self.view()?.row_bytes()?;
        self.row_bytes.store(row_bytes, Ordering::Relaxed);
        Ok(())
    }

    fn append_rows<R: std::borrow::Borrow<Row>>(
        &self,
        txn: &WriteTransaction,
        rows: &mut dyn Iterator<Item = Result<R, Error>>,
    ) -> Result<u64, Error> {
        let path = &self.path;
        let mut rev = txn.open_table(REV).map_err(failed(path))?;
        let mut cursor = rev
            .upper_bound_mut(Bound::<&[u8; KEY_BYTES]>::Unbounded)
            .map_err(failed(path))?;
        let mut bytes = Vec::new();
        let mut added = 0;
        for row in rows {
            let row = row?;
            let row = row.borrow();
            bytes.clear();
            encode_row(row, &mut bytes);
            added += (KEY_BYTES + bytes.len()) as u64;
            let key = row_key(row.main, row.sub);
            match cursor.insert_before(&key, bytes.as_slice()) {
                Ok(()) => {}
                Err(CursorError::UnorderedKey) => {
                    return Err(Error::UnorderedRow {
                        main: row.main,
                        sub: row.sub,
                    });
                }
                Err(error) => return Err(failed(path)(error)),
            }
        }
        cursor.close().map_err(failed(path))?;
        Ok(added)
    }

    fn write_rest(
        &self,
        txn: &WriteTransaction,
        batch: &FlushBatch,
        added: u64,
        removed: u64,
    ) -> Failure {
        let path = &self.path;
        if !batch.lease_puts.is_empty() || !batch.lease_deletes.is_empty() {
            let mut lease = txn.open_table(LEASE).map_err(failed(path))?;
            // Deletes first: an id revoked and granted again within one batch must stay.
            for id in &batch.lease_deletes {
                lease.remove(id).map_err(failed(path))?;
            }
            for row in &batch.lease_puts {
                lease
                    .insert(row.id, row.ttl_seconds)
                    .map_err(failed(path))?;
            }
        }
        let mut meta = txn.open_table(META).map_err(failed(path))?;
        let applied = encode_position(batch.applied);
        meta.insert(META_APPLIED, applied.as_slice())
            .map_err(failed(path))?;
        if let Some(membership) = &batch.membership {
            meta.insert(META_MEMBERSHIP, membership.as_ref())
                .map_err(failed(path))?;
        }
        self.put_named(&mut meta, &batch.meta)?;
        self.adjust_row_bytes(&mut meta, added, removed)
    }

    fn put_named(
        &self,
        meta: &mut Table<'_, &'static str, &'static [u8]>,
        values: &[(&'static str, Bytes)],
    ) -> Failure {
        for (name, value) in values {
            let name = format!("{META_PREFIX}{name}");
            meta.insert(name.as_str(), value.as_ref())
                .map_err(failed(&self.path))?;
        }
        Ok(())
    }

    fn adjust_row_bytes(
        &self,
        meta: &mut Table<'_, &'static str, &'static [u8]>,
        added: u64,
        removed: u64,
    ) -> Failure {
        let stored = meta.get(META_ROW_BYTES).map_err(failed(&self.path))?;
        let before = stored.and_then(|guard| guard.value().try_into().ok());
        let before = before.map_or(0, u64::from_le_bytes);
        let after = (before + added).saturating_sub(removed).to_le_bytes();
        meta.insert(META_ROW_BYTES, after.as_slice())
            .map_err(failed(&self.path))?;
        Ok(())
    }
}
