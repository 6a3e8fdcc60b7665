//! Current values in memory, under a budget.
//!
//! Owns which values are kept, by clock eviction. Must not know keys: the index remembers the slot
//! of a value, and a slot that was given to another value since answers as a miss.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::Revision;

/// Slot of a value that is not in the cache.
pub(crate) const ABSENT: u32 = u32::MAX;
/// Slot of the empty value, which needs no room.
pub(crate) const EMPTY: u32 = u32::MAX - 1;

/// What a slot and the bookkeeping of its allocation take besides key and value.
const SLOT_BYTES: usize = size_of::<Slot>() + 48;
/// A value above this fraction of the budget would push out too many others.
const LARGEST_SHARE: usize = 8;

#[derive(Debug)]
struct Slot {
    /// The change whose value this is; `None` when the slot is free.
    revision: Option<Revision>,
    /// Read since the hand passed.
    used: AtomicBool,
    charge: u32,
    value: Bytes,
}

/// Values by slot.
#[derive(Debug)]
pub(crate) struct ValueCache {
    slots: Vec<Slot>,
    free: Vec<u32>,
    hand: usize,
    bytes: usize,
    budget: usize,
}

impl ValueCache {
    pub(crate) fn new(budget: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            hand: 0,
            bytes: 0,
            budget,
        }
    }

    /// Bytes held, bookkeeping included.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The value that `revision` wrote, if it is still here.
    pub(crate) fn get(&self, slot: u32, revision: Revision) -> Option<Bytes> {
        if slot == EMPTY {
            return Some(Bytes::new());
        }
        let entry = self.slots.get(slot as usize)?;
        if entry.revision != Some(revision) {
            return None;
        }
        // Written only when it changes: readers of one hot key must not contend for it.
        if !entry.used.load(Ordering::Relaxed) {
            entry.used.store(true, Ordering::Relaxed);
        }
        Some(entry.value.clone())
    }

    /// Whether a value of this size fits without pushing out another.
    pub(crate) fn has_room(&self, allocated: usize) -> bool {
        self.bytes + allocated + SLOT_BYTES <= self.budget
    }

    /// Keeps a value, whose allocation is `allocated` bytes, and returns its slot.
    pub(crate) fn insert(&mut self, revision: Revision, value: &Bytes, allocated: usize) -> u32 {
        if value.is_empty() {
            return EMPTY;
        }
        let charge = allocated + SLOT_BYTES;
        if charge > self.budget / LARGEST_SHARE {
            return ABSENT;
        }
        while self.bytes + charge > self.budget {
            self.evict_one();
        }
        self.bytes += charge;
        let slot = Slot {
            revision: Some(revision),
            used: AtomicBool::new(false),
            charge: u32::try_from(charge).unwrap_or(u32::MAX),
            value: value.clone(),
        };
        match self.free.pop() {
            Some(free) => {
                self.slots[free as usize] = slot;
                free
            }
            None => {
                let next = u32::try_from(self.slots.len()).unwrap_or(EMPTY);
                if next >= EMPTY {
                    self.bytes -= charge;
                    return ABSENT;
                }
                self.slots.push(slot);
                next
            }
        }
    }

    /// Forgets the value that `revision` wrote.
    pub(crate) fn remove(&mut self, slot: u32, revision: Revision) {
        if self
            .slots
            .get(slot as usize)
            .is_some_and(|entry| entry.revision == Some(revision))
        {
            self.clear(slot as usize);
        }
    }

    /// Moves the hand to the next value nobody has read since it last passed, and frees that.
    fn evict_one(&mut self) {
        debug_assert!(self.bytes > 0, "something must be held to be over budget");
        loop {
            let at = self.hand;
            self.hand = (at + 1) % self.slots.len().max(1);
            let entry = &mut self.slots[at];
            if entry.revision.is_some() && !std::mem::take(entry.used.get_mut()) {
                self.clear(at);
                return;
            }
        }
    }

    fn clear(&mut self, at: usize) {
        let entry = &mut self.slots[at];
        entry.revision = None;
        entry.value = Bytes::new();
        self.bytes -= entry.charge as usize;
        self.free
            .push(u32::try_from(at).expect("slots are numbered in 32 bits"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(main: i64) -> Revision {
        Revision::new(main, 0)
    }

    fn value(fill: u8) -> Bytes {
        Bytes::from(vec![fill; 100])
    }

    #[test]
    fn stays_under_its_budget_and_keeps_what_is_read() {
        let mut cache = ValueCache::new(10_000);
        let hot = cache.insert(revision(1), &value(1), 100);
        for main in 2..500 {
            assert_eq!(cache.get(hot, revision(1)), Some(value(1)));
            cache.insert(revision(main), &value(2), 100);
            assert!(cache.bytes() <= 10_000);
        }
        assert_eq!(cache.get(hot, revision(1)), Some(value(1)));
        assert!(cache.bytes() > 9_000);
        assert!(cache.slots.len() < 100);
    }

    #[test]
    fn a_slot_given_to_another_value_is_a_miss() {
        let mut cache = ValueCache::new(10_000);
        let slot = cache.insert(revision(1), &value(1), 100);
        cache.remove(slot, revision(2));
        assert!(cache.get(slot, revision(1)).is_some());
        cache.remove(slot, revision(1));
        assert_eq!(cache.get(slot, revision(1)), None);
        assert_eq!(cache.bytes(), 0);
        assert_eq!(cache.insert(revision(3), &value(3), 100), slot);
        assert_eq!(cache.get(slot, revision(1)), None);
        assert_eq!(cache.get(slot, revision(3)), Some(value(3)));
    }

    #[test]
    fn empty_and_oversized_values_take_no_slot() {
        let mut cache = ValueCache::new(10_000);
        let empty = cache.insert(revision(1), &Bytes::new(), 3);
        assert_eq!(cache.get(empty, revision(1)), Some(Bytes::new()));
        let large = cache.insert(revision(2), &Bytes::from(vec![0; 5_000]), 5_000);
        assert_eq!((large, cache.get(large, revision(2))), (ABSENT, None));
        assert_eq!(cache.bytes(), 0);
    }
}
