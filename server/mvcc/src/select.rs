//! Finding versions and fetching what they hold, in short lock holds.
//!
//! Owns the walk over a range at a pinned revision: between two holds writes go on, and the
//! revision keeps the picture still. Must not know requests.

use std::{cmp::Ordering, collections::VecDeque, ops::Bound};

use bytes::Bytes;
use handfast_proto::mvccpb::KeyValue;
use handfast_storage::state::View;

use crate::{
    Error, KeyRange, Revision,
    cache::ABSENT,
    index::{Mark, Meta, visible},
    keyspace::{Keyspace, Version, key_value, read_row, row_pair},
};

/// Keys looked at in one hold of the lock.
const HOLD_KEYS: usize = 256;
/// What longer lists read from the state file goes into the cache only where that has room: it
/// must not push out what is in use.
const WANTED_LIST: usize = 16;

/// A way to the keyspace: through the lock, or directly by whoever holds it.
pub(crate) trait Access {
    /// Runs a short read.
    fn with<T>(&self, read: impl FnOnce(&Keyspace) -> T) -> T;

    /// Offers values that were read from the state file to the cache.
    fn remember(&self, write: impl FnOnce(&mut Keyspace));
}

impl Access for Keyspace {
    fn with<T>(&self, read: impl FnOnce(&Keyspace) -> T) -> T {
        read(self)
    }

    fn remember(&self, _write: impl FnOnce(&mut Keyspace)) {}
}

/// A version that was found.
#[derive(Debug)]
pub(crate) struct Item {
    /// Key and revisions; what is not known yet is 0 or empty.
    pub(crate) kv: KeyValue,
    revision: Revision,
    slot: u32,
    knows: Knows,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Knows {
    /// A superseded version: only the revision.
    Revision,
    /// All but the value.
    Meta,
    All,
}

impl Item {
    pub(crate) fn new(key: Bytes, version: Version<'_>) -> Self {
        match version {
            Version::Current(meta) => Self::current(key, meta),
            Version::Past(revision) => Self::past(key, revision),
        }
    }

    /// Whether its create revision and version number are known.
    pub(crate) fn has_meta(&self) -> bool {
        self.knows != Knows::Revision
    }

    fn current(key: Bytes, meta: &Meta) -> Self {
        let kv = key_value(key, meta, Bytes::new());
        Self {
            kv,
            revision: meta.revision,
            slot: meta.slot,
            knows: Knows::Meta,
        }
    }

    fn past(key: Bytes, revision: Revision) -> Self {
        let kv = KeyValue {
            key,
            mod_revision: revision.main,
            ..KeyValue::default()
        };
        Self {
            kv,
            revision,
            slot: ABSENT,
            knows: Knows::Revision,
        }
    }

    fn lacks(&self, values: bool) -> bool {
        match self.knows {
            Knows::Revision => true,
            Knows::Meta => values,
            Knows::All => false,
        }
    }

    /// Fills in what memory has; whether that was all.
    pub(crate) fn fill_from_memory(&mut self, keyspace: &Keyspace) -> bool {
        if let Some(value) = keyspace.cache.get(self.slot, self.revision) {
            self.kv.value = value;
            self.knows = Knows::All;
            return true;
        }
        let found = keyspace.in_memory(self.revision);
        found.is_some_and(|kv| {
            self.fill(kv);
            true
        })
    }

    fn fill(&mut self, kv: KeyValue) {
        let key = std::mem::take(&mut self.kv.key);
        self.kv = KeyValue { key, ..kv };
        self.knows = Knows::All;
    }
}

/// A walk over a range at one revision.
#[derive(Debug)]
pub(crate) struct Walk<'r> {
    range: &'r KeyRange,
    at: i64,
    /// The last key that was looked at.
    after: Option<Bytes>,
    done: bool,
}

impl<'r> Walk<'r> {
    pub(crate) fn new(range: &'r KeyRange, at: i64) -> Self {
        Self {
            range,
            at,
            after: None,
            done: range.is_empty(),
        }
    }

    /// Whether the range is exhausted.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// Appends the next versions, at most `max` and what one short hold yields.
    pub(crate) fn step(
        &mut self,
        keyspace: &Keyspace,
        max: usize,
        items: &mut Vec<Item>,
    ) -> Result<(), Error> {
        keyspace.check(self.at)?;
        if let KeyRange::One(key) = self.range {
            self.done = true;
            let version = keyspace.version_at(key, self.at);
            items.extend(version.map(|version| Item::new(key.clone(), version)));
            return Ok(());
        }
        let max = max.min(HOLD_KEYS);
        let mut keys = Keys::default();
        let first = items.len();
        let (low, high) = self.range.bounds();
        let low = self.after.as_deref().map_or(low, Bound::Excluded);
        let last = if self.at >= keyspace.head() {
            present(keyspace, (low, high), max, &mut keys, items)
        } else {
            merged(keyspace, (low, high), self.at, max, &mut keys, items)
        };
        self.after = last.map(Bytes::copy_from_slice);
        self.done = self.after.is_none();
        keys.hand_out(&mut items[first..]);
        Ok(())
    }

