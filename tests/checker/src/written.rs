//! Whether everything acknowledged is still there, and on all members the same.
//!
//! Owns the comparison of answers with the log and with what members held at the end. Knows nothing
//! of the order of operations; it finds a loss even where the order cannot be found.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    history::{
        Delete, Event, EventKind, Final, KeyRange, Kv, Operation, Outcome, Put, Request, Response,
        Run, TxnOp,
    },
    log::{LogIndex, pairs},
    report::{Promise, Violation},
    words,
};

/// At most so many findings of one kind.
const MOST: usize = 5;

/// What an acknowledged operation changed for certain.
enum Change<'a> {
    Put(&'a Put),
    Delete(&'a Delete, i64),
}

/// Judges a run.
pub(crate) fn check(run: &Run, log: Option<&LogIndex>) -> Vec<Violation> {
    let mut found = Vec::new();
    if let Some(log) = log {
        let lost = run.operations.iter().filter_map(|one| lost_from(one, log));
        found.extend(lost.take(MOST));
        let odd = run.finals.iter().filter_map(|one| unlike_log(one, log));
        found.extend(odd.take(MOST));
    }
    for one in &run.finals {
        let state = pairs(&one.state);
        let lost = run.operations.iter();
        let lost = lost.filter_map(|operation| lost_in(operation, one, &state, run));
        found.extend(lost.take(MOST));
    }
    let mut found: Vec<Violation> = found
        .into_iter()
        .map(|evidence| Violation::new(Promise::NothingLost, evidence))
        .collect();
    found.extend(disagreement(&run.finals));
    found
}

/// The acknowledged changes of an operation, with their revision.
fn changes(operation: &Operation) -> Option<(i64, Vec<Change<'_>>)> {
    let Outcome::Ok { revision, response } = &operation.outcome else {
        return None;
    };
    if *revision == 0 || response.has_written() != Some(true) {
        return None;
    }
    let changes = match (&operation.request, response) {
        (Request::Put(put), _) => vec![Change::Put(put)],
        (Request::Delete(delete), Response::Delete { deleted, .. }) => {
            vec![Change::Delete(delete, *deleted)]
        }
        (
            Request::Txn(txn),
            Response::Txn {
                succeeded,
                responses,
            },
        ) => {
            let ops = if *succeeded {
                &txn.then
            } else {
                &txn.otherwise
            };
            let pairs = ops.iter().zip(responses);
            pairs
                .filter_map(|(op, response)| change(op, response))
                .collect()
        }
        _ => return None,
    };
    Some((*revision, changes))
}

fn change<'a>(op: &'a TxnOp, response: &Response) -> Option<Change<'a>> {
    match (op, response) {
        (TxnOp::Put(put), _) => Some(Change::Put(put)),
        (TxnOp::Delete(delete), Response::Delete { deleted, .. }) => {
            Some(Change::Delete(delete, *deleted))
        }
        _ => None,
    }
}

/// What the log lacks of an acknowledged operation.
fn lost_from(operation: &Operation, log: &LogIndex) -> Option<String> {
    let (revision, changes) = changes(operation)?;
    if revision < log.from {
        return None;
    }
    let events = log.events(revision);
    let is_there = |change: &Change<'_>| match change {
        Change::Put(put) => events.iter().any(|event| is_put(event, put)),
        Change::Delete(delete, deleted) => {
            let deletes = events
                .iter()
                .filter(|event| event.kind == EventKind::Delete);
            let within = deletes.filter(|event| delete.range.contains(&event.kv.key));
            // Deletes of one transaction may overlap, but each says how many were its own.
            i64::try_from(within.count()).unwrap_or(i64::MAX) >= *deleted
        }
    };
    if changes.iter().all(is_there) {
        return None;
    }
    let (operation, events) = (words::operation(operation), words::events(events));
    let to = log.to;
    Some(format!(
        "acknowledged, but not in the log:\n  {operation}\n  revision {revision} is there: \
         {events} (the log ends at {to})"
    ))
}

fn is_put(event: &Event, put: &Put) -> bool {
    let kv = &event.kv;
    event.kind == EventKind::Put
        && (&kv.key, &kv.value, kv.lease) == (&put.key, &put.value, put.lease)
}

