//! A real etcd beside the server, when one is installed: the same questions, the same answers.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::clients::{PATIENCE, get};
use handfast_ports::free_port;
use handfast_proto::etcdserverpb::kv_client::KvClient;
use tonic::transport::Channel;

/// A running `etcd`, ended when dropped.
pub(crate) struct Etcd {
    pub(crate) endpoint: String,
    process: Child,
    _dir: TempDir,
}

impl Etcd {
    /// `None` when there is no `etcd` to run.
    pub(crate) async fn start() -> Option<Etcd> {
        let dir = tempfile::tempdir().unwrap();
        let (client, peer) = (free_port(), free_port());
        let endpoint = format!("http://127.0.0.1:{client}");
        let peers = format!("http://127.0.0.1:{peer}");
        let started = Command::new("etcd")
            .arg("--data-dir")
            .arg(dir.path())
            .args([
                "--listen-client-urls",
                &endpoint,
                "--advertise-client-urls",
                &endpoint,
            ])
            .args([
                "--listen-peer-urls",
                &peers,
                "--initial-advertise-peer-urls",
                &peers,
            ])
            .args([
                "--initial-cluster",
                &format!("default={peers}"),
                "--unsafe-no-fsync",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(process) = started else {
            eprintln!("skipped: there is no etcd on this machine");
            return None;
        };
        let etcd = Etcd {
            endpoint,
            process,
            _dir: dir,
        };
        etcd.ready().await;
        Some(etcd)
    }

    async fn ready(&self) {
        let channel = Channel::from_shared(self.endpoint.clone())
            .unwrap()
            .connect_lazy();
        let mut kv = KvClient::new(channel);
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while kv.range(get("ready")).await.is_err() {
            assert!(tokio::time::Instant::now() < deadline, "etcd did not start");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
