//! Moves requests into a namespace and answers out of it.
//!
//! Owns the prefixing of every message that holds keys. Adds no separator: `p` + `k` is `pk`.

use bytes::Bytes;
use handfast_proto::{
    etcdserverpb::{DeleteRangeRequest, RangeRequest, TxnRequest, request_op::Request},
    mvccpb::KeyValue,
};

use crate::span::{OPEN_END, join, prefix_end};

/// The single key `key` within `namespace`.
pub(crate) fn enter_key(namespace: &Bytes, key: &mut Bytes) {
    if !namespace.is_empty() {
        *key = join(namespace, key);
    }
}

/// The keys `key` to `end` within `namespace`; an open end becomes the namespace's end.
pub(crate) fn enter_span(namespace: &Bytes, key: &mut Bytes, end: &mut Bytes) {
    if namespace.is_empty() {
        return;
    }
    enter_key(namespace, key);
    if **end == *OPEN_END {
        *end = prefix_end(namespace);
    } else if !end.is_empty() {
        *end = join(namespace, end);
    }
}

pub(crate) fn enter_range(namespace: &Bytes, range: &mut RangeRequest) {
    enter_span(namespace, &mut range.key, &mut range.range_end);
}

pub(crate) fn enter_delete(namespace: &Bytes, delete: &mut DeleteRangeRequest) {
    enter_span(namespace, &mut delete.key, &mut delete.range_end);
}

pub(crate) fn enter_txn(namespace: &Bytes, txn: &mut TxnRequest) {
    if namespace.is_empty() {
        return;
    }
    for compare in &mut txn.compare {
        enter_span(namespace, &mut compare.key, &mut compare.range_end);
    }
    for op in txn.success.iter_mut().chain(&mut txn.failure) {
        match &mut op.request {
            Some(Request::RequestRange(range)) => enter_range(namespace, range),
            Some(Request::RequestPut(put)) => enter_key(namespace, &mut put.key),
            Some(Request::RequestDeleteRange(delete)) => enter_delete(namespace, delete),
            Some(Request::RequestTxn(nested)) => enter_txn(namespace, nested),
            None => {}
        }
    }
}

/// Takes the namespace off `key`, which the server answered with.
pub(crate) fn leave_key(namespace: &Bytes, key: &mut Bytes) {
    if !namespace.is_empty() && key.starts_with(namespace) {
        *key = key.slice(namespace.len()..);
    }
}

pub(crate) fn leave_pair(namespace: &Bytes, mut pair: KeyValue) -> KeyValue {
    leave_key(namespace, &mut pair.key);
    pair
}

pub(crate) fn leave_pairs(namespace: &Bytes, mut pairs: Vec<KeyValue>) -> Vec<KeyValue> {
    if !namespace.is_empty() {
        for pair in &mut pairs {
            leave_key(namespace, &mut pair.key);
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Compare, Op};

    #[test]
    fn open_ends_stop_at_the_end_of_the_namespace() {
        let namespace = Bytes::from_static(b"n/");
        for (key, end, entered) in [
            (&b"a"[..], &b""[..], (&b"n/a"[..], &b""[..])),
            (b"a", b"b", (b"n/a", b"n/b")),
            (b"\0", b"\0", (b"n/\0", b"n0")),
        ] {
            let (mut key, mut end) = (Bytes::from_static(key), Bytes::from_static(end));
            enter_span(&namespace, &mut key, &mut end);
            assert_eq!((&*key, &*end), entered);
        }
    }

    #[test]
    fn a_nested_transaction_is_entered_to_its_leaves() {
        let namespace = Bytes::from_static(b"n/");
        let inner = Op::txn(
            [Compare::version("c").eq(1)],
            [Op::put("p", "v")],
            [Op::delete("d")],
        );
        let Request::RequestTxn(mut txn) = Op::txn([], [inner], []).request else {
            panic!()
        };
        enter_txn(&namespace, &mut txn);
        let Some(Request::RequestTxn(inner)) = &txn.success[0].request else {
            panic!()
        };
        assert_eq!(inner.compare[0].key, &b"n/c"[..]);
        let Some(Request::RequestPut(put)) = &inner.success[0].request else {
            panic!()
        };
        assert_eq!(put.key, &b"n/p"[..]);
        let Some(Request::RequestDeleteRange(del)) = &inner.failure[0].request else {
            panic!()
        };
        assert_eq!(del.key, &b"n/d"[..]);
    }
}
