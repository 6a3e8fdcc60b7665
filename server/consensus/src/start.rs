//! How a member comes to life: the order in which its parts are made and begin to run.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use handfast_mvcc::{Clock, Store};
use handfast_proto::command::MemberInfo;
use handfast_storage::wal::Wal;
use openraft::Config;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Consensus, Inner, Options, Start, StartError,
    ask::Peers,
    batcher::{self, Batcher, Proposer},
    counters::Counters,
    forward::{Carrier, Forwarder},
    guard::Guard,
    hashes::{Comparer, Hashes},
    leader,
    leases::{self, LeaseClock},
    log::LogStore,
    machine::{Machine, RaftHandle},
    member::{self, Changes, Rules},
    network::Network,
    pending::Pending,
    promote, purge,
    read::{self, Gatekeeper, ReadGate},
    removal,
    snapshot::Receiver,
    standing::Standing,
};

/// How long a lone member may take to become the leader of its own cluster.
const LEAD_WITHIN: Duration = Duration::from_secs(30);

pub(crate) async fn start(options: Options) -> Result<Consensus, StartError> {
    let config = Arc::new(raft_config(&options)?);
    bring_log_to_state(&options.wal, &options.store)?;
    let settings = Settings::of(&options);
    let (member, start, clock) = (options.member, options.start, options.clock);
    let peers = Arc::new(Peers::new(member.id, options.cluster_id, options.transport));
    let base = Base::new(config, options.wal, options.store, peers, &settings).await?;
    leader::learn(&base.raft, &base.peers);
    let (inner, queues) = assemble(base, &settings, Receiver::new(options.spool));

    let mut tasks = JoinSet::new();
    spawn_ways(&mut tasks, &inner, queues, &settings);
    spawn_duties(&mut tasks, &inner, clock, &settings);
    *inner.tasks.lock() = tasks;
    begin(&inner, member, start).await?;
    Ok(Consensus { inner })
}

/// What of the options is needed after the start, too.
struct Settings {
    patience: Duration,
    heartbeat_interval: Duration,
    election_timeout: Duration,
    max_request_bytes: usize,
    log_tail_entries: u64,
    lease_read: bool,
    compare_rows_every: Duration,
    blocking: bool,
    rules: Rules,
}

impl Settings {
    fn of(options: &Options) -> Self {
        Self {
            patience: options.request_timeout,
            heartbeat_interval: options.heartbeat_interval,
            election_timeout: options.election_timeout,
            max_request_bytes: options.max_request_bytes,
            log_tail_entries: options.log_tail_entries,
            lease_read: options.lease_read,
            compare_rows_every: options.compare_rows_every,
            blocking: options.blocking,
            rules: Rules {
                strict: options.strict_reconfig,
                max_learners: options.max_learners,
                patience: options.request_timeout,
            },
        }
    }
}

/// Raft, and what it stands on.
struct Base {
    raft: RaftHandle,
    wal: Arc<Wal>,
    store: Arc<Store>,
    peers: Arc<Peers>,
    counters: Arc<Counters>,
    pending: Arc<Pending>,
    applied: watch::Receiver<u64>,
}

impl Base {
    async fn new(
        config: Arc<Config>,
        wal: Wal,
        store: Arc<Store>,
        peers: Arc<Peers>,
        settings: &Settings,
    ) -> Result<Self, StartError> {
        let (wal, id) = (Arc::new(wal), peers.me());
        let (counters, pending) = (Arc::new(Counters::default()), Arc::new(Pending::new(id)));
        let machine = Machine::new(Arc::clone(&store), Arc::clone(&pending), settings.blocking);
        let applied = machine.applied();
        let network = Network {
            peers: Arc::clone(&peers),
            counters: Arc::clone(&counters),
            patience: settings.election_timeout * 2,
        };
        let log = LogStore::new(Arc::clone(&wal));
        let raft = RaftHandle::new(id, config, network, log, machine)
            .await
            .map_err(|fatal| StartError::Recovery(fatal.to_string()))?;
        Ok(Self {
            raft,
            wal,
            store,
            peers,
            counters,
            pending,
            applied,
        })
    }
}

/// What waits on this member: writes, reads and renewals for the leader.
struct Queues {
    proposals: mpsc::Receiver<batcher::Waiting>,
    reads: mpsc::Receiver<read::Waiting>,
    renewals: mpsc::Receiver<leases::Waiting>,
}

