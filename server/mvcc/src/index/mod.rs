//! The ordered index of the keys that exist now.
//!
//! Owns the order and the order statistics: chunks of packed keys in groups, each group knowing how
//! many keys it has. Must not know of older versions ([`past`](self::past)) or of values, beyond
//! the slot of the cache that may hold one.

mod chunk;
mod iter;
mod past;
#[cfg(test)]
mod tests;

use std::ops::Bound;

use self::chunk::Chunk;
pub(crate) use self::{
    iter::Iter,
    past::{Mark, Past, ends_deleted, unreadable, visible},
};
use crate::Revision;

/// Chunks after which a group is full.
const MAX_CHUNKS: usize = 128;
/// Chunks and keys looked at for a count in one hold of the lock.
const MAX_VISITS: usize = 4096;

/// What the index knows of a key besides its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) create_revision: i64,
    pub(crate) version: i64,
    pub(crate) lease: i64,
    /// The change that wrote the current version.
    pub(crate) revision: Revision,
    /// Where the value cache may have the value.
    pub(crate) slot: u32,
}

/// The keys that exist now, in order.
#[derive(Debug, Default)]
pub(crate) struct Index {
    groups: Vec<Group>,
    len: usize,
}

#[derive(Debug, Default)]
struct Group {
    chunks: Vec<Chunk>,
    keys: usize,
}

/// Where a key is. Ordered as the keys are; past the last key it is `(groups.len(), 0, 0)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    group: usize,
    chunk: usize,
    slot: usize,
}

impl Group {
    fn first(&self) -> &[u8] {
        self.chunks[0].first()
    }

    fn is_full(&self) -> bool {
        self.chunks.len() >= MAX_CHUNKS
    }
}

