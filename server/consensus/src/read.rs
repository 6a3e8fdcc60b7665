//! The read gate: one check of leadership for all reads that wait for it.
//!
//! A read that arrives while a check is under way waits for the next one, for the check must begin
//! after the read did.

use std::time::{Duration, Instant};

use openraft::{
    ReadPolicy,
    errors::{LinearizableReadError, RaftError},
};
use tokio::sync::{mpsc, oneshot};

use crate::{error::ReadError, machine::RaftHandle};

/// Reads that one check releases at the most.
const GATE_READS: usize = 4096;
/// How long to wait before asking again when no leader is known.
const RETRY_PAUSE: Duration = Duration::from_millis(5);

pub(crate) type WaitingRead = oneshot::Sender<Result<(), ReadError>>;

/// Runs until every sender of `queue` is gone. `patience` bounds how long one check may take.
pub(crate) async fn run(
    raft: RaftHandle,
    mut queue: mpsc::Receiver<WaitingRead>,
    patience: Duration,
) {
    let mut waiting = Vec::new();
    while queue.recv_many(&mut waiting, GATE_READS).await > 0 {
        let verdict = check(&raft, patience).await;
        for read in waiting.drain(..) {
            drop(read.send(verdict.clone()));
        }
    }
}

async fn check(raft: &RaftHandle, patience: Duration) -> Result<(), ReadError> {
    let give_up = Instant::now() + patience;
    loop {
        match raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
            Ok(_) => return Ok(()),
            Err(RaftError::Fatal(fatal)) => return Err(ReadError::Fatal(fatal.to_string())),
            Err(RaftError::APIError(error)) => {
                if Instant::now() >= give_up {
                    return Err(match error {
                        LinearizableReadError::ForwardToLeader(_) => ReadError::NoLeader,
                        LinearizableReadError::QuorumNotEnough(_) => ReadError::Timeout,
                    });
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}
