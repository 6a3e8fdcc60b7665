//! Gathers commands that wait for raft into proposals, and hands out their outcomes.
//!
//! Owns natural batching: while up to two proposals are under way, new commands collect, and go out
//! together when one returns. No timer is involved, so a lone command never waits.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use futures::stream::{FuturesUnordered, StreamExt};
use handfast_mvcc::Applied;
use handfast_proto::{Message, command::Command};
use openraft::{
    errors::{ClientWriteError, ForwardToLeader},
    impls::ProgressResponder,
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    error::ProposeError,
    machine::RaftHandle,
    types::{Proposal, ProposalWriter, Replies},
};

/// Commands in one proposal at the most.
const BATCH_COMMANDS: usize = 4096;
/// Bytes after which a proposal takes no further command.
const BATCH_BYTES: usize = 1 << 20;
/// Proposals under way at once: one that is being synced and one behind it.
const IN_FLIGHT: usize = 2;
/// How long to wait before asking again a leader that may not write yet.
const RETRY_PAUSE: Duration = Duration::from_millis(5);

/// Commands that may wait for the batcher before a proposer has to wait itself.
const QUEUE: usize = 8192;

/// A command and whoever waits for its outcome.
pub(crate) struct Waiting {
    command: Command,
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
    /// The way in, and what [`run`] takes from it.
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
        let waiting = Waiting { command, reply };
        let applied = async {
            self.queue
                .send(waiting)
                .await
                .map_err(|_| ProposeError::Stopped)?;
            outcome.await.unwrap_or(Err(ProposeError::Stopped))
        };
        tokio::time::timeout(self.patience, applied)
            .await
            .unwrap_or(Err(ProposeError::Timeout))
    }
}

type Reply = oneshot::Sender<Result<Applied, ProposeError>>;

/// Runs until every sender of `queue` is gone. `patience` bounds how long a proposal looks for a
/// leader.
pub(crate) async fn run(raft: RaftHandle, mut queue: mpsc::Receiver<Waiting>, patience: Duration) {
    let mut backlog = VecDeque::new();
    let mut received = Vec::new();
    let mut under_way = FuturesUnordered::new();
    loop {
        while under_way.len() < IN_FLIGHT && !backlog.is_empty() {
            let (proposal, replies) = pack(&mut backlog);
            under_way.push(submit(raft.clone(), proposal, replies, patience));
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
        }
    }
    while under_way.next().await.is_some() {}
}

fn pack(backlog: &mut VecDeque<Waiting>) -> (Proposal, Vec<Reply>) {
    let mut writer = ProposalWriter::new();
    let mut replies = Vec::with_capacity(backlog.len().min(BATCH_COMMANDS));
    while replies.len() < BATCH_COMMANDS && writer.len() < BATCH_BYTES {
        let Some(waiting) = backlog.pop_front() else {
            break;
        };
        // Whoever gave up before the command was proposed gets it dropped, not applied.
        if waiting.reply.is_closed() {
            continue;
        }
        writer.push(&waiting.command);
        replies.push(waiting.reply);
    }
    (writer.finish(), replies)
}

async fn submit(raft: RaftHandle, proposal: Proposal, replies: Vec<Reply>, patience: Duration) {
    if replies.is_empty() {
        return;
    }
    match propose(&raft, proposal, patience).await {
        Ok(Replies(outcomes)) => {
            debug_assert_eq!(outcomes.len(), replies.len());
            for (reply, outcome) in replies.into_iter().zip(outcomes) {
                drop(reply.send(Ok(outcome)));
            }
        }
        Err(error) => {
            for reply in replies {
                drop(reply.send(Err(error.clone())));
            }
        }
    }
}

async fn propose(
    raft: &RaftHandle,
    proposal: Proposal,
    patience: Duration,
) -> Result<Replies, ProposeError> {
    let give_up = Instant::now() + patience;
    loop {
        let (responder, outcome) = ProgressResponder::complete_only();
        raft.client_write_ff(proposal.clone(), Some(responder))
            .await
            .map_err(|fatal| ProposeError::Fatal(fatal.to_string()))?;
        let Ok(result) = outcome.await else {
            return Err(ProposeError::Stopped);
        };
        match result {
            Ok(response) => return Ok(response.data),
            // Refused before it was appended, so sending it again cannot apply it twice: a leader
            // that has not yet heard from its quorum says this, too.
            Err(ClientWriteError::ForwardToLeader(ForwardToLeader { .. })) => {
                if Instant::now() >= give_up {
                    return Err(ProposeError::NoLeader);
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            Err(ClientWriteError::LogEntryDiscarded(_)) => return Err(ProposeError::Timeout),
            Err(error) => return Err(ProposeError::Fatal(error.to_string())),
        }
    }
}
