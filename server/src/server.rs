//! A running server and its end.
//!
//! Owns the order of a stop: no new requests, streams ended with a status, running requests
//! finished, raft stopped, everything flushed, the data directory released.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use handfast_storage::data_dir::DataDir;
use tokio::task::{AbortHandle, JoinHandle};

use crate::api::Node;
use crate::failure::Error;
use crate::flusher::Flusher;
use crate::lanes::{Lanes, blocking};
use crate::limits;
use crate::listen::Connections;

/// A member that serves clients, inside this process.
///
/// Dropping it stops it in the background, as [`Server::shutdown`] does in the foreground.
#[derive(Debug)]
pub struct Server {
    client_urls: Vec<String>,
    data_dir: PathBuf,
    member_id: u64,
    cluster_id: u64,
    lanes: Lanes,
    running: Option<Running>,
}

/// What a start hands over.
pub(crate) struct Parts {
    pub(crate) node: Arc<Node>,
    pub(crate) connections: Connections,
    pub(crate) flusher: Flusher,
    pub(crate) dir: DataDir,
    pub(crate) client_urls: Vec<String>,
    pub(crate) lanes: Lanes,
}

struct Running {
    node: Arc<Node>,
    connections: Connections,
    flusher: Flusher,
    watchdog: AbortHandle,
    // Last: the lock must outlast everything that uses the data.
    dir: DataDir,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

impl Server {
    /// Must be called on a lane.
    pub(crate) fn run(parts: Parts) -> Server {
        let Parts {
            node,
            connections,
            flusher,
            dir,
            client_urls,
            lanes,
        } = parts;
        let watchdog = tokio::spawn(watch_leader(Arc::clone(&node))).abort_handle();
        Server {
            client_urls,
            data_dir: dir.path().to_owned(),
            member_id: node.member.id,
            cluster_id: node.cluster_id,
            lanes,
            running: Some(Running {
                node,
                connections,
                flusher,
                watchdog,
                dir,
            }),
        }
    }

    /// The first address for clients, such as `http://127.0.0.1:2379`.
    pub fn endpoint(&self) -> String {
        self.client_urls.first().cloned().unwrap_or_default()
    }

    /// Every address for clients, with the ports that the system chose.
    pub fn client_urls(&self) -> &[String] {
        &self.client_urls
    }

    /// The folder of the data; a temporary one when the server is ephemeral.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The member's id; stable over restarts.
    pub fn member_id(&self) -> u64 {
        self.member_id
    }

    /// The cluster's id; stable over restarts.
    pub fn cluster_id(&self) -> u64 {
        self.cluster_id
    }

    /// Waits until the member has failed for good, by a broken disk for one, and says why; then
    /// it has to be shut down. Pending for ever while all is well. Cancel safe.
    pub async fn failed(&self) -> String {
        match &self.running {
            Some(running) => running.node.consensus.failed().await,
            None => std::future::pending().await,
        }
    }

    /// Stops in order: running requests get a few seconds to finish, streams end with
    /// `etcdserver: server stopped`, and everything is on disk when it returns.
    ///
    /// When the future is dropped the stop goes on in the background.
    ///
    /// # Errors
    /// [`Error::Store`] when the last changes could not be written to the state file. The log has
    /// them, so nothing is lost.
    pub async fn shutdown(mut self) -> Result<(), Error> {
        let Some(running) = self.running.take() else {
            return Ok(());
        };
        let stopped = match self.stop(running).await {
            Ok(stopped) => stopped,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // A lane ends only after this task, so nothing cancels it.
                Err(_) => Ok(()),
            },
        };
        let lanes = self.lanes.clone();
        blocking(move || lanes.join()).await;
        stopped
    }
}

impl Server {
    /// Stops on the server's own thread, and lets the threads go when that is done.
    fn stop(&self, running: Running) -> JoinHandle<Result<(), Error>> {
        let lanes = self.lanes.clone();
        self.lanes.first().spawn(async move {
            let stopped = running.stop().await;
            lanes.stop();
            stopped
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            drop(self.stop(running));
        }
    }
}

impl Running {
    async fn stop(self) -> Result<(), Error> {
        let Running {
            node,
            connections,
            flusher,
            watchdog,
            dir,
        } = self;
        watchdog.abort();
        node.streams.stop();
        connections.close().await;
        node.consensus.shutdown().await;
        let ephemeral = dir.is_ephemeral();
        let flushed = blocking(move || match ephemeral {
            true => {
                flusher.discard();
                Ok(())
            }
            false => flusher.stop(),
        })
        .await;
        drop(node);
        blocking(move || drop(dir)).await;
        flushed.map_err(Error::Store)
    }
}

/// Ends the streams that asked for a leader once none was seen for several checks.
async fn watch_leader(node: Arc<Node>) {
    let mut checks = tokio::time::interval(node.settings.election_timeout);
    checks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut missed = 0;
    loop {
        tokio::select! {
            _ = checks.tick() => {}
            reason = node.consensus.failed() => {
                tracing::error!(reason, "raft has stopped for good");
                node.streams.leader_lost();
                return;
            }
        }
        missed = if node.has_leader() { 0 } else { missed + 1 };
        if missed >= limits::LEADERLESS_CHECKS {
            node.streams.leader_lost();
            missed = 0;
        }
    }
}
