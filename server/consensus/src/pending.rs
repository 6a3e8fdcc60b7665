//! Proposals of this member whose outcome is awaited.
//!
//! Owns how a proposal is known again when it comes back through the log, whichever member led
//! meanwhile. Knows nothing of how it got into the log.

use std::{collections::BTreeMap, time::Duration};

use handfast_mvcc::Applied;
use parking_lot::Mutex;
use tokio::{sync::oneshot, time::Instant};

use crate::{error::ProposeError, runtime, types::ProposalName};

/// Where the outcome of one command goes.
pub(crate) type Reply = oneshot::Sender<Result<Applied, ProposeError>>;

struct Waiting {
    replies: Vec<Reply>,
    give_up: Instant,
}

struct Table {
    next_serial: u64,
    waiting: BTreeMap<u64, Waiting>,
}

/// The proposals under way.
pub(crate) struct Pending {
    proposer: u64,
    table: Mutex<Table>,
}

impl Pending {
    pub(crate) fn new(proposer: u64) -> Self {
        // Proposals of the time before a restart may still come through the log, and must not be
        // taken for new ones.
        let table = Table {
            next_serial: runtime::random_id() >> 1,
            waiting: BTreeMap::new(),
        };
        Self {
            proposer,
            table: Mutex::new(table),
        }
    }

    /// A name for the next proposal.
    pub(crate) fn name(&self) -> ProposalName {
        let mut table = self.table.lock();
        table.next_serial += 1;
        ProposalName {
            proposer: self.proposer,
            serial: table.next_serial,
        }
    }

    /// Waits for the outcome of a proposal, for `patience`. Must come before it is sent.
    pub(crate) fn register(&self, name: ProposalName, replies: Vec<Reply>, patience: Duration) {
        let give_up = Instant::now() + patience;
        let waiting = Waiting { replies, give_up };
        self.table.lock().waiting.insert(name.serial, waiting);
    }

    /// Hands out what became of a proposal, in the order of its commands.
    pub(crate) fn applied(&self, name: ProposalName, outcomes: impl Iterator<Item = Applied>) {
        if name.proposer != self.proposer {
            return;
        }
        let Some(waiting) = self.table.lock().waiting.remove(&name.serial) else {
            return;
        };
        for (reply, outcome) in waiting.replies.into_iter().zip(outcomes) {
            drop(reply.send(Ok(outcome)));
        }
    }

    /// Gives up a proposal that was never accepted.
    pub(crate) fn refused(&self, name: ProposalName, error: &ProposeError) {
        let waiting = self.table.lock().waiting.remove(&name.serial);
        for reply in waiting.into_iter().flat_map(|waiting| waiting.replies) {
            drop(reply.send(Err(error.clone())));
        }
    }

    /// Whether the outcome is still awaited.
    pub(crate) fn is_waiting(&self, name: ProposalName) -> bool {
        self.table.lock().waiting.contains_key(&name.serial)
    }

    /// Proposals whose outcome is awaited.
    pub(crate) fn len(&self) -> usize {
        self.table.lock().waiting.len()
    }

    /// Forgets proposals nobody waits for any more: their outcome stays unknown.
    pub(crate) fn expire(&self) {
        let now = Instant::now();
        let mut table = self.table.lock();
        let gone: Vec<u64> = table
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.give_up <= now)
            .map(|(serial, _)| *serial)
            .collect();
        for serial in gone {
            table.waiting.remove(&serial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use handfast_mvcc::Outcome;

    fn outcome(revision: i64) -> Applied {
        Applied {
            revision,
            result: Ok(Outcome::Blank),
        }
    }

    #[tokio::test]
    async fn outcomes_go_to_whoever_asked_in_order() {
        let pending = Pending::new(1);
        let name = pending.name();
        let (first, first_outcome) = oneshot::channel();
        let (second, second_outcome) = oneshot::channel();
        pending.register(name, vec![first, second], Duration::from_secs(1));
        let foreign = ProposalName {
            proposer: 2,
            ..name
        };
        pending.applied(foreign, [outcome(9), outcome(9)].into_iter());
        assert!(pending.is_waiting(name));
        pending.applied(name, [outcome(4), outcome(5)].into_iter());
        assert_eq!(first_outcome.await.unwrap().unwrap().revision, 4);
        assert_eq!(second_outcome.await.unwrap().unwrap().revision, 5);
        assert!(!pending.is_waiting(name));
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_waits_for_is_forgotten() {
        let pending = Pending::new(1);
        let name = pending.name();
        let (reply, outcome) = oneshot::channel();
        pending.register(name, vec![reply], Duration::from_secs(5));
        tokio::time::advance(Duration::from_secs(4)).await;
        pending.expire();
        assert!(pending.is_waiting(name));
        tokio::time::advance(Duration::from_secs(2)).await;
        pending.expire();
        assert!(!pending.is_waiting(name));
        assert!(outcome.await.is_err());
    }
}
