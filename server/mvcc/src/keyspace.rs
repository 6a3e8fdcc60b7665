//! The keys, all their readable versions, and the revision being written.
//!
//! Owns the index, the past, the cached values and the compaction mark, and keeps them in step.
//! Must not know requests, leases' lives or the log; the caller provides the lock.

use std::{ops::Bound, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use handfast_proto::mvccpb::KeyValue;
use handfast_storage::state::{Row, View};

use crate::{
    Error, KeyRange, Revision,
    cache::{ABSENT, ValueCache},
    index::{Index, Mark, Meta, Past, ends_deleted, visible},
    recent::{Commit, Event, Recent},
    revision::{FIRST_REVISION, NEVER_COMPACTED},
};

/// Changed keys looked at for a count in one hold of the lock.
const MAX_CHANGED_KEYS: usize = 2048;

/// What a store did since it was opened or replaced by another member's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Keys put.
    pub puts: u64,
    /// Keys deleted.
    pub deletes: u64,
    /// Transactions run, but for those that only read.
    pub txns: u64,
    /// Leases granted.
    pub leases_granted: u64,
    /// Leases gone, by their end or by a client's request.
    pub leases_revoked: u64,
    /// Leases of these whose time ran out.
    pub leases_expired: u64,
}

/// Everything a read needs, behind one lock.
pub(crate) struct Keyspace {
    pub(crate) index: Index,
    pub(crate) past: Past,
    pub(crate) cache: ValueCache,
    /// Newest committed revision.
    pub(crate) revision: i64,
    /// Revisions below it cannot be read; -1 when there was no compaction.
    pub(crate) compacted: i64,
    /// Holds every row that is not in `recent` or in the two below.
    pub(crate) view: View,
    /// Why nothing may be read or written any more.
    pub(crate) halted: Option<String>,
    /// What was done since the store was opened or replaced, for metrics.
    pub(crate) done: Tally,
    recent: Arc<Recent>,
    /// Changes of revision `revision + 1`; the position is the sub-revision.
    events: Vec<Event>,
    /// Revisions of this batch, which the ring does not have yet.
    batch: Vec<Arc<Commit>>,
}

impl Keyspace {
    /// No keys, for rows to be replayed into.
    pub(crate) fn new(cache_budget: usize, view: View, recent: Arc<Recent>) -> Self {
        Self {
            index: Index::default(),
            past: Past::default(),
            cache: ValueCache::new(cache_budget),
            revision: FIRST_REVISION,
            compacted: NEVER_COMPACTED,
            view,
            halted: None,
            done: Tally::default(),
            recent,
            events: Vec::new(),
            batch: Vec::new(),
        }
    }

    /// The revision a read sees now: the one being written, once it has a change.
    pub(crate) fn head(&self) -> i64 {
        self.revision + i64::from(!self.events.is_empty())
    }

    /// Whether a read pinned at `at` may go on.
    pub(crate) fn check(&self, at: i64) -> Result<(), Error> {
        if let Some(reason) = &self.halted {
            return Err(Error::Halted(reason.clone()));
        }
        if at < self.compacted {
            return Err(Error::Compacted {
                requested: at,
                compacted: self.compacted,
            });
        }
        Ok(())
    }

    /// Resolves a request's revision: 0 and below mean `head`.
    pub(crate) fn resolve(&self, requested: i64, head: i64) -> Result<i64, Error> {
        if requested > head {
            return Err(Error::FutureRevision {
                requested,
                current: head,
            });
        }
        let at = if requested <= 0 { head } else { requested };
        self.check(at)?;
        Ok(at)
    }

    /// How many keys exist now in a range.
    pub(crate) fn count(&self, range: &KeyRange) -> usize {
        match range {
            KeyRange::One(key) => usize::from(self.index.get(key).is_some()),
            KeyRange::All => self.index.len(),
            KeyRange::Empty => 0,
            KeyRange::From(_) | KeyRange::Span { .. } => {
                let (low, high) = range.bounds();
                self.index.count(low, high)
            }
        }
    }

    /// The pair `revision` wrote, as far as memory has it; a tombstone is only key and revision.
    pub(crate) fn in_memory(&self, revision: Revision) -> Option<KeyValue> {
        let sub = revision.sub as usize;
        if revision.main > self.revision {
            return self.events.get(sub).map(|event| event.kv.clone());
        }
        if let Some(first) = self.batch.first()
            && revision.main >= first.main()
        {
            let at = self
                .batch
                .binary_search_by_key(&revision.main, |commit| commit.main())
                .ok()?;
            return self.batch[at]
                .events()
                .get(sub)
                .map(|event| event.kv.clone());
        }
        self.recent.value_of(revision.main, revision.sub)
    }

