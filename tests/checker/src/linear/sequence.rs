//! The revisions in the answers against the times of requests and answers.
//!
//! Owns the one question that needs no search: does something that was asked later come from an
//! earlier state? Whatever else happened, no order can have both.

use super::ops::{Ops, returned};
use crate::{
    history::{Operation, Request},
    words,
};

/// Where an operation stands by its answer: a write makes its revision, a read comes after it.
type Place = (i64, bool);

/// Two operations of which the later comes from an earlier state.
pub(super) fn check(ops: &Ops<'_>) -> Option<String> {
    let mut placed: Vec<(Place, usize)> = Vec::new();
    for (revision, slot) in &ops.slots {
        placed.extend(slot.write.map(|op| ((*revision, false), op)));
        placed.extend(slot.reads.iter().map(|op| ((*revision, true), *op)));
    }
    let mut by_return = placed.clone();
    by_return.sort_by_key(|(_, op)| returned(ops.all[*op]));
    placed.sort_by_key(|(_, op)| ops.all[*op].invoked);
    let mut over = by_return.into_iter().peekable();
    let mut highest: Option<(Place, usize)> = None;
    for (place, op) in placed {
        let is_over = |(_, other): &(Place, usize)| returned(ops.all[*other]) < ops.all[op].invoked;
        while let Some(other) = over.next_if(is_over) {
            if highest.is_none_or(|(place, _)| place < other.0) {
                highest = Some(other);
            }
        }
        if let Some((_, earlier)) = highest.filter(|(highest, _)| *highest > place) {
            return Some(evidence(ops.all[earlier], ops.all[op]));
        }
    }
    None
}

fn evidence(earlier: &Operation, later: &Operation) -> String {
    let what = match &later.request {
        Request::Get(_) => "read from before",
        _ => "placed before",
    };
    let (earlier, later) = (words::operation(earlier), words::operation(later));
    format!("{later}\n  was {what} this, which had been answered when it was asked:\n  {earlier}")
}
