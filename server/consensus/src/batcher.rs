//! Gathers commands that wait for raft into proposals, and brings them to the leader.
//!
//! Owns natural batching: while up to two proposals are under way, new commands collect, and go out
//! together when one returns. No timer is involved, so a lone command never waits. Outcomes come
//! back through `pending` when this member applies its own proposal, whoever led meanwhile.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::stream::{FuturesUnordered, StreamExt};
use handfast_fault::Fault;
use handfast_mvcc::Applied;
use handfast_proto::{
    Message,
    command::Command,
    peer::{Propose, Refusal, refusal::Reason, request, response},
};
use openraft::{
    errors::{ClientWriteError, ForwardToLeader},
    impls::ProgressResponder,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    ask::{AskError, Peers},
    counters::Counters,
    error::ProposeError,
    forward::Forwarder,
    machine::RaftHandle,
    pending::{Pending, Reply},
    standing::Standing,
    types::{LogId, Proposal, ProposalName, ProposalWriter},
};

/// Commands in one proposal at the most.
const BATCH_COMMANDS: usize = 4096;
/// Bytes after which a proposal takes no further command.
const BATCH_BYTES: usize = 1 << 20;
/// Proposals under way at once: one that is being synced and one behind it.
const IN_FLIGHT: usize = 2;
/// How long to wait before asking again a leader that may not write yet.
const RETRY_PAUSE: Duration = Duration::from_millis(5);
/// How often proposals that nobody waits for are forgotten.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);
/// How much longer than the batcher a proposer waits, for the batcher knows better what happened.
const LATE: Duration = Duration::from_millis(250);
/// How much later than the first of a proposal's commands the others may give up. Commands that
/// had to wait long for a leader would take others with them otherwise.
const SPREAD: Duration = Duration::from_millis(500);
/// How long one attempt to reach the leader may take, at the longest.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(5);

/// Commands that may wait for the batcher before a proposer has to wait itself.
const QUEUE: usize = 8192;

/// A command and whoever waits for its outcome.
pub(crate) struct Waiting {
    command: Command,
    /// How long it may wait for a leader.
    give_up: Instant,
    reply: Reply,
}

/// The way into the batcher. Clones share it.
#[derive(Clone)]
pub(crate) struct Proposer {
    queue: mpsc::Sender<Waiting>,
    /// How long a request may look for a leader and wait for its outcome.
    patience: Duration,
    /// Bytes an encoded command may have.
    limit: usize,
}

impl Proposer {
    /// The way in, and what [`Batcher::run`] takes from it.
    pub(crate) fn new(patience: Duration, limit: usize) -> (Self, mpsc::Receiver<Waiting>) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        (
            Self {
                queue,
                patience,
                limit,
            },
            waiting,
        )
    }

    pub(crate) async fn propose(&self, command: Command) -> Result<Applied, ProposeError> {
        let (size, limit) = (command.encoded_len(), self.limit);
        if size > limit {
            return Err(ProposeError::TooLarge { size, limit });
        }
        let (reply, outcome) = oneshot::channel();
        let waiting = Waiting {
            command,
            give_up: Instant::now() + self.patience,
            reply,
        };
        let applied = async {
            self.queue
                .send(waiting)
                .await
                .map_err(|_| ProposeError::Stopped)?;
            outcome.await.unwrap_or(Err(ProposeError::Timeout))
        };
        tokio::time::timeout(self.patience + LATE, applied)
            .await
            .unwrap_or(Err(ProposeError::Timeout))
    }
}

/// Why one attempt to have a proposal accepted did not succeed.
enum Refused {
    /// It is certain that nothing was appended: another attempt is safe.
    Certainly,
    /// It may be appended: only the log can tell.
    Perhaps,
    /// Raft is broken.
    For(ProposeError),
}

/// Brings proposals to the leader.
#[derive(Clone)]
pub(crate) struct Batcher {
    pub(crate) raft: RaftHandle,
    pub(crate) peers: Arc<Peers>,
    pub(crate) forwarder: Forwarder,
    pub(crate) standing: Arc<Standing>,
    pub(crate) pending: Arc<Pending>,
    pub(crate) counters: Arc<Counters>,
}

