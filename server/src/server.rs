//! A running server and its end.
//!
//! Owns the order of a stop: leadership handed over, no new requests, streams ended with a status,
//! running requests finished, raft stopped, everything flushed, the data directory released.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use handfast_consensus::{Consensus, PeerService};
use handfast_storage::data_dir::DataDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::{AbortHandle, JoinHandle};

use crate::api::Node;
use crate::dispatch::{Dispatch, Offer, Services};
use crate::failure::Error;
use crate::flusher::Flusher;
use crate::lanes::{Lanes, blocking};
use crate::limits;
use crate::listen::{Connections, Listener, Tuning};

/// A member that serves clients, inside this process.
///
/// Dropping it stops it in the background, as [`Server::shutdown`] does in the foreground.
#[derive(Debug)]
pub struct Server {
    client_urls: Vec<String>,
    peer_urls: Vec<String>,
    data_dir: PathBuf,
    member_id: u64,
    cluster_id: u64,
    lanes: Lanes,
    running: Option<Running>,
}

/// What a start hands over.
pub(crate) struct Parts {
    pub(crate) node: Arc<Node>,
    pub(crate) services: Arc<Services>,
    pub(crate) clients: Connections,
    pub(crate) members: Connections,
    pub(crate) tuning: Tuning,
    pub(crate) members_tuning: Tuning,
    pub(crate) flusher: Flusher,
    pub(crate) client_urls: Vec<String>,
    pub(crate) dir: Option<Arc<DataDir>>,
    pub(crate) lanes: Lanes,
}

struct Running {
    node: Arc<Node>,
    services: Arc<Services>,
    clients: Connections,
    members: Connections,
    tuning: Tuning,
    members_tuning: Tuning,
    flusher: Flusher,
    /// What runs beside the requests and ends with the server.
    background: Vec<AbortHandle>,
    lanes: Lanes,
    // Last: the lock must outlast everything that uses the data.
    dir: Option<Arc<DataDir>>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

impl Server {
    /// Must be called on a lane.
    pub(crate) fn run(parts: Parts) -> Server {
        let watchdog = tokio::spawn(watch_leader(Arc::clone(&parts.node)));
        let dir = parts.dir.as_ref();
        Server {
            client_urls: parts.client_urls,
            peer_urls: Vec::new(),
            data_dir: dir.map_or_else(PathBuf::new, |dir| dir.path().to_owned()),
            member_id: parts.node.member.id,
            cluster_id: parts.node.cluster_id,
            lanes: parts.lanes.clone(),
            running: Some(Running {
                node: parts.node,
                services: parts.services,
                clients: parts.clients,
                members: parts.members,
                tuning: parts.tuning,
                members_tuning: parts.members_tuning,
                flusher: parts.flusher,
                background: vec![watchdog.abort_handle()],
                lanes: parts.lanes,
                dir: parts.dir,
            }),
        }
    }

    /// Serves a listener. Must be called on a lane.
    pub(crate) fn listen(&mut self, listener: Listener, offer: Offer) {
        let Some(running) = &self.running else {
            return;
        };
        tracing::info!(url = %listener.url, ?offer, "listening");
        let services = Arc::clone(&running.services);
        let dispatch = Dispatch { services, offer };
        if offer == Offer::Members {
            self.peer_urls.push(listener.url.to_string());
            running
                .members
                .serve(listener, dispatch, &running.members_tuning);
        } else {
            running.clients.serve(listener, dispatch, &running.tuning);
        }
    }

    /// Runs a task until the server ends. Must be called on a lane.
    pub(crate) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.keep(Some(tokio::spawn(task).abort_handle()));
    }

    /// Ends a task with the server.
    pub(crate) fn keep(&mut self, task: Option<AbortHandle>) {
        if let Some(running) = &mut self.running {
            running.background.extend(task);
        }
    }

    /// The data directory, if there is one that outlives the server.
    pub(crate) fn kept_dir(&self) -> Option<Weak<DataDir>> {
        let dir = self.running.as_ref()?.dir.as_ref()?;
        (!dir.is_ephemeral()).then(|| Arc::downgrade(dir))
    }

    /// The first address for clients, such as `http://127.0.0.1:2379`.
    pub fn endpoint(&self) -> String {
        self.client_urls.first().cloned().unwrap_or_default()
    }

    /// Every address for clients, with the ports that the system chose.
    pub fn client_urls(&self) -> &[String] {
        &self.client_urls
    }

    /// Every address for other members, with the ports that the system chose.
    pub fn peer_urls(&self) -> &[String] {
        &self.peer_urls
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

    /// Waits until the member cannot go on, and says why: [`Error::Fatal`], by a broken disk for
    /// one, [`Error::Removed`] or [`Error::Corrupt`]. Then it has to be shut down. Pending for
    /// ever while all is well. Cancel safe.
    pub async fn failed(&self) -> Error {
        match &self.running {
            Some(running) => running.node.consensus.failed().await.into(),
            None => std::future::pending().await,
        }
    }

    /// Stops in order: a leader hands over, running requests finish, streams end with
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
        self.finish(running.stop()).await
    }