impl Index {
    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// What is known of `key`.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Meta> {
        let place = self.find(key).ok()?;
        Some(self.chunk(place).meta(place.slot))
    }

    /// As [`get`](Self::get), to change where the value is cached.
    pub(crate) fn slot_mut(&mut self, key: &[u8]) -> Option<(Revision, &mut u32)> {
        let place = self.find(key).ok()?;
        let chunk = &mut self.groups[place.group].chunks[place.chunk];
        let meta = chunk.meta_mut(place.slot);
        Some((meta.revision, &mut meta.slot))
    }

    /// Writes what `write` makes of the present metadata, and returns the latter.
    pub(crate) fn upsert(
        &mut self,
        key: &[u8],
        write: impl FnOnce(Option<&Meta>) -> Meta,
    ) -> Option<Meta> {
        match self.find(key) {
            Ok(place) => {
                let chunk = &mut self.groups[place.group].chunks[place.chunk];
                let meta = write(Some(chunk.meta(place.slot)));
                Some(chunk.replace(place.slot, meta))
            }
            Err(place) => {
                self.insert(place, key, write(None));
                None
            }
        }
    }

    /// Takes `key` out.
    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<Meta> {
        let place = self.find(key).ok()?;
        let group = &mut self.groups[place.group];
        let meta = group.chunks[place.chunk].remove(place.slot);
        group.keys -= 1;
        self.len -= 1;
        if group.chunks[place.chunk].is_empty() {
            group.chunks.remove(place.chunk);
            if group.chunks.is_empty() {
                self.groups.remove(place.group);
            } else {
                self.join_groups(place.group);
            }
        } else if group.chunks[place.chunk].is_sparse() {
            group.join_chunks(place.chunk);
            self.join_groups(place.group);
        }
        Some(meta)
    }

    /// How many keys lie between the bounds. Visits groups and one group's chunks, not keys.
    pub(crate) fn count(&self, low: Bound<&[u8]>, high: Bound<&[u8]>) -> usize {
        self.rank(self.after_high(high))
            .saturating_sub(self.rank(self.at_low(low)))
    }

    /// How many keys lie between the bounds, without those created after `at` that have no past.
    ///
    /// Visits the keys of those chunks only where something was created since. Stops when that was
    /// enough for one hold of the lock; then it also returns the key to go on from.
    pub(crate) fn count_settled(
        &self,
        (low, high): (Bound<&[u8]>, Bound<&[u8]>),
        at: i64,
        past: &Past,
    ) -> (usize, Option<&[u8]>) {
        let (mut place, end) = (self.at_low(low), self.after_high(high));
        let (mut count, mut visits) = (0, 0);
        while place < end {
            if visits >= MAX_VISITS {
                return (count, Some(self.chunk(place).key(place.slot)));
            }
            let chunk = self.chunk(place);
            let is_last = (place.group, place.chunk) == (end.group, end.chunk);
            let last = if is_last { end.slot } else { chunk.len() };
            count += last - place.slot;
            visits += 1;
            if chunk.created() > at {
                visits += last - place.slot;
                let is_new = |slot: &usize| {
                    chunk.meta(*slot).create_revision > at && past.marks(chunk.key(*slot)).is_none()
                };
                count -= (place.slot..last).filter(is_new).count();
            }
            place = self.normal(Place {
                slot: last,
                ..place
            });
        }
        (count, None)
    }

    /// The keys between the bounds, ascending.
    pub(crate) fn range(&self, low: Bound<&[u8]>, high: Bound<&[u8]>) -> Iter<'_> {
        Iter::new(self, self.at_low(low), self.after_high(high))
    }

    fn chunk(&self, place: Place) -> &Chunk {
        &self.groups[place.group].chunks[place.chunk]
    }

    /// Where `key` is, or where it would be inserted: never behind the last chunk, so that the
    /// place is one `insert` can use, unless there is no chunk at all.
    fn find(&self, key: &[u8]) -> Result<Place, Place> {
        let above = self.groups.partition_point(|group| group.first() <= key);
        let group = above.saturating_sub(1);
        let Some(chunks) = self.groups.get(group).map(|group| &group.chunks) else {
            return Err(Place {
                group: 0,
                chunk: 0,
                slot: 0,
            });
        };
        let chunk = chunks
            .partition_point(|chunk| chunk.first() <= key)
            .saturating_sub(1);
        match chunks[chunk].search(key) {
            Ok(slot) => Ok(Place { group, chunk, slot }),
            Err(slot) => Err(Place { group, chunk, slot }),
        }
    }

    /// The same place, counted from the next chunk when it lies behind the last key of its own.
    fn normal(&self, place: Place) -> Place {
        let Some(group) = self.groups.get(place.group) else {
            return place;
        };
        if place.slot < group.chunks[place.chunk].len() {
            place
        } else if place.chunk + 1 < group.chunks.len() {
            Place {
                chunk: place.chunk + 1,
                slot: 0,
                ..place
            }
        } else {
            Place {
                group: place.group + 1,
                chunk: 0,
                slot: 0,
            }
        }
    }

    fn start(&self) -> Place {
        Place {
            group: 0,
            chunk: 0,
            slot: 0,
        }
    }

    fn end(&self) -> Place {
        Place {
            group: self.groups.len(),
            chunk: 0,
            slot: 0,
        }
    }

    /// Place of the first key at or above the bound.
    fn at_low(&self, low: Bound<&[u8]>) -> Place {
        match low {
            Bound::Unbounded => self.start(),
            Bound::Included(key) => self.normal(self.find(key).unwrap_or_else(|place| place)),
            Bound::Excluded(key) => self.behind(key),
        }
    }

    /// Place behind the last key at or below the bound.
    fn after_high(&self, high: Bound<&[u8]>) -> Place {
        match high {
            Bound::Unbounded => self.end(),
            Bound::Excluded(key) => self.normal(self.find(key).unwrap_or_else(|place| place)),
            Bound::Included(key) => self.behind(key),
        }
    }

    fn behind(&self, key: &[u8]) -> Place {
        let place = match self.find(key) {
            Ok(place) => Place {
                slot: place.slot + 1,
                ..place
            },
            Err(place) => place,
        };
        self.normal(place)
    }

    fn rank(&self, place: Place) -> usize {
        let groups: usize = self.groups[..place.group]
            .iter()
            .map(|group| group.keys)
            .sum();
        let Some(group) = self.groups.get(place.group) else {
            return groups;
        };
        let chunks: usize = group.chunks[..place.chunk].iter().map(Chunk::len).sum();
        groups + chunks + place.slot
    }

    fn insert(&mut self, place: Place, key: &[u8], meta: Meta) {
        self.len += 1;
        let Some(group) = self.groups.get_mut(place.group) else {
            let mut chunk = Chunk::default();
            chunk.insert(0, key, meta);
            self.groups.push(Group {
                chunks: vec![chunk],
                keys: 1,
            });
            return;
        };
        group.keys += 1;
        group.insert(place, key, meta);
        if group.chunks.len() > MAX_CHUNKS {
            self.split_group(place.group);
        }
    }

    fn split_group(&mut self, at: usize) {
        let group = &mut self.groups[at];
        // Ascending inserts add a chunk at the end: leave full groups behind them, not halves.
        let middle = if group.chunks[MAX_CHUNKS].len() == 1 {
            MAX_CHUNKS
        } else {
            MAX_CHUNKS / 2
        };
        let chunks = group.chunks.split_off(middle);
        let keys = chunks.iter().map(Chunk::len).sum();
        group.keys -= keys;
        group.chunks.shrink_to_fit();
        match self
            .groups
            .get_mut(at + 1)
            .filter(|next| middle == MAX_CHUNKS && !next.is_full())
        {
            Some(next) => {
                next.chunks.splice(0..0, chunks);
                next.keys += keys;
            }
            None => self.groups.insert(at + 1, Group { chunks, keys }),
        }
    }

    fn join_groups(&mut self, at: usize) {
        let is_sparse = |group: &Group| group.chunks.len() < MAX_CHUNKS / 4;
        let fit = |a: &Group, b: &Group| a.chunks.len() + b.chunks.len() <= MAX_CHUNKS * 3 / 4;
        if !is_sparse(&self.groups[at]) {
            return;
        }
        let low = if at + 1 < self.groups.len() && fit(&self.groups[at], &self.groups[at + 1]) {
            at
        } else if at > 0 && fit(&self.groups[at - 1], &self.groups[at]) {
            at - 1
        } else {
            return;
        };
        let upper = self.groups.remove(low + 1);
        self.groups[low].keys += upper.keys;
        self.groups[low].chunks.extend(upper.chunks);
    }
}

