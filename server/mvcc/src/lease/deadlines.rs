//! The order in which leases run out, on the leader.
//!
//! Owns a lazy heap: a lease has one slot in it, and a renewal leaves the slot where it is. When
//! the slot comes up, the lease is put back at its present deadline. So a renewal is O(1) and the
//! heap is touched about once per lease and TTL. Knows nothing of ids that are gone: the owner
//! tells live slots from ghosts.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Ghosts are left in the heap until they outnumber the leases by this many.
const GHOST_ALLOWANCE: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Deadlines {
    heap: BinaryHeap<Reverse<(Duration, i64)>>,
}

impl Deadlines {
    pub(super) fn push(&mut self, slot: Duration, id: i64) {
        self.heap.push(Reverse((slot, id)));
    }

    /// The earliest slot, a ghost's or one whose lease was renewed included.
    pub(super) fn first(&self) -> Option<Duration> {
        self.heap.peek().map(|Reverse((slot, _))| *slot)
    }

    pub(super) fn pop_due(&mut self, now: Duration) -> Option<(Duration, i64)> {
        match self.heap.peek() {
            Some(Reverse((slot, _))) if *slot <= now => self.heap.pop().map(|Reverse(slot)| slot),
            _ => None,
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    pub(super) fn needs_cleaning(&self, leases: usize) -> bool {
        self.heap.len() > 2 * leases + GHOST_ALLOWANCE
    }

    pub(super) fn replace(&mut self, slots: impl Iterator<Item = (Duration, i64)>) {
        self.heap = slots.map(Reverse).collect();
    }
}