    /// Stops as a crash does: with no word to anybody and nothing flushed. By the time this
    /// returns nothing new becomes durable or is answered; the future ends when all is gone.
    #[doc(hidden)]
    pub fn kill(mut self) -> impl Future<Output = ()> + Send {
        let running = self.running.take();
        if let Some(running) = &running {
            running.cut();
        }
        async move {
            if let Some(running) = running {
                let killed = self.finish(running.bury()).await;
                debug_assert!(killed.is_ok(), "a kill has nothing to report");
            }
        }
    }

    /// Serves a connection that is up already, as one that came from a listener for clients.
    #[doc(hidden)]
    pub fn serve_connection<I>(&self, io: I)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if let Some(running) = &self.running {
            let services = Arc::clone(&running.services);
            let offer = Offer::Everything;
            let dispatch = Dispatch { services, offer };
            running
                .clients
                .serve_connection(io, dispatch, &running.tuning);
        }
    }

    /// What answers other members, for transports other than the network.
    ///
    /// # Panics
    /// Never while the server is held: only its end takes the member away.
    #[doc(hidden)]
    pub fn peers(&self) -> PeerService {
        let running = self.running.as_ref();
        let running = running.expect("a server is in one piece until it is shut down");
        running.node.consensus.peers()
    }

    /// The member as consensus sees it, for a simulation that looks into it; `None` at its end.
    #[doc(hidden)]
    pub fn consensus(&self) -> Option<Consensus> {
        let running = self.running.as_ref()?;
        Some(running.node.consensus.clone())
    }
}

impl Server {
    /// Ends on the server's own thread, and lets the threads go when that is done.
    fn end(
        &self,
        ending: impl Future<Output = Result<(), Error>> + Send + 'static,
    ) -> JoinHandle<Result<(), Error>> {
        let lanes = self.lanes.clone();
        self.lanes.first().spawn(async move {
            let ended = ending.await;
            lanes.stop();
            ended
        })
    }

    async fn finish(
        &self,
        ending: impl Future<Output = Result<(), Error>> + Send + 'static,
    ) -> Result<(), Error> {
        let ended = match self.end(ending).await {
            Ok(ended) => ended,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // A lane ends only after this task, so nothing cancels it.
                Err(_) => Ok(()),
            },
        };
        if !self.lanes.is_inline() {
            let lanes = self.lanes.clone();
            blocking(move || lanes.join()).await;
        }
        ended
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            drop(self.end(running.stop()));
        }
    }
}

impl Running {
    async fn stop(self) -> Result<(), Error> {
        let consensus = &self.node.consensus;
        let handed_over = tokio::time::timeout(limits::HAND_OVER_TIMEOUT, consensus.hand_over());
        if handed_over.await.is_err() {
            tracing::warn!("nobody took over leadership in time; stopping without");
        }
        self.node.streams.stop();
        // Members last: requests of clients may still need them.
        self.clients.close().await;
        self.members.close().await;
        consensus.shutdown().await;
        self.background.iter().for_each(AbortHandle::abort);
        let Running {
            node,
            services,
            flusher,
            lanes,
            dir,
            ..
        } = self;
        let keep = dir.as_ref().is_none_or(|dir| !dir.is_ephemeral());
        let flushed = lanes
            .blocking(move || match keep {
                true => flusher.stop(),
                false => {
                    flusher.discard();
                    Ok(())
                }
            })
            .await;
        drop((node, services));
        lanes.blocking(move || drop(dir)).await;
        flushed.map_err(Error::Store)
    }

    /// Cuts every tie to the outside at once.
    fn cut(&self) {
        // The task that writes a simulated log is among these.
        self.background.iter().for_each(AbortHandle::abort);
        self.clients.cut();
        self.members.cut();
    }

    /// Lets go of everything without a last flush.
    async fn bury(self) -> Result<(), Error> {
        let Running {
            node,
            services,
            flusher,
            lanes,
            dir,
            ..
        } = self;
        node.consensus.shutdown().await;
        drop((node, services));
        lanes.blocking(move || flusher.discard()).await;
        lanes.blocking(move || drop(dir)).await;
        Ok(())
    }
}

/// Ends the streams that asked for a leader once none was seen for several checks.
async fn watch_leader(node: Arc<Node>) {
    let mut checks = tokio::time::interval(node.settings.election_timeout);
    checks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut missed = 0;
    loop {
        tokio::select! {
            biased;
            _ = checks.tick() => {}
            reason = node.consensus.failed() => {
                tracing::error!(?reason, "this member cannot go on");
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
