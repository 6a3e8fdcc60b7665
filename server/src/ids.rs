//! Numbers that must not be guessed twice: lease ids, and the jitter of timers.
//!
//! Owns where randomness comes from on the serving side; nothing replicated may draw from it.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

/// Draws numbers from the keyed hash of a counter; the key comes from the operating system.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    key: RandomState,
    drawn: AtomicU64,
}

impl Ids {
    /// A number that looks random.
    pub(crate) fn draw(&self) -> u64 {
        let mut hasher = self.key.build_hasher();
        hasher.write_u64(self.drawn.fetch_add(1, Ordering::Relaxed));
        hasher.finish()
    }

    /// A positive 63-bit number, as lease ids have to be.
    pub(crate) fn lease(&self) -> i64 {
        ((self.draw() >> 1) as i64).max(1)
    }
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
}
