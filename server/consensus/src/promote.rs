//! Makes voters of learners that were added to become one, as soon as they have caught up.
//!
//! Owns no rule of membership; those are in `member`. Also finishes a change that a leader left
//! half done when it fell.

use std::{sync::Arc, time::Duration};

use openraft::{ChangeMembers, async_runtime::watch::WatchReceiver};
use tokio_util::sync::CancellationToken;

use crate::member::{self, Changes};

/// How often to look at the learners.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Entries that a learner may lack.
const NEAR_ENTRIES: u64 = 500;

/// Runs until `stop`.
pub(crate) async fn run(changes: Arc<Changes>, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        if ready(&changes).is_empty() && !is_joint(&changes) {
            continue;
        }
        // Looked at once more, for a change that was under way may have taken this member's lead.
        let _alone = changes.one_at_a_time.lock().await;
        let ready = ready(&changes);
        if !may_lead(&changes) || ready.is_empty() && !is_joint(&changes) {
            continue;
        }
        // An empty set of new voters only leaves the joint membership.
        let voters = ready.iter().copied().collect();
        match changes.commit(ChangeMembers::AddVoterIds(voters)).await {
            Ok(()) if ready.is_empty() => tracing::info!("an unfinished change was finished"),
            Ok(()) => tracing::info!(members = ?ready, "learners have caught up and vote now"),
            Err(error) => tracing::warn!(%error, members = ?ready, "learners are not voters yet"),
        }
    }
}

/// Whether this member leads, and goes on doing so: one that is being removed does not.
fn may_lead(changes: &Changes) -> bool {
    let me = changes.peers.me();
    let members = changes.members();
    let votes = member::voters(&members).any(|voter| voter.id == me);
    votes && changes.standing.leads_in().is_some()
}

fn is_joint(changes: &Changes) -> bool {
    let metrics = changes.raft.server_metrics();
    let metrics = metrics.borrow_watched();
    let membership = metrics.committed_membership_config.membership();
    membership.get_joint_config().len() > 1
}

/// Learners that shall vote and lack next to nothing.
fn ready(changes: &Changes) -> Vec<u64> {
    let members = changes.members();
    let mut waiting = members
        .iter()
        .filter(|m| m.is_learner && m.voter_intent)
        .peekable();
    if waiting.peek().is_none() {
        return Vec::new();
    }
    let last = changes.last_log_index();
    let followers = changes.followers();
    let is_near = |id: u64| {
        let lag = followers.iter().find(|lag| lag.id == id);
        lag.and_then(|lag| lag.matched_index)
            .is_some_and(|matched| matched + NEAR_ENTRIES >= last)
    };
    waiting
        .map(|member| member.id)
        .filter(|id| is_near(*id))
        .collect()
}
