//! Numbers that must not be guessed twice: lease ids, and the jitter of timers.
//!
//! Owns where randomness comes from on the serving side; nothing replicated may draw from it.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

/// Draws numbers from the keyed hash of a counter; the key comes from the operating system, or
/// from the seed of a simulation.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    source: Source,
    drawn: AtomicU64,
}

#[derive(Debug)]
enum Source {
    System(RandomState),
    Seed(u64),
}

impl Default for Source {
    fn default() -> Source {
        Source::System(RandomState::default())
    }
}

impl Ids {
    /// The same numbers in every run; for simulations only.
    pub(crate) fn seeded(seed: u64) -> Ids {
        Ids {
            source: Source::Seed(seed),
            drawn: AtomicU64::new(0),
        }
    }

    /// A number that looks random.
    pub(crate) fn draw(&self) -> u64 {
        let number = self.drawn.fetch_add(1, Ordering::Relaxed);
        match &self.source {
            Source::System(key) => {
                let mut hasher = key.build_hasher();
                hasher.write_u64(number);
                hasher.finish()
            }
            Source::Seed(seed) => scramble(scramble(*seed).wrapping_add(number)),
        }
    }

    /// A positive 63-bit number, as lease ids have to be.
    pub(crate) fn lease(&self) -> i64 {
        ((self.draw() >> 1) as i64).max(1)
    }
}

/// Spreads the bits of a number over all of its bits; different numbers stay different.
///
/// This is the finalizer of SplitMix64. Member ids depend on it, so it must never change.
pub(crate) fn scramble(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn lease_ids_are_positive_and_differ_between_draws_and_sources() {
        let (one, other) = (Ids::default(), Ids::default());
        let ids: HashSet<i64> = (0..1000)
            .flat_map(|_| [one.lease(), other.lease()])
            .collect();
        assert_eq!(ids.len(), 2000);
        assert!(ids.iter().all(|&id| id > 0));
    }

    #[test]
    fn a_seed_gives_the_same_numbers_each_time() {
        let draws = |seed| {
            let ids = Ids::seeded(seed);
            (0..100).map(|_| ids.draw()).collect::<Vec<_>>()
        };
        assert_eq!(draws(7), draws(7));
        let both: HashSet<u64> = draws(7).into_iter().chain(draws(8)).collect();
        assert_eq!(both.len(), 200);
    }
}
