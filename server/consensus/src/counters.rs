//! What happened so far, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the start of the member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Batches of writes that no leader accepted in time.
    pub proposals_failed: u64,
    /// Times another member, or this one, was seen to lead.
    pub leader_changes_seen: u64,
    /// Linearizable reads rounds that took longer than the heartbeat interval.
    pub slow_read_indexes: u64,
    /// Linearizable read rounds that ended without an answer.
    pub read_indexes_failed: u64,
    /// Appends and heartbeats that did not reach a peer.
    pub send_failures: u64,
}

/// The counters themselves.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    proposals_failed: AtomicU64,
    leader_changes_seen: AtomicU64,
    slow_read_indexes: AtomicU64,
    read_indexes_failed: AtomicU64,
    send_failures: AtomicU64,
}

impl Counters {
    pub(crate) fn proposal_failed(&self) {
        self.proposals_failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn leader_changed(&self) {
        self.leader_changes_seen.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read_index_was_slow(&self) {
        self.slow_read_indexes.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read_index_failed(&self) {
        self.read_indexes_failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn send_failed(&self) {
        self.send_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Counts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            proposals_failed: load(&self.proposals_failed),
            leader_changes_seen: load(&self.leader_changes_seen),
            slow_read_indexes: load(&self.slow_read_indexes),
            read_indexes_failed: load(&self.read_indexes_failed),
            send_failures: load(&self.send_failures),
        }
    }
}
