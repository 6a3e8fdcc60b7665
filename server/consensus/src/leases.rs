//! Leases as clients of any member see them: only the leader knows their time.
//!
//! Owns the way of a renewal to the leader. Many renewals that wait on a follower go in one
//! message; on the leader one check of leadership serves all of them.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use handfast_mvcc::{
    Store,
    lease::{Renewal, TimeToLive},
};
use handfast_proto::peer::{
    LeaseRenew, LeaseRenewed, LeaseTimeLeft, LeaseTimeToLive, request, response,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{ask::Peers, error::ReadError, read::ReadGate, standing::Standing};

/// Renewals that go to the leader in one message at the most.
const RENEW_AT_ONCE: usize = 1024;
/// Renewals that may wait before a client has to wait itself.
const QUEUE: usize = 8192;
/// How long to wait before looking for a leader again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// How long the leader may take for one message before it is looked for anew.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// A lease, and who waits for its renewal.
pub(crate) type Waiting = (i64, Renewed);

type Renewed = oneshot::Sender<Result<Option<i64>, ReadError>>;

/// Renews leases and looks at their time. Clones share the queue.
#[derive(Clone)]
pub(crate) struct LeaseClock {
    store: Arc<Store>,
    peers: Arc<Peers>,
    standing: Arc<Standing>,
    reads: ReadGate,
    patience: Duration,
    forward: mpsc::Sender<Waiting>,
}

impl LeaseClock {
    pub(crate) fn new(
        store: Arc<Store>,
        peers: Arc<Peers>,
        standing: Arc<Standing>,
        reads: ReadGate,
        patience: Duration,
    ) -> (Self, mpsc::Receiver<Waiting>) {
        let (forward, queue) = mpsc::channel(QUEUE);
        let clock = Self {
            store,
            peers,
            standing,
            reads,
            patience,
            forward,
        };
        (clock, queue)
    }

    fn leads(&self) -> bool {
        self.standing.leader() == Some(self.peers.me())
    }

    /// Renews a lease, here or at the leader. `None` when it is gone. Cancel safe.
    pub(crate) async fn keep_alive(&self, id: i64) -> Result<Option<i64>, ReadError> {
        let give_up = Instant::now() + self.patience;
        loop {
            let answer = if self.leads() {
                tokio::time::timeout_at(give_up, self.renew_here(id)).await
            } else {
                tokio::time::timeout_at(give_up, self.renew_there(id)).await
            };
            match answer {
                Ok(Err(ReadError::NoLeader | ReadError::Timeout)) if Instant::now() < give_up => {
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Ok(answer) => return answer,
                Err(_) => return Err(ReadError::NoLeader),
            }
        }
    }

    /// Only a leader that has just proved its leadership renews, for an old one could promise time
    /// that a new one does not know of.
    async fn renew_here(&self, id: i64) -> Result<Option<i64>, ReadError> {
        let leases = self.store.leases();
        loop {
            self.reads.index_if_leader().await?;
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
    }

    async fn renew_there(&self, id: i64) -> Result<Option<i64>, ReadError> {
        let (reply, renewed) = oneshot::channel();
        let sent = self.forward.send((id, reply)).await;
        sent.map_err(|_| ReadError::Stopped)?;
        renewed.await.unwrap_or(Err(ReadError::Stopped))
    }

    /// Renews leases for another member.
    pub(crate) async fn renew_all(&self, ids: &[i64]) -> Result<LeaseRenewed, ReadError> {
        let each = stream::iter(ids.iter().copied()).map(|id| self.renew_here(id));
        let renewed: Vec<_> = each.buffered(RENEW_AT_ONCE).collect().await;
        let ttl_seconds = renewed
            .into_iter()
            .map(|ttl| ttl.map(|ttl| ttl.unwrap_or(0)))
            .collect::<Result<_, _>>()?;
        Ok(LeaseRenewed { ttl_seconds })
    }

    /// Sends the renewals that wait on this member to the leader, until the queue closes.
    pub(crate) async fn run_forwarding(self, mut queue: mpsc::Receiver<Waiting>) {
        let mut waiting = Vec::new();
        while queue.recv_many(&mut waiting, RENEW_AT_ONCE).await > 0 {
            let ids: Vec<i64> = waiting.iter().map(|(id, _)| *id).collect();
            let answer = self.ask_leader(ids).await;
            for (at, (_, reply)) in waiting.drain(..).enumerate() {
                let renewed = answer.as_ref().map_err(Clone::clone);
                let renewed = renewed.map(|ttls| ttls.get(at).copied().filter(|ttl| *ttl > 0));
                drop(reply.send(renewed));
            }
        }
    }

    async fn ask_leader(&self, ids: Vec<i64>) -> Result<Vec<i64>, ReadError> {
        let leader = self.standing.leader().ok_or(ReadError::NoLeader)?;
        let count = ids.len();
        let body = request::Body::LeaseRenew(LeaseRenew { ids });
        match self.peers.ask(leader, body, ASK_TIMEOUT).await {
            Ok(response::Body::LeaseRenewed(renewed)) if renewed.ttl_seconds.len() == count => {
                Ok(renewed.ttl_seconds)
            }
            _ => Err(ReadError::NoLeader),
        }
    }

    /// What is left of a lease; `None` when it is unknown. Cancel safe.
    pub(crate) async fn time_left(
        &self,
        id: i64,
        keys: bool,
    ) -> Result<Option<TimeToLive>, ReadError> {
        let give_up = Instant::now() + self.patience;
        loop {
            let answer = match self.standing.leader() {
                Some(leader) if leader == self.peers.me() => self.time_left_here(id, keys).await,
                Some(leader) => self.time_left_there(leader, id, keys).await,
                None => Err(ReadError::NoLeader),
            };
            match answer {
                Ok(left) if left.found => {
                    return Ok(Some(TimeToLive {
                        granted_seconds: left.granted_seconds,
                        remaining_seconds: left.remaining_seconds,
                        keys: left.keys,
                    }));
                }
                Ok(_) => return Ok(None),
                Err(ReadError::NoLeader | ReadError::Timeout) if Instant::now() < give_up => {
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Err(ReadError::Timeout) => return Err(ReadError::NoLeader),
                Err(error) => return Err(error),
            }
        }
    }

    async fn time_left_there(
        &self,
        leader: u64,
        id: i64,
        keys: bool,
    ) -> Result<LeaseTimeLeft, ReadError> {
        let body = request::Body::LeaseTimeToLive(LeaseTimeToLive { id, keys });
        match self.peers.ask(leader, body, ASK_TIMEOUT).await {
            Ok(response::Body::LeaseTimeLeft(left)) => Ok(left),
            _ => Err(ReadError::NoLeader),
        }
    }

    /// The leader's answer.
    pub(crate) async fn time_left_here(
        &self,
        id: i64,
        keys: bool,
    ) -> Result<LeaseTimeLeft, ReadError> {
        self.reads.index_if_leader().await?;
        Ok(match self.store.leases().time_to_live(id, keys) {
            Some(left) => LeaseTimeLeft {
                found: true,
                granted_seconds: left.granted_seconds,
                remaining_seconds: left.remaining_seconds,
                keys: left.keys,
            },
            None => LeaseTimeLeft::default(),
        })
    }
}
