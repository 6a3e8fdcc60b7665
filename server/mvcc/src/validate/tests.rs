//! The checks, one by one.

use handfast_proto::etcdserverpb::{Compare, compare};
use proptest::prelude::*;

use super::*;

fn put_op(key: &str) -> RequestOp {
    op(Request::RequestPut(PutRequest {
        key: bytes(key),
        ..Default::default()
    }))
}

fn delete_op(key: &str, end: &str) -> RequestOp {
    op(Request::RequestDeleteRange(DeleteRangeRequest {
        key: bytes(key),
        range_end: bytes(end),
        prev_kv: false,
    }))
}

fn get_op(key: &str) -> RequestOp {
    op(Request::RequestRange(RangeRequest {
        key: bytes(key),
        ..Default::default()
    }))
}

fn nested(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> RequestOp {
    op(Request::RequestTxn(TxnRequest {
        compare: vec![],
        success,
        failure,
    }))
}

fn op(request: Request) -> RequestOp {
    RequestOp {
        request: Some(request),
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn branch(success: Vec<RequestOp>) -> TxnRequest {
    TxnRequest {
        success,
        ..Default::default()
    }
}

fn is_duplicate(success: Vec<RequestOp>) -> bool {
    matches!(txn(&branch(success), 128), Err(Error::DuplicateKey))
}

#[test]
fn single_requests_are_checked_in_order() {
    assert!(matches!(
        range(&RangeRequest::default()),
        Err(Error::EmptyKey)
    ));
    let unsorted = RangeRequest {
        key: bytes("a"),
        sort_target: 9,
        ..Default::default()
    };
    assert!(matches!(range(&unsorted), Err(Error::InvalidSortOption)));
    let both = PutRequest {
        key: bytes("a"),
        value: bytes("v"),
        lease: 1,
        ignore_value: true,
        ignore_lease: true,
        ..Default::default()
    };
    assert!(matches!(put(&both), Err(Error::ValueProvided)));
    assert!(matches!(
        put(&PutRequest {
            value: Bytes::new(),
            ..both
        }),
        Err(Error::LeaseProvided)
    ));
    let end_only = DeleteRangeRequest {
        range_end: bytes("a"),
        ..Default::default()
    };
    assert!(matches!(delete_range(&end_only), Err(Error::EmptyKey)));
}

#[test]
fn nested_transactions_get_what_the_parent_leaves() {
    let gets = |n: usize| (0..n).map(|_| get_op("k")).collect::<Vec<_>>();
    let with_nested = |outer: usize, inner: usize| {
        let mut ops = gets(outer);
        ops.push(nested(gets(inner), vec![]));
        txn(&branch(ops), 128)
    };
    assert!(txn(&branch(gets(128)), 128).is_ok());
    assert!(matches!(
        txn(&branch(gets(129)), 128),
        Err(Error::TooManyOps { limit: 128 })
    ));
    assert!(matches!(
        with_nested(127, 2),
        Err(Error::TooManyOps { limit: 0 })
    ));
    assert!(with_nested(125, 2).is_ok());
}

#[test]
fn operations_and_compares_need_a_key_and_a_request() {
    let none = RequestOp { request: None };
    assert!(matches!(
        txn(&branch(vec![none.clone()]), 8),
        Err(Error::KeyNotFound)
    ));
    assert!(matches!(
        txn(&branch(vec![nested(vec![], vec![none])]), 8),
        Err(Error::KeyNotFound)
    ));
    let request = TxnRequest {
        compare: vec![Compare {
            target: compare::CompareTarget::Value.into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    assert!(matches!(txn(&request, 8), Err(Error::EmptyKey)));
}

#[test]
fn a_branch_changes_a_key_once() {
    assert!(is_duplicate(vec![put_op("a"), put_op("a")]));
    assert!(is_duplicate(vec![put_op("b"), delete_op("a", "c")]));
    assert!(is_duplicate(vec![put_op("b"), delete_op("a", "\0")]));
    assert!(is_duplicate(vec![
        put_op("a"),
        nested(vec![], vec![put_op("a")])
    ]));
    assert!(is_duplicate(vec![
        nested(vec![put_op("a")], vec![]),
        delete_op("a", "")
    ]));
    assert!(is_duplicate(vec![
        nested(vec![put_op("a")], vec![]),
        nested(vec![delete_op("\0", "\0")], vec![]),
    ]));
    assert!(is_duplicate(vec![
        nested(vec![delete_op("a", "b")], vec![]),
        nested(vec![], vec![put_op("a")]),
    ]));
    assert!(is_duplicate(vec![
        nested(vec![nested(vec![put_op("a")], vec![])], vec![]),
        put_op("a")
    ]));
}

#[test]
fn what_cannot_both_run_does_not_conflict() {
    let request = TxnRequest {
        compare: vec![],
        success: vec![put_op("a")],
        failure: vec![delete_op("a", "")],
    };
    assert!(txn(&request, 8).is_ok());
    assert!(!is_duplicate(vec![nested(
        vec![put_op("a")],
        vec![put_op("a"), put_op("b")]
    )]));
    assert!(!is_duplicate(vec![nested(
        vec![put_op("a")],
        vec![delete_op("a", "")]
    )]));
    assert!(!is_duplicate(vec![
        delete_op("a", "d"),
        delete_op("b", "c"),
        get_op("b")
    ]));
    assert!(!is_duplicate(vec![
        put_op("c"),
        delete_op("a", "c"),
        delete_op("c\0", "")
    ]));
    assert!(!is_duplicate(vec![put_op("b"), delete_op("c", "a")]));
}

#[test]
fn read_only_means_ranges_and_nothing_else() {
    assert!(txn_is_read_only(&branch(vec![get_op("a")])));
    assert!(!txn_is_read_only(&branch(vec![
        get_op("a"),
        nested(vec![], vec![])
    ])));
    let request = TxnRequest {
        failure: vec![put_op("a")],
        ..Default::default()
    };
    assert!(!txn_is_read_only(&request));
}

proptest! {
    #[test]
    fn merged_deletes_cover_what_the_single_ones_cover(
        spans in prop::collection::vec((0_u8..20, 0_u8..22), 0..12),
    ) {
        let mut changes = Changes::default();
        let mut ranges = Vec::new();
        for (start, end) in spans {
            let end = match end {
                20 => Bytes::new(),
                21 => Bytes::from_static(b"\0"),
                end => Bytes::from(vec![end + 1]),
            };
            let range = KeyRange::parse(&Bytes::from(vec![start + 1]), &end);
            changes.delete(&range);
            ranges.push(range);
        }
        for key in 0_u8..24 {
            for key in [Bytes::from(vec![key]), Bytes::from(vec![key, 0])] {
                let covered = ranges.iter().any(|range| range.contains(&key));
                prop_assert_eq!(changes.deletes(&key), covered, "{:?}", key);
            }
        }
    }
}
