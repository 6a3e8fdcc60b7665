//! The clock of a simulated machine: virtual time, running a little fast or slow.
//!
//! Owns the drift. Timers of tasks are not touched by it, only what asks for the time.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A machine's clock; clones are the same clock.
#[derive(Debug, Clone)]
pub(crate) struct MachineClock {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// When the drift last changed, and what the clock showed then.
    since: Instant,
    shown: Duration,
    /// Parts per million that the clock runs faster than time, or slower when negative.
    drift_ppm: i64,
    /// Set while nobody is there to read it: what it showed last.
    still: Option<Duration>,
}

impl State {
    fn now(&self) -> Duration {
        self.still.unwrap_or_else(|| self.running())
    }

    fn running(&self) -> Duration {
        let passed = self.since.elapsed();
        let drifted = passed.as_nanos() as i128 * i128::from(1_000_000 + self.drift_ppm);
        self.shown + Duration::from_nanos(u64::try_from(drifted / 1_000_000).unwrap_or(0))
    }
}

impl MachineClock {
    /// Must be called inside the run's runtime.
    pub(crate) fn new(origin: Duration) -> MachineClock {
        let state = State {
            since: Instant::now(),
            shown: origin,
            drift_ppm: 0,
            still: None,
        };
        MachineClock {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Lets the clock run at another speed from now on.
    pub(crate) fn drift(&self, ppm: i64) {
        let mut state = self.state.lock();
        *state = State {
            since: Instant::now(),
            shown: state.running(),
            drift_ppm: ppm.max(-999_999),
            still: state.still,
        };
    }

    /// Shows the present for ever: what reads it has stopped.
    pub(crate) fn stand_still(&self) {
        let mut state = self.state.lock();
        state.still = Some(state.now());
    }

    /// Shows what it would show if it had never stood still.
    pub(crate) fn catch_up(&self) {
        self.state.lock().still = None;
    }

    pub(crate) fn now(&self) -> Duration {
        self.state.lock().now()
    }
}

impl handfast_mvcc::Clock for MachineClock {
    fn now(&self) -> Duration {
        self.now()
    }
}

impl handfast_core::session::Clock for MachineClock {
    fn now(&self) -> Duration {
        self.now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_drifts_without_jumping() {
        let clock = MachineClock::new(Duration::from_secs(100));
        clock.drift(50_000);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(clock.now(), Duration::from_millis(110_500));
        clock.drift(-100_000);
        assert_eq!(clock.now(), Duration::from_millis(110_500));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(clock.now(), Duration::from_millis(119_500));
    }

    #[tokio::test(start_paused = true)]
    async fn what_stood_still_catches_up() {
        let clock = MachineClock::new(Duration::from_secs(100));
        clock.stand_still();
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(clock.now(), Duration::from_secs(100));
        clock.catch_up();
        assert_eq!(clock.now(), Duration::from_secs(110));
    }
}
