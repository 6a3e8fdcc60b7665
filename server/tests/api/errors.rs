//! The error table over the wire: exact text and code of every row these RPCs can give, and the
//! same questions put to a real etcd.

use futures::future::BoxFuture;
use handfast_proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest,
    PutRequest, RangeRequest, RequestOp, TxnRequest, compare, request_op::Request as Op,
};
use tonic::{Code, Status};

use crate::clients::{Clients, get, op, put, start};
use crate::etcd::Etcd;

type Ask = fn(Clients) -> BoxFuture<'static, Result<(), Status>>;

struct Case {
    name: &'static str,
    code: Code,
    text: &'static str,
    /// Whether etcd 3.4 gives the same answer; newer ones do.
    in_etcd_34: bool,
    ask: Ask,
}

/// One case: what is asked, and what has to come back.
macro_rules! case {
    ($name:literal, $code:ident, $text:literal, |$clients:ident| $ask:expr) => {
        case!($name, $code, $text, true, |$clients| $ask)
    };
    ($name:literal, $code:ident, $text:literal, $old:literal, |$clients:ident| $ask:expr) => {
        Case {
            name: $name,
            code: Code::$code,
            text: $text,
            in_etcd_34: $old,
            ask: |#[allow(unused_mut)] mut $clients| Box::pin(async move { $ask.await.map(drop) }),
        }
    };
}

fn txn(success: Vec<RequestOp>) -> TxnRequest {
    TxnRequest {
        success,
        ..TxnRequest::default()
    }
}

fn puts(count: usize) -> Vec<RequestOp> {
    (0..count)
        .map(|i| op(Op::RequestPut(put(&format!("many{i}"), ""))))
        .collect()
}

fn delete(key: &str) -> DeleteRangeRequest {
    DeleteRangeRequest {
        key: key.to_owned().into(),
        ..DeleteRangeRequest::default()
    }
}

/// Values just above the limit of a request, and just above that of a message.
fn large(bytes: usize) -> PutRequest {
    PutRequest {
        value: vec![7; bytes].into(),
        ..put("large", "")
    }
}

fn key_cases() -> Vec<Case> {
    vec![
        case!(
            "range without key",
            InvalidArgument,
            "etcdserver: key is not provided",
            |c| { c.kv.range(get("")) }
        ),
        case!(
            "put without key",
            InvalidArgument,
            "etcdserver: key is not provided",
            |c| { c.kv.put(put("", "v")) }
        ),
        case!(
            "delete without key",
            InvalidArgument,
            "etcdserver: key is not provided",
            |c| { c.kv.delete_range(delete("")) }
        ),
        case!(
            "put keeping a missing value",
            InvalidArgument,
            "etcdserver: key not found",
            |c| {
                c.kv.put(PutRequest {
                    ignore_value: true,
                    ..put("missing", "")
                })
            }
        ),
        case!(
            "put keeping a missing lease",
            InvalidArgument,
            "etcdserver: key not found",
            |c| {
                c.kv.put(PutRequest {
                    ignore_lease: true,
                    ..put("missing", "v")
                })
            }
        ),
        case!(
            "put keeping and giving",
            InvalidArgument,
            "etcdserver: value is provided",
            |c| {
                c.kv.put(PutRequest {
                    ignore_value: true,
                    ..put("a", "v")
                })
            }
        ),
        case!(
            "put of two leases",
            InvalidArgument,
            "etcdserver: lease is provided",
            |c| {
                c.kv.put(PutRequest {
                    ignore_lease: true,
                    lease: 5,
                    ..put("a", "v")
                })
            }
        ),
    ]
}

fn size_and_lease_cases() -> Vec<Case> {
    vec![
        case!(
            "put on no lease",
            NotFound,
            "etcdserver: requested lease not found",
            |c| {
                c.kv.put(PutRequest {
                    lease: 404,
                    ..put("a", "v")
                })
            }
        ),
        case!(
            "range by an unknown order",
            InvalidArgument,
            "etcdserver: invalid sort option",
            false,
            |c| c.kv.range(RangeRequest {
                sort_order: 9,
                ..get("a")
            })
        ),
        case!(
            "request too large",
            InvalidArgument,
            "etcdserver: request is too large",
            |c| { c.kv.put(large(1_573_264)) }
        ),
    ]
}

fn revision_cases() -> Vec<Case> {
    vec![
        case!(
            "compacted",
            OutOfRange,
            "etcdserver: mvcc: required revision has been compacted",
            |c| c.kv.range(RangeRequest {
                revision: 1,
                ..get("a")
            })
        ),
        case!(
            "future",
            OutOfRange,
            "etcdserver: mvcc: required revision is a future revision",
            |c| c.kv.range(RangeRequest {
                revision: 1_000_000,
                ..get("a")
            })
        ),
        case!(
            "compact twice",
            OutOfRange,
            "etcdserver: mvcc: required revision has been compacted",
            |c| c.kv.compact(CompactionRequest {
                revision: 3,
                physical: false
            })
        ),
        case!(
            "compact the future",
            OutOfRange,
            "etcdserver: mvcc: required revision is a future revision",
            |c| c.kv.compact(CompactionRequest {
                revision: 1_000_000,
                physical: false
            })
        ),
    ]
}