    /// Appends all versions that are left, but no more than `max`.
    pub(crate) fn collect(
        &mut self,
        access: &impl Access,
        max: usize,
        items: &mut Vec<Item>,
    ) -> Result<(), Error> {
        while !self.done && items.len() < max {
            let left = max - items.len();
            access.with(|keyspace| self.step(keyspace, left, items))?;
        }
        Ok(())
    }
}

/// The keys of one hold, in one allocation.
#[derive(Default)]
struct Keys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Keys {
    fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }

    fn hand_out(self, items: &mut [Item]) {
        debug_assert_eq!(self.ends.len(), items.len());
        let bytes = Bytes::from(self.bytes);
        let mut start = 0;
        for (item, end) in items.iter_mut().zip(self.ends) {
            item.kv.key = bytes.slice(start..end);
            start = end;
        }
    }
}

type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Appends keys as they are now. Returns the last one unless the range is exhausted.
fn present<'a>(
    keyspace: &'a Keyspace,
    (low, high): Bounds<'_>,
    max: usize,
    keys: &mut Keys,
    items: &mut Vec<Item>,
) -> Option<&'a [u8]> {
    let mut walk = keyspace.index.range(low, high);
    let mut last = None;
    for (key, meta) in walk.by_ref().take(max) {
        keys.push(key);
        items.push(Item::current(Bytes::new(), meta));
        last = Some(key);
    }
    walk.next().and(last)
}

/// Appends keys as they were at an older revision. Returns the last key looked at unless the
/// range is exhausted.
fn merged<'a>(
    keyspace: &'a Keyspace,
    (low, high): Bounds<'_>,
    at: i64,
    max: usize,
    keys: &mut Keys,
    items: &mut Vec<Item>,
) -> Option<&'a [u8]> {
    let mut live = keyspace.index.range(low, high).peekable();
    let mut past = keyspace.past.range(low, high).peekable();
    let mut last = None;
    let mut found = 0;
    for _ in 0..HOLD_KEYS {
        if found == max {
            return last;
        }
        let order = match (live.peek(), past.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((live, _)), Some((past, _))) => (*live).cmp(&past[..]),
        };
        let live_here = if order.is_le() { live.next() } else { None };
        let past_here = if order.is_ge() { past.next() } else { None };
        let key = live_here
            .map(|(key, _)| key)
            .or(past_here.map(|(key, _)| &key[..]));
        let version = version(
            live_here.map(|(_, meta)| meta),
            past_here.map(|(_, marks)| marks),
            at,
        );
        if let (Some(key), Some(version)) = (key, version) {
            keys.push(key);
            items.push(Item::new(Bytes::new(), version));
            found += 1;
        }
        last = key;
    }
    last
}

fn version<'a>(
    live: Option<&'a Meta>,
    past: Option<&VecDeque<Mark>>,
    at: i64,
) -> Option<Version<'a>> {
    match live {
        Some(meta) if meta.revision.main <= at => Some(Version::Current(meta)),
        _ => visible(past?, at).map(Version::Past),
    }
}

/// Fills in what the items lack; `values` says whether values are wanted.
pub(crate) fn fetch(
    access: &impl Access,
    at: i64,
    values: bool,
    items: &mut [Item],
) -> Result<(), Error> {
    let wanted = items.len() <= WANTED_LIST;
    for part in items.chunks_mut(HOLD_KEYS) {
        if !part.iter().any(|item| item.lacks(values)) {
            continue;
        }
        let (view, missing) = access.with(|keyspace| {
            keyspace.check(at)?;
            let missing = fill_from_memory(keyspace, values, part);
            let view = (!missing.is_empty()).then(|| keyspace.view.clone());
            Ok::<_, Error>((view, missing))
        })?;
        if let Some(view) = view {
            fill_from_disk(access, &view, missing, wanted)?;
        }
    }
    Ok(())
}

fn fill_from_memory<'i>(
    keyspace: &Keyspace,
    values: bool,
    items: &'i mut [Item],
) -> Vec<&'i mut Item> {
    let lacking = items.iter_mut().filter(|item| item.lacks(values));
    lacking
        .filter_map(|item| (!item.fill_from_memory(keyspace)).then_some(item))
        .collect()
}

/// Reads in the order of the state file, which is that of the revisions.
fn fill_from_disk(
    access: &impl Access,
    view: &View,
    mut missing: Vec<&mut Item>,
    wanted: bool,
) -> Result<(), Error> {
    missing.sort_unstable_by_key(|item| item.revision);
    let mut current = Vec::with_capacity(missing.len());
    for item in missing {
        let was_current = item.knows == Knows::Meta;
        item.fill(row_pair(read_row(view, item.revision)?));
        if was_current {
            current.push(&*item);
        }
    }
    access.remember(|keyspace| {
        for item in current {
            keyspace.cache_value(&item.kv.key, item.revision, &item.kv.value, wanted);
        }
    });
    Ok(())
}
