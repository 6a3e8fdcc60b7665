//! A cluster in one process: members over a network in memory that can be cut.

#![allow(clippy::unwrap_used, unreachable_pub)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, future::BoxFuture};
use handfast_consensus::{
    Consensus, Options, PeerService, SpoolOptions, Start,
    peer::{Pipe, Transport, Unreachable},
};
use handfast_mvcc::{MonotonicClock, Outcome, Store, StoreOptions};
use handfast_proto::{
    command::{Command, MemberInfo, command::Op},
    etcdserverpb::{PutRequest, RangeRequest},
    peer::{Request, Response},
};
use handfast_storage::{
    disk::RealDisk,
    state::{State, StateOptions},
    wal::{Identity, Wal, WalOptions},
};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

pub const CLUSTER: u64 = 0xc1;
const ELECTION: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Links {
    services: BTreeMap<u64, PeerService>,
    /// Pairs (from, to) that nothing passes.
    cut: BTreeSet<(u64, u64)>,
    /// Requests sent from member to member.
    requests: u64,
}

/// The network. Clones share it.
#[derive(Clone, Default)]
pub struct Net(Arc<Mutex<Links>>);

impl Net {
    fn service(&self, from: u64, to: u64) -> Option<PeerService> {
        let links = self.0.lock();
        let open = !links.cut.contains(&(from, to)) && !links.cut.contains(&(to, from));
        links.services.get(&to).filter(|_| open).cloned()
    }

    pub fn isolate(&self, id: u64, others: &[u64]) {
        self.0
            .lock()
            .cut
            .extend(others.iter().map(|other| (id, *other)));
    }

    /// How many requests members have sent to each other.
    pub fn requests(&self) -> u64 {
        self.0.lock().requests
    }

    fn count(&self) {
        self.0.lock().requests += 1;
    }

    pub fn heal(&self) {
        self.0.lock().cut.clear();
    }

    fn down(&self, id: u64) {
        self.0.lock().services.remove(&id);
    }
}

struct Link {
    net: Net,
    from: u64,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Link({})", self.from)
    }
}

fn gone(certain: bool) -> Unreachable {
    Unreachable {
        detail: "cut".to_owned(),
        certain,
    }
}

impl Transport for Link {
    fn call(
        &self,
        to: &MemberInfo,
        request: Request,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Response, Unreachable>> {
        let (net, from, to) = (self.net.clone(), self.from, to.id);
        Box::pin(async move {
            let service = net.service(from, to).ok_or_else(|| gone(true))?;
            net.count();
            let answer = tokio::time::timeout(timeout, service.call(request)).await;
            let answer = answer.map_err(|_| gone(false))?;
            net.service(from, to).ok_or_else(|| gone(false))?;
            Ok(answer)
        })
    }

    fn pipe(&self, to: &MemberInfo) -> BoxFuture<'static, Result<Pipe, Unreachable>> {
        let (net, from, to) = (self.net.clone(), self.from, to.id);
        Box::pin(async move {
            let service = net.service(from, to).ok_or_else(|| gone(true))?;
            let (requests, waiting) = mpsc::channel(64);
            let (answers, responses) = mpsc::channel(64);
            tokio::spawn(async move {
                let counting = net.clone();
                let waiting = ReceiverStream::new(waiting).inspect(move |_| counting.count());
                let mut replies = service.replicate(waiting);
                while let Some(reply) = replies.next().await {
                    let reply = net.service(from, to).map(|_| reply);
                    let broken = reply.is_none();
                    let reply = reply.ok_or_else(|| gone(false));
                    if answers.send(reply).await.is_err() || broken {
                        return;
                    }
                }
            });
            Ok(Pipe {
                requests,
                responses,
            })
        })
    }
}

pub fn member(id: u64) -> MemberInfo {
    MemberInfo {
        id,
        name: format!("m{id}"),
        peer_urls: vec![format!("mem://{id}")],
        ..MemberInfo::default()
    }
}

/// Members with their data in folders of one temporary directory.
pub struct Cluster {
    pub net: Net,
    dir: tempfile::TempDir,
    pub members: BTreeMap<u64, Consensus>,
    pub log_tail_entries: u64,
    pub election: Duration,
    /// Of members that are started from now on.
    pub lease_read: bool,
}

impl Cluster {
    pub async fn found(ids: &[u64]) -> Cluster {
        Cluster::found_with(ids, ELECTION).await
    }

