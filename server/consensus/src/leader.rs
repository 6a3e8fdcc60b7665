//! What only the leader does: it times the leases, and proposes the end of those that ran out.
//!
//! Also follows leadership itself, so that a new leader gives every lease its full time again.

use std::{sync::Arc, time::Duration};

use handfast_mvcc::{Clock, Store};
use handfast_proto::command::{Command, LeaseExpire, command::Op};
use openraft::async_runtime::watch::WatchReceiver;
use tokio_util::sync::CancellationToken;

use crate::{Consensus, RaftHandle};

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
        let now = {
            let metrics = metrics.borrow_watched();
            let leads = metrics.current_leader == Some(metrics.id);
            leads.then_some(metrics.vote.leader_id.term)
        };
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
    consensus: Consensus,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    loop {
        let pause = expire_due(&consensus, clock.as_ref()).await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn expire_due(consensus: &Consensus, clock: &dyn Clock) -> Duration {
    let status = consensus.status();
    if !status.is_leader {
        return LOOK_AGAIN;
    }
    let store = consensus.store();
    let ids = store.leases().expired(EXPIRE_BATCH);
    if ids.is_empty() {
        let due = store.leases().next_deadline();
        let left = due.map_or(LOOK_AGAIN, |due| due.saturating_sub(clock.now()));
        // A millisecond more, for a timer may not fire early and the deadline itself is not yet due.
        return left.min(LOOK_AGAIN) + Duration::from_millis(1);
    }
    let count = ids.len();
    let command = Command {
        op: Some(Op::LeaseExpire(LeaseExpire {
            ids,
            term: status.term,
        })),
    };
    match consensus.propose(command).await {
        Ok(_) => Duration::ZERO,
        Err(error) => {
            tracing::warn!(leases = count, %error, "expired leases could not be revoked yet");
            RETRY_PAUSE
        }
    }
}
