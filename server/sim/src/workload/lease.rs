//! Leases: granted, kept for a while, given up or let run out, with a key that hangs on each.
//!
//! Owns this life of a lease. When its key is gone is noted as the first moment at which anybody
//! saw so.

use std::sync::Arc;
use std::time::Duration;

use handfast_checker::{Put, Request, Response};
use handfast_core::ErrorKind;

use super::{LEASE_PREFIX, Patron, convert, kv};

/// How long after its end a lease may still be there: some elections' time.
const PATIENCE: Duration = Duration::from_secs(20);

/// Has one lease after the other until the run is over.
pub(super) async fn work(patron: Arc<Patron>) {
    let mut count = 0;
    loop {
        let pause = patron.draw(|dice| dice.millis(200..3_000));
        if !patron.pause(pause).await {
            return;
        }
        count += 1;
        let _busy = patron.at(format!("lease {count}"));
        one(&patron, count).await;
    }
}

async fn one(patron: &Patron, count: u32) {
    let ttl = patron.draw(|dice| dice.range(2..6)) as i64;
    let sent = patron.now();
    let Ok(grant) = patron.client.lease_grant(ttl, 0).await else {
        return;
    };
    let (id, ttl) = (grant.id, grant.ttl);
    let nanos = ttl.unsigned_abs() * 1_000_000_000;
    patron.recorder.leased(patron.now(), sent, id, nanos);
    let key = kv::bytes(&format!("{LEASE_PREFIX}{}.{count}", patron.number));
    let request = Request::Put(Put {
        lease: id,
        ..Put::new(key.clone(), "here")
    });
    let call = patron.client.put(key.clone(), "here").lease(id);
    let put = kv::note(patron, request, call, |answer| {
        (answer.header.revision, convert::put(answer))
    });
    if !put.await {
        return;
    }
    let renewals = patron.draw(|dice| dice.below(6));
    for _ in 0..renewals {
        // Mostly in good time; sometimes as late as can be, when a leader may just be ending it.
        let permille = patron.draw(|dice| match dice.below(4) {
            0 => dice.range(850..1_050),
            _ => 333,
        });
        let pause = Duration::from_millis(ttl.unsigned_abs() * permille);
        patron.pause(pause).await;
        let sent = patron.now();
        match patron.client.lease_keep_alive_once(id).await {
            Ok(_) => patron.recorder.renewed(patron.now(), sent, id),
            Err(error) if error.kind() == ErrorKind::LeaseNotFound => {
                patron.recorder.lease_gone(patron.now(), id);
                return;
            }
            Err(_) => {}
        }
    }
    if patron.draw(|dice| dice.per_mille(300)) {
        revoke(patron, id).await;
    } else {
        watch_the_end(patron, id, &key).await;
    }
}

async fn revoke(patron: &Patron, id: i64) {
    patron.recorder.revoking(patron.now(), id);
    let call = patron.client.lease_revoke(id);
    kv::note(patron, Request::Revoke { lease: id }, call, |header| {
        (header.revision, Response::Revoke)
    })
    .await;
}

/// Reads until the key is gone, which must be some time after the time to live is over.
async fn watch_the_end(patron: &Patron, id: i64, key: &bytes::Bytes) {
    let until = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < until {
        if let Ok(None) = patron.client.get(key.clone()).await {
            patron.recorder.lease_gone(patron.now(), id);
            return;
        }
        if !patron.pause(Duration::from_millis(150)).await {
            return;
        }
    }
}
