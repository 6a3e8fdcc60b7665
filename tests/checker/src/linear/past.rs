//! Reads of the past that know the future.
//!
//! Owns one question: did a serializable read show a revision before its write was asked for? What
//! such reads show is compared during the search.

use super::{
    ops::{Ops, is_serializable},
    search::Step,
};
use crate::{
    history::Outcome,
    report::{Promise, Violation},
    words,
};

/// Judges the serializable reads by the order that was found.
pub(super) fn check(ops: &Ops<'_>, steps: &[Step]) -> Vec<Violation> {
    let mut found = Vec::new();
    for read in ops.all.iter().filter(|one| is_serializable(one)) {
        let Outcome::Ok { revision, .. } = &read.outcome else {
            continue;
        };
        // The first step that ends at a revision is the one that made it.
        let at = steps.partition_point(|step| step.revision < *revision);
        let made = |step: &&Step| step.revision == *revision && !step.events.is_empty();
        let write = steps.get(at).filter(made);
        let Some(write) = write.and_then(|step| step.op).map(|op| ops.all[op]) else {
            continue;
        };
        // Another operation in doubt might have made it instead.
        let is_certain = matches!(write.outcome, Outcome::Ok { .. });
        if is_certain
            && read
                .returned
                .is_some_and(|returned| returned < write.invoked)
        {
            let (read, write) = (words::operation(read), words::operation(write));
            let evidence = format!("{read}\n  but that was not yet asked for:\n  {write}");
            found.push(Violation::new(Promise::SerializableRead, evidence));
        }
    }
    found
}
