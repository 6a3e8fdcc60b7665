//! How long to wait before trying again.
//!
//! Owns the growth and the jitter. Knows nothing of what is tried.

use std::time::Duration;

use crate::chance::Chance;

/// Waits that double from `first` to `limit`, each drawn from the upper half of its span.
///
/// The jitter keeps clients that lost the same server from returning in step.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    limit: Duration,
    tries: u32,
    chance: Chance,
}

impl Backoff {
    /// Waits from `first` up to `limit`.
    #[must_use]
    pub fn new(first: Duration, limit: Duration) -> Self {
        Self {
            first,
            limit,
            tries: 0,
            chance: Chance::default(),
        }
    }

    /// The same waits with the jitter drawn from `chance`.
    #[doc(hidden)]
    #[must_use]
    pub fn drawn_by(mut self, chance: &Chance) -> Self {
        self.chance = chance.clone();
        self
    }

    /// Starts over with the first wait.
    pub fn reset(&mut self) {
        self.tries = 0;
    }

    /// The next wait.
    #[allow(clippy::should_implement_trait)] // It never ends.
    pub fn next(&mut self) -> Duration {
        let factor = 1u32 << self.tries.min(16);
        self.tries = self.tries.saturating_add(1);
        let span = self.first.saturating_mul(factor).min(self.limit);
        span.mul_f64(self.chance.factor(0.5, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_limit_and_start_over_after_a_reset() {
        let first = Duration::from_millis(10);
        let limit = Duration::from_millis(100);
        let mut backoff = Backoff::new(first, limit);
        for step in 0..40 {
            let span = first.saturating_mul(1 << step.min(16)).min(limit);
            let wait = backoff.next();
            assert!(wait >= span / 2 && wait <= span, "step {step}: {wait:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= first);
    }
}
