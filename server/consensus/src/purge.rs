//! Lets the log go behind the durable state.
//!
//! Raft purges only what a snapshot covers; the durable state is one at no cost, so taking a
//! "snapshot" merely tells raft how far the state has been flushed. Owns how much of the log stays
//! for members that are behind: a leader keeps what a follower that answers still needs, so that
//! one that has just received a snapshot need not be sent the next.

use std::{sync::Arc, time::Duration};

use handfast_mvcc::Store;
use openraft::async_runtime::watch::WatchReceiver;
use tokio_util::sync::CancellationToken;

use crate::member::{Changes, DOWN_AFTER, FollowerLag};
use crate::types::LogId;

/// How often to look how far the state has been flushed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Log entries that must have become durable before raft is told.
const WORTHWHILE_ENTRIES: u64 = 256;
/// How many times the tail is kept for a follower that is behind, at the most.
const TAILS_FOR_FOLLOWERS: u64 = 20;

/// Runs until `stop`. `tail` entries stay in the log in any case.
pub(crate) async fn run(
    changes: Arc<Changes>,
    store: Arc<Store>,
    tail: u64,
    stop: CancellationToken,
) {
    let raft = &changes.raft;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        // What raft has done, not what it was told: it takes a snapshot later, or not at all, and
        // forgets to purge what none covers yet.
        let (covered, purged) = {
            let metrics = raft.data_metrics();
            let data = metrics.borrow_watched();
            let index = |id: &Option<LogId>| id.as_ref().map_or(0, |id| id.index);
            (index(&data.snapshot), index(&data.purged))
        };
        let durable = store.durable_applied().map_or(0, |position| position.index);
        if durable >= covered + WORTHWHILE_ENTRIES && raft.trigger().snapshot().await.is_err() {
            return;
        }
        let upto = purgeable(covered, tail, &changes.followers());
        if upto > purged && raft.trigger().purge_log(upto).await.is_err() {
            return;
        }
    }
}

/// The last entry that nobody needs any more; zero when there is none.
fn purgeable(durable: u64, tail: u64, followers: &[FollowerLag]) -> u64 {
    let answers = |lag: &&FollowerLag| lag.last_ack.is_some_and(|age| age < DOWN_AFTER);
    let slowest = followers
        .iter()
        .filter(answers)
        .map(|lag| lag.matched_index.unwrap_or(0))
        .min();
    let wanted = slowest.unwrap_or(durable).min(durable).saturating_sub(tail);
    let affordable = durable.saturating_sub(tail.saturating_mul(TAILS_FOR_FOLLOWERS));
    wanted.max(affordable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follower(matched: u64, silent_seconds: u64) -> FollowerLag {
        FollowerLag {
            id: 2,
            matched_index: Some(matched),
            last_ack: Some(Duration::from_secs(silent_seconds)),
        }
    }

    #[test]
    fn the_tail_stays() {
        assert_eq!(purgeable(1000, 100, &[]), 900);
        assert_eq!(purgeable(50, 100, &[]), 0);
    }

    #[test]
    fn a_follower_that_answers_holds_the_log_but_not_for_ever() {
        assert_eq!(purgeable(1000, 100, &[follower(700, 0)]), 600);
        assert_eq!(purgeable(1000, 100, &[follower(700, 60)]), 900);
        assert_eq!(purgeable(10_000, 100, &[follower(700, 0)]), 8000);
        // Ahead of what is durable here, as followers of a leader with a slow disk are.
        assert_eq!(purgeable(1000, 100, &[follower(5000, 0)]), 900);
    }
}