    /// The value of a key's current version; reads the state file when memory does not have it.
    pub(crate) fn value(&self, meta: &Meta) -> Result<Bytes, Error> {
        if let Some(value) = self.cache.get(meta.slot, meta.revision) {
            return Ok(value);
        }
        match self.in_memory(meta.revision) {
            Some(kv) => Ok(kv.value),
            None => Ok(read_row(&self.view, meta.revision)?.value),
        }
    }

    /// The current version of a key, with its value.
    pub(crate) fn current(&self, key: &Bytes) -> Result<Option<KeyValue>, Error> {
        let Some(meta) = self.index.get(key) else {
            return Ok(None);
        };
        Ok(Some(key_value(key.clone(), meta, self.value(meta)?)))
    }

    /// Writes a key at the revision in progress. Returns what it replaced.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8], lease: i64) -> Option<Meta> {
        let revision = self.next_revision();
        let (key, value) = copy_pair(key, value);
        self.done.puts += 1;
        let slot = self.cache.insert(revision, &value, key.len() + value.len());
        let mut written = Meta {
            create_revision: revision.main,
            version: 1,
            lease,
            revision,
            slot,
        };
        let replaced = self.index.upsert(&key, |present| {
            if let Some(present) = present {
                written.create_revision = present.create_revision;
                written.version = present.version + 1;
            }
            written
        });
        if let Some(replaced) = &replaced {
            self.cache.remove(replaced.slot, replaced.revision);
            self.past.extend(&key, [Mark::version(replaced.revision)]);
        }
        let kv = key_value(key, &written, value);
        self.events.push(Event {
            sub: revision.sub,
            tombstone: false,
            kv,
        });
        replaced
    }

    /// Deletes a key at the revision in progress. Returns what it deleted.
    pub(crate) fn delete(&mut self, key: &[u8]) -> Option<Meta> {
        let deleted = self.index.remove(key)?;
        let revision = self.next_revision();
        self.done.deletes += 1;
        self.cache.remove(deleted.slot, deleted.revision);
        let marks = [Mark::version(deleted.revision), Mark::tombstone(revision)];
        self.past.extend(key, marks);
        let kv = KeyValue {
            key: Bytes::copy_from_slice(key),
            mod_revision: revision.main,
            ..KeyValue::default()
        };
        self.events.push(Event {
            sub: revision.sub,
            tombstone: true,
            kv,
        });
        Some(deleted)
    }

    /// Closes the revision in progress, if it has a change. Returns the newest revision.
    pub(crate) fn commit(&mut self) -> i64 {
        if !self.events.is_empty() {
            self.revision += 1;
            let events = std::mem::take(&mut self.events);
            self.batch.push(Commit::new(self.revision, events));
        }
        self.revision
    }

    /// How many revisions this batch has so far.
    pub(crate) fn batched(&self) -> usize {
        self.batch.len()
    }

    /// What this batch did after its first `skip` revisions.
    pub(crate) fn events_after(&self, skip: usize) -> impl Iterator<Item = &Event> {
        let commits = self.batch.get(skip..).unwrap_or_default();
        commits.iter().flat_map(|commit| commit.events())
    }

    /// Refuses everything from now on, and drops the revision in progress.
    pub(crate) fn halt(&mut self, error: &Error) {
        tracing::error!(%error, "the store stops: its memory can no longer be trusted");
        self.halted = Some(error.to_string());
        self.events.clear();
    }

    /// Hands the revisions of the batch to the ring and returns them.
    pub(crate) fn end_batch(&mut self) -> Vec<Arc<Commit>> {
        debug_assert!(self.events.is_empty() || self.halted.is_some());
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty() {
            self.recent.push(&batch);
        }
        batch
    }

    /// Takes over a row of the state file; rows come in ascending order per key.
    pub(crate) fn replay(&mut self, row: &Row) {
        let revision = Revision::new(row.main, row.sub);
        self.revision = self.revision.max(row.main);
        if row.tombstone {
            let deleted = self.index.remove(&row.key);
            let version = deleted.map(|deleted| Mark::version(deleted.revision));
            let marks = version.into_iter().chain([Mark::tombstone(revision)]);
            self.past.extend(&row.key, marks);
            return;
        }
        let written = Meta {
            create_revision: row.create_revision,
            version: row.version,
            lease: row.lease,
            revision,
            slot: ABSENT,
        };
        if let Some(replaced) = self.index.upsert(&row.key, |_| written) {
            let mark = Mark::version(replaced.revision);
            self.past.extend(&row.key, [mark]);
        }
    }

    /// Keeps a value that was read from the state file, if it is still current. Unless it is
    /// `wanted` for itself it must not push out others.
    pub(crate) fn cache_value(
        &mut self,
        key: &[u8],
        revision: Revision,
        value: &Bytes,
        wanted: bool,
    ) {
        let allocated = key.len() + value.len();
        if !wanted && !self.cache.has_room(allocated) {
            return;
        }
        let Some((current, slot)) = self.index.slot_mut(key) else {
            return;
        };
        if current == revision && self.cache.get(*slot, revision).is_none() {
            *slot = self.cache.insert(revision, value, allocated);
        }
    }

    /// The keys between the bounds as they were at `at`: see [`crate::select`].
    pub(crate) fn version_at(&self, key: &[u8], at: i64) -> Option<Version<'_>> {
        match self.index.get(key) {
            Some(meta) if meta.revision.main <= at => Some(Version::Current(meta)),
            // What is not there now has nothing to look for in a past that may be long.
            None if at >= self.head() => None,
            _ => self.past.at(key, at).map(Version::Past),
        }
    }

    /// How many keys between the bounds existed at `at`, as far as one short visit gets: also
    /// returns the key from which to count on, if there is more.
    ///
    /// That is what exists now, corrected by the keys that changed since.
    pub(crate) fn count_at(
        &self,
        low: Bound<&[u8]>,
        high: Bound<&[u8]>,
        at: i64,
    ) -> (usize, Option<Box<[u8]>>) {
        let mut changed = self.past.range(low, high);
        let past_stop = changed.nth(MAX_CHANGED_KEYS).map(|(key, _)| &key[..]);
        let past_high = past_stop.map_or(high, Bound::Excluded);
        let (mut count, index_stop) = self.index.count_settled((low, past_high), at, &self.past);
        let stop = index_stop.or(past_stop);
        for (key, marks) in self.past.range(low, stop.map_or(high, Bound::Excluded)) {
            let current = match ends_deleted(marks) {
                true => self.index.get(key).map(|meta| meta.revision.main),
                // The version after the last mark is the current one.
                false => Some(i64::MAX),
            };
            let was = visible(marks, at).is_some() || current.is_some_and(|main| main <= at);
            // In this order, for what exists now has been counted.
            count = count + usize::from(was) - usize::from(current.is_some());
        }
        (count, stop.map(Into::into))
    }

    fn next_revision(&self) -> Revision {
        let sub = u32::try_from(self.events.len()).expect("a revision has fewer than 2^32 changes");
        Revision::new(self.revision + 1, sub)
    }
}

