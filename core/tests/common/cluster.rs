//! A real cluster for tests: etcd from the PATH, its members killed, stopped and started at will.
//!
//! Owns the processes, their ports and their data. Knows nothing of what is tested. A member dies
//! with the test process, however that ends: a shell in between waits for its input to close.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use handfast_core::{Client, ErrorKind};
use handfast_ports::free_ports;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// How long a cluster may take to start or to elect a leader, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// Members with etcd's own timing.
pub struct Cluster {
    members: Vec<Member>,
    dir: TempDir,
}

struct Member {
    client_port: u16,
    peer_port: u16,
    running: Option<(Child, ChildStdin, Pid)>,
}

impl Cluster {
    /// Starts `size` members and waits until each of them serves.
    pub async fn start(size: usize) -> Self {
        let members = (0..size)
            .map(|_| {
                let [client_port, peer_port] = free_ports();
                Member {
                    client_port,
                    peer_port,
                    running: None,
                }
            })
            .collect();
        let mut cluster = Self {
            members,
            dir: tempfile::tempdir().unwrap(),
        };
        for index in 0..size {
            cluster.run(index);
        }
        cluster.all_ready().await;
        cluster
    }

    /// Starts member `index` on the data it had before, if any.
    pub fn run(&mut self, index: usize) {
        let founders: Vec<String> = (0..self.members.len())
            .map(|number| format!("m{number}={}", self.peer_url(number)))
            .collect();
        let (client_url, peer_url) = (self.endpoint(index), self.peer_url(index));
        let script =
            "\"$@\" >\"$LOG\" 2>&1 & echo $!; cat >/dev/null; kill -9 $! 2>/dev/null; wait";
        let mut shell = Command::new("sh")
            .args(["-c", script, "sh", "etcd", "--logger", "zap"])
            .args(["--name", &format!("m{index}")])
            .arg("--data-dir")
            .arg(self.dir.path().join(format!("m{index}")))
            .args(["--listen-client-urls", &client_url])
            .args(["--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url])
            .args(["--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster", &founders.join(",")])
            .args(["--initial-cluster-state", "new"])
            .env("LOG", self.log(index))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let stdin = shell.stdin.take().unwrap();
        let mut pid = String::new();
        BufReader::new(shell.stdout.take().unwrap())
            .read_line(&mut pid)
            .unwrap();
        let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        let member = &mut self.members[index];
        assert!(member.running.is_none(), "member {index} runs already");
        member.running = Some((shell, stdin, pid));
    }

    /// Waits until every member serves.
    pub async fn all_ready(&self) {
        for index in 0..self.members.len() {
            self.ready(index).await;
        }
    }

    /// Waits until member `index` answers a linearizable read: it knows a leader.
    pub async fn ready(&self, index: usize) {
        let client = self
            .client_of(&[index])
            .with_timeout(Duration::from_secs(2));
        let begun = Instant::now();
        while let Err(error) = client.get("ready").await {
            if begun.elapsed() > START_LIMIT {
                let log = std::fs::read_to_string(self.log(index)).unwrap_or_default();
                panic!("member {index} does not serve: {error}\n{log}");
            }
            sleep(POLL).await;
        }
    }

    /// Kills member `index` as `kill -9` does.
    pub fn kill(&mut self, index: usize) {
        self.signal(index, Signal::KILL);
        let (mut shell, stdin, _) = self.members[index].running.take().unwrap();
        drop(stdin);
        shell.wait().unwrap();
    }

    /// Stops member `index` in its tracks: connections stay, nothing answers.
    pub fn pause(&self, index: usize) {
        self.signal(index, Signal::STOP);
    }

    pub fn resume(&self, index: usize) {
        self.signal(index, Signal::CONT);
    }

    fn signal(&self, index: usize, signal: Signal) {
        let (_, _, pid) = self.members[index].running.as_ref().expect("it runs");
        kill_process(*pid, signal).unwrap();
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn endpoint(&self, index: usize) -> String {
        format!("http://127.0.0.1:{}", self.members[index].client_port)
    }

    pub fn endpoints(&self) -> Vec<String> {
        (0..self.len()).map(|index| self.endpoint(index)).collect()
    }

    fn peer_url(&self, index: usize) -> String {
        format!("http://127.0.0.1:{}", self.members[index].peer_port)
    }

    fn log(&self, index: usize) -> PathBuf {
        self.dir.path().join(format!("log{index}"))
    }

    /// A client with its defaults that knows all members.
    pub fn client(&self) -> Client {
        Client::builder()
            .endpoints(self.endpoints())
            .build()
            .unwrap()
    }

    /// A client that knows only these members.
    pub fn client_of(&self, members: &[usize]) -> Client {
        let endpoints: Vec<String> = members.iter().map(|index| self.endpoint(*index)).collect();
        Client::builder().endpoints(endpoints).build().unwrap()
    }

    /// The members but `index`.
    pub fn others(&self, index: usize) -> Vec<usize> {
        (0..self.len()).filter(|other| *other != index).collect()
    }

    /// The member that answers `client` now.
    pub async fn asked_by(&self, client: &Client) -> usize {
        let answer = client.range("who").await.unwrap();
        self.number_of(answer.header.member_id).await
    }

    /// The member that leads; waits until one does.
    pub async fn leader(&self) -> usize {
        let client = self.client();
        let begun = Instant::now();
        loop {
            // A linearizable read needs a leader that leads; what members say may be old.
            if client.get("who").await.is_ok()
                && let Some(index) = self.self_declared_leader().await
            {
                return index;
            }
            assert!(begun.elapsed() < START_LIMIT, "no leader");
            sleep(POLL).await;
        }
    }

    async fn self_declared_leader(&self) -> Option<usize> {
        for index in self.running() {
            let client = self
                .client_of(&[index])
                .with_timeout(Duration::from_secs(1));
            if let Ok(status) = client.status(&self.endpoint(index)).await
                && status
                    .header
                    .is_some_and(|header| header.member_id == status.leader)
            {
                return Some(index);
            }
        }
        None
    }

    async fn number_of(&self, member_id: u64) -> usize {
        for index in self.running() {
            let client = self.client_of(&[index]);
            match client.status(&self.endpoint(index)).await {
                Ok(status) if status.header.is_some_and(|of| of.member_id == member_id) => {
                    return index;
                }
                Ok(_) => {}
                Err(error) => assert_ne!(error.kind(), ErrorKind::InvalidEndpoint),
            }
        }
        panic!("no member has the id {member_id:x}");
    }

    fn running(&self) -> impl Iterator<Item = usize> {
        (0..self.len()).filter(|index| self.members[*index].running.is_some())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            if let Some((mut shell, stdin, pid)) = member.running.take() {
                let _ = kill_process(pid, Signal::KILL);
                drop(stdin);
                let _ = shell.wait();
            }
        }
    }
}
