//! How often the log was synced and how long that took. Must not know what was synced.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A sync that takes longer than this is worth a line in the log.
const SLOW_SYNC: Duration = Duration::from_secs(1);

/// How long syncs took since the log was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FsyncStats {
    /// Number of syncs.
    pub count: u64,
    /// Their total duration.
    pub total: Duration,
    /// The longest one.
    pub max: Duration,
}

/// Counters of syncs, readable while they go on.
#[derive(Debug, Default)]
pub(super) struct SyncCounters {
    count: AtomicU64,
    total_nanos: AtomicU64,
    max_nanos: AtomicU64,
}

impl SyncCounters {
    pub(super) fn stats(&self) -> FsyncStats {
        FsyncStats {
            count: self.count.load(Ordering::Relaxed),
            total: Duration::from_nanos(self.total_nanos.load(Ordering::Relaxed)),
            max: Duration::from_nanos(self.max_nanos.load(Ordering::Relaxed)),
        }
    }

    pub(super) fn add(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.total_nanos.fetch_add(nanos, Ordering::Relaxed);
        self.max_nanos.fetch_max(nanos, Ordering::Relaxed);
        if took > SLOW_SYNC {
            tracing::warn!(?took, "the disk took long to sync the log");
        }
    }
}
