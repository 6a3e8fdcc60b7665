//! Why there is no order, in words: the place where it stops, and what happened to the same keys.
//!
//! Owns the choice of what to show, so that a person sees the contradiction and not the run.

use std::fmt::Write as _;

use super::{
    known::Known,
    ops::{Ops, is_serializable, returned},
    search::{Reason, Step, Stuck},
};
use crate::{
    history::{KeyRange, Outcome, Run},
    text::Shown,
    words,
};

/// At most so many steps before the end are shown, and so many operations of other kinds.
const STEPS: usize = 6;
const OTHERS: usize = 4;

/// The evidence for a search that got stuck.
pub(super) fn explain(run: &Run, ops: &Ops<'_>, known: &Known<'_>, stuck: &Stuck) -> String {
    let placed = |step: &&Step| {
        let op = step.op.map(|op| &ops.all[op].outcome);
        matches!(op, Some(Outcome::Ok { .. }))
    };
    let (done, all) = (
        stuck.steps.iter().filter(placed).count(),
        ops.by_return.len(),
    );
    let revision = stuck.revision;
    let mut text = format!(
        "no order of the operations explains their answers; the longest that does has {done} of \
         {all} and ends at revision {revision}"
    );
    if !run.title.is_empty() {
        let _ = write!(text, " ({})", run.title);
    }
    reason(&mut text, ops, known, stuck);
    let keys = keys(ops, known, stuck);
    around(&mut text, ops, stuck, &keys);
    others(&mut text, ops, stuck, &keys);
    text
}

fn reason(text: &mut String, ops: &Ops<'_>, known: &Known<'_>, stuck: &Stuck) {
    let revision = stuck.revision;
    match &stuck.reason {
        Reason::Mismatch { op, due } => {
            let (op, due) = (words::operation(ops.all[*op]), words::response(due));
            let _ = write!(
                text,
                "\n  {op}\n  but after revision {revision} it must be: {due}"
            );
        }
        Reason::Blocked { op, by } => {
            let (op, by) = (
                words::operation(ops.all[*op]),
                words::operation(ops.all[*by]),
            );
            let _ = write!(
                text,
                "\n  {op}\n  comes right after revision {revision}, but this was answered before \
                 it was asked and only fits later:\n  {by}"
            );
        }
        Reason::NoWriter { revision } => {
            let _ = write!(
                text,
                "\n  no operation and no lease's end can have made revision {revision}"
            );
            if let Some(exact) = known.exact(*revision) {
                let _ = write!(text, ", which is: {}", words::events(exact));
            } else if let Some(facts) = known.facts(*revision) {
                let keys: Vec<_> = facts.keys().map(|key| Shown(key).to_string()).collect();
                let _ = write!(text, ", which was seen to change {}", keys.join(", "));
            }
            if let Some(next) = earliest(ops, stuck) {
                let next = words::operation(ops.all[next]);
                let _ = write!(text, "\n  the first that waits for its place is\n  {next}");
            }
        }
        Reason::Missed { op } => {
            let op = words::operation(ops.all[*op]);
            let _ = write!(text, "\n  {op}\n  does not fit after revision {revision}");
        }
    }
}

/// The answered operation without a place that was over first.
fn earliest(ops: &Ops<'_>, stuck: &Stuck) -> Option<usize> {
    let is_placed = |op: &usize| stuck.steps.iter().any(|step| step.op == Some(*op));
    ops.by_return.iter().copied().find(|op| !is_placed(op))
}

/// The keys that the contradiction is about.
fn keys(ops: &Ops<'_>, known: &Known<'_>, stuck: &Stuck) -> Vec<KeyRange> {
    match &stuck.reason {
        Reason::Mismatch { op, .. } | Reason::Missed { op } => ops.all[*op].request.ranges(),
        Reason::Blocked { op, by } => {
            let mut keys = ops.all[*op].request.ranges();
            keys.extend(ops.all[*by].request.ranges());
            keys
        }
        Reason::NoWriter { revision } => {
            let keys = known.keys(*revision);
            if keys.is_empty() {
                let next = earliest(ops, stuck);
                return next.map_or_else(Vec::new, |op| ops.all[op].request.ranges());
            }
            keys.into_iter().map(KeyRange::key).collect()
        }
    }
}

/// The last steps that changed or read one of the keys.
fn around(text: &mut String, ops: &Ops<'_>, stuck: &Stuck, keys: &[KeyRange]) {
    let touches = |step: &&Step| {
        let changed = |key: &KeyRange| step.events.iter().any(|one| key.contains(&one.kv.key));
        let read = |key: &KeyRange| {
            let ranges = step.op.map(|op| ops.all[op].request.ranges());
            ranges.is_some_and(|ranges| ranges.iter().any(|range| range.overlaps(key)))
        };
        keys.iter().any(|key| changed(key) || read(key))
    };
    let mut last: Vec<&Step> = stuck
        .steps
        .iter()
        .rev()
        .filter(touches)
        .take(STEPS)
        .collect();
    last.reverse();
    if last.is_empty() {
        return;
    }
    text.push_str("\n  what happened to these keys before, in this order:");
    for step in last {
        let revision = step.revision;
        let what = step.op.map_or_else(
            || {
                format!(
                    "by a lease's end or unseen: {}",
                    words::events(&step.events)
                )
            },
            |op| words::operation(ops.all[op]),
        );
        let _ = write!(text, "\n    {revision}: {what}");
    }
}

/// What else touches the keys and has no place yet: in doubt, or answered soon.
fn others(text: &mut String, ops: &Ops<'_>, stuck: &Stuck, keys: &[KeyRange]) {
    let is_placed = |op: usize| stuck.steps.iter().any(|step| step.op == Some(op));
    let touches = |op: usize| {
        let ranges = ops.all[op].request.ranges();
        ranges
            .iter()
            .any(|range| keys.iter().any(|key| key.overlaps(range)))
    };
    let about = match &stuck.reason {
        Reason::Mismatch { op, .. } | Reason::Blocked { op, .. } | Reason::Missed { op } => {
            Some(*op)
        }
        Reason::NoWriter { .. } => None,
    };
    let limit = about.map_or(u64::MAX, |op| returned(ops.all[op]));
    let mut open: Vec<usize> = (0..ops.all.len())
        .filter(|op| !is_placed(*op) && Some(*op) != about && touches(*op))
        .filter(|op| ops.all[*op].invoked <= limit && !is_serializable(ops.all[*op]))
        .collect();
    open.sort_by_key(|op| ops.all[*op].invoked);
    if open.is_empty() {
        return;
    }
    text.push_str("\n  not in the order, but about the same keys:");
    for op in open.iter().take(OTHERS) {
        let _ = write!(text, "\n    {}", words::operation(ops.all[*op]));
    }
    if open.len() > OTHERS {
        let _ = write!(text, "\n    and {} more", open.len() - OTHERS);
    }
}
