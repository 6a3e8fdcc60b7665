//! What the tests share: members, and requests that are repeated while a leader is looked for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use handfast_proto::etcdserverpb::{
    Member, MemberListRequest, PutRequest, RangeRequest, RangeResponse, StatusRequest,
    StatusResponse, cluster_client::ClusterClient, kv_client::KvClient,
    maintenance_client::MaintenanceClient,
};
use handfast_server::config::{Config, InitialClusterState, Url};
use handfast_server::{Error, Server};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

/// A wait that only a broken server exhausts.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// Fails the test instead of hanging it.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("the cluster did not get there")
}

/// Repeats until there is something.
pub(crate) async fn eventually<T>(mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    soon(async {
        loop {
            if let Some(done) = attempt().await {
                return done;
            }
            tokio::time::sleep(PAUSE).await;
        }
    })
    .await
}

/// A member that may or may not run.
pub(crate) struct Place {
    pub(crate) config: Config,
    pub(crate) server: Option<Server>,
}

/// A cluster that was founded from flags.
pub(crate) struct Cluster {
    pub(crate) places: Vec<Place>,
    root: TempDir,
}

impl Cluster {
    /// Founds a cluster, and returns when every member has a leader.
    pub(crate) async fn found(size: usize) -> Cluster {
        let mut cluster = Cluster::planned(size);
        cluster.start_all().await;
        cluster
    }

    /// The members of a cluster, none of them started.
    pub(crate) fn planned(size: usize) -> Cluster {
        let root = tempfile::tempdir().unwrap();
        let founders: Vec<(String, Url)> = free_ports(size)
            .into_iter()
            .enumerate()
            .map(|(number, port)| (format!("n{number}"), Url::tcp("127.0.0.1", port)))
            .collect();
        let places = founders.iter().map(|(name, url)| {
            let mut config = config(name, url, &root.path().join(name));
            config.initial_cluster = founders.clone();
            Place {
                config,
                server: None,
            }
        });
        Cluster {
            places: places.collect(),
            root,
        }
    }

    pub(crate) async fn start_all(&mut self) {
        let starts = self.places.iter().map(|place| start(&place.config));
        let servers = futures::future::join_all(starts).await;
        for (place, server) in self.places.iter_mut().zip(servers) {
            place.server = Some(server.unwrap());
        }
        for place in &self.places {
            place.leader().await;
        }
    }

    /// The place of the member that leads, when all that run agree on it.
    pub(crate) async fn leader(&self) -> usize {
        eventually(async || {
            let mut agreed = None;
            for place in self.running() {
                let leader = place.leader().await;
                if *agreed.get_or_insert(leader) != leader {
                    return None;
                }
            }
            let is_leader = |place: &Place| {
                let server = place.server.as_ref();
                server.is_some_and(|server| Some(server.member_id()) == agreed)
            };
            self.places.iter().position(is_leader)
        })
        .await
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(|place| place.server.is_some())
    }

    /// A member that is to be added, in the place of `flags` when it is named there.
    pub(crate) fn newcomer(&self, name: &str) -> Place {
        let url = Url::tcp("127.0.0.1", free_ports(1)[0]);
        let mut config = config(name, &url, &self.root.path().join(name));
        config.initial_cluster_state = InitialClusterState::Existing;
        config.initial_cluster = self
            .places
            .iter()
            .map(|place| &place.config)
            .chain([&config])
            .map(|config| {
                let url = config.initial_advertise_peer_urls[0].clone();
                (config.name.clone(), url)
            })
            .collect();
        Place {
            config,
            server: None,
        }
    }
}

impl Place {
    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().expect("the member runs")
    }

    pub(crate) fn id(&self) -> u64 {
        self.server().member_id()
    }

    pub(crate) fn peer_url(&self) -> String {
        self.config.initial_advertise_peer_urls[0].to_string()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.config.data_dir.clone()
    }

    pub(crate) async fn start(&mut self) {
        self.server = Some(start(&self.config).await.unwrap());
    }

    pub(crate) async fn stop(&mut self) {
        let server = self.server.take().expect("the member runs");
        soon(server.shutdown()).await.unwrap();
    }

    /// Ends the member as a crash would.
    pub(crate) async fn kill(&mut self) {
        let server = self.server.take().expect("the member runs");
        soon(server.kill()).await;
    }

    fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(self.server().endpoint()).unwrap();
        endpoint.connect_lazy()
    }

    pub(crate) fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel())
    }

    pub(crate) fn maintenance(&self) -> MaintenanceClient<Channel> {
        MaintenanceClient::new(self.channel())
    }

    /// Puts until it succeeds.
    pub(crate) async fn put(&self, key: &str, value: &str) {
        let mut kv = KvClient::new(self.channel());
        eventually(async || {
            let request = PutRequest {
                key: key.to_owned().into(),
                value: value.to_owned().into(),
                ..PutRequest::default()
            };
            kv.put(request).await.ok()
        })
        .await;
    }

    /// The value as a linearizable read finds it.
    pub(crate) async fn get(&self, key: &str) -> Option<String> {
        let request = RangeRequest {
            key: key.to_owned().into(),
            ..RangeRequest::default()
        };
        let found = self.range(request).await;
        let value = found.kvs.into_iter().next()?.value;
        Some(String::from_utf8(value.to_vec()).unwrap())
    }

    /// Reads until it succeeds.
    pub(crate) async fn range(&self, request: RangeRequest) -> RangeResponse {
        let mut kv = KvClient::new(self.channel());
        eventually(async || kv.range(request.clone()).await.ok())
            .await
            .into_inner()
    }

    pub(crate) async fn status(&self) -> StatusResponse {
        let mut maintenance = self.maintenance();
        let status = maintenance.status(StatusRequest::default());
        soon(status).await.unwrap().into_inner()
    }

    /// The leader, once this member knows one.
    pub(crate) async fn leader(&self) -> u64 {
        eventually(async || {
            let leader = self.status().await.leader;
            (leader != 0).then_some(leader)
        })
        .await
    }

    /// Waits until this member votes in fact: the list shows one that is to vote as a voter before
    /// it has caught up.
    pub(crate) async fn votes(&self) {
        let consensus = self.server().consensus().unwrap();
        eventually(async || (!consensus.is_learner()).then_some(())).await;
        // The first of these is acknowledged when the member has its vote, the others when the
        // cluster has also left the state between old and new voters.
        for _ in 0..3 {
            self.put("vote", "counted").await;
        }
    }

    /// The members as this one lists them now.
    pub(crate) async fn members(&self) -> Vec<Member> {
        let mut cluster = self.cluster();
        let listed = cluster.member_list(MemberListRequest::default());
        soon(listed).await.unwrap().into_inner().members
    }
}

pub(crate) async fn start(config: &Config) -> Result<Server, Error> {
    soon(Server::builder().config(config.clone()).start()).await
}

/// A member on loopback, with a free port for clients.
pub(crate) fn config(name: &str, peer_url: &Url, data_dir: &Path) -> Config {
    let mut config = Config::default();
    config.name = name.to_owned();
    config.data_dir = data_dir.to_owned();
    config.listen_client_urls = vec![Url::tcp("127.0.0.1", 0)];
    config.advertise_client_urls = vec![Url::tcp("127.0.0.1", 0)];
    config.listen_peer_urls = vec![peer_url.clone()];
    config.listen_peer_urls_explicit = true;
    config.initial_advertise_peer_urls = vec![peer_url.clone()];
    config
}

/// Ports that nobody listens on at the moment.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    (0..count).map(|_| handfast_ports::free_port()).collect()
}
