//! Tests the tests: deliberate bugs are switched on one by one, and each must be found.
//!
//! Owns how many seeds each may take. A bug that hides longer means that the checks, the faults or
//! the workload are too weak.

use handfast_fault::Fault;

use crate::args::Args;
use crate::run::Order;
use crate::seeds::play_apart;
use crate::subject::{Mutation, Recipe};

/// Each bug, with the most seeds that finding it may take.
pub(crate) const HUNTS: [(Fault, u64); 12] = [
    (Fault::AckBeforeSync, 20),
    (Fault::ApplyOutOfOrder, 10),
    (Fault::ReadWithoutIndex, 30),
    (Fault::ReadBeforeApplied, 30),
    (Fault::ExpireUnderOldTerm, 100),
    (Fault::WatchSkipsRevision, 10),
    (Fault::WatchRepeatsRevision, 20),
    (Fault::ForwardTwice, 50),
    (Fault::VoteNotSaved, 20),
    (Fault::ReplayForgotten, 10),
    (Fault::TxnSkipsCompare, 20),
    (Fault::LeaseNotExtended, 20),
];

/// A bug, or a program that does something wrong, and how long it may hide.
#[derive(Debug)]
pub(crate) struct Hunt {
    what: String,
    limit: u64,
    /// What the finding must say.
    sign: &'static str,
    order: Order,
}

/// The hunt for a bug of the servers.
pub(crate) fn fault(fault: Fault, args: &Args) -> Hunt {
    let limit = HUNTS.iter().find(|(known, _)| *known == fault);
    Hunt {
        what: format!("{fault:?}"),
        limit: limit.map_or(50, |(_, limit)| *limit),
        sign: "",
        order: Order {
            fault: Some(fault),
            ..args.order(None)
        },
    }
}

/// The hunt for what one program does wrong.
pub(crate) fn mutation((recipe, mutation, limit): (Recipe, Mutation, u64), args: &Args) -> Hunt {
    Hunt {
        what: format!("{recipe:?} {mutation:?}"),
        limit,
        sign: mutation.sign(),
        order: Order {
            mutation: Some(mutation),
            ..args.order(Some(recipe))
        },
    }
}

impl Hunt {
    /// Runs one seed after the other until one of them has the problem, and says how that went;
    /// whether it did in time.
    pub(crate) fn run(&self, from: u64) -> bool {
        let (what, limit) = (&self.what, self.limit);
        for count in 1..=limit {
            let seed = from.saturating_add(count - 1);
            let outcome = play_apart(Order { seed, ..self.order }, false);
            // A run that hangs says nothing about the bug that was switched on.
            let mut problems = outcome.problems.iter().filter(|_| !outcome.stuck);
            if let Some(problem) = problems.find(|it| it.contains(self.sign)) {
                let line = problem.lines().next().unwrap_or_default();
                let line: String = line.chars().take(160).collect();
                println!("{what}: found within {count} seeds: {line}");
                return true;
            }
        }
        println!("MISSED: {what} was not found within {limit} seeds");
        false
    }
}
