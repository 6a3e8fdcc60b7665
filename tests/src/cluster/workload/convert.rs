//! The record's requests carried out with the client core, and its answers put into the record.
//!
//! Owns the translation between the two. Must not know who asks or why.

use handfast_checker as check;
use handfast_core::{
    Client, Compare, DeleteResponse, Error, Event, EventKind, KeyValue, Op, OpResponse,
    RangeResponse,
};

/// Makes the request and gives the revision of the answer, with the answer.
///
/// # Errors
/// The client's, which says whether a write is in doubt.
pub(super) async fn perform(
    client: &Client,
    request: &check::Request,
) -> Result<(i64, check::Response), Error> {
    match request {
        check::Request::Get(get) => {
            let mut range = client.range(get.range.key.clone());
            if !get.range.is_key() {
                range = range.range_end(get.range.range_end.clone());
            }
            if get.serializable {
                range = range.serializable();
            }
            let answer = range.limit(get.limit).revision(get.revision).await?;
            Ok((answer.header.revision, read(answer)))
        }
        check::Request::Put(put) => {
            let mut call = client
                .put(put.key.clone(), put.value.clone())
                .lease(put.lease);
            if put.prev_kv {
                call = call.prev_kv();
            }
            let answer = call.await?;
            let prev_kv = answer.prev_kv.map(pair);
            Ok((answer.header.revision, check::Response::Put { prev_kv }))
        }
        check::Request::Delete(delete) => {
            let mut call = client.delete(delete.range.key.clone());
            if !delete.range.is_key() {
                call = call.range_end(delete.range.range_end.clone());
            }
            if delete.prev_kv {
                call = call.prev_kv();
            }
            let answer = call.await?;
            Ok((answer.header.revision, deleted(answer)))
        }
        check::Request::Txn(txn) => {
            let answer = client
                .txn()
                .when(txn.compares.iter().map(compare))
                .then(txn.then.iter().map(op))
                .otherwise(txn.otherwise.iter().map(op))
                .commit()
                .await?;
            let response = check::Response::Txn {
                succeeded: answer.succeeded,
                responses: answer.responses.into_iter().map(op_response).collect(),
            };
            Ok((answer.header.revision, response))
        }
        check::Request::Revoke { lease } => {
            let header = client.lease_revoke(*lease).await?;
            Ok((header.revision, check::Response::Revoke))
        }
    }
}

fn read(answer: RangeResponse) -> check::Response {
    check::Response::Get {
        count: Some(answer.count),
        kvs: answer.kvs.into_iter().map(pair).collect(),
    }
}

fn deleted(answer: DeleteResponse) -> check::Response {
    check::Response::Delete {
        deleted: answer.deleted,
        prev_kvs: answer.prev_kvs.into_iter().map(pair).collect(),
    }
}

fn op_response(answer: OpResponse) -> check::Response {
    match answer {
        OpResponse::Range(answer) => read(answer),
        OpResponse::Put(answer) => check::Response::Put {
            prev_kv: answer.prev_kv.map(pair),
        },
        OpResponse::Delete(answer) => deleted(answer),
        OpResponse::Txn(answer) => check::Response::Txn {
            succeeded: answer.succeeded,
            responses: answer.responses.into_iter().map(op_response).collect(),
        },
        other => unreachable!("an answer to what was not asked: {other:?}"),
    }
}

fn op(op: &check::TxnOp) -> Op {
    match op {
        check::TxnOp::Get(get) if get.range.is_key() => Op::get(get.range.key.clone()),
        check::TxnOp::Get(get) => {
            Op::range(get.range.key.clone()).range_end(get.range.range_end.clone())
        }
        check::TxnOp::Put(put) => {
            let op = Op::put(put.key.clone(), put.value.clone()).lease(put.lease);
            if put.prev_kv { op.prev_kv() } else { op }
        }
        check::TxnOp::Delete(delete) => {
            let mut op = Op::delete(delete.range.key.clone());
            if !delete.range.is_key() {
                op = op.range_end(delete.range.range_end.clone());
            }
            if delete.prev_kv { op.prev_kv() } else { op }
        }
    }
}

fn compare(compare: &check::Compare) -> Compare {
    let key = compare.range.key.clone();
    macro_rules! compared {
        ($target:expr, $with:expr) => {{
            let mut target = $target;
            if !compare.range.is_key() {
                target = target.range_end(compare.range.range_end.clone());
            }
            match compare.result {
                check::CompareResult::Equal => target.eq($with),
                check::CompareResult::NotEqual => target.ne($with),
                check::CompareResult::Greater => target.gt($with),
                check::CompareResult::Less => target.lt($with),
            }
        }};
    }
    match &compare.target {
        check::Target::Version(with) => compared!(Compare::version(key), *with),
        check::Target::CreateRevision(with) => compared!(Compare::create_revision(key), *with),
        check::Target::ModRevision(with) => compared!(Compare::mod_revision(key), *with),
        check::Target::Lease(with) => compared!(Compare::lease(key), *with),
        check::Target::Value(with) => compared!(Compare::value(key), with.clone()),
    }
}

/// A pair as the record has it.
pub(in crate::cluster) fn pair(pair: KeyValue) -> check::Kv {
    check::Kv {
        key: pair.key,
        value: pair.value,
        create_revision: pair.create_revision,
        mod_revision: pair.mod_revision,
        version: pair.version,
        lease: pair.lease,
    }
}

/// A change as the record has it.
pub(super) fn event(event: Event) -> check::Event {
    check::Event {
        kind: match event.kind {
            EventKind::Put => check::EventKind::Put,
            EventKind::Delete => check::EventKind::Delete,
        },
        kv: pair(event.kv),
        prev_kv: event.prev_kv.map(pair),
    }
}