impl Group {
    fn insert(&mut self, place: Place, key: &[u8], meta: Meta) {
        let chunk = &mut self.chunks[place.chunk];
        if !chunk.is_full() {
            chunk.insert(place.slot, key, meta);
        } else if place.slot == chunk.len() {
            // Behind a full chunk: ascending inserts must not leave half-full chunks behind, and
            // descending ones no chunks of a single key.
            let next = place.chunk + 1;
            if self.chunks.get(next).is_none_or(Chunk::is_full) {
                self.chunks.insert(next, Chunk::default());
            }
            self.chunks[next].insert(0, key, meta);
        } else {
            let upper = chunk.split();
            let slot = place.slot;
            let half = chunk.len();
            self.chunks.insert(place.chunk + 1, upper);
            if slot <= half {
                self.chunks[place.chunk].insert(slot, key, meta);
            } else {
                self.chunks[place.chunk + 1].insert(slot - half, key, meta);
            }
        }
    }

    fn join_chunks(&mut self, at: usize) {
        let low = if at + 1 < self.chunks.len() && self.chunks[at].fits_with(&self.chunks[at + 1]) {
            at
        } else if at > 0 && self.chunks[at - 1].fits_with(&self.chunks[at]) {
            at - 1
        } else {
            return;
        };
        let upper = self.chunks.remove(low + 1);
        self.chunks[low].absorb(&upper);
    }
}
