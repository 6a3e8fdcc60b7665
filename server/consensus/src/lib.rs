//! Raft for handfast: the one crate that names openraft.
//!
//! Owns how a command becomes a log entry and an entry reaches the store: batching, forwarding, the
//! log and the state machine as openraft sees them, linearizable reads, membership, snapshots, and
//! what only a leader does.
//! Knows neither gRPC nor what a command means; other members are reached through
//! [`peer::Transport`], and reach this one through [`PeerService`].
//!
//! The way of a write: [`Consensus::propose`], `batcher`, (on a follower: the leader's `service`),
//! openraft, `log`, `machine`, `Store::apply`, `pending`, and back to whoever waits.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod ask;
mod batcher;
mod counters;
mod error;
mod forward;
mod guard;
mod hashes;
mod join;
mod leader;
mod leases;
mod log;
mod machine;
mod member;
mod network;
mod options;
pub mod peer;
mod pending;
mod promote;
mod purge;
mod read;
pub mod recovery;
mod removal;
mod runtime;
mod service;
mod snapshot;
mod standing;
mod start;
mod types;
mod wire;

use std::{sync::Arc, time::Duration};

use handfast_mvcc::{Applied, Store, lease::TimeToLive};
use handfast_proto::{
    command::{Command, MemberInfo},
    peer::{MemberAdd, MemberUpdate, member_change::Change},
};
use handfast_storage::wal::{FsyncStats, Wal};
use openraft::async_runtime::watch::WatchReceiver;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use counters::Counts;
pub use error::{ProposeError, ReadError, StartError};
pub use join::{JoinError, describe, join, token as join_token};
pub use member::{FollowerLag, MemberError};
pub use options::{Options, Start};
pub use runtime::seed_randomness;
pub use service::PeerService;
pub use snapshot::SpoolOptions;
pub use standing::Role;

use ask::Peers;
use batcher::Proposer;
use counters::Counters;
use hashes::Hashes;
use leases::LeaseClock;
use machine::RaftHandle;
use member::Changes;
use pending::Pending;
use read::ReadGate;
use snapshot::Receiver;
use standing::Standing;

/// How often to look whether raft has failed.
const LOOK_FOR_FAILURE: Duration = Duration::from_millis(200);

/// Where raft stands on this member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftStatus {
    /// The current term.
    pub term: u64,
    /// The leader of the term, when known. A leader without a majority is none.
    pub leader: Option<u64>,
    /// Whether this member leads.
    pub is_leader: bool,
    /// What this member is.
    pub role: Role,
    /// Index of the last log entry.
    pub last_log_index: u64,
    /// Index up to which the log is known to be committed.
    pub commit_index: u64,
    /// Index up to which the log is applied.
    pub applied_index: u64,
    /// How far the followers are; empty unless this member leads.
    pub followers: Vec<FollowerLag>,
}

/// Why a member cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// Its disk or its raft is broken; a restart may help.
    Fatal(String),
    /// It is no longer part of its cluster; a restart does not help.
    Removed(String),
    /// Its state differs from the majority's; it must be replaced.
    Corrupt(String),
}

/// A running member. Clones share it.
#[derive(Clone)]
pub struct Consensus {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    raft: RaftHandle,
    wal: Arc<Wal>,
    store: Arc<Store>,
    proposer: Proposer,
    pending: Arc<Pending>,
    reads: ReadGate,
    leases: LeaseClock,
    changes: Arc<Changes>,
    hashes: Arc<Hashes>,
    receiver: Receiver,
    peers: Arc<Peers>,
    standing: Arc<Standing>,
    counters: Arc<Counters>,
    applied: watch::Receiver<u64>,
    election_timeout: Duration,
    stop: CancellationToken,
    tasks: parking_lot::Mutex<JoinSet<()>>,
}

impl Inner {
    fn last_log_index(&self) -> u64 {
        self.changes.last_log_index()
    }

    fn members(&self) -> Vec<MemberInfo> {
        self.changes.members()
    }
}

