//! Raft for handfast: the one crate that names openraft.
//!
//! Owns how a command becomes a log entry and an entry reaches the store: batching, the log and the
//! state machine as openraft sees them, linearizable reads, membership, and what only a leader
//! does.
//! Knows neither gRPC nor what a command means.
//!
//! The way of a write: [`Consensus::propose`], `batcher`, openraft, `log`, `machine`,
//! `Store::apply`, and back to whoever waits.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod batcher;
mod error;
mod leader;
mod log;
mod machine;
mod network;
pub mod peer;
mod purge;
mod read;
mod types;

use std::{sync::Arc, time::Duration};

use handfast_mvcc::{Applied, Clock, Store, lease::Renewal};
use handfast_proto::command::{Command, MemberInfo};
use handfast_storage::wal::{FsyncStats, Wal};
use openraft::{Config, async_runtime::watch::WatchReceiver};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

pub use error::{ProposeError, ReadError, StartError};

use batcher::Proposer;
use log::LogStore;
use machine::{Machine, RaftHandle};
use network::NoPeers;
use read::WaitingRead;

/// Reads that may wait for the gate before a reader has to wait itself.
const READ_QUEUE: usize = 8192;
/// How often to look whether raft has failed.
const LOOK_FOR_FAILURE: Duration = Duration::from_millis(200);
/// How long a lone member may take to become the leader of its own cluster.
const LEAD_WITHIN: Duration = Duration::from_secs(30);

/// What a member needs to start.
pub struct Options {
    /// Who this member is; its id never changes.
    pub member: MemberInfo,
    /// The raft log.
    pub wal: Wal,
    /// The state, already opened.
    pub store: Arc<Store>,
    /// The clock the store's leases run on.
    pub clock: Arc<dyn Clock>,
    /// How often a leader tells its followers that it lives.
    pub heartbeat_interval: Duration,
    /// How long a follower waits for a sign of life before it stands for election.
    pub election_timeout: Duration,
    /// How long a request may look for a leader and wait for its outcome.
    pub request_timeout: Duration,
    /// Bytes an encoded command may have.
    pub max_request_bytes: usize,
    /// Log entries kept behind the durable state for members that fall behind.
    pub log_tail_entries: u64,
}

/// Where raft stands on this member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftStatus {
    /// The current term.
    pub term: u64,
    /// The leader of the term, when known.
    pub leader: Option<u64>,
    /// Whether this member leads.
    pub is_leader: bool,
    /// Index of the last log entry.
    pub last_log_index: u64,
    /// Index up to which the log is known to be committed.
    pub commit_index: u64,
    /// Index up to which the log is applied.
    pub applied_index: u64,
}

/// A running member. Clones share it.
#[derive(Clone)]
pub struct Consensus {
    inner: Arc<Inner>,
}

struct Inner {
    raft: RaftHandle,
    wal: Arc<Wal>,
    store: Arc<Store>,
    proposer: Proposer,
    reads: mpsc::Sender<WaitingRead>,
    request_timeout: Duration,
    stop: CancellationToken,
    tasks: parking_lot::Mutex<JoinSet<()>>,
}

impl Consensus {
    /// Starts the member, and returns once it leads its cluster of one and has applied its log.
    ///
    /// Must be called inside a tokio runtime. Not cancel safe: dropping the future leaves tasks
    /// behind that end when the runtime does.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let config = Arc::new(raft_config(&options)?);
        let wal = Arc::new(options.wal);
        check_log_reaches_state(&wal, &options.store)?;
        let machine = Machine::new(options.store.clone());
        let id = options.member.id;
        let log = LogStore::new(wal.clone());
        let raft = RaftHandle::new(id, config, NoPeers, log, machine)
            .await
            .map_err(|fatal| StartError::Recovery(fatal.to_string()))?;
        lead(&raft, options.member).await?;

