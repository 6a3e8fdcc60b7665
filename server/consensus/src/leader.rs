//! What only the leader does: it times the leases, and proposes the end of those that ran out.
//!
//! Also follows leadership itself, so that a new leader gives every lease its full time again.

use std::{sync::Arc, time::Duration};

use handfast_mvcc::{Clock, Store};
use handfast_proto::command::{Command, LeaseExpire, command::Op};
use openraft::async_runtime::watch::WatchReceiver;
use tokio_util::sync::CancellationToken;

use crate::{batcher::Proposer, machine::RaftHandle};

/// Leases that one command ends at the most.
const EXPIRE_BATCH: usize = 5000;
/// How often to look again although no lease is known to run out: a new one may be short.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Pause after leases were found whose end could not be proposed.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Tells the lessor when this member gains or loses leadership.
pub(crate) async fn follow_leadership(
    raft: RaftHandle,
    store: Arc<Store>,
    stop: CancellationToken,
) {
    let mut metrics = raft.server_metrics();
    let mut leads_in_term = None;
    loop {
        let now = term_led(&raft);
        if now != leads_in_term {
            match now {
                Some(_) => store.leases().promote(),
                None => store.leases().demote(),
            }
            leads_in_term = now;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = metrics.changed() => if changed.is_err() { return },
        }
    }
}

/// Proposes the end of leases whose time ran out, all that are due in one command.
pub(crate) async fn expire_leases(
    raft: RaftHandle,
    proposer: Proposer,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    loop {
        let pause = match term_led(&raft) {
            Some(term) => expire_due(term, &proposer, &store, clock.as_ref()).await,
            None => LOOK_AGAIN,
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// The current term, if this member leads in it.
fn term_led(raft: &RaftHandle) -> Option<u64> {
    let metrics = raft.server_metrics();
    let metrics = metrics.borrow_watched();
    let leads = metrics.current_leader == Some(metrics.id);
    leads.then_some(metrics.vote.leader_id.term)
}

/// Returns how long to wait before looking again.
async fn expire_due(term: u64, proposer: &Proposer, store: &Store, clock: &dyn Clock) -> Duration {
    let ids = store.leases().expired(EXPIRE_BATCH);
    if ids.is_empty() {
        let due = store.leases().next_deadline();
        let left = due.map_or(LOOK_AGAIN, |due| due.saturating_sub(clock.now()));
        // A millisecond more, for the deadline itself is not due yet.
        return left.min(LOOK_AGAIN) + Duration::from_millis(1);
    }
    let count = ids.len();
    let command = Command {
        op: Some(Op::LeaseExpire(LeaseExpire { ids, term })),
    };
    match proposer.propose(command).await {
        Ok(_) => Duration::ZERO,
        Err(error) => {
            tracing::warn!(leases = count, %error, "expired leases could not be revoked yet");
            RETRY_PAUSE
        }
    }
}
