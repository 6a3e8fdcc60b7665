//! The clock a session measures its deadline with.
//!
//! Owns the choice of a clock that counts the time a machine sleeps. Knows nothing of leases.

use std::{fmt, time::Duration};

/// A clock that never goes back and that counts time spent suspended.
///
/// Tests put their own in its place to move time as they like.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Time since an origin that stays the same while the process lives.
    fn now(&self) -> Duration;
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
