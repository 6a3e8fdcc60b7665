//! The read gate: one check of leadership for all reads that wait for it.
//!
//! A read that arrives while a check is under way waits for the next one, for the check must begin
//! after the read did. On a follower the check is one question to the leader, and the read then
//! waits until this member has applied as far as the leader had committed.

use std::{sync::Arc, time::Duration};

use handfast_fault::Fault;
use handfast_proto::peer::{ReadIndex, request, response};
use openraft::{
    ReadPolicy,
    errors::{LinearizableReadError, RaftError},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use crate::{
    ask::Peers, counters::Counters, error::ReadError, machine::RaftHandle, standing::Standing,
};

/// Reads that one check releases at the most.
const GATE_READS: usize = 4096;
/// Reads that may wait for the gate before a reader has to wait itself.
const READ_QUEUE: usize = 8192;
/// How long to wait before asking again when no leader is known.
const RETRY_PAUSE: Duration = Duration::from_millis(5);
/// How long the leader may take for one check before it is looked for anew.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

type Verdict = Result<u64, ReadError>;

/// Who waits for a verdict.
pub(crate) type Waiting = oneshot::Sender<Verdict>;

/// The way into the gate. Clones share it.
#[derive(Clone)]
pub(crate) struct ReadGate {
    queue: mpsc::Sender<Waiting>,
    standing: Arc<Standing>,
    patience: Duration,
}

/// What runs the gate.
pub(crate) struct Gatekeeper {
    pub(crate) raft: RaftHandle,
    pub(crate) peers: Arc<Peers>,
    pub(crate) standing: Arc<Standing>,
    pub(crate) counters: Arc<Counters>,
    /// Index of the last entry this member has applied.
    pub(crate) applied: watch::Receiver<u64>,
    /// Whether the leader may trust its lease instead of asking its followers.
    pub(crate) lease_read: bool,
    /// How long one check may take.
    pub(crate) patience: Duration,
    /// A check that takes longer is counted as slow.
    pub(crate) slow: Duration,
    /// Reads that wait for the next check.
    pub(crate) queue: mpsc::Receiver<Waiting>,
}

impl ReadGate {
    /// The way in; `keeper` makes the gatekeeper from the queue it has to serve.
    pub(crate) fn new(
        standing: Arc<Standing>,
        patience: Duration,
    ) -> (Self, mpsc::Receiver<Waiting>) {
        let (queue, waiting) = mpsc::channel(READ_QUEUE);
        let gate = Self {
            queue,
            standing,
            patience,
        };
        (gate, waiting)
    }

    /// Returns once this member has applied every write acknowledged before the call. Cancel safe.
    pub(crate) async fn pass(&self) -> Result<(), ReadError> {
        self.index().await.map(|_| ())
    }

    /// Like [`ReadGate::pass`], for another member's question: only a leader may answer it.
    pub(crate) async fn index_if_leader(&self) -> Verdict {
        match self.standing.leads_in() {
            Some(_) => self.index().await,
            None => Err(ReadError::NoLeader),
        }
    }

    async fn index(&self) -> Verdict {
        let (reply, verdict) = oneshot::channel();
        let confirmed = async {
            let sent = self.queue.send(reply).await;
            sent.map_err(|_| ReadError::Stopped)?;
            verdict.await.unwrap_or(Err(ReadError::Stopped))
        };
        tokio::time::timeout(self.patience, confirmed)
            .await
            .unwrap_or(Err(ReadError::Timeout))
    }
}

/// Why one round brought no answer.
enum Missed {
    /// Another round may.
    Again(ReadError),
    /// None will.
    Never(ReadError),
}

impl Gatekeeper {
    /// Runs until every sender of the queue is gone.
    pub(crate) async fn run(mut self) {
        let mut waiting = Vec::new();
        while self.queue.recv_many(&mut waiting, GATE_READS).await > 0 {
            let begun = Instant::now();
            let verdict = self.check(begun + self.patience).await;
            if begun.elapsed() > self.slow {
                self.counters.read_index_was_slow();
            }
            if verdict.is_err() {
                self.counters.read_index_failed();
            }
            for read in waiting.drain(..) {
                drop(read.send(verdict.clone()));
            }
        }
    }

    async fn check(&mut self, give_up: Instant) -> Verdict {
        loop {
            let round = match self.standing.leader() {
                Some(leader) if leader == self.peers.me() => self.confirm(give_up).await,
                Some(leader) => self.ask(leader, give_up).await,
                None => Err(Missed::Again(ReadError::NoLeader)),
            };
            match round {
                Ok(index) => return Ok(index),
                Err(Missed::Never(error)) => return Err(error),
                Err(Missed::Again(error)) if Instant::now() >= give_up => return Err(error),
                Err(Missed::Again(_)) => tokio::time::sleep(RETRY_PAUSE).await,
            }
        }
    }

    /// Has a majority confirm that this member leads, and catches up with what it has committed.
    async fn confirm(&self, give_up: Instant) -> Result<u64, Missed> {
        if handfast_fault::active(Fault::ReadWithoutIndex) {
            return Ok(*self.applied.borrow());
        }
        let policy = match self.lease_read {
            true => ReadPolicy::LeaseRead,
            false => ReadPolicy::ReadIndex,
        };
        let confirmed = self.raft.ensure_linearizable(policy);
        let confirmed = tokio::time::timeout_at(give_up, confirmed)
            .await
            .map_err(|_| Missed::Again(ReadError::Timeout))?;
        confirmed
            .map(|read| read.index())
            .map_err(|error| match error {
                RaftError::Fatal(fatal) => Missed::Never(ReadError::Fatal(fatal.to_string())),
                RaftError::APIError(LinearizableReadError::ForwardToLeader(_)) => {
                    Missed::Again(ReadError::NoLeader)
                }
                RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) => {
                    Missed::Again(ReadError::Timeout)
                }
            })
    }

    async fn ask(&mut self, leader: u64, give_up: Instant) -> Result<u64, Missed> {
        let left = give_up.saturating_duration_since(Instant::now());
        let body = request::Body::ReadIndex(ReadIndex {});
        let answer = self.peers.ask(leader, body, left.min(ASK_TIMEOUT)).await;
        let Ok(response::Body::ReadIndexed(read)) = answer else {
            return Err(Missed::Again(ReadError::Timeout));
        };
        if handfast_fault::active(Fault::ReadBeforeApplied) {
            return Ok(read.index);
        }
        let caught_up = self.applied.wait_for(|applied| *applied >= read.index);
        match tokio::time::timeout_at(give_up, caught_up).await {
            Ok(Ok(_)) => Ok(read.index),
            Ok(Err(_)) => Err(Missed::Never(ReadError::Stopped)),
            Err(_) => Err(Missed::Again(ReadError::Timeout)),
        }
    }
}
