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

/// Shared by all workers of a round; they live on one thread.
pub(super) struct Gauge {
    budget: Budget,
    counting: Cell<bool>,
    stopped: Cell<bool>,
    operations: Cell<u64>,
    latencies: RefCell<Histogram<u64>>,
    finished: Notify,
}

/// The outcome of a round.
#[derive(Debug, Clone)]
pub(super) struct Round {
    pub(super) operations: u64,
    pub(super) elapsed: Duration,
    /// CPU time of the server in the same span, if its process is known.
    pub(super) cpu: Option<Duration>,
    /// In nanoseconds: p50, p90, p99, p99.9.
    pub(super) percentiles: [u64; 4],
}

impl Gauge {
    pub(super) fn new(budget: Budget) -> Rc<Gauge> {
        let latencies = Histogram::new_with_bounds(1, LATENCY_MAX_NANOS, LATENCY_DIGITS)
            .expect("the bounds are in order and the digits between 0 and 5");
        Rc::new(Gauge {
            budget,
            counting: Cell::new(false),
            stopped: Cell::new(false),
            operations: Cell::new(0),
            latencies: RefCell::new(latencies),
            finished: Notify::new(),
        })
    }

    /// Whether a worker shall start another operation.
    pub(super) fn goes_on(&self) -> bool {
        !self.stopped.get()
    }

    /// Counts an operation that was started at `since` and is done now.
    pub(super) fn record(&self, since: Instant) {
        if !self.counting.get() {
            return;
        }
        let nanos = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.latencies.borrow_mut().saturating_record(nanos.max(1));
        let operations = self.operations.get() + 1;
        self.operations.set(operations);
        if matches!(self.budget, Budget::Ops(limit) if operations >= limit) {
            self.finish();
        }
    }

    /// Ends the round early: there is nothing left to do, or a worker failed.
    pub(super) fn finish(&self) {
        self.stopped.set(true);
        self.finished.notify_one();
    }

    /// Runs the round while workers work; they have been started already.
    pub(super) async fn run(&self, warmup: Duration, pid: Option<u32>) -> Result<Round, Failure> {
        tokio::select! {
            () = tokio::time::sleep(warmup) => {}
            () = self.finished.notified() => self.finished.notify_one(),
        }
        let cpu_before = pid.and_then(process::cpu_time);
        let start = Instant::now();
        self.counting.set(true);
        match self.budget {
            Budget::Time(time) => tokio::select! {
                () = tokio::time::sleep(time) => {}
                () = self.finished.notified() => {}
            },
            Budget::Ops(_) => self.finished.notified().await,
        }
        self.counting.set(false);
        self.stopped.set(true);
        let elapsed = start.elapsed();
        let cpu_after = pid.and_then(process::cpu_time);
        let latencies = self.latencies.borrow();
        Ok(Round {
            operations: self.operations.get(),
            elapsed,
            cpu: cpu_after
                .zip(cpu_before)
                .map(|(after, before)| after.saturating_sub(before)),
            percentiles: [0.5, 0.9, 0.99, 0.999].map(|q| latencies.value_at_quantile(q)),
        })
    }
}

impl Round {
    pub(super) fn rate(&self) -> f64 {
        self.operations as f64 / self.elapsed.as_secs_f64()
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

    #[tokio::test]
    async fn a_round_of_operations_ends_with_the_last() {
        let gauge = Gauge::new(Budget::Ops(3));
        let worker = async {
            while gauge.goes_on() {
                gauge.record(Instant::now());
                tokio::task::yield_now().await;
            }
        };
        let (round, ()) = tokio::join!(gauge.run(Duration::ZERO, None), worker);
        let round = round.unwrap();
        assert_eq!(round.operations, 3);
        assert!(round.percentiles[0] > 0 && round.cpu.is_none());
    }

    #[tokio::test]
    async fn nothing_is_counted_before_the_start() {
        let gauge = Gauge::new(Budget::Ops(1));
        gauge.record(Instant::now());
        assert!(gauge.goes_on());
        assert_eq!(gauge.operations.get(), 0);
    }
}
