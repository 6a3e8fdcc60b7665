//! What only the leader does: it times the leases, and proposes the end of those that ran out.
//!
//! Also follows leadership itself, so that a new leader gives every lease its full time again, and
//! the membership, so that every member knows where the others are.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use handfast_mvcc::{Clock, Store};
use handfast_proto::command::{Command, JoinSecret, LeaseExpire, command::Op};
use openraft::async_runtime::watch::WatchReceiver;
use tokio_util::sync::CancellationToken;

use crate::{
    ask::Peers, batcher::Proposer, counters::Counters, machine::RaftHandle, runtime,
    standing::Standing, types,
};

/// Leases that one command ends at the most.
const EXPIRE_BATCH: usize = 5000;
/// How often to look again although no lease is known to run out: a new one may be short.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Pause after leases were found whose end could not be proposed.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Tells the lessor when this member gains or loses leadership, and the address book who is where.
pub(crate) async fn follow_leadership(
    raft: RaftHandle,
    standing: Arc<Standing>,
    peers: Arc<Peers>,
    counters: Arc<Counters>,
    store: Arc<Store>,
    stop: CancellationToken,
) {
    let mut metrics = raft.server_metrics();
    let mut leads_in_term = None;
    let mut leader = None;
    loop {
        learn(&raft, &peers);
        let now = standing.elected_in();
        if now != leads_in_term {
            match now {
                Some(_) => store.leases().promote(),
                None => store.leases().demote(),
            }
            leads_in_term = now;
        }
        let led_by = standing.leader();
        if led_by.is_some() && led_by != leader {
            counters.leader_changed();
            leader = led_by;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = metrics.changed() => if changed.is_err() { return },
            // Leadership can be suspended without raft knowing.
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

/// Brings the address book up to date.
pub(crate) fn learn(raft: &RaftHandle, peers: &Peers) {
    let metrics = raft.server_metrics();
    let metrics = metrics.borrow_watched();
    let committed = &metrics.committed_membership_config;
    let is_member = committed.get_node(&peers.me()).is_some();
    peers.learn(
        types::members(metrics.membership_config.membership()),
        committed.log_id().as_ref().map(|id| id.index),
        is_member,
    );
}

/// Gives the cluster a secret for join tokens, once.
pub(crate) async fn make_join_secret(
    proposer: Proposer,
    standing: Arc<Standing>,
    store: Arc<Store>,
    stop: CancellationToken,
) {
    while store.join_secret().is_none() {
        if standing.leads_in().is_some() {
            let halves = [runtime::random_id(), runtime::random_id()];
            let secret: Vec<u8> = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
            let secret = Bytes::from(secret);
            let command = Command {
                op: Some(Op::JoinSecret(JoinSecret { secret })),
            };
            if proposer.propose(command).await.is_ok() {
                continue;
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

/// Proposes the end of leases whose time ran out, all that are due in one command.
pub(crate) async fn expire_leases(
    standing: Arc<Standing>,
    proposer: Proposer,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    loop {
        let pause = match standing.leads_in() {
            Some(term) => expire_due(term, &proposer, &store, clock.as_ref()).await,
            None => LOOK_AGAIN,
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
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
