//! Reports that the program's work goes on, for a session that must not outlive it.
//!
//! Owns when the last report came and when the next one is due. Knows nothing of leases.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

use crate::clock::Clock;

/// The reports of one session.
#[derive(Debug)]
pub(super) struct Beats {
    clock: Arc<dyn Clock>,
    /// The longest time between two; `None` if none are asked for.
    interval: Option<Duration>,
    last: AtomicU64,
    beaten: watch::Sender<()>,
}

impl Beats {
    pub(super) fn new(clock: Arc<dyn Clock>, interval: Option<Duration>) -> Self {
        let beats = Self {
            clock,
            interval,
            last: AtomicU64::new(0),
            beaten: watch::Sender::new(()),
        };
        beats.beat();
        beats
    }

    /// Takes in a report.
    pub(super) fn beat(&self) {
        let now = u64::try_from(self.clock.now().as_nanos()).unwrap_or(u64::MAX);
        self.last.fetch_max(now, Ordering::AcqRel);
        self.beaten.send_replace(());
    }

    /// Until the next one is due, if one is.
    pub(super) fn left(&self) -> Option<Duration> {
        let due = Duration::from_nanos(self.last.load(Ordering::Acquire)) + self.interval?;
        Some(due.saturating_sub(self.clock.now()))
    }

    pub(super) fn is_overdue(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// Waits until none is overdue. Cancel safe.
    pub(super) async fn in_time(&self) {
        let mut beaten = self.beaten.subscribe();
        while self.is_overdue() {
            // The sender lives in `self`, so the channel cannot close.
            let _ = beaten.changed().await;
        }
    }
}
