//! Operations and answers in words, for the evidence of a violation.
//!
//! Owns the wording only.

use std::fmt::Write as _;

use crate::{
    history::{
        Compare, CompareResult, Event, Kv, Nanos, Operation, Outcome, Request, Response, Target,
        TxnOp,
    },
    text::Shown,
};

/// A time in milliseconds.
pub(crate) fn time(at: Nanos) -> String {
    format!("{}.{:06} ms", at / 1_000_000, at % 1_000_000)
}

/// Who asked what, when, and what came of it.
pub(crate) fn operation(operation: &Operation) -> String {
    let (client, from) = (operation.client, time(operation.invoked));
    let to = operation.returned.map_or("…".to_owned(), time);
    let what = request(&operation.request);
    let outcome = match &operation.outcome {
        Outcome::Ok { revision, response } => {
            format!("revision {revision}: {}", self::response(response))
        }
        Outcome::Failed { why } => format!("refused: {why}"),
        Outcome::Unknown { why } => format!("in doubt: {why}"),
    };
    format!("client {client} [{from} – {to}] {what} → {outcome}")
}

/// What was asked.
pub(crate) fn request(request: &Request) -> String {
    match request {
        Request::Get(get) => {
            let mut text = format!("get {}", get.range);
            if get.revision != 0 {
                let _ = write!(text, " at revision {}", get.revision);
            }
            if get.serializable {
                text.push_str(" (serializable)");
            }
            text
        }
        Request::Put(put) => self::put(put),
        Request::Delete(delete) => format!("delete {}", delete.range),
        Request::Txn(txn) => {
            let compares: Vec<String> = txn.compares.iter().map(compare).collect();
            let list = |ops: &[TxnOp]| ops.iter().map(op).collect::<Vec<_>>().join(", ");
            let (then, otherwise) = (list(&txn.then), list(&txn.otherwise));
            format!(
                "txn if {} then [{then}] else [{otherwise}]",
                compares.join(" and ")
            )
        }
        Request::Revoke { lease } => format!("revoke lease {lease:x}"),
    }
}

fn put(put: &crate::history::Put) -> String {
    let mut text = format!("put {}={}", Shown(&put.key), Shown(&put.value));
    if put.lease != 0 {
        let _ = write!(text, " lease {:x}", put.lease);
    }
    text
}

fn op(op: &TxnOp) -> String {
    match op {
        TxnOp::Get(get) => format!("get {}", get.range),
        TxnOp::Put(one) => put(one),
        TxnOp::Delete(delete) => format!("delete {}", delete.range),
    }
}

fn compare(compare: &Compare) -> String {
    let sign = match compare.result {
        CompareResult::Equal => "=",
        CompareResult::NotEqual => "≠",
        CompareResult::Greater => ">",
        CompareResult::Less => "<",
    };
    let range = &compare.range;
    match &compare.target {
        Target::Version(given) => format!("version({range}) {sign} {given}"),
        Target::CreateRevision(given) => format!("created({range}) {sign} {given}"),
        Target::ModRevision(given) => format!("changed({range}) {sign} {given}"),
        Target::Lease(given) => format!("lease({range}) {sign} {given:x}"),
        Target::Value(given) => format!("value({range}) {sign} {}", Shown(given)),
    }
}

/// What was answered.
pub(crate) fn response(response: &Response) -> String {
    match response {
        Response::Get { kvs, count } => {
            let mut text = pairs(kvs);
            if let Some(count) = count.filter(|count| usize::try_from(*count) != Ok(kvs.len())) {
                let _ = write!(text, " of {count}");
            }
            text
        }
        Response::Put { prev_kv: None } => "done".to_owned(),
        Response::Put { prev_kv: Some(kv) } => format!("done, before: {kv}"),
        Response::Delete { deleted, prev_kvs } if prev_kvs.is_empty() => {
            format!("{deleted} deleted")
        }
        Response::Delete { deleted, prev_kvs } => {
            format!("{deleted} deleted: {}", pairs(prev_kvs))
        }
        Response::Txn {
            succeeded,
            responses,
        } => {
            let list: Vec<String> = responses.iter().map(self::response).collect();
            let branch = if *succeeded { "then" } else { "else" };
            format!("{branch} [{}]", list.join(", "))
        }
        Response::Revoke => "done".to_owned(),
    }
}

fn pairs(kvs: &[Kv]) -> String {
    if kvs.is_empty() {
        return "nothing".to_owned();
    }
    let list: Vec<String> = kvs.iter().map(ToString::to_string).collect();
    list.join(", ")
}

/// Events, one after another.
pub(crate) fn events(events: &[Event]) -> String {
    let list: Vec<String> = events.iter().map(ToString::to_string).collect();
    if list.is_empty() {
        "nothing".to_owned()
    } else {
        list.join(", ")
    }
}
