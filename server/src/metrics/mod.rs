//! What the serving side counts, and how a page of metrics is written.
//!
//! Owns counters that cost next to nothing, and the format. Which metrics there are, and what of
//! them others count, is decided where the page is served.

mod page;
mod process;
mod rpc;
mod traffic;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

pub(crate) use page::{Kind, Page};
pub(crate) use process::report as report_process;
pub(crate) use rpc::{Call, Calls, Method};
pub(crate) use traffic::{Metered, Traffic};

/// Everything that the serving side counts.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Shared with the streams, which outlive their calls.
    pub(crate) calls: Arc<Calls>,
    pub(crate) watching: Watching,
    /// What goes to and from clients, and over connections that other members opened.
    pub(crate) client_traffic: Arc<Traffic>,
    pub(crate) member_traffic: Arc<Traffic>,
    /// Answers of `/health`: good ones, bad ones.
    pub(crate) health: [AtomicU64; 2],
    /// The probes' checks, by number: good ones, bad ones, and whether the last was good.
    pub(crate) checks: [CheckCount; CHECKS.len()],
}

/// The checks behind `/livez` and `/readyz`: probe and name.
pub(crate) const CHECKS: [[&str; 2]; 5] = [
    ["livez", "serializable_read"],
    ["readyz", "data_corruption"],
    ["readyz", "serializable_read"],
    ["readyz", "linearizable_read"],
    ["readyz", "non_learner"],
];

/// How often a check was made.
#[derive(Debug, Default)]
pub(crate) struct CheckCount {
    pub(crate) good: AtomicU64,
    pub(crate) bad: AtomicU64,
    pub(crate) is_good: AtomicU64,
}

impl Metrics {
    /// Counts an answer of `/health`.
    pub(crate) fn health(&self, is_good: bool) {
        self.health[usize::from(!is_good)].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the outcome of a check of a probe.
    pub(crate) fn check(&self, probe: &str, name: &str, is_good: bool) {
        if let Some(at) = CHECKS.iter().position(|check| *check == [probe, name]) {
            let count = &self.checks[at];
            let counter = if is_good { &count.good } else { &count.bad };
            counter.fetch_add(1, Ordering::Relaxed);
            count.is_good.store(u64::from(is_good), Ordering::Relaxed);
        }
    }
}

/// What all watch streams together have under way.
#[derive(Debug, Default)]
pub(crate) struct Watching {
    pub(crate) watchers: AtomicI64,
    pub(crate) catching_up: AtomicI64,
    pub(crate) events: AtomicU64,
}

/// One stream's part of [`Watching`], taken out again when it is dropped.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WatchingShare {
    watchers: usize,
    catching_up: usize,
}

impl Watching {
    /// Replaces a stream's part by what it has now.
    pub(crate) fn update(&self, share: &mut WatchingShare, watchers: usize, catching_up: usize) {
        let adjust = |total: &AtomicI64, before: usize, now: usize| {
            if before != now {
                total.fetch_add(now as i64 - before as i64, Ordering::Relaxed);
            }
        };
        adjust(&self.watchers, share.watchers, watchers);
        adjust(&self.catching_up, share.catching_up, catching_up);
        *share = WatchingShare {
            watchers,
            catching_up,
        };
    }

    /// Counts events on their way to clients.
    pub(crate) fn sent(&self, events: usize) {
        if events > 0 {
            self.events.fetch_add(events as u64, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_adds_and_takes_back_what_it_has() {
        let watching = Watching::default();
        let (mut one, mut other) = Default::default();
        watching.update(&mut one, 3, 2);
        watching.update(&mut other, 1, 0);
        watching.update(&mut one, 2, 0);
        let total = |total: &AtomicI64| total.load(Ordering::Relaxed);
        assert_eq!(
            (total(&watching.watchers), total(&watching.catching_up)),
            (3, 0)
        );
        watching.update(&mut one, 0, 0);
        watching.update(&mut other, 0, 0);
        assert_eq!(total(&watching.watchers), 0);
    }
}
