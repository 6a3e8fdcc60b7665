//! A real etcd for tests: started from the PATH, killed, paused and restarted at will.
//!
//! Owns the process and its data directory. Knows nothing of what is tested.

// Every test binary uses a part of this.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

pub mod cluster;

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

pub use cluster::Cluster;
use handfast_core::{Client, WatchEvent, WatchStream};
use handfast_ports::free_ports;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// How long a test waits for what must happen before it fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One etcd member, alone in its cluster.
pub struct Etcd {
    child: Option<Child>,
    data_dir: TempDir,
    client_port: u16,
    peer_port: u16,
}

impl Etcd {
    /// Starts an etcd on free ports and waits until it serves.
    pub async fn start() -> Self {
        let etcd = Self::start_unready();
        etcd.ready().await;
        etcd
    }

    pub fn start_unready() -> Self {
        let mut etcd = Self::reserve();
        etcd.run();
        etcd
    }

    /// Picks ports and a data directory, but starts nothing.
    pub fn reserve() -> Self {
        let [client_port, peer_port] = free_ports();
        let data_dir = tempfile::tempdir().unwrap();
        Self {
            child: None,
            data_dir,
            client_port,
            peer_port,
        }
    }

    /// Starts the process; the data are those it had before.
    pub fn run(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let client_url = self.endpoint();
        let peer_url = format!("http://127.0.0.1:{}", self.peer_port);
        let child = Command::new("etcd")
            .args(["--name", "test", "--logger", "zap", "--log-level", "error"])
            .args(["--heartbeat-interval", "20", "--election-timeout", "200"])
            .arg("--data-dir")
            .arg(self.data_dir.path())
            .args([
                "--listen-client-urls",
                &client_url,
                "--advertise-client-urls",
                &client_url,
            ])
            .args([
                "--listen-peer-urls",
                &peer_url,
                "--initial-advertise-peer-urls",
                &peer_url,
            ])
            .args(["--initial-cluster", &format!("test={peer_url}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("cannot start etcd: install it (Debian: etcd-server) and put it on the PATH");
        self.child = Some(child);
    }

    pub async fn ready(&self) {
        let client = self.client().await.with_timeout(PATIENCE);
        client.get("ready").await.unwrap();
    }

    /// Kills the process as `kill -9` does.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Stops the process in its tracks: connections stay, nothing answers.
    pub fn pause(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
        // The signal is on its way until the kernel says that all threads stand still.
        waitpid(Some(self.pid()), WaitOptions::UNTRACED).unwrap();
    }

    pub fn resume(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.endpoint()).await.unwrap()
    }

    /// The value of a metric without labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let address = SocketAddr::from(([127, 0, 0, 1], self.client_port));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET /metrics HTTP/1.0\r\n\r\n")
            .await
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let prefix = format!("{name} ");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&prefix))
            .unwrap();
        line.parse().unwrap()
    }

    /// Waits until a request has reached the machine of the server, which does not read it.
    pub async fn unread(&self) {
        self.socket_is(|_, waiting| waiting > 0).await;
    }

    /// Waits until a client has closed a connection that the server still holds.
    pub async fn hung_up(&self) {
        const CLOSE_WAIT: &str = "08";
        self.socket_is(|state, _| state == CLOSE_WAIT).await;
    }

    /// Waits for a connection of the server with this state and that many bytes to be read.
    async fn socket_is(&self, wanted: impl Fn(&str, u64) -> bool) {
        let ours = format!(":{:04X}", self.client_port);
        let looking = async {
            loop {
                let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
                let found = sockets.lines().skip(1).any(|line| {
                    let columns: Vec<_> = line.split_whitespace().collect();
                    let (local, state, queues) = (columns[1], columns[3], columns[4]);
                    let (_, unread) = queues.split_once(':').unwrap();
                    let unread = u64::from_str_radix(unread, 16).unwrap();
                    // The queue of a listening socket counts connections.
                    const LISTEN: &str = "0A";
                    local.ends_with(&ours) && state != LISTEN && wanted(state, unread)
                });
                if found {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, looking)
            .await
            .expect("the connection did not come into that state");
    }

    fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().unwrap())
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// An address at which every connection is refused as long as the socket is held.
pub fn dead_endpoint() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let endpoint = format!("http://{}", socket.local_addr().unwrap());
    (socket, endpoint)
}

/// The next report of a watch, which must come.
pub async fn next(watch: &mut WatchStream) -> WatchEvent {
    timeout(PATIENCE, watch.next())
        .await
        .expect("the watch is silent")
        .expect("the watch ended")
        .expect("the watch failed")
}

/// Waits until the watch is in place and gives the revision it was made at.
pub async fn created(watch: &mut WatchStream) -> i64 {
    match next(watch).await {
        WatchEvent::Created { revision } => revision,
        other => panic!("{other:?} instead of Created"),
    }
}

/// The revisions of all changes up to `last`, one per change, in the order they came.
pub async fn revisions_until(watch: &mut WatchStream, last: i64) -> Vec<i64> {
    let mut seen = Vec::new();
    while seen.last().is_none_or(|revision| *revision < last) {
        if let WatchEvent::Events { events, .. } = next(watch).await {
            seen.extend(events.iter().map(|event| event.kv.mod_revision));
        }
    }
    seen
}
