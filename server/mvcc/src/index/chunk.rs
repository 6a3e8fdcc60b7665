//! A run of adjacent keys.
//!
//! Owns the packing: all keys of a chunk lie in one allocation, their metadata beside it. Must not
//! know of other chunks.

use super::Meta;

/// Keys after which a chunk is full: more would make inserts move too much.
pub(super) const MAX_KEYS: usize = 128;
/// Bytes of keys after which a chunk with two keys or more is full.
const MAX_BYTES: usize = 32 * 1024;
/// Room that is added when there is none, so that growth wastes little of what it reserves.
const GROW_KEYS: usize = 16;

/// Ascending keys with their metadata; empty only while it is being built or emptied.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// The keys, one behind the other.
    arena: Vec<u8>,
    /// Where each key ends in the arena.
    ends: Vec<u32>,
    metas: Vec<Meta>,
    /// No key here was created after this revision.
    created: i64,
}

impl Chunk {
    pub(super) fn len(&self) -> usize {
        self.metas.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.metas.is_empty()
    }

    pub(super) fn created(&self) -> i64 {
        self.created
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= MAX_KEYS || (self.len() >= 2 && self.arena.len() >= MAX_BYTES)
    }

    /// Whether it is so small that it should join a neighbour.
    pub(super) fn is_sparse(&self) -> bool {
        self.len() < MAX_KEYS / 4
    }

    /// Whether both together leave room for some inserts.
    pub(super) fn fits_with(&self, other: &Self) -> bool {
        self.len() + other.len() <= MAX_KEYS * 3 / 4
            && self.arena.len() + other.arena.len() <= MAX_BYTES * 3 / 4
    }

    pub(super) fn key(&self, slot: usize) -> &[u8] {
        let start = if slot == 0 {
            0
        } else {
            self.ends[slot - 1] as usize
        };
        &self.arena[start..self.ends[slot] as usize]
    }

    pub(super) fn first(&self) -> &[u8] {
        self.key(0)
    }

    pub(super) fn meta(&self, slot: usize) -> &Meta {
        &self.metas[slot]
    }

    pub(super) fn meta_mut(&mut self, slot: usize) -> &mut Meta {
        &mut self.metas[slot]
    }

    /// Where `key` is, or where it would be inserted.
    pub(super) fn search(&self, key: &[u8]) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.key(middle).cmp(key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }

    pub(super) fn replace(&mut self, slot: usize, meta: Meta) -> Meta {
        self.created = self.created.max(meta.create_revision);
        std::mem::replace(&mut self.metas[slot], meta)
    }

    pub(super) fn insert(&mut self, slot: usize, key: &[u8], meta: Meta) {
        let length = u32::try_from(key.len()).expect("a request is smaller than 4 GiB");
        self.reserve(key.len());
        let start = if slot == 0 {
            0
        } else {
            self.ends[slot - 1] as usize
        };
        let old_length = self.arena.len();
        self.arena.extend_from_slice(key);
        if start < old_length {
            self.arena.copy_within(start..old_length, start + key.len());
            self.arena[start..start + key.len()].copy_from_slice(key);
        }
        for end in &mut self.ends[slot..] {
            *end += length;
        }
        let end = u32::try_from(start).expect("a chunk is smaller than 4 GiB") + length;
        self.ends.insert(slot, end);
        self.metas.insert(slot, meta);
        self.created = self.created.max(meta.create_revision);
    }

    pub(super) fn remove(&mut self, slot: usize) -> Meta {
        let start = if slot == 0 { 0 } else { self.ends[slot - 1] };
        let end = self.ends.remove(slot);
        self.arena.drain(start as usize..end as usize);
        for other in &mut self.ends[slot..] {
            *other -= end - start;
        }
        self.metas.remove(slot)
    }

    /// Cuts off the upper half of the keys.
    pub(super) fn split(&mut self) -> Self {
        let middle = self.len() / 2;
        let cut = self.ends[middle - 1];
        let upper = Self {
            arena: self.arena.split_off(cut as usize),
            ends: self
                .ends
                .split_off(middle)
                .iter()
                .map(|end| end - cut)
                .collect(),
            metas: self.metas.split_off(middle),
            created: self.created,
        };
        self.shrink();
        upper
    }

    /// Takes over the keys of the chunk behind this one.
    pub(super) fn absorb(&mut self, next: &Self) {
        let shift = u32::try_from(self.arena.len()).expect("a chunk is smaller than 4 GiB");
        self.arena.extend_from_slice(&next.arena);
        self.ends.extend(next.ends.iter().map(|end| end + shift));
        self.metas.extend_from_slice(&next.metas);
        self.created = self.created.max(next.created);
        self.shrink();
    }

    pub(super) fn shrink(&mut self) {
        self.arena.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.metas.shrink_to_fit();
    }

    fn reserve(&mut self, key_bytes: usize) {
        if self.metas.len() == self.metas.capacity() {
            self.metas.reserve_exact(GROW_KEYS);
            self.ends.reserve_exact(GROW_KEYS);
        }
        if self.arena.capacity() - self.arena.len() < key_bytes {
            let step = (self.arena.len() / 8).max(key_bytes);
            self.arena.reserve_exact(step);
        }
    }
}
