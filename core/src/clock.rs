//! The clock a session measures its deadline with.
//!
//! Owns the choice of a clock that counts the time a machine sleeps. Knows nothing of leases.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A clock that never goes back and that counts time spent suspended.
///
/// Tests put their own in its place to move time as they like.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Time since an origin that stays the same while the process lives.
    fn now(&self) -> Duration;

    /// The time of day since 1970, for what people read; nothing is decided by it.
    fn unix_time(&self) -> Duration {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
    }
}

/// The system's clock that counts suspend: `CLOCK_BOOTTIME` on Linux and Android.
///
/// `std::time::Instant` stops while a laptop or a virtual machine sleeps there, and a lease at the
/// server does not.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        now()
    }
}

/// The runtime's clock, for simulations in which it is paused and moved by hand. The time of day
/// begins at 1970, so that a run repeats exactly.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    origin: tokio::time::Instant,
}

impl TokioClock {
    /// A clock that begins now.
    #[must_use]
    #[allow(clippy::new_without_default)] // It reads the clock: two are not the same.
    pub fn new() -> Self {
        Self {
            origin: tokio::time::Instant::now(),
        }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn unix_time(&self) -> Duration {
        self.now()
    }
}

#[cfg(unix)]
fn now() -> Duration {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const COUNTS_SUSPEND: rustix::time::ClockId = rustix::time::ClockId::Boottime;
    // Apple's monotonic clock goes on during sleep.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const COUNTS_SUSPEND: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

    let time = rustix::time::clock_gettime(COUNTS_SUSPEND);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

#[cfg(not(unix))]
fn now() -> Duration {
    use std::{sync::OnceLock, time::Instant};
    // Windows' performance counter goes on during sleep.
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    ORIGIN.get_or_init(Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_does_not_go_back() {
        let clock = SystemClock;
        let mut last = clock.now();
        for _ in 0..1000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
        assert!(last > Duration::ZERO);
    }
}
