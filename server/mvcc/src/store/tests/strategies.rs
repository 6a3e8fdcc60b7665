//! Random requests over few keys, leases and revisions, so that they meet.

use bytes::Bytes;
use handfast_proto::{
    command::command::Op,
    etcdserverpb::{
        Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
        compare::TargetUnion, request_op::Request,
    },
};
use proptest::{option, prelude::*};

use super::{alarm, compact, expire, grant, join_secret, revoke};
use crate::validate;

const KEYS: [&str; 8] = ["a", "aa", "ab", "b", "b\0", "c", "d", "e"];

fn key() -> impl Strategy<Value = Bytes> {
    prop::sample::select(&KEYS[..]).prop_map(|key| Bytes::from_static(key.as_bytes()))
}

/// Mostly one key; else an end that can lie anywhere, or be open.
fn range_end() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        4 => Just(Bytes::new()),
        3 => key(),
        2 => Just(Bytes::from_static(b"\0")),
        1 => Just(Bytes::from_static(b"\xff")),
    ]
}

fn value() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        1 => Just(Bytes::new()),
        4 => (0_u8..4, 1_usize..40).prop_map(|(fill, size)| Bytes::from(vec![fill; size])),
    ]
}

fn lease() -> impl Strategy<Value = i64> {
    prop_oneof![3 => Just(0_i64), 2 => 1_i64..4]
}

/// Around the revisions that a sequence reaches, with a few outside.
fn revision() -> impl Strategy<Value = i64> {
    prop_oneof![4 => Just(0_i64), 4 => 1_i64..60, 1 => -3_i64..0]
}

pub(super) fn range() -> impl Strategy<Value = RangeRequest> {
    let filter = || prop_oneof![5 => Just(0_i64), 1 => 1_i64..40];
    (
        (
            key(),
            range_end(),
            prop_oneof![2 => Just(0_i64), 2 => -1_i64..5],
            revision(),
        ),
        (
            0_i32..3,
            prop_oneof![3 => Just(0_i32), 2 => 1_i32..5],
            any::<bool>(),
            0_u8..6,
        ),
        (filter(), filter(), filter(), filter()),
    )
        .prop_map(
            |((key, range_end, limit, revision), (order, target, keys_only, one), filters)| {
                RangeRequest {
                    key,
                    range_end,
                    limit,
                    revision,
                    sort_order: order,
                    sort_target: target,
                    serializable: true,
                    keys_only,
                    count_only: one == 0,
                    min_mod_revision: filters.0,
                    max_mod_revision: filters.1,
                    min_create_revision: filters.2,
                    max_create_revision: filters.3,
                }
            },
        )
}

fn put() -> impl Strategy<Value = PutRequest> {
    (key(), value(), lease(), any::<bool>(), 0_u8..10).prop_map(
        |(key, value, lease, prev_kv, keep)| {
            let (ignore_value, ignore_lease) = (keep == 0 || keep == 2, keep == 1 || keep == 2);
            PutRequest {
                key,
                value: if ignore_value { Bytes::new() } else { value },
                lease: if ignore_lease { 0 } else { lease },
                prev_kv,
                ignore_value,
                ignore_lease,
            }
        },
    )
}

fn delete() -> impl Strategy<Value = DeleteRangeRequest> {
    (key(), range_end(), any::<bool>()).prop_map(|(key, range_end, prev_kv)| DeleteRangeRequest {
        key,
        range_end,
        prev_kv,
    })
}

fn compare() -> impl Strategy<Value = Compare> {
    let union = prop_oneof![
        (0_i64..4).prop_map(TargetUnion::Version),
        (0_i64..20).prop_map(TargetUnion::CreateRevision),
        (0_i64..20).prop_map(TargetUnion::ModRevision),
        value().prop_map(TargetUnion::Value),
        (0_i64..4).prop_map(TargetUnion::Lease),
    ];
    (
        0_i32..5,
        0_i32..6,
        key(),
        range_end(),
        option::weighted(0.9, union),
        any::<bool>(),
    )
        .prop_map(|(result, target, key, range_end, target_union, fits)| {
            let fitting = match &target_union {
                Some(TargetUnion::Version(_)) => 0,
                Some(TargetUnion::CreateRevision(_)) => 1,
                Some(TargetUnion::ModRevision(_)) => 2,
                Some(TargetUnion::Value(_)) => 3,
                Some(TargetUnion::Lease(_)) => 4,
                None => target,
            };
            let target = if fits { fitting } else { target };
            Compare {
                result,
                target,
                key,
                range_end,
                target_union,
            }
        })
}

fn request_op() -> impl Strategy<Value = RequestOp> {
    let leaf = prop_oneof![
        3 => range().prop_map(Request::RequestRange),
        4 => put().prop_map(Request::RequestPut),
        2 => delete().prop_map(Request::RequestDeleteRange),
    ]
    .prop_map(|request| RequestOp {
        request: Some(request),
    });
    leaf.prop_recursive(2, 12, 4, |op| {
        let branch = || prop::collection::vec(op.clone(), 0..4);
        (prop::collection::vec(compare(), 0..2), branch(), branch()).prop_map(
            |(compare, success, failure)| {
                let nested = TxnRequest {
                    compare,
                    success,
                    failure,
                };
                RequestOp {
                    request: Some(Request::RequestTxn(nested)),
                }
            },
        )
    })
}

/// Only what a server lets through.
pub(super) fn txn() -> impl Strategy<Value = TxnRequest> {
    let branch = || prop::collection::vec(request_op(), 0..4);
    (prop::collection::vec(compare(), 0..3), branch(), branch())
        .prop_map(|(compare, success, failure)| TxnRequest {
            compare,
            success,
            failure,
        })
        .prop_filter("changes a key twice", |txn| validate::txn(txn, 128).is_ok())
}

pub(super) fn read_only_txn() -> impl Strategy<Value = TxnRequest> {
    let branch = || {
        let op = range().prop_map(|range| RequestOp {
            request: Some(Request::RequestRange(range)),
        });
        prop::collection::vec(op, 0..4)
    };
    (prop::collection::vec(compare(), 0..3), branch(), branch()).prop_map(
        |(compare, success, failure)| TxnRequest {
            compare,
            success,
            failure,
        },
    )
}

/// Commands with the term of the entry that carries them.
pub(super) fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => put().prop_map(Op::Put),
        3 => delete().prop_map(Op::DeleteRange),
        6 => txn().prop_map(Op::Txn),
        2 => (-1_i64..50).prop_map(compact),
        3 => (1_i64..4).prop_map(grant),
        1 => (1_i64..4).prop_map(revoke),
        1 => (prop::collection::vec(1_i64..4, 0..3), 1_u64..4)
            .prop_map(|(ids, term)| expire(&ids, term)),
        1 => (any::<bool>(), 1_u64..3, prop::sample::select(&[0, 3, 4][..]))
            .prop_map(|(raise, member, kind)| alarm(raise, member, kind)),
        1 => prop::sample::select(&["", "one", "two"][..]).prop_map(join_secret),
    ]
}
