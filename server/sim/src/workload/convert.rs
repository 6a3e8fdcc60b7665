//! From the client core's types to those of the record.

use handfast_checker::{Event, EventKind, Kv, Response};
use handfast_core::{
    DeleteResponse, Event as CoreEvent, EventKind as CoreKind, KeyValue, OpResponse, PutResponse,
    RangeResponse, TxnResponse,
};

pub(crate) fn pair(pair: KeyValue) -> Kv {
    Kv {
        key: pair.key,
        value: pair.value,
        create_revision: pair.create_revision,
        mod_revision: pair.mod_revision,
        version: pair.version,
        lease: pair.lease,
    }
}

pub(crate) fn event(event: CoreEvent) -> Event {
    Event {
        kind: match event.kind {
            CoreKind::Put => EventKind::Put,
            CoreKind::Delete => EventKind::Delete,
        },
        kv: pair(event.kv),
        prev_kv: event.prev_kv.map(pair),
    }
}

pub(super) fn range(answer: RangeResponse) -> Response {
    Response::Get {
        kvs: answer.kvs.into_iter().map(pair).collect(),
        count: Some(answer.count),
    }
}

pub(super) fn put(answer: PutResponse) -> Response {
    Response::Put {
        prev_kv: answer.prev_kv.map(pair),
    }
}

pub(super) fn delete(answer: DeleteResponse) -> Response {
    Response::Delete {
        deleted: answer.deleted,
        prev_kvs: answer.prev_kvs.into_iter().map(pair).collect(),
    }
}

pub(super) fn txn(answer: TxnResponse) -> Response {
    let responses = answer.responses.into_iter().filter_map(|op| match op {
        OpResponse::Range(answer) => Some(range(answer)),
        OpResponse::Put(answer) => Some(put(answer)),
        OpResponse::Delete(answer) => Some(delete(answer)),
        _ => None,
    });
    Response::Txn {
        succeeded: answer.succeeded,
        responses: responses.collect(),
    }
}
