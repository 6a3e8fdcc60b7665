//! Tests the tests: deliberate bugs are switched on one by one, and each must be found.
//!
//! Owns how many seeds each may take. A bug that hides longer means that the checks, the faults or
//! the workload are too weak.

use std::sync::atomic::{AtomicBool, Ordering};

use handfast_fault::Fault;

use crate::args::Args;
use crate::run::Order;
use crate::seeds::sweep;
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

/// Hunts one bug; the first problem that gave it away.
pub(crate) fn hunt(fault: Fault, args: &Args) -> Result<(u64, String), String> {
    let limit = HUNTS.iter().find(|(known, _)| *known == fault);
    let limit = limit.map_or(50, |(_, limit)| *limit);
    let args = Args {
        seeds: limit,
        ..args.clone()
    };
    let order = |seed| Order {
        seed,
        members: args.members,
        fault: Some(fault),
        recipe: None,
        mutation: None,
        trace: false,
    };
    handfast_fault::set(Some(fault));
    let found = first_problem(&args, order);
    handfast_fault::set(None);
    found.ok_or_else(|| format!("{fault:?} was not found within {limit} seeds"))
}

/// Hunts what one program does wrong; the first problem that gave it away.
pub(crate) fn hunt_mutation(
    (recipe, mutation, limit): (Recipe, Mutation, u64),
    args: &Args,
) -> Result<(u64, String), String> {
    let args = Args {
        seeds: limit,
        ..args.clone()
    };
    let order = |seed| Order {
        seed,
        members: args.members,
        fault: None,
        recipe: Some(recipe),
        mutation: Some(mutation),
        trace: false,
    };
    let found = first_problem(&args, order);
    found.ok_or_else(|| format!("{recipe:?} {mutation:?} was not found within {limit} seeds"))
}

/// Runs seeds until one of them has a problem; how many that took, and the problem.
fn first_problem(args: &Args, order: impl Fn(u64) -> Order + Sync) -> Option<(u64, String)> {
    let evidence = std::sync::Mutex::new(None);
    let found = AtomicBool::new(false);
    let totals = sweep(args, order, |outcome, _| {
        // A run that hangs says nothing about the bug that was switched on.
        if let Some(problem) = outcome.problems.first().filter(|_| !outcome.stuck) {
            let mut evidence = evidence.lock().unwrap_or_else(|it| it.into_inner());
            evidence.get_or_insert((outcome.seed, problem.clone()));
            found.store(true, Ordering::Relaxed);
        }
        found.load(Ordering::Relaxed)
    });
    let (seed, problem) = evidence.into_inner().unwrap_or_else(|it| it.into_inner())?;
    let line = problem.lines().next().unwrap_or_default();
    let line: String = line.chars().take(160).collect();
    Some((totals.seeds, format!("seed {seed}: {line}")))
}
