//! How often something was synced and how long that took. Must not know what was synced.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A sync that takes longer than this is worth a line in the log.
const SLOW_SYNC: Duration = Duration::from_secs(1);

/// How many classes of durations are told apart, without the last that has no bound.
const BUCKETS: usize = 14;

/// The upper bounds, included, of the classes in [`FsyncStats::buckets`]: doubling from 1 ms.
pub const FSYNC_BUCKETS: [Duration; BUCKETS] = {
    let mut bounds = [Duration::ZERO; BUCKETS];
    let mut at = 0;
    while at < BUCKETS {
        bounds[at] = Duration::from_millis(1 << at);
        at += 1;
    }
    bounds
};

/// How long syncs took since the file was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FsyncStats {
    /// Number of syncs.
    pub count: u64,
    /// Their total duration.
    pub total: Duration,
    /// The longest one.
    pub max: Duration,
    /// How many of them lie in each class of [`FSYNC_BUCKETS`]; the rest took longer.
    pub buckets: [u64; BUCKETS],
}

/// Counters of syncs, readable while they go on.
#[derive(Debug, Default)]
pub(crate) struct SyncCounters {
    count: AtomicU64,
    total_nanos: AtomicU64,
    max_nanos: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

impl SyncCounters {
    pub(crate) fn stats(&self) -> FsyncStats {
        FsyncStats {
            count: self.count.load(Ordering::Relaxed),
            total: Duration::from_nanos(self.total_nanos.load(Ordering::Relaxed)),
            max: Duration::from_nanos(self.max_nanos.load(Ordering::Relaxed)),
            buckets: std::array::from_fn(|at| self.buckets[at].load(Ordering::Relaxed)),
        }
    }

    /// Counts one that took this long.
    pub(crate) fn count(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.total_nanos.fetch_add(nanos, Ordering::Relaxed);
        self.max_nanos.fetch_max(nanos, Ordering::Relaxed);
        let class = FSYNC_BUCKETS.partition_point(|bound| *bound < took);
        if let Some(bucket) = self.buckets.get(class) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts one of the log, and says so when it took long.
    pub(super) fn add(&self, took: Duration) {
        self.count(took);
        if took > SLOW_SYNC {
            tracing::warn!(?took, "the disk took long to sync the log");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_the_class_whose_bound_they_do_not_exceed() {
        let counters = SyncCounters::default();
        let millis = [0, 1, 2, 3, 8192, 8193];
        for took in millis.map(Duration::from_millis) {
            counters.count(took);
        }
        let stats = counters.stats();
        assert_eq!((stats.count, stats.max.as_millis()), (6, 8193));
        assert_eq!(stats.total, Duration::from_millis(millis.iter().sum()));
        assert_eq!(stats.buckets, [2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    }
}