/// How a member's last state differs from what the log makes.
fn unlike_log(one: &Final, log: &LogIndex) -> Option<String> {
    let due = log.state_at(one.state.revision)?;
    let held = pairs(&one.state);
    let what = difference(&held, &due)?;
    let (member, revision) = (&one.member, one.state.revision);
    Some(format!(
        "{member} does not hold what the log makes at revision {revision}: {what}"
    ))
}

/// The first pair that differs between what is held and what is due.
fn difference(held: &BTreeMap<Bytes, Kv>, due: &BTreeMap<Bytes, Kv>) -> Option<String> {
    let mut keys: Vec<&Bytes> = held.keys().chain(due.keys()).collect();
    keys.sort();
    let odd = keys
        .into_iter()
        .find(|key| held.get(*key) != due.get(*key))?;
    let show = |kv: Option<&Kv>| kv.map_or_else(|| "nothing".to_owned(), ToString::to_string);
    let (held, due) = (show(held.get(odd)), show(due.get(odd)));
    Some(format!("{held} instead of {due}"))
}

/// What a member's last state lacks of an acknowledged operation.
fn lost_in(
    operation: &Operation,
    one: &Final,
    state: &BTreeMap<Bytes, Kv>,
    run: &Run,
) -> Option<String> {
    let (revision, changes) = changes(operation)?;
    let (member, now) = (&one.member, one.state.revision);
    let said = words::operation(operation);
    if now < revision {
        return Some(format!(
            "{member} ends at revision {now}, but acknowledged was\n  {said}"
        ));
    }
    for change in changes {
        let Change::Put(put) = change else { continue };
        let held = state.get(&put.key);
        let is_kept = match held {
            Some(kv) if kv.mod_revision > revision => true,
            Some(kv) => kv.mod_revision == revision && kv.value == put.value,
            None => put.lease != 0 || may_be_deleted(&put.key, revision, run),
        };
        if !is_kept {
            let held = held.map_or_else(|| "nothing".to_owned(), ToString::to_string);
            return Some(format!(
                "{member} holds {held}, but acknowledged was\n  {said}"
            ));
        }
    }
    None
}

/// Whether somebody may have deleted a key after a revision.
fn may_be_deleted(key: &Bytes, revision: i64, run: &Run) -> bool {
    let key = KeyRange::key(key.clone());
    // A later put may have hung the key on a lease that ended.
    let hangs = |put: &Put| put.lease != 0 && put.key == key.key;
    let deletes = |request: &Request| match request {
        Request::Delete(delete) => delete.range.overlaps(&key),
        Request::Txn(txn) => {
            let mut ops = txn.then.iter().chain(&txn.otherwise);
            ops.any(|op| match op {
                TxnOp::Delete(delete) => delete.range.overlaps(&key),
                TxnOp::Put(put) => hangs(put),
                TxnOp::Get(_) => false,
            })
        }
        Request::Put(put) => hangs(put),
        Request::Get(_) | Request::Revoke { .. } => false,
    };
    let is_later = |operation: &Operation| match &operation.outcome {
        Outcome::Ok {
            revision: other, ..
        } => *other == 0 || *other > revision,
        Outcome::Unknown { .. } => true,
        Outcome::Failed { .. } => false,
    };
    run.is_unrecorded(&key.key)
        || run
            .operations
            .iter()
            .any(|operation| is_later(operation) && deletes(&operation.request))
}

/// Two members that hold different things at the same revision.
fn disagreement(finals: &[Final]) -> Option<Violation> {
    let first = finals.first()?;
    let state = pairs(&first.state);
    finals.iter().skip(1).find_map(|other| {
        let (one, two) = (&first.member, &other.member);
        let (here, there) = (first.state.revision, other.state.revision);
        let what = if here == there {
            let what = difference(&pairs(&other.state), &state)?;
            format!("{two} and {one} differ at revision {here}: {what}")
        } else {
            format!("{one} ends at revision {here}, {two} at {there}")
        };
        Some(Violation::new(Promise::MembersAgree, what))
    })
}

#[cfg(test)]
mod tests;