fn assemble(base: Base, settings: &Settings, receiver: Receiver) -> (Arc<Inner>, Queues) {
    let (patience, me) = (settings.patience, base.peers.me());
    let standing = Standing::new(base.raft.clone(), me, settings.election_timeout);
    let standing = Arc::new(standing);
    let (proposer, proposals) = Proposer::new(patience, settings.max_request_bytes);
    let (reads, waiting_reads) = ReadGate::new(Arc::clone(&standing), patience);
    let (leases, renewals) = LeaseClock::new(
        Arc::clone(&base.store),
        Arc::clone(&base.peers),
        Arc::clone(&standing),
        reads.clone(),
        patience,
    );
    let changes = Changes {
        raft: base.raft.clone(),
        peers: Arc::clone(&base.peers),
        standing: Arc::clone(&standing),
        rules: settings.rules,
        one_at_a_time: tokio::sync::Mutex::new(()),
        store: Arc::clone(&base.store),
    };
    let hashes = Hashes::new(Arc::clone(&base.store), me, settings.blocking);
    let inner = Inner {
        raft: base.raft,
        wal: base.wal,
        store: base.store,
        proposer,
        pending: base.pending,
        reads,
        leases,
        changes: Arc::new(changes),
        hashes: Arc::new(hashes),
        receiver,
        peers: base.peers,
        standing,
        counters: base.counters,
        applied: base.applied,
        election_timeout: settings.election_timeout,
        stop: CancellationToken::new(),
        tasks: parking_lot::Mutex::new(JoinSet::new()),
    };
    let queues = Queues {
        proposals,
        reads: waiting_reads,
        renewals,
    };
    (Arc::new(inner), queues)
}

/// What brings writes, reads and renewals to the leader.
fn spawn_ways(tasks: &mut JoinSet<()>, inner: &Inner, queues: Queues, settings: &Settings) {
    let (forwarder, parcels) = Forwarder::new();
    let carrier = Carrier {
        peers: Arc::clone(&inner.peers),
        patience: settings.election_timeout * 2,
    };
    tasks.spawn(carrier.run(parcels));
    let batcher = Batcher {
        raft: inner.raft.clone(),
        peers: Arc::clone(&inner.peers),
        forwarder,
        standing: Arc::clone(&inner.standing),
        pending: Arc::clone(&inner.pending),
        counters: Arc::clone(&inner.counters),
    };
    tasks.spawn(batcher.run(queues.proposals));
    let gatekeeper = Gatekeeper {
        raft: inner.raft.clone(),
        peers: Arc::clone(&inner.peers),
        standing: Arc::clone(&inner.standing),
        counters: Arc::clone(&inner.counters),
        applied: inner.applied.clone(),
        queue: queues.reads,
        patience: settings.patience,
        slow: settings.heartbeat_interval * 5,
        lease_read: settings.lease_read,
    };
    tasks.spawn(gatekeeper.run());
    tasks.spawn(inner.leases.clone().run_forwarding(queues.renewals));
}

/// What runs beside the requests of clients and members.
fn spawn_duties(
    tasks: &mut JoinSet<()>,
    inner: &Arc<Inner>,
    clock: Arc<dyn Clock>,
    settings: &Settings,
) {
    let stop = || inner.stop.clone();
    let (raft, store) = (&inner.raft, &inner.store);
    let (standing, changes) = (&inner.standing, &inner.changes);
    let guard = Guard {
        raft: raft.clone(),
        wal: Arc::clone(&inner.wal),
        standing: Arc::clone(standing),
        changes: Arc::clone(changes),
        election_timeout: inner.election_timeout,
    };
    tasks.spawn(guard.run(stop()));
    tasks.spawn(promote::run(Arc::clone(changes), stop()));
    tasks.spawn(removal::run(
        Arc::clone(&inner.peers),
        Arc::clone(standing),
        inner.election_timeout,
        stop(),
    ));
    let comparer = Comparer {
        hashes: Arc::clone(&inner.hashes),
        peers: Arc::clone(&inner.peers),
        changes: Arc::clone(changes),
        proposer: inner.proposer.clone(),
        rows_every: settings.compare_rows_every,
    };
    tasks.spawn(comparer.run(stop()));
    let tail = settings.log_tail_entries;
    tasks.spawn(purge::run(
        Arc::clone(changes),
        Arc::clone(store),
        tail,
        stop(),
    ));
    tasks.spawn(leader::follow_leadership(
        raft.clone(),
        Arc::clone(standing),
        Arc::clone(&inner.peers),
        Arc::clone(&inner.counters),
        Arc::clone(store),
        stop(),
    ));
    tasks.spawn(leader::make_join_secret(
        inner.proposer.clone(),
        Arc::clone(standing),
        Arc::clone(store),
        stop(),
    ));
    tasks.spawn(leader::expire_leases(
        Arc::clone(standing),
        inner.proposer.clone(),
        Arc::clone(store),
        clock,
        stop(),
    ));
}