    pub async fn found_with(ids: &[u64], election: Duration) -> Cluster {
        Cluster::found_reading(ids, election, false).await
    }

    /// With reads under the leader's lease, or by read index.
    pub async fn found_reading(ids: &[u64], election: Duration, lease_read: bool) -> Cluster {
        let mut cluster = Cluster {
            net: Net::default(),
            dir: tempfile::tempdir().unwrap(),
            members: BTreeMap::new(),
            log_tail_entries: 5000,
            election,
            lease_read,
        };
        let members: Vec<_> = ids.iter().map(|id| member(*id)).collect();
        for id in ids {
            cluster.start(*id, Start::Found(members.clone())).await;
        }
        cluster
    }

    pub async fn start(&mut self, id: u64, start: Start) {
        let dir = self.dir.path().join(id.to_string());
        std::fs::create_dir_all(&dir).unwrap();
        let disk = Arc::new(RealDisk);
        let identity = Identity {
            cluster_id: CLUSTER,
            member_id: id,
        };
        let wal_options = WalOptions {
            sync: false,
            segment_bytes: 1 << 20,
            ..WalOptions::default()
        };
        let wal = Wal::open(disk.clone(), &dir.join("wal"), identity, wal_options).unwrap();
        let state = StateOptions {
            sync: false,
            ..StateOptions::default()
        };
        let state = State::open(disk.clone(), &dir.join("state"), state).unwrap();
        let clock = Arc::new(MonotonicClock::default());
        let store = StoreOptions {
            clock: clock.clone(),
            ..StoreOptions::default()
        };
        let consensus = Consensus::start(Options {
            member: member(id),
            cluster_id: CLUSTER,
            start,
            transport: Arc::new(Link {
                net: self.net.clone(),
                from: id,
            }),
            wal,
            store: Arc::new(Store::open(Arc::new(state), store).unwrap()),
            clock,
            spool: SpoolOptions {
                disk,
                path: dir.join("spool"),
            },
            heartbeat_interval: self.election / 10,
            election_timeout: self.election,
            request_timeout: PATIENCE,
            max_request_bytes: 1 << 20,
            log_tail_entries: self.log_tail_entries,
            lease_read: self.lease_read,
            strict_reconfig: true,
            max_learners: 1,
            compare_rows_every: Duration::ZERO,
            blocking: true,
        })
        .await
        .unwrap();
        self.net.0.lock().services.insert(id, consensus.peers());
        self.members.insert(id, consensus);
    }

    pub async fn stop(&mut self, id: u64) {
        self.net.down(id);
        let member = self.members.remove(&id).unwrap();
        member.shutdown().await;
    }

    /// The member that leads, once `among` agree on one of themselves.
    pub async fn leader(&self, among: &[u64]) -> u64 {
        until("a leader", async || {
            let seen: BTreeSet<_> = among.iter().map(|id| self.members[id].leader()).collect();
            let leader = seen.first().copied().flatten()?;
            (seen.len() == 1 && among.contains(&leader)).then_some(leader)
        })
        .await
    }

    pub async fn put(&self, at: u64, key: &str, value: &str) -> i64 {
        let put = PutRequest {
            key: key.as_bytes().to_vec().into(),
            value: value.as_bytes().to_vec().into(),
            ..PutRequest::default()
        };
        let command = Command {
            op: Some(Op::Put(put)),
        };
        let applied = self.members[&at].propose(command).await.unwrap();
        assert!(matches!(applied.result, Ok(Outcome::Put(_))));
        applied.revision
    }

    /// A linearizable read.
    pub async fn get(&self, at: u64, key: &str) -> Option<String> {
        self.members[&at].linearizable().await.unwrap();
        self.local(at, key)
    }

    /// What a member has, however old.
    pub fn local(&self, at: u64, key: &str) -> Option<String> {
        let range = RangeRequest {
            key: key.as_bytes().to_vec().into(),
            ..RangeRequest::default()
        };
        let found = self.members[&at].store().range(&range).unwrap();
        let kv = found.kvs.first()?;
        Some(String::from_utf8(kv.value.to_vec()).unwrap())
    }
}

/// Waits for something that happens by itself.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let Ok(found) = tokio::time::timeout(Duration::from_secs(60), looking).await else {
        panic!("{what} did not come about");
    };
    found
}
