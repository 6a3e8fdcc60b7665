//! Puts, reads and transactions.
//!
//! Owns the requests of these workloads.

use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use handfast_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use handfast_proto::etcdserverpb::request_op::Request;
use handfast_proto::etcdserverpb::response_op::Response;
use handfast_proto::etcdserverpb::{
    Compare, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse,
};

use super::super::target::key;
use super::{Arena, Worker, for_each, workers};
use crate::exit::Failure;

/// Keys that one range reads.
const RANGE_KEYS: usize = 1_000;

/// Writes of random keys.
pub(super) fn put(arena: &Rc<Arena>) -> Vec<Worker> {
    workers(arena, arena.args.inflight, |arena, index| async move {
        let mut client = arena.kv(index);
        while arena.gauge.goes_on() {
            let request = put_request(name(arena.below(arena.args.keys)), &arena);
            let start = Instant::now();
            client.put(request).await?;
            arena.gauge.record(start);
        }
        Ok(())
    })
}

/// Linearizable reads of random keys.
pub(super) async fn get(arena: &Rc<Arena>) -> Result<Vec<Worker>, Failure> {
    for_each(arena, arena.args.keys, |arena, index| async move {
        arena
            .kv(index)
            .put(put_request(name(index), &arena))
            .await
            .map(drop)
    })
    .await?;
    Ok(workers(
        arena,
        arena.args.inflight,
        |arena, index| async move {
            let mut client = arena.kv(index);
            while arena.gauge.goes_on() {
                let key = name(arena.below(arena.args.keys));
                let start = Instant::now();
                client
                    .range(RangeRequest {
                        key,
                        ..RangeRequest::default()
                    })
                    .await?;
                arena.gauge.record(start);
            }
            Ok(())
        },
    ))
}

/// Reads of many keys at once.
pub(super) async fn range(arena: &Rc<Arena>) -> Result<Vec<Worker>, Failure> {
    for_each(arena, RANGE_KEYS, |arena, index| async move {
        let key = key(format_args!("range/{index:08}"));
        arena
            .kv(index)
            .put(put_request(key, &arena))
            .await
            .map(drop)
    })
    .await?;
    Ok(workers(
        arena,
        arena.args.inflight,
        |arena, index| async move {
            let mut client = arena.kv(index);
            while arena.gauge.goes_on() {
                let request = RangeRequest {
                    key: key("range/"),
                    range_end: key("range0"),
                    ..RangeRequest::default()
                };
                let start = Instant::now();
                client.range(request).await?;
                arena.gauge.record(start);
            }
            Ok(())
        },
    ))
}

/// Writes a key of its own if it is as last seen, so that every transaction succeeds.
pub(super) fn txn(arena: &Rc<Arena>) -> Vec<Worker> {
    workers(arena, arena.args.inflight, |arena, index| async move {
        let mut client = arena.kv(index);
        let own = key(format_args!("txn/{index:08}"));
        let mut seen = None;
        while arena.gauge.goes_on() {
            let start = Instant::now();
            let answer = client
                .txn(compare_and_put(&own, seen, &arena))
                .await?
                .into_inner();
            arena.gauge.record(start);
            seen = seen_revision(&answer);
        }
        Ok(())
    })
}

fn name(index: usize) -> Bytes {
    key(format_args!("kv/{index:08}"))
}

fn put_request(key: Bytes, arena: &Arena) -> PutRequest {
    PutRequest {
        key,
        value: arena.value.clone(),
        ..PutRequest::default()
    }
}

fn compare_and_put(key: &Bytes, seen: Option<i64>, arena: &Arena) -> TxnRequest {
    let compare = Compare {
        result: CompareResult::Equal as i32,
        target: CompareTarget::Mod as i32,
        key: key.clone(),
        target_union: Some(TargetUnion::ModRevision(seen.unwrap_or(0))),
        ..Compare::default()
    };
    let get = RangeRequest {
        key: key.clone(),
        ..RangeRequest::default()
    };
    TxnRequest {
        compare: vec![compare],
        success: vec![op(Request::RequestPut(put_request(key.clone(), arena)))],
        failure: vec![op(Request::RequestRange(get))],
    }
}

/// The key's revision after the transaction.
fn seen_revision(answer: &TxnResponse) -> Option<i64> {
    if answer.succeeded {
        return answer.header.map(|header| header.revision);
    }
    match answer.responses.first()?.response.as_ref()? {
        Response::ResponseRange(range) => range.kvs.first().map(|pair| pair.mod_revision),
        _ => None,
    }
}

/// One operation of a transaction.
pub(super) fn op(request: Request) -> RequestOp {
    RequestOp {
        request: Some(request),
    }
}
