//! A fingerprint of the readable history.
//!
//! Owns what members compare to find out that they differ. Must not depend on the physical state of
//! the sweep, on caches or on when rows were flushed.

use bytes::Bytes;
use handfast_storage::state::Row;

use crate::{Error, Revision, Store, index::unreadable, keyspace::Keyspace};

/// Rows whose readability is judged in one hold of the lock.
const JUDGED_ROWS: usize = 256;

/// The answer of [`Store::hash_kv`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashKv {
    /// CRC-32C over the readable rows.
    pub hash: u32,
    /// The compaction mark it was computed at, -1 when there was none.
    pub compact_revision: i64,
    /// The newest revision it covers.
    pub revision: i64,
}

impl Store {
    /// Hashes every version that can be read at or before `revision` (0 and below for the newest):
    /// equal on members that applied the same log and have the same compaction mark.
    /// Flushes first, and reads the whole state file.
    ///
    /// # Errors
    /// [`Error::Compacted`], [`Error::FutureRevision`], [`Error::Storage`], [`Error::Halted`].
    pub fn hash_kv(&self, revision: i64) -> Result<HashKv, Error> {
        loop {
            let at = {
                let shared = self.shared.read();
                shared
                    .keyspace
                    .resolve(revision, shared.keyspace.revision)?
            };
            self.flush()?;
            let (view, compacted) = {
                let shared = self.shared.read();
                (shared.keyspace.view.clone(), shared.keyspace.compacted)
            };
            let mut hash = Hash::new(self, compacted);
            view.scan((0, 0), usize::MAX, &mut |row| {
                row.main <= at && hash.push(row)
            })?;
            let hash = hash.finish();
            // A compaction under way changes what counts as readable: begin again.
            if self.compact_revision() == compacted {
                return Ok(HashKv {
                    hash,
                    compact_revision: compacted,
                    revision: at,
                });
            }
        }
    }
}

struct Hash<'s> {
    store: &'s Store,
    compacted: i64,
    rows: Vec<Row>,
    hash: u32,
}

impl<'s> Hash<'s> {
    fn new(store: &'s Store, compacted: i64) -> Self {
        Self {
            store,
            compacted,
            rows: Vec::new(),
            hash: 0,
        }
    }

    fn push(&mut self, row: Row) -> bool {
        self.rows.push(row);
        if self.rows.len() >= JUDGED_ROWS {
            self.judge();
        }
        true
    }

    fn finish(mut self) -> u32 {
        self.judge();
        self.hash
    }

    fn judge(&mut self) {
        {
            let shared = self.store.shared.read();
            self.rows
                .retain(|row| is_readable(&shared.keyspace, row, self.compacted));
        }
        for row in self.rows.drain(..) {
            self.hash = append(self.hash, &row);
        }
    }
}

fn is_readable(keyspace: &Keyspace, row: &Row, compacted: i64) -> bool {
    let revision = Revision::new(row.main, row.sub);
    let current = keyspace.index.get(&row.key).map(|meta| meta.revision);
    if row.main >= compacted || current == Some(revision) {
        return true;
    }
    let Some(marks) = keyspace.past.marks(&row.key) else {
        return false;
    };
    let first = unreadable(marks, current.map(|current| current.main), compacted);
    marks
        .iter()
        .skip(first)
        .any(|mark| mark.revision() == revision)
}

fn append(hash: u32, row: &Row) -> u32 {
    let numbers = [
        row.main,
        i64::from(row.sub),
        i64::from(row.tombstone),
        row.create_revision,
        row.version,
        row.lease,
        length(&row.key),
        length(&row.value),
    ];
    let hash = numbers.iter().fold(hash, |hash, number| {
        crc32c::crc32c_append(hash, &number.to_le_bytes())
    });
    crc32c::crc32c_append(crc32c::crc32c_append(hash, &row.key), &row.value)
}

fn length(bytes: &Bytes) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}
