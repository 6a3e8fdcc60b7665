//! What is measured in a round: operations, their latencies, the server's CPU time.
//!
//! Owns when counting starts and stops. It must not know what an operation is.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::Notify;

use super::process;
use crate::exit::Failure;

/// Latencies above this count as this.
const LATENCY_MAX_NANOS: u64 = 120_000_000_000;
/// Decimal digits kept of a latency.
const LATENCY_DIGITS: u8 = 3;

/// How long a round goes on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Budget {
    Time(Duration),
    Ops(u64),
}

/// When a round counts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// After a warm-up, until the budget is used up or there is nothing left to do.
    Steady { warmup: Duration, budget: Budget },
    /// From [`Gauge::begin`] to [`Gauge::finish`]: the work has its own beginning and end.
    Once,
}

/// Shared by all workers of a round; they live on one thread.
pub(super) struct Gauge {
    pace: Pace,
    counting: Cell<bool>,
    stopped: Cell<bool>,
    operations: Cell<u64>,
    tries: Cell<u64>,
    latencies: RefCell<Histogram<u64>>,
    begun: Notify,
    finished: Notify,
    over: Notify,
}

/// The outcome of a round.
#[derive(Debug, Clone)]
pub(super) struct Round {
    pub(super) operations: u64,
    /// How often workers tried what only one of them can have; 0 if they did not say.
    pub(super) tries: u64,
    pub(super) elapsed: Duration,
    /// CPU time of the server in the same span, if all its processes are known.
    pub(super) cpu: Option<Duration>,
    /// In nanoseconds: p50, p90, p99, p99.9, max.
    pub(super) percentiles: [u64; 5],
}

impl Gauge {
    pub(super) fn new(pace: Pace) -> Rc<Gauge> {
        let latencies = Histogram::new_with_bounds(1, LATENCY_MAX_NANOS, LATENCY_DIGITS)
            .expect("the bounds are in order and the digits between 0 and 5");
        Rc::new(Gauge {
            pace,
            counting: Cell::new(false),
            stopped: Cell::new(false),
            operations: Cell::new(0),
            tries: Cell::new(0),
            latencies: RefCell::new(latencies),
            begun: Notify::new(),
            finished: Notify::new(),
            over: Notify::new(),
        })
    }

    /// Whether a worker shall start another operation.
    pub(super) fn goes_on(&self) -> bool {
        !self.stopped.get()
    }

    /// Resolves once no further operation shall be started.
    pub(super) async fn over(&self) {
        let over = self.over.notified();
        if self.goes_on() {
            over.await;
        }
    }

    /// Counts an operation that was started at `since` and is done now.
    pub(super) fn record(&self, since: Instant) {
        self.record_delay(since.elapsed());
    }

    /// Counts an operation that took `delay`.
    pub(super) fn record_delay(&self, delay: Duration) {
        if !self.counting.get() {
            return;
        }
        let nanos = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        self.latencies.borrow_mut().saturating_record(nanos.max(1));
        let operations = self.operations.get() + 1;
        self.operations.set(operations);
        let used_up = |budget| matches!(budget, Budget::Ops(limit) if operations >= limit);
        if matches!(self.pace, Pace::Steady { budget, .. } if used_up(budget)) {
            self.finish();
        }
    }

    /// Counts what workers tried for the operations: more than those, if others were faster.
    pub(super) fn tried(&self, tries: u64) {
        if self.counting.get() {
            self.tries.set(self.tries.get() + tries);
        }
    }

    /// Starts counting in a round of [`Pace::Once`].
    pub(super) fn begin(&self) {
        self.begun.notify_one();
        // What the caller does next counts already.
        self.counting.set(true);
    }

    /// Ends the round early: there is nothing left to do, or a worker failed.
    pub(super) fn finish(&self) {
        self.stop();
        self.finished.notify_one();
    }

    fn stop(&self) {
        self.stopped.set(true);
        self.over.notify_waiters();
    }