impl Batcher {
    /// Runs until every sender of `queue` is gone.
    pub(crate) async fn run(self, mut queue: mpsc::Receiver<Waiting>) {
        let mut backlog = VecDeque::new();
        let mut received = Vec::new();
        let mut under_way = FuturesUnordered::new();
        let mut expire = tokio::time::interval(EXPIRE_EVERY);
        loop {
            while under_way.len() < IN_FLIGHT && !backlog.is_empty() {
                under_way.push(self.submit(&mut backlog));
            }
            tokio::select! {
                biased;
                Some(()) = under_way.next(), if !under_way.is_empty() => {}
                count = queue.recv_many(&mut received, BATCH_COMMANDS),
                    if under_way.len() < IN_FLIGHT =>
                {
                    if count == 0 {
                        break;
                    }
                    backlog.extend(received.drain(..));
                }
                _ = expire.tick() => self.pending.expire(),
            }
        }
        while under_way.next().await.is_some() {}
    }

    /// Takes the next proposal from the backlog and sees it through.
    fn submit(&self, backlog: &mut VecDeque<Waiting>) -> impl Future<Output = ()> + use<> {
        let name = self.pending.name();
        let (proposal, replies, give_up) = pack(name, backlog);
        let this = self.clone();
        async move {
            if replies.is_empty() {
                return;
            }
            let left = give_up.saturating_duration_since(Instant::now());
            this.pending.register(name, replies, left + LATE);
            if let Err(error) = this.bring(name, &proposal, give_up).await {
                this.counters.proposal_failed();
                this.pending.refused(name, &error);
            }
        }
    }