impl Consensus {
    /// Starts the member. A lone one leads its cluster and has applied its log when this returns;
    /// others find their leader afterwards.
    ///
    /// Must be called inside a tokio runtime. Not cancel safe: dropping the future leaves tasks
    /// behind that end when the runtime does.
    ///
    /// # Errors
    /// Says what is wrong with the settings or the data.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        start::start(options).await
    }

    /// What answers the requests of other members.
    pub fn peers(&self) -> PeerService {
        PeerService::new(Arc::clone(&self.inner))
    }

    /// Has raft commit `command`, and returns what became of it once this member has applied it.
    ///
    /// Dropping the future before the command was handed to raft withdraws it; later it may still
    /// be applied, as after [`ProposeError::Timeout`].
    ///
    /// # Errors
    /// Say whether the command may still be applied.
    pub async fn propose(&self, command: Command) -> Result<Applied, ProposeError> {
        self.inner.proposer.propose(command).await
    }

    /// Returns once the local state holds every write that was acknowledged before the call.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`ReadError::NoLeader`] and [`ReadError::Timeout`] may pass by themselves.
    pub async fn linearizable(&self) -> Result<(), ReadError> {
        self.inner.reads.pass().await
    }

    /// Renews a lease, at the leader. `None` when it is unknown or has run out already.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`ReadError::NoLeader`] when no leader was found in time.
    pub async fn lease_keep_alive(&self, id: i64) -> Result<Option<i64>, ReadError> {
        self.inner.leases.keep_alive(id).await
    }

    /// What is left of a lease, as the leader has it. `None` when it is unknown. Cancel safe.
    ///
    /// # Errors
    /// [`ReadError::NoLeader`] when no leader was found in time.
    pub async fn lease_time_to_live(
        &self,
        id: i64,
        keys: bool,
    ) -> Result<Option<TimeToLive>, ReadError> {
        self.inner.leases.time_left(id, keys).await
    }

    /// Adds a member; returns its id and everyone. A voter becomes one once it has caught up.
    ///
    /// # Errors
    /// [`MemberError::Refused`] names the rule that forbids it.
    pub async fn member_add(
        &self,
        peer_urls: Vec<String>,
        is_learner: bool,
    ) -> Result<(u64, Vec<MemberInfo>), MemberError> {
        let add = MemberAdd {
            peer_urls,
            is_learner,
            ..MemberAdd::default()
        };
        self.inner.changes.change(Change::Add(add)).await
    }

    /// Removes a member; returns who is left.
    ///
    /// # Errors
    /// [`MemberError::Refused`] names the rule that forbids it.
    pub async fn member_remove(&self, id: u64) -> Result<Vec<MemberInfo>, MemberError> {
        self.change(Change::Remove(id)).await
    }

    /// Makes a voter of a learner; returns everyone.
    ///
    /// # Errors
    /// [`MemberError::Refused`] names the rule that forbids it.
    pub async fn member_promote(&self, id: u64) -> Result<Vec<MemberInfo>, MemberError> {
        self.change(Change::Promote(id)).await
    }

    /// Changes where other members reach a member; returns everyone.
    ///
    /// # Errors
    /// [`MemberError::Refused`] names the rule that forbids it.
    pub async fn member_update(
        &self,
        id: u64,
        peer_urls: Vec<String>,
    ) -> Result<Vec<MemberInfo>, MemberError> {
        self.change(Change::Update(MemberUpdate { id, peer_urls }))
            .await
    }

    /// Lets everyone know how this member is called and where its clients connect.
    ///
    /// # Errors
    /// [`MemberError::Timeout`] and [`MemberError::Refused`] with `UNHEALTHY` may pass by
    /// themselves: try again.
    pub async fn publish(&self, name: String, client_urls: Vec<String>) -> Result<(), MemberError> {
        let info = MemberInfo {
            id: self.inner.peers.me(),
            name,
            client_urls,
            ..MemberInfo::default()
        };
        self.change(Change::Publish(info)).await.map(|_| ())
    }

    async fn change(&self, change: Change) -> Result<Vec<MemberInfo>, MemberError> {
        let changed = self.inner.changes.change(change).await;
        changed.map(|(_, members)| members)
    }

    /// Gives leadership to another voter, and returns once it leads.
    ///
    /// # Errors
    /// [`MemberError::NotLeader`] on any member but the leader.
    pub async fn move_leader(&self, to: u64) -> Result<(), MemberError> {
        self.inner.changes.move_leader(to).await
    }

    /// Gives leadership away before a stop, to whoever is nearest; returns whether this member no
    /// longer leads.
    pub async fn hand_over(&self) -> bool {
        let inner = &self.inner;
        if inner.standing.leads_in().is_none() {
            return true;
        }
        let Some(to) = inner.changes.best_follower() else {
            return false;
        };
        let moved = inner.changes.transfer(to, inner.election_timeout).await;
        match &moved {
            Ok(()) => {}
            // As when all members stop at once.
            Err(MemberError::Timeout) => tracing::warn!(
                "no other member took over leadership in time; the others, if they run, elect a \
                 leader when this one is gone"
            ),
            Err(error) => {
                tracing::warn!(%error, "leadership was not handed over before the stop");
            }
        }
        moved.is_ok()
    }

    /// The current term: what [`Consensus::status`] says, at a fraction of its cost.
    pub fn term(&self) -> u64 {
        self.inner.standing.term()
    }

    /// The leader, when one is known: what [`Consensus::status`] says, at a fraction of its cost.
    pub fn leader(&self) -> Option<u64> {
        self.inner.standing.leader()
    }

    /// Whether this member has no vote.
    pub fn is_learner(&self) -> bool {
        self.inner.standing.role() == Role::Learner
    }

    /// Where raft stands on this member.
    pub fn status(&self) -> RaftStatus {
        let inner = &self.inner;
        let applied_index = *inner.applied.borrow();
        let (last, committed) = {
            let data = inner.raft.data_metrics();
            let data = data.borrow_watched();
            let index = |id: &Option<types::LogId>| id.as_ref().map_or(0, |id| id.index);
            (index(&data.last_log), index(&data.local_committed))
        };
        let leader = inner.standing.leader();
        RaftStatus {
            term: inner.standing.term(),
            leader,
            is_leader: leader == Some(inner.peers.me()),
            role: inner.standing.role(),
            last_log_index: last.max(applied_index),
            commit_index: committed.max(applied_index),
            applied_index,
            followers: inner.changes.followers(),
        }
    }

    /// Every member, by ascending id.
    pub fn members(&self) -> Vec<MemberInfo> {
        self.inner.members()
    }

    /// The state machine, for reads that need no confirmation.
    pub fn store(&self) -> &Arc<Store> {
        &self.inner.store
    }

    /// Index up to which log entries have been dropped, the state being durable beyond them.
    pub fn purged_index(&self) -> u64 {
        self.inner
            .wal
            .state()
            .purged
            .map_or(0, |purged| purged.index)
    }

    /// How long the disk took to make the log durable.
    pub fn fsync_stats(&self) -> FsyncStats {
        self.inner.wal.fsync_stats()
    }

    /// Proposals of this member whose outcome is awaited.
    pub fn pending_proposals(&self) -> usize {
        self.inner.pending.len()
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.inner.counters.read()
    }

    /// Waits until the member cannot go on, and says why. Pending for ever while all is well.
    ///
    /// Looks now and then instead of being woken: raft's metrics change several times with every
    /// write, and each change would wake whoever waits here. Cancel safe.
    pub async fn failed(&self) -> Failure {
        let inner = &self.inner;
        let metrics = inner.raft.metrics();
        let (removed, corrupt) = (inner.peers.removal(), inner.hashes.verdict());
        loop {
            if let Some(reason) = removed.borrow().clone() {
                return Failure::Removed(reason);
            }
            if let Some(reason) = corrupt.borrow().clone() {
                return Failure::Corrupt(reason);
            }
            if let Err(fatal) = &metrics.borrow_watched().running_state {
                return Failure::Fatal(fatal.to_string());
            }
            if let Some(reason) = inner.store.halted() {
                return Failure::Fatal(reason);
            }
            tokio::time::sleep(LOOK_FOR_FAILURE).await;
        }
    }

    /// Stops raft and closes the log; whatever waits gets [`ProposeError::Stopped`].
    pub async fn shutdown(&self) {
        self.inner.stop.cancel();
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::warn!(%error, "raft did not stop in order");
        }
        let mut tasks = std::mem::take(&mut *self.inner.tasks.lock());
        tasks.shutdown().await;
    }
}
