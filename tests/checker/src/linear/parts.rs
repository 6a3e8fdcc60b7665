//! Histories that fall apart into keys that have nothing to do with each other.
//!
//! Owns the division. It holds only where no revision was noted, as revisions tie all keys
//! together (and make the search short without a division).

use crate::history::{
    Compare, KeyRange, Kv, Operation, Outcome, Put, Request, Response, Run, Target, TxnOp,
};

/// The operations by part, or `None` if revisions or leases tie them together.
pub(super) fn divide(run: &Run) -> Option<Vec<Vec<&Operation>>> {
    let is_tied = run.log.is_some() || !run.finals.is_empty() || !run.unrecorded.is_empty();
    if is_tied || run.operations.iter().any(has_revisions) {
        return None;
    }
    let mut parts: Vec<(Vec<KeyRange>, Vec<&Operation>)> = Vec::new();
    for operation in &run.operations {
        let mut ranges = operation.request.ranges();
        let mut members = Vec::new();
        let mut others = Vec::new();
        for (keys, operations) in parts {
            let overlaps = |key: &KeyRange| ranges.iter().any(|range| range.overlaps(key));
            if keys.iter().any(overlaps) {
                ranges.extend(keys);
                members.extend(operations);
            } else {
                others.push((keys, operations));
            }
        }
        ranges.sort();
        ranges.dedup();
        members.push(operation);
        others.push((ranges, members));
        parts = others;
    }
    Some(
        parts
            .into_iter()
            .map(|(_, operations)| operations)
            .collect(),
    )
}

fn has_revisions(operation: &Operation) -> bool {
    let is_leased = |put: &Put| put.lease != 0;
    let by_request = match &operation.request {
        Request::Get(get) => get.serializable || get.revision != 0,
        Request::Put(put) => is_leased(put),
        Request::Delete(_) => false,
        Request::Txn(txn) => {
            let mut ops = txn.then.iter().chain(&txn.otherwise);
            let leased = ops.any(|op| matches!(op, TxnOp::Put(put) if is_leased(put)));
            leased || txn.compares.iter().any(compares_revisions)
        }
        Request::Revoke { .. } => true,
    };
    let by_answer = match &operation.outcome {
        Outcome::Ok { revision, response } => *revision != 0 || shows_revisions(response),
        Outcome::Failed { .. } | Outcome::Unknown { .. } => false,
    };
    by_request || by_answer
}

/// Only whether a key is there can be compared without knowing revisions.
fn compares_revisions(compare: &Compare) -> bool {
    match compare.target {
        Target::CreateRevision(given) | Target::ModRevision(given) | Target::Lease(given) => {
            given != 0
        }
        Target::Version(_) | Target::Value(_) => false,
    }
}

fn shows_revisions(response: &Response) -> bool {
    let any = |kvs: &[Kv]| kvs.iter().any(|kv| kv.mod_revision != 0);
    match response {
        Response::Get { kvs, .. } => any(kvs),
        Response::Put { prev_kv } => any(prev_kv.as_slice()),
        Response::Delete { prev_kvs, .. } => any(prev_kvs),
        Response::Txn { responses, .. } => responses.iter().any(shows_revisions),
        Response::Revoke => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(requests: Vec<Request>) -> Run {
        let operation = |request| Operation {
            client: 1,
            invoked: 1,
            returned: None,
            request,
            outcome: Outcome::Unknown { why: String::new() },
        };
        Run {
            operations: requests.into_iter().map(operation).collect(),
            ..Run::default()
        }
    }

    #[test]
    fn keys_that_a_range_joins_stay_together() {
        let mut requests = vec![Request::put("a/1", "x"), Request::put("b", "x")];
        requests.extend([Request::put("a/2", "x"), Request::put("b", "y")]);
        assert_eq!(
            divide(&run(requests.clone())).map(|parts| parts.len()),
            Some(3)
        );
        requests.push(Request::Delete(crate::history::Delete {
            range: KeyRange::prefix("a/"),
            prev_kv: false,
        }));
        assert_eq!(
            divide(&run(requests.clone())).map(|parts| parts.len()),
            Some(2)
        );
        requests.push(Request::Revoke { lease: 7 });
        assert_eq!(divide(&run(requests)), None);
    }
}