fn txn_shape_cases() -> Vec<Case> {
    vec![
        case!(
            "too many operations",
            InvalidArgument,
            "etcdserver: too many operations in txn request",
            |c| c.kv.txn(txn(puts(129)))
        ),
        case!(
            "one key twice",
            InvalidArgument,
            "etcdserver: duplicate key given in txn request",
            |c| c.kv.txn(txn(vec![
                op(Op::RequestPut(put("twice", "1"))),
                op(Op::RequestPut(put("twice", "2"))),
            ]))
        ),
        case!(
            "a put inside a delete",
            InvalidArgument,
            "etcdserver: duplicate key given in txn request",
            |c| c.kv.txn(txn(vec![
                op(Op::RequestDeleteRange(delete("twice"))),
                op(Op::RequestPut(put("twice", "2"))),
            ]))
        ),
        case!(
            "an empty operation",
            InvalidArgument,
            "etcdserver: key not found",
            |c| { c.kv.txn(txn(vec![RequestOp::default()])) }
        ),
    ]
}

fn txn_state_cases() -> Vec<Case> {
    vec![
        case!(
            "a compare without key",
            InvalidArgument,
            "etcdserver: key is not provided",
            |c| {
                c.kv.txn(TxnRequest {
                    compare: vec![Compare {
                        target: compare::CompareTarget::Version.into(),
                        ..Compare::default()
                    }],
                    ..TxnRequest::default()
                })
            }
        ),
        case!(
            "a txn on no lease",
            NotFound,
            "etcdserver: requested lease not found",
            |c| {
                let on_lease = PutRequest {
                    lease: 404,
                    ..put("a", "v")
                };
                c.kv.txn(txn(vec![op(Op::RequestPut(on_lease))]))
            }
        ),
        case!(
            "a txn that reads the future",
            OutOfRange,
            "etcdserver: mvcc: required revision is a future revision",
            |c| {
                let range = RangeRequest {
                    revision: 1_000_000,
                    ..get("a")
                };
                c.kv.txn(txn(vec![
                    op(Op::RequestPut(put("a", "v"))),
                    op(Op::RequestRange(range)),
                ]))
            }
        ),
        case!(
            "a read-only txn of compacted history",
            OutOfRange,
            "etcdserver: mvcc: required revision has been compacted",
            |c| {
                let range = RangeRequest {
                    revision: 1,
                    ..get("a")
                };
                c.kv.txn(txn(vec![op(Op::RequestRange(range))]))
            }
        ),
    ]
}

fn lease_cases() -> Vec<Case> {
    vec![
        case!(
            "grant twice",
            FailedPrecondition,
            "etcdserver: lease already exists",
            |c| { c.lease.lease_grant(LeaseGrantRequest { ttl: 60, id: 7 }) }
        ),
        case!(
            "grant for too long",
            OutOfRange,
            "etcdserver: too large lease TTL",
            |c| {
                c.lease.lease_grant(LeaseGrantRequest {
                    ttl: 9_000_000_001,
                    id: 0,
                })
            }
        ),
        case!(
            "revoke nothing",
            NotFound,
            "etcdserver: requested lease not found",
            |c| { c.lease.lease_revoke(LeaseRevokeRequest { id: 404 }) }
        ),
    ]
}

/// Revision 4, compacted at 3, with lease 7.
async fn prepare(clients: &Clients) {
    for value in ["1", "2", "3"] {
        clients.put("a", value).await;
    }
    let compact = CompactionRequest {
        revision: 3,
        physical: false,
    };
    clients.kv.clone().compact(compact).await.unwrap();
    clients.grant(600, 7).await;
}

async fn check(clients: &Clients, only_old: bool) {
    prepare(clients).await;
    let groups = [
        key_cases(),
        size_and_lease_cases(),
        revision_cases(),
        txn_shape_cases(),
        txn_state_cases(),
        lease_cases(),
    ];
    let cases = groups.into_iter().flatten();
    for case in cases.filter(|case| case.in_etcd_34 || !only_old) {
        let asked = crate::clients::soon((case.ask)(clients.clone())).await;
        let status = asked.expect_err(case.name);
        assert_eq!(
            (status.code(), status.message()),
            (case.code, case.text),
            "{}",
            case.name
        );
    }
    // Nothing of all that wrote anything.
    assert_eq!(clients.get("a").await.header.unwrap().revision, 4);
}

#[tokio::test]
async fn every_row_of_the_error_table_has_its_text_and_code() {
    let (_server, clients) = start().await;
    check(&clients, false).await;
}

#[tokio::test]
async fn etcd_gives_the_same_answers() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    check(&Clients::connect(&etcd.endpoint).await, true).await;
}

#[tokio::test]
async fn a_message_over_the_transport_limit_is_refused_in_etcds_words() {
    let (_server, clients) = start().await;
    let status = clients.kv.clone().put(large(2_100_000)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let (start, limit) = status.message().split_once(" vs. ").unwrap();
    assert!(
        start.starts_with("grpc: received message larger than max (21000"),
        "{start}"
    );
    assert_eq!(limit, "2097152)");
    // The largest request that fits is taken.
    clients
        .kv
        .clone()
        .put(PutRequest {
            key: "k".into(),
            ..large(1_572_834)
        })
        .await
        .unwrap();
}
