//! Seeded randomness: everything a run draws comes from one number.
//!
//! Owns the generator and how it branches. Knows nothing of what is drawn.

use std::ops::Range;
use std::time::Duration;

/// A small generator; the same seed gives the same numbers.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        let mut dice = Dice(seed ^ 0x6a09_e667_f3bc_c909);
        // Neighbouring seeds must not give neighbouring numbers.
        dice.next();
        dice
    }

    /// A generator of its own for one purpose, so that a draw more in one place leaves all other
    /// places as they were.
    pub(crate) fn branch(&self, purpose: &str) -> Dice {
        let mut mixed = self.0;
        for byte in purpose.bytes() {
            mixed = (mixed ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Dice::new(mixed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 when that is 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % (end.max(1) as u64)) as usize
    }

    /// A number of `range`; its start when it is empty.
    pub(crate) fn range(&mut self, range: Range<u64>) -> u64 {
        let width = range.end.saturating_sub(range.start).max(1);
        range.start + self.next() % width
    }

    /// Milliseconds of `range`, in steps of one, which is the resolution of virtual timers.
    pub(crate) fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.range(range))
    }

    /// True this many times in a thousand.
    pub(crate) fn per_mille(&mut self, times: u32) -> bool {
        self.next() % 1000 < u64::from(times)
    }

    /// One of `items`; `None` when there is none.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len()))
    }

    /// Brings `items` into a random order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_everything_and_branches_are_independent() {
        let numbers = |seed| {
            let mut dice = Dice::new(seed);
            (0..5).map(|_| dice.next()).collect::<Vec<_>>()
        };
        assert_eq!(numbers(1), numbers(1));
        assert_ne!(numbers(1), numbers(2));
        let dice = Dice::new(7);
        let (mut one, mut same) = (dice.branch("net"), dice.branch("net"));
        assert_eq!(one.next(), same.next());
        assert_ne!(dice.branch("net").next(), dice.branch("disk").next());
    }

    #[test]
    fn draws_stay_within_their_bounds() {
        let mut dice = Dice::new(3);
        for _ in 0..1000 {
            assert!((5..9).contains(&dice.range(5..9)));
            assert!(dice.below(3) < 3);
        }
        assert_eq!(dice.range(4..4), 4);
        assert_eq!(dice.pick::<u8>(&[]), None);
        let heads = (0..10_000).filter(|_| dice.per_mille(250)).count();
        assert!((2_200..2_800).contains(&heads), "{heads}");
    }
}