fn raft_config(options: &Options) -> Result<Config, StartError> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (election, heartbeat) = (
        millis(options.election_timeout),
        millis(options.heartbeat_interval),
    );
    // Followers wait out the leader's lease and then their own timeout, so that each gets its
    // share of what was asked for: 0.85 to 1.1 of it in all.
    let (shortest, lease) = (election * 3 / 10, election * 55 / 100);
    let config = Config {
        cluster_name: "handfast".to_owned(),
        heartbeat_interval: heartbeat,
        election_timeout_min: shortest.max(heartbeat + 1),
        election_timeout_max: lease.max(heartbeat + 2),
        enable_pre_vote: Some(true),
        // The state lags the log on disk, so a restarted leader must learn the commit index anew.
        enable_leader_restore: Some(false),
        broadcast_submitted_on_append: Some(true),
        max_payload_entries: 1024,
        snapshot_policy: openraft::SnapshotPolicy::Never,
        // The duty in `purge` decides, which knows how far the followers are.
        max_in_snapshot_log_to_keep: u64::MAX,
        install_snapshot_timeout: 600_000,
        ..Config::default()
    };
    config
        .validate()
        .map_err(|error| StartError::Config(error.to_string()))
}

/// Brings a log that ends before the state does up to it, and refuses one without any vote: that is
/// not the log that made this state.
///
/// A crash leaves the log shorter when the others were a majority before this member's own sync was
/// done, or when a snapshot was installed. What the state holds is committed, so the log may go on
/// behind it; this member never said that it had the missing entries.
fn bring_log_to_state(wal: &Wal, store: &Store) -> Result<(), StartError> {
    let (log, applied) = (wal.state(), store.applied());
    let Some(applied) = applied else {
        return Ok(());
    };
    let last = log.last.map_or(0, |position| position.index);
    if applied.index <= last {
        return Ok(());
    }
    if log.vote.is_none() {
        return Err(StartError::LogMissing {
            applied: applied.index,
            last,
        });
    }
    tracing::info!(
        log = last,
        state = applied.index,
        "the log goes on behind the state"
    );
    wal.purge(applied);
    Ok(())
}

/// Founds the cluster, or goes on with it; a lone member leads when this returns.
async fn begin(inner: &Inner, member: MemberInfo, start: Start) -> Result<(), StartError> {
    let raft = &inner.raft;
    let recovery = |error: &dyn std::fmt::Display| StartError::Recovery(error.to_string());
    let initialized = raft
        .is_initialized()
        .await
        .map_err(|fatal| recovery(&fatal))?;
    let alone = match (initialized, start) {
        (true, _) => {
            let members = inner.members();
            let mut voters = member::voters(&members);
            let alone = voters.next().is_some_and(|voter| voter.id == member.id);
            let alone = alone && voters.next().is_none();
            if alone {
                raft.trigger()
                    .elect(false)
                    .await
                    .map_err(|fatal| recovery(&fatal))?;
            }
            alone
        }
        (false, Start::Found(members)) => {
            let alone = members.len() == 1;
            let members: BTreeMap<u64, MemberInfo> = members
                .into_iter()
                .map(|member| (member.id, member))
                .collect();
            raft.initialize(members)
                .await
                .map_err(|error| recovery(&error))?;
            alone
        }
        (false, Start::Join) => false,
        (false, Start::Resume) => return Err(StartError::NothingToResume),
    };
    if !alone {
        return Ok(());
    }
    raft.wait(Some(LEAD_WITHIN))
        .current_leader(member.id, "lead the cluster of one")
        .await
        .map_err(|_| StartError::NotLeading(LEAD_WITHIN))?;
    tokio::time::timeout(LEAD_WITHIN, inner.reads.pass())
        .await
        .map_err(|_| StartError::NotLeading(LEAD_WITHIN))?
        .map_err(|error| recovery(&error))?;
    Ok(())
}
