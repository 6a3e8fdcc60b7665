//! Whether an answer is the one that the store must have given.
//!
//! Owns the comparison; what was not noted counts as equal. Knows nothing of order.

use crate::history::{Get, Kv, Request, Response, TxnOp};

/// Whether `seen` may stand for `due`, the store's own answer to `request`.
///
/// `is_known` tells whether the content of a read's keys is known at all.
pub(crate) fn agrees(
    request: &Request,
    due: &Response,
    seen: &Response,
    is_known: &dyn Fn(&Get) -> bool,
) -> bool {
    match (request, due, seen) {
        (Request::Get(get), due, seen) => reads(get, due, seen, is_known),
        (Request::Put(put), Response::Put { prev_kv: due }, Response::Put { prev_kv: seen }) => {
            !put.prev_kv || same(due.as_slice(), seen.as_slice())
        }
        (Request::Delete(delete), due, seen) => deletes(delete.prev_kv, due, seen),
        (
            Request::Txn(txn),
            Response::Txn {
                succeeded: due,
                responses: due_list,
            },
            Response::Txn {
                succeeded: seen,
                responses: seen_list,
            },
        ) => {
            let ops = if *due { &txn.then } else { &txn.otherwise };
            let pairs = due_list.iter().zip(seen_list);
            due == seen
                && due_list.len() == seen_list.len()
                && ops
                    .iter()
                    .zip(pairs)
                    .all(|(op, (due, seen))| agrees_in_txn(op, due, seen, is_known))
        }
        (Request::Revoke { .. }, Response::Revoke, Response::Revoke) => true,
        _ => false,
    }
}

fn agrees_in_txn(
    op: &TxnOp,
    due: &Response,
    seen: &Response,
    is_known: &dyn Fn(&Get) -> bool,
) -> bool {
    match (op, due, seen) {
        (TxnOp::Get(get), due, seen) => reads(get, due, seen, is_known),
        (TxnOp::Put(put), Response::Put { prev_kv: due }, Response::Put { prev_kv: seen }) => {
            !put.prev_kv || same(due.as_slice(), seen.as_slice())
        }
        (TxnOp::Delete(delete), due, seen) => deletes(delete.prev_kv, due, seen),
        _ => false,
    }
}

/// Whether a read shows what it must.
pub(crate) fn reads(
    get: &Get,
    due: &Response,
    seen: &Response,
    is_known: &dyn Fn(&Get) -> bool,
) -> bool {
    let (
        Response::Get {
            kvs: due,
            count: due_count,
        },
        Response::Get {
            kvs: seen,
            count: seen_count,
        },
    ) = (due, seen)
    else {
        return false;
    };
    !is_known(get) || (same(due, seen) && (seen_count.is_none() || seen_count == due_count))
}

fn deletes(with_pairs: bool, due: &Response, seen: &Response) -> bool {
    let (
        Response::Delete {
            deleted: due,
            prev_kvs: due_kvs,
        },
        Response::Delete {
            deleted: seen,
            prev_kvs: seen_kvs,
        },
    ) = (due, seen)
    else {
        return false;
    };
    due == seen && (!with_pairs || same(due_kvs, seen_kvs))
}

fn same(due: &[Kv], seen: &[Kv]) -> bool {
    due.len() == seen.len() && due.iter().zip(seen).all(|(due, seen)| due.agrees(seen))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kvs: Vec<Kv>, count: Option<i64>) -> Response {
        Response::Get { kvs, count }
    }

    #[test]
    fn a_read_must_show_the_pairs_and_their_number() {
        let request = Request::get("a");
        let due = answer(vec![Kv::seen("a", "1")], Some(1));
        let judge = |seen: &Response| agrees(&request, &due, seen, &|_| true);
        assert!(judge(&due) && judge(&answer(vec![Kv::seen("a", "1")], None)));
        assert!(!judge(&answer(vec![Kv::seen("a", "1")], Some(2))));
        assert!(!judge(&answer(vec![Kv::seen("a", "2")], Some(1))));
        assert!(!judge(&answer(vec![], Some(0))));
        assert!(agrees(&request, &due, &answer(vec![], None), &|_| false));
    }

    #[test]
    fn the_pair_before_counts_only_if_asked_for() {
        let with = |prev_kv| match Request::put("a", "2") {
            Request::Put(put) => Request::Put(crate::history::Put { prev_kv, ..put }),
            other => other,
        };
        let due = Response::Put {
            prev_kv: Some(Kv::seen("a", "1")),
        };
        let seen = Response::Put { prev_kv: None };
        assert!(agrees(&with(false), &due, &seen, &|_| true));
        assert!(!agrees(&with(true), &due, &seen, &|_| true));
    }
}
