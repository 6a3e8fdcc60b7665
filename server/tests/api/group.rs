//! Several members of one cluster in this process, each on sockets and a folder of its own.

use std::net::TcpListener;
use std::time::Duration;

use handfast_proto::etcdserverpb::{StatusRequest, StatusResponse};
use handfast_server::Server;
use handfast_server::config::{Config, InitialClusterState, Url};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::clients::{Clients, PATIENCE, get, soon};

/// Short, so that a lost leader is noticed soon; the machine may be busy, so not too short.
pub(crate) const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);

/// How often to look whether something has happened.
pub(crate) const LOOK: Duration = Duration::from_millis(50);

/// A running member.
pub(crate) struct Member {
    pub(crate) id: u64,
    pub(crate) server: Server,
    pub(crate) clients: Clients,
}

/// The members that run, and the folders of all.
pub(crate) struct Group {
    pub(crate) members: Vec<Member>,
    dir: TempDir,
}

/// An address that nobody listens on now.
pub(crate) fn free_url() -> Url {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    Url::tcp("127.0.0.1", socket.local_addr().unwrap().port())
}

fn config(dir: &TempDir, name: &str, peer_url: &Url, cluster: &[(String, Url)]) -> Config {
    let mut config = Config::default();
    name.clone_into(&mut config.name);
    config.data_dir = dir.path().join(name);
    config.listen_client_urls = vec![Url::tcp("127.0.0.1", 0)];
    config.advertise_client_urls = config.listen_client_urls.clone();
    config.listen_peer_urls = vec![peer_url.clone()];
    config.initial_advertise_peer_urls = vec![peer_url.clone()];
    config.listen_peer_urls_explicit = true;
    config.initial_cluster = cluster.to_vec();
    config.election_timeout = ELECTION_TIMEOUT;
    config.heartbeat_interval = ELECTION_TIMEOUT / 10;
    config.sync = false;
    config
}

async fn start(config: Config) -> Member {
    let server = soon(Server::builder().config(config).start())
        .await
        .unwrap();
    Member {
        id: server.member_id(),
        clients: Clients::connect(&server.endpoint()).await,
        server,
    }
}

impl Group {
    /// Founds a cluster, and waits until each member serves reads.
    pub(crate) async fn found(size: usize) -> Group {
        let dir = tempfile::tempdir().unwrap();
        let named = |at: usize| (format!("m{at}"), free_url());
        let cluster: Vec<(String, Url)> = (0..size).map(named).collect();
        let starts = cluster
            .iter()
            .map(|(name, url)| start(config(&dir, name, url, &cluster)));
        let members = futures::future::join_all(starts).await;
        let group = Group { members, dir };
        for member in &group.members {
            member.serves().await;
            member.knows_all().await;
        }
        group
    }

    /// Starts a member that the cluster was told of already.
    pub(crate) async fn start_added(&mut self, name: &str, peer_url: &Url) {
        let list = self.members[0].list().await;
        let others = list.iter().filter(|member| !member.name.is_empty());
        let mut cluster: Vec<(String, Url)> = others
            .flat_map(|member| {
                let urls = member.peer_ur_ls.iter();
                urls.map(|url| (member.name.clone(), url.parse().unwrap()))
            })
            .collect();
        cluster.push((name.to_owned(), peer_url.clone()));
        let mut config = config(&self.dir, name, peer_url, &cluster);
        config.initial_cluster_state = InitialClusterState::Existing;
        self.members.push(start(config).await);
    }

    /// Stops a member for good.
    pub(crate) async fn stop(&mut self, at: usize) {
        let member = self.members.remove(at);
        soon(member.server.shutdown()).await.unwrap();
    }

    /// The place of the leader that all members agree on.
    pub(crate) async fn leader(&self) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut leaders = Vec::new();
            for member in &self.members {
                leaders.push(member.status().await.leader);
            }
            let agreed = leaders.iter().all(|leader| *leader == leaders[0]);
            let at = self.members.iter().position(|it| it.id == leaders[0]);
            if let Some(at) = at.filter(|_| agreed) {
                return at;
            }
            assert!(Instant::now() < deadline, "no agreement: {leaders:x?}");
            sleep(LOOK).await;
        }
    }
}

impl Member {
    pub(crate) async fn status(&self) -> StatusResponse {
        let mut maintenance = self.clients.maintenance.clone();
        soon(maintenance.status(StatusRequest {}))
            .await
            .unwrap()
            .into_inner()
    }

    /// The members as this one knows them.
    pub(crate) async fn list(&self) -> Vec<handfast_proto::etcdserverpb::Member> {
        let request = handfast_proto::etcdserverpb::MemberListRequest::default();
        let mut cluster = self.clients.cluster.clone();
        let listed = soon(cluster.member_list(request)).await.unwrap();
        listed.into_inner().members
    }

    async fn serves(&self) {
        let deadline = Instant::now() + PATIENCE;
        while let Err(status) = soon(self.clients.kv.clone().range(get("serves"))).await {
            assert!(Instant::now() < deadline, "{status}");
            sleep(LOOK).await;
        }
    }

    /// Waits until the member knows where clients find each of the others.
    async fn knows_all(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self
            .list()
            .await
            .iter()
            .any(|it| it.client_ur_ls.is_empty())
        {
            assert!(Instant::now() < deadline, "{:?}", self.list().await);
            sleep(LOOK).await;
        }
    }

    /// Waits until the member's status is as it should be.
    pub(crate) async fn reaches(&self, what: &str, is: impl Fn(&StatusResponse) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status().await;
            if is(&status) {
                return;
            }
            assert!(Instant::now() < deadline, "never {what}: {status:?}");
            sleep(LOOK).await;
        }
    }
}