        let patience = options.request_timeout;
        let (proposer, waiting) = Proposer::new(patience, options.max_request_bytes);
        let (reads, waiting_reads) = mpsc::channel(READ_QUEUE);
        let stop = CancellationToken::new();
        let consensus = Self {
            inner: Arc::new(Inner {
                raft: raft.clone(),
                wal,
                store: options.store.clone(),
                proposer: proposer.clone(),
                reads,
                request_timeout: patience,
                stop: stop.clone(),
                tasks: parking_lot::Mutex::new(JoinSet::new()),
            }),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(batcher::run(raft.clone(), waiting, patience));
        tasks.spawn(read::run(raft.clone(), waiting_reads, patience));
        tasks.spawn(purge::run(
            raft.clone(),
            options.store.clone(),
            stop.clone(),
        ));
        options.store.leases().promote();
        let (store, clock) = (options.store, options.clock);
        tasks.spawn(leader::follow_leadership(
            raft.clone(),
            store.clone(),
            stop.clone(),
        ));
        tasks.spawn(leader::expire_leases(raft, proposer, store, clock, stop));
        *consensus.inner.tasks.lock() = tasks;
        Ok(consensus)
    }

    /// Has raft commit `command`, and returns what became of it once this member has applied it.
    ///
    /// Dropping the future before the command was handed to raft withdraws it; later it may still
    /// be applied, as after [`ProposeError::Timeout`].
    pub async fn propose(&self, command: Command) -> Result<Applied, ProposeError> {
        self.inner.proposer.propose(command).await
    }

    /// Returns once the local state holds every write that was acknowledged before the call.
    ///
    /// Cancel safe.
    pub async fn linearizable(&self) -> Result<(), ReadError> {
        let (reply, verdict) = oneshot::channel();
        let confirmed = async {
            self.inner
                .reads
                .send(reply)
                .await
                .map_err(|_| ReadError::Stopped)?;
            verdict.await.unwrap_or(Err(ReadError::Stopped))
        };
        tokio::time::timeout(self.inner.request_timeout, confirmed)
            .await
            .unwrap_or(Err(ReadError::Timeout))
    }

    /// Renews a lease. `None` when it is unknown or has run out already.
    ///
    /// Answered only by a leader that has just proved its leadership, for an old one could promise
    /// time that a new one does not know of. Cancel safe.
    pub async fn lease_keep_alive(&self, id: i64) -> Result<Option<i64>, ReadError> {
        let leases = self.inner.store.leases();
        let renewed = async {
            loop {
                self.linearizable().await?;
                match leases.renew(id) {
                    Renewal::Renewed { ttl_seconds } => return Ok(Some(ttl_seconds)),
                    Renewal::Gone => return Ok(None),
                    Renewal::NotLeader => return Err(ReadError::NoLeader),
                    // Its end is proposed already: the answer is known once that has been applied.
                    Renewal::Expiring => {
                        let (settled, done) = oneshot::channel();
                        leases.when_settled(
                            id,
                            Box::new(move || {
                                let _ = settled.send(());
                            }),
                        );
                        drop(done.await);
                    }
                }
            }
        };
        tokio::time::timeout(self.inner.request_timeout, renewed)
            .await
            .unwrap_or(Err(ReadError::Timeout))
    }

    /// The current term: what [`Consensus::status`] says, at a fraction of its cost.
    pub fn term(&self) -> u64 {
        let server = self.inner.raft.server_metrics();
        server.borrow_watched().vote.leader_id.term
    }

    /// Where raft stands on this member.
    pub fn status(&self) -> RaftStatus {
        let server = self.inner.raft.server_metrics();
        let data = self.inner.raft.data_metrics();
        let (server, data) = (server.borrow_watched(), data.borrow_watched());
        let index = |id: &Option<types::LogId>| id.as_ref().map_or(0, |id| id.index);
        let applied_index = self
            .inner
            .store
            .applied()
            .map_or(0, |position| position.index);
        RaftStatus {
            term: server.vote.leader_id.term,
            leader: server.current_leader,
            is_leader: server.current_leader == Some(server.id),
            last_log_index: index(&data.last_log).max(applied_index),
            commit_index: index(&data.local_committed).max(applied_index),
            applied_index,
        }
    }