    /// Returns once the proposal is committed or its outcome can only be seen in the log.
    async fn bring(
        &self,
        name: ProposalName,
        proposal: &Proposal,
        give_up: Instant,
    ) -> Result<(), ProposeError> {
        loop {
            let attempt = match self.standing.leader() {
                Some(leader) if leader != self.peers.me() => {
                    self.forward(leader, proposal, give_up).await
                }
                // A leader cut off from its followers keeps what it has appended, so do not wait
                // for it longer than whoever asked does.
                Some(_) => tokio::time::timeout_at(give_up, append(&self.raft, proposal))
                    .await
                    .unwrap_or(Err(Refused::Perhaps))
                    .map(|_| ()),
                None => Err(Refused::Certainly),
            };
            match attempt {
                Ok(()) => return Ok(()),
                Err(Refused::For(error)) => return Err(error),
                Err(Refused::Perhaps) if handfast_fault::active(Fault::ForwardTwice) => {}
                Err(Refused::Perhaps) => return Ok(()),
                Err(Refused::Certainly) if Instant::now() >= give_up => {
                    return Err(ProposeError::NoLeader);
                }
                Err(Refused::Certainly) => {}
            }
            if !self.pending.is_waiting(name) {
                return Ok(());
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn forward(
        &self,
        leader: u64,
        proposal: &Proposal,
        give_up: Instant,
    ) -> Result<(), Refused> {
        let left = give_up.saturating_duration_since(Instant::now());
        let body = request::Body::Propose(Propose {
            proposal: proposal.encoded(),
        });
        let timeout = left.min(FORWARD_TIMEOUT);
        match self.forwarder.ask(leader, body, timeout).await {
            Ok(response::Body::Proposed(_)) => Ok(()),
            Ok(_) => Err(Refused::Perhaps),
            Err(error) => {
                tracing::debug!(%error, "a proposal was not forwarded");
                match error {
                    AskError::Refused { refusal, .. } if stays(&refusal) => Err(Refused::For(
                        ProposeError::Fatal("the leader cannot read the proposal".to_owned()),
                    )),
                    error if error.nothing_done() => Err(Refused::Certainly),
                    _ => Err(Refused::Perhaps),
                }
            }
        }
    }
}

/// Whether asking again would bring the same refusal.
fn stays(refusal: &Refusal) -> bool {
    refusal.reason() == Reason::Invalid
}

/// Takes a proposal that another member forwarded to this leader.
///
/// # Errors
/// A refusal that says whether the proposal may have been appended.
pub(crate) async fn accept(raft: &RaftHandle, encoded: &[u8]) -> Result<LogId, Refusal> {
    let refusal = |reason: Reason, detail: String| Refusal {
        reason: reason.into(),
        detail,
        ..Refusal::default()
    };
    let proposal =
        Proposal::received(encoded).map_err(|error| refusal(Reason::Invalid, error.to_string()))?;
    append(raft, &proposal)
        .await
        .map_err(|refused| match refused {
            Refused::Certainly => refusal(Reason::NotLeader, String::new()),
            Refused::Perhaps => refusal(Reason::Timeout, String::new()),
            Refused::For(error) => refusal(Reason::Stopped, error.to_string()),
        })
}

async fn append(raft: &RaftHandle, proposal: &Proposal) -> Result<LogId, Refused> {
    let (responder, outcome) = ProgressResponder::complete_only();
    raft.client_write_ff(proposal.clone(), Some(responder))
        .await
        .map_err(|fatal| Refused::For(ProposeError::Fatal(fatal.to_string())))?;
    // Raft broke or stopped with the proposal in its hands: its followers may have the entry, for
    // they get it before it is durable here.
    let Ok(result) = outcome.await else {
        return Err(Refused::Perhaps);
    };
    match result {
        Ok(response) => Ok(response.log_id),
        // Refused before it was appended, so sending it again cannot apply it twice: a leader that
        // has not yet heard from its quorum says this, too.
        Err(ClientWriteError::ForwardToLeader(ForwardToLeader { .. })) => Err(Refused::Certainly),
        Err(ClientWriteError::LogEntryDiscarded(_)) => Err(Refused::Perhaps),
        Err(error) => Err(Refused::For(ProposeError::Fatal(error.to_string()))),
    }
}

/// The next proposal, who waits for it, and until when it may look for a leader.
fn pack(name: ProposalName, backlog: &mut VecDeque<Waiting>) -> (Proposal, Vec<Reply>, Instant) {
    let first = backlog.front().map(|waiting| waiting.give_up);
    let give_up = first.unwrap_or_else(Instant::now);
    let mut writer = ProposalWriter::new(name.proposer, name.serial);
    let mut replies = Vec::with_capacity(backlog.len().min(BATCH_COMMANDS));
    while replies.len() < BATCH_COMMANDS && writer.len() < BATCH_BYTES {
        let Some(waiting) = backlog.pop_front_if(|next| next.give_up <= give_up + SPREAD) else {
            break;
        };
        // Whoever gave up before the command was proposed gets it dropped, not applied.
        if waiting.reply.is_closed() {
            continue;
        }
        writer.push(&waiting.command);
        replies.push(waiting.reply);
    }
    (writer.finish(), replies, give_up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_that_has_waited_long_takes_no_younger_ones_along() {
        let now = Instant::now();
        let mut outcomes = Vec::new();
        let mut backlog: VecDeque<Waiting> = [0, 100, 500, 501, 900]
            .into_iter()
            .map(|millis| {
                let (reply, outcome) = oneshot::channel();
                outcomes.push(outcome);
                Waiting {
                    command: Command::default(),
                    give_up: now + Duration::from_millis(millis),
                    reply,
                }
            })
            .collect();
        let name = ProposalName {
            proposer: 1,
            serial: 1,
        };
        let (_, replies, give_up) = pack(name, &mut backlog);
        assert_eq!((replies.len(), give_up), (3, now));
        let (_, replies, give_up) = pack(name, &mut backlog);
        assert_eq!(replies.len(), 2);
        assert_eq!(give_up, now + Duration::from_millis(501));
        assert!(backlog.is_empty());
    }
}
