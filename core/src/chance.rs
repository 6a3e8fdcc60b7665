//! Where a client's random numbers come from.
//!
//! Owns the choice between the system's randomness and a seed that makes a run repeat. Knows
//! nothing of what is drawn for.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// Draws jitter and ids. Clones draw from the same source.
#[doc(hidden)]
#[derive(Clone, Default)]
pub struct Chance(Option<Arc<Mutex<StdRng>>>);

impl Chance {
    /// Draws that are the same for the same `seed`.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(Mutex::new(StdRng::seed_from_u64(seed)))))
    }

    /// A number between `low` and `high`, both included.
    #[must_use]
    pub fn factor(&self, low: f64, high: f64) -> f64 {
        match &self.0 {
            None => rand::random_range(low..=high),
            Some(seeded) => seeded.lock().random_range(low..=high),
        }
    }

    /// A number below `count`; 0 if there is none.
    pub(crate) fn below(&self, count: usize) -> usize {
        let count = count.max(1);
        match &self.0 {
            None => rand::random_range(0..count),
            Some(seeded) => seeded.lock().random_range(0..count),
        }
    }

    /// An id nobody else draws: positive, 63 random bits.
    #[must_use]
    pub fn id(&self) -> i64 {
        self.lease_id()
    }

    /// A lease id of the caller's own choice: positive, 63 random bits.
    pub(crate) fn lease_id(&self) -> i64 {
        match &self.0 {
            None => rand::random_range(1..=i64::MAX),
            Some(seeded) => seeded.lock().random_range(1..=i64::MAX),
        }
    }

    /// Whether runs repeat.
    /// A number of 64 random bits.
    #[must_use]
    pub fn word(&self) -> u64 {
        match &self.0 {
            None => rand::random(),
            Some(seeded) => seeded.lock().random(),
        }
    }

    pub(crate) fn is_seeded(&self) -> bool {
        self.0.is_some()
    }
}

impl fmt::Debug for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_seeded() { "seeded" } else { "system" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_and_another_does_not() {
        let draw = |seed| {
            let chance = Chance::seeded(seed);
            let ids: Vec<i64> = (0..8).map(|_| chance.lease_id()).collect();
            (ids, chance.below(1000), chance.factor(0.0, 1.0).to_bits())
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn draws_stay_within_their_bounds() {
        for chance in [Chance::default(), Chance::seeded(1)] {
            assert_eq!(chance.below(0), 0);
            for _ in 0..1000 {
                assert!(chance.below(3) < 3);
                assert!(chance.lease_id() > 0);
                assert!((0.5..=1.5).contains(&chance.factor(0.5, 1.5)));
            }
        }
    }
}
