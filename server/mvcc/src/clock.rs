//! Time, as far as the store needs it.
//!
//! Owns the seam a simulation replaces. Nothing that is replicated may depend on it: only the
//! leader's own lease deadlines do.

use std::time::{Duration, Instant};

/// A monotonic clock.
pub trait Clock: Send + Sync {
    /// Time since an arbitrary, fixed origin; never goes back.
    fn now(&self) -> Duration;
}

/// The machine's monotonic clock, counted from when this value was made.
#[derive(Debug, Clone, Copy)]
pub struct MonotonicClock {
    origin: Instant,
}

impl Default for MonotonicClock {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
        }
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }
}