    /// Every member, by ascending id.
    pub fn members(&self) -> Vec<MemberInfo> {
        let server = self.inner.raft.server_metrics();
        let server = server.borrow_watched();
        let mut members = types::members(server.membership_config.membership());
        members.sort_by_key(|member| member.id);
        members
    }

    /// The state machine, for reads that need no confirmation.
    pub fn store(&self) -> &Arc<Store> {
        &self.inner.store
    }

    /// How long the disk took to make the log durable.
    pub fn fsync_stats(&self) -> FsyncStats {
        self.inner.wal.fsync_stats()
    }

    /// Waits until raft has failed for good, and says why. Pending for ever while all is well.
    ///
    /// Looks now and then instead of being woken: raft's metrics change several times with every
    /// write, and each change would wake whoever waits here. Cancel safe.
    pub async fn failed(&self) -> String {
        let metrics = self.inner.raft.metrics();
        loop {
            if let Err(fatal) = &metrics.borrow_watched().running_state {
                return fatal.to_string();
            }
            if let Some(reason) = self.inner.store.halted() {
                return reason;
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

fn raft_config(options: &Options) -> Result<Config, StartError> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let election = millis(options.election_timeout);
    let config = Config {
        cluster_name: "handfast".to_owned(),
        heartbeat_interval: millis(options.heartbeat_interval),
        // Followers also wait out the leader's lease, which is as long again, so half of what was
        // asked for gives the fail-over time that was asked for.
        election_timeout_min: election / 2,
        election_timeout_max: election,
        enable_pre_vote: Some(true),
        // The state lags the log on disk, so a restarted leader must learn the commit index anew.
        enable_leader_restore: Some(false),
        broadcast_submitted_on_append: Some(true),
        max_payload_entries: 1024,
        snapshot_policy: openraft::SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: options.log_tail_entries,
        ..Config::default()
    };
    config
        .validate()
        .map_err(|error| StartError::Config(error.to_string()))
}

/// Refuses a log that ends before the state does: it is not the log that made this state.
fn check_log_reaches_state(wal: &Wal, store: &Store) -> Result<(), StartError> {
    let (last, applied) = (wal.state().last, store.applied());
    if applied.map(|position| position.index) > last.map(|position| position.index) {
        return Err(StartError::LogMissing {
            applied: applied.map_or(0, |position| position.index),
            last: last.map_or(0, |position| position.index),
        });
    }
    Ok(())
}

/// Makes the lone member lead: by founding its cluster, or by standing for election at once.
async fn lead(raft: &RaftHandle, member: MemberInfo) -> Result<(), StartError> {
    let recovery = |error: &dyn std::fmt::Display| StartError::Recovery(error.to_string());
    if raft
        .is_initialized()
        .await
        .map_err(|fatal| recovery(&fatal))?
    {
        raft.trigger()
            .elect(false)
            .await
            .map_err(|fatal| recovery(&fatal))?;
    } else {
        let members = std::collections::BTreeMap::from([(member.id, member.clone())]);
        raft.initialize(members)
            .await
            .map_err(|error| recovery(&error))?;
    }
    raft.wait(Some(LEAD_WITHIN))
        .current_leader(member.id, "lead the cluster of one")
        .await
        .map_err(|_| StartError::NotLeading(LEAD_WITHIN))?;
    tokio::time::timeout(
        LEAD_WITHIN,
        raft.ensure_linearizable(openraft::ReadPolicy::ReadIndex),
    )
    .await
    .map_err(|_| StartError::NotLeading(LEAD_WITHIN))?
    .map_err(|error| recovery(&error))?;
    Ok(())
}
