//! Whether operations look as if they had been done one by one.
//!
//! Owns the way from a run to a verdict about its operations. Knows nothing of watches, locks or
//! leases' times.

mod chain;
mod explain;
mod known;
mod ops;
mod parts;
mod past;
mod search;
mod sequence;

use known::Known;
use ops::Ops;
use search::{Reason, Search, Step, Verdict};

use crate::{
    history::Run,
    log::LogIndex,
    report::{Promise, Violation},
    store::Store,
    words,
};

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) violations: Vec<Violation>,
    pub(crate) undecided: Vec<String>,
    /// The work it took.
    pub(crate) spent: u64,
}

/// Judges the operations of a run.
pub(crate) fn check(run: &Run, log: Option<&LogIndex>, budget: u64) -> Found {
    let mut found = Found::default();
    let Some(parts) = parts::divide(run) else {
        let known = Known::gather(run, log);
        let ops = Ops::sort(run.operations.iter());
        let steps = part(run, &ops, &known, true, budget, &mut found);
        if let Some(steps) = steps {
            found.violations.extend(past::check(&ops, &steps));
        }
        return found;
    };
    // Nothing is known of revisions here, and none needs to be reached.
    let known = Known::nothing(run.initial.revision);
    for operations in parts {
        let left = budget.saturating_sub(found.spent);
        let ops = Ops::sort(operations.into_iter());
        part(run, &ops, &known, false, left, &mut found);
    }
    found
}

/// Judges operations that have nothing to do with the others; gives their order if there is one.
fn part(
    run: &Run,
    ops: &Ops<'_>,
    known: &Known<'_>,
    with_revisions: bool,
    budget: u64,
    found: &mut Found,
) -> Option<Vec<Step>> {
    if let Some((one, two)) = ops.clash {
        let (one, two) = (
            words::operation(ops.all[one]),
            words::operation(ops.all[two]),
        );
        found.violations.push(Violation::new(
            Promise::RevisionsUnique,
            format!("two writes were told the same revision:\n  {one}\n  {two}"),
        ));
        return None;
    }
    if let Some(evidence) = sequence::check(ops) {
        let violation = Violation::new(Promise::Linearizable, evidence);
        found.violations.push(violation);
        return None;
    }
    let blind = if known.is_complete {
        Vec::new()
    } else {
        run.unrecorded.clone()
    };
    let store = Store::new(&run.initial, blind, with_revisions);
    let mut search = Search::new(ops, known, store, &run.unrecorded, budget);
    let verdict = search.run();
    found.spent += search.spent;
    match verdict {
        Verdict::Ordered(steps) => Some(steps),
        Verdict::Stuck(stuck) => {
            let evidence = explain::explain(run, ops, known, &stuck);
            let promise = match &stuck.reason {
                Reason::Mismatch { op, .. } if ops::is_serializable(ops.all[*op]) => {
                    Promise::SerializableRead
                }
                _ => Promise::Linearizable,
            };
            found.violations.push(Violation::new(promise, evidence));
            None
        }
        Verdict::Exhausted => {
            let (count, spent) = (ops.all.len(), search.spent);
            found.undecided.push(format!(
                "whether {count} operations are linearizable, after {spent} steps; an event log \
                 (Run::log) makes the search shorter"
            ));
            None
        }
    }
}

#[cfg(test)]
mod tests;
