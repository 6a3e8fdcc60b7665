//! Reads, writes, deletes and transactions on a handful of keys.
//!
//! Owns the mix. Every value is different, so that a reader's answer tells which write it saw.

use std::future::IntoFuture;
use std::sync::Arc;

use bytes::Bytes;
use handfast_checker::{
    Compare as Condition, CompareResult, Delete, Get, KeyRange, Put, Request, Response, Target,
    Txn, TxnOp,
};
use handfast_core::{Compare, Error, Op};

use super::{KV_PREFIX, Patron, convert};

/// So few that clients meet.
const KEYS: usize = 6;

/// Works until the run is over.
pub(super) async fn work(patron: Arc<Patron>) {
    let mut count = 0;
    while patron.think().await {
        count += 1;
        let value = format!("{}.{count}", patron.number);
        let _busy = patron.at(format!("operation {count}"));
        one(&patron, value).await;
    }
}

async fn one(patron: &Patron, value: String) {
    let (choice, key) = patron.draw(|dice| (dice.below(100), key(dice.below(KEYS))));
    match choice {
        0..30 => put(patron, key, value).await,
        30..52 => get(patron, KeyRange::key(key), false).await,
        52..58 => get(patron, KeyRange::key(key), true).await,
        58..66 => get(patron, KeyRange::prefix(KV_PREFIX), false).await,
        66..69 => get(patron, KeyRange::prefix(KV_PREFIX), true).await,
        69..76 => delete(patron, key).await,
        _ => txn(patron, key, value).await,
    }
}

fn key(number: usize) -> String {
    format!("{KV_PREFIX}{number}")
}

async fn put(patron: &Patron, key: String, value: String) {
    let prev_kv = patron.draw(|dice| dice.per_mille(300));
    let request = Request::Put(Put {
        prev_kv,
        ..Put::new(key.clone(), value.clone())
    });
    let call = patron.client.put(key, value);
    let call = if prev_kv { call.prev_kv() } else { call };
    note(patron, request, call, |answer| {
        (answer.header.revision, convert::put(answer))
    })
    .await;
}

async fn get(patron: &Patron, range: KeyRange, serializable: bool) {
    let call = patron.client.range(range.key.clone());
    let call = match range.is_key() {
        true => call,
        false => call.range_end(range.range_end.clone()),
    };
    let call = if serializable {
        call.serializable()
    } else {
        call
    };
    let request = Request::Get(Get {
        range,
        serializable,
        ..Get::default()
    });
    note(patron, request, call, |answer| {
        (answer.header.revision, convert::range(answer))
    })
    .await;
}

async fn delete(patron: &Patron, key: String) {
    let request = Request::Delete(Delete {
        range: KeyRange::key(key.clone()),
        prev_kv: true,
    });
    let call = patron.client.delete(key).prev_kv();
    note(patron, request, call, |answer| {
        (answer.header.revision, convert::delete(answer))
    })
    .await;
}

/// A change that depends on what is there: the kind that shows a lost or doubled write soonest.
async fn txn(patron: &Patron, key: String, value: String) {
    // Read first, so that the compare holds now and then.
    let seen = match patron.client.range(key.clone()).serializable().await {
        Ok(answer) => answer.kvs.into_iter().next(),
        Err(_) => return,
    };
    let other = patron.draw(|dice| self::key(dice.below(KEYS)));
    let revision = seen.as_ref().map_or(0, |pair| pair.mod_revision);
    let version = seen.as_ref().map_or(0, |pair| pair.version);
    let mut compares = vec![(
        Target::ModRevision(revision),
        Compare::mod_revision(key.clone()).eq(revision),
    )];
    if patron.draw(|dice| dice.per_mille(400)) {
        let compare = Compare::version(key.clone()).eq(version);
        compares.push((Target::Version(version), compare));
    }
    let (conditions, compares): (Vec<_>, Vec<_>) = compares
        .into_iter()
        .map(|(target, compare)| {
            let condition = Condition {
                range: KeyRange::key(key.clone()),
                result: CompareResult::Equal,
                target,
            };
            (condition, compare)
        })
        .unzip();
    let mut then = vec![TxnOp::Put(Put::new(key.clone(), value.clone()))];
    let mut ops = vec![Op::put(key.clone(), value.clone())];
    if other != key {
        let value = format!("{value}+");
        then.push(TxnOp::Put(Put::new(other.clone(), value.clone())));
        ops.push(Op::put(other, value));
    }
    let request = Request::Txn(Txn {
        compares: conditions,
        then,
        otherwise: vec![TxnOp::Get(Get {
            range: KeyRange::key(key.clone()),
            ..Get::default()
        })],
    });
    let call = patron.client.txn().when(compares).then(ops);
    let call = call.otherwise([Op::get(key)]).commit();
    note(patron, request, call, |answer| {
        (answer.header.revision, convert::txn(answer))
    })
    .await;
}

/// Makes the call and writes down what was asked and answered; whether it was answered.
pub(super) async fn note<T>(
    patron: &Patron,
    request: Request,
    call: impl IntoFuture<Output = Result<T, Error>>,
    read: impl FnOnce(T) -> (i64, Response),
) -> bool {
    let id = patron.recorder.invoke(patron.now(), patron.number, request);
    let answer = call.into_future().await;
    let now = patron.now();
    match answer {
        Ok(answer) => {
            let (revision, response) = read(answer);
            patron.recorder.ok(now, id, revision, response);
            true
        }
        Err(error) if error.in_doubt() => {
            patron.recorder.unknown(now, id, error.to_string());
            false
        }
        Err(error) => {
            patron.recorder.failed(now, id, error.to_string());
            false
        }
    }
}

/// The bytes of a text.
pub(super) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
