//! Chance that can be repeated.
//!
//! Owns the sequence of numbers that belongs to a seed.

use std::ops::Range;

/// A sequence of numbers, the same for the same seed.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 1).unwrap() % limit.max(1)
    }

    pub(super) fn within(&mut self, range: Range<i64>) -> i64 {
        let width = usize::try_from(range.end - range.start).unwrap();
        range.start + i64::try_from(self.below(width)).unwrap()
    }

    /// True so many times of a hundred.
    pub(super) fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    pub(super) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}