/// Where to find out about a version of a key.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Version<'a> {
    /// The one that exists now.
    Current(&'a Meta),
    /// One that was superseded since.
    Past(Revision),
}

/// A pair as the protocol has it.
pub(crate) fn key_value(key: Bytes, meta: &Meta, value: Bytes) -> KeyValue {
    KeyValue {
        key,
        create_revision: meta.create_revision,
        mod_revision: meta.revision.main,
        version: meta.version,
        value,
        lease: meta.lease,
    }
}

/// The pair a row holds.
pub(crate) fn row_pair(row: Row) -> KeyValue {
    KeyValue {
        key: row.key,
        create_revision: row.create_revision,
        mod_revision: row.main,
        version: row.version,
        value: row.value,
        lease: row.lease,
    }
}

/// A row that must exist: the index says so.
pub(crate) fn read_row(view: &View, revision: Revision) -> Result<Row, Error> {
    let Revision { main, sub } = revision;
    view.get(main, sub)?.ok_or_else(|| {
        Error::Halted(format!(
            "revision {main}.{sub} is missing from the state file"
        ))
    })
}

/// Copies both into one allocation of their size, so that no large request buffer lives on.
fn copy_pair(key: &[u8], value: &[u8]) -> (Bytes, Bytes) {
    let mut both = BytesMut::with_capacity(key.len() + value.len());
    both.put_slice(key);
    both.put_slice(value);
    let key = both.split_to(key.len()).freeze();
    (key, both.freeze())
}