    /// Runs the round while workers work; they have been started already. `servers` are the
    /// processes whose CPU time counts; without any it is not known.
    pub(super) async fn run(&self, servers: &[u32]) -> Result<Round, Failure> {
        let budget = match self.pace {
            Pace::Once => {
                self.wait_until_begun().await;
                None
            }
            Pace::Steady { warmup, budget } => {
                self.warm_up(warmup).await;
                Some(budget)
            }
        };
        let cpu_before = process::cpu_times(servers);
        let start = Instant::now();
        self.counting.set(true);
        match budget {
            Some(Budget::Time(time)) => tokio::select! {
                () = tokio::time::sleep(time) => {}
                () = self.finished.notified() => {}
            },
            Some(Budget::Ops(_)) | None => self.finished.notified().await,
        }
        self.counting.set(false);
        self.stop();
        let elapsed = start.elapsed();
        let cpu_after = process::cpu_times(servers);
        let operations = self.operations.get();
        if operations == 0 {
            return Err(Failure::Other(
                "nothing was finished within a round: give more time with --duration".to_owned(),
            ));
        }
        let latencies = self.latencies.borrow();
        Ok(Round {
            operations,
            tries: self.tries.get(),
            elapsed,
            cpu: cpu_after
                .zip(cpu_before)
                .map(|(after, before)| process::used_between(&before, &after)),
            percentiles: [0.5, 0.9, 0.99, 0.999, 1.0].map(|q| latencies.value_at_quantile(q)),
        })
    }

    async fn warm_up(&self, warmup: Duration) {
        // Even a timer of no time lets the workers run for a moment.
        if warmup.is_zero() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(warmup) => {}
            () = self.finished.notified() => self.finished.notify_one(),
        }
    }

    async fn wait_until_begun(&self) {
        tokio::select! {
            () = self.begun.notified() => {}
            () = self.finished.notified() => self.finished.notify_one(),
        }
    }
}

impl Round {
    pub(super) fn rate(&self) -> f64 {
        self.operations as f64 / self.elapsed.as_secs_f64()
    }

    pub(super) fn tries_each(&self) -> Option<f64> {
        (self.tries > 0).then(|| self.tries as f64 / self.operations.max(1) as f64)
    }

    /// Microseconds of the server's CPU time per operation.
    pub(super) fn cpu_micros(&self) -> Option<f64> {
        let cpu = self.cpu.filter(|_| self.operations > 0)?;
        Some(cpu.as_secs_f64() * 1e6 / self.operations as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steady(warmup: Duration, budget: Budget) -> Rc<Gauge> {
        Gauge::new(Pace::Steady { warmup, budget })
    }

    #[tokio::test]
    async fn a_round_of_operations_ends_with_the_last() {
        let gauge = steady(Duration::ZERO, Budget::Ops(3));
        let worker = async {
            while gauge.goes_on() {
                gauge.record(Instant::now());
                tokio::task::yield_now().await;
            }
        };
        let (round, ()) = tokio::join!(gauge.run(&[]), worker);
        let round = round.unwrap();
        assert_eq!(round.operations, 3);
        assert!(round.percentiles[0] > 0 && round.cpu.is_none());
    }

    #[tokio::test]
    async fn work_that_begins_and_ends_by_itself_is_counted_in_between() {
        let gauge = Gauge::new(Pace::Once);
        let worker = async {
            gauge.record(Instant::now());
            gauge.begin();
            gauge.record_delay(Duration::from_millis(5));
            gauge.finish();
            gauge.over().await;
        };
        let (round, ()) = tokio::join!(gauge.run(&[]), worker);
        let round = round.unwrap();
        assert_eq!(round.operations, 1);
        assert!(round.percentiles[4] >= 5_000_000);
    }

    #[tokio::test]
    async fn a_round_without_a_finished_operation_is_no_result() {
        let gauge = steady(
            Duration::from_secs(60),
            Budget::Time(Duration::from_secs(60)),
        );
        gauge.record(Instant::now());
        gauge.finish();
        assert!(gauge.run(&[]).await.is_err());
    }

    #[tokio::test]
    async fn nothing_is_counted_before_the_start() {
        let gauge = steady(Duration::ZERO, Budget::Ops(1));
        gauge.record(Instant::now());
        assert!(gauge.goes_on());
        assert_eq!(gauge.operations.get(), 0);
    }
}
