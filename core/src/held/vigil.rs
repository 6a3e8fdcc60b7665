//! The task that watches over what is held.
//!
//! Owns noticing the end: the key deleted by somebody, the lease lost, a limit reached. Gives the
//! key back where nobody else does.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::select_all;

use super::{Notice, hold::Hold};
use crate::{
    Backoff, ErrorKind, Mirror, Op, TxnResponse,
    session::{Departure, LostReason},
};

const FIRST_WAIT: Duration = Duration::from_millis(50);
const WAIT_LIMIT: Duration = Duration::from_secs(1);
/// What is held shorter than this costs no watch. The watch begins where the hold began, so nothing
/// is missed, only told later by as much.
const UNWATCHED: Duration = Duration::from_millis(10);
/// Sleeps are cut to this, since they do not count time in which the machine was suspended.
const TICK: Duration = Duration::from_secs(1);

/// Runs until the hold has ended.
pub(super) async fn keep(hold: Arc<Hold>, notice: Notice) {
    let may_look = match notice {
        Notice::Watch => keep_by_watch(&hold).await,
        Notice::Mirror(mirror) => keep_by_mirror(&hold, &mirror).await,
    };
    if !may_look {
        return;
    }
    let still_there = match hold.lost().await {
        LostReason::MaxHold | LostReason::NoBeat => true,
        LostReason::Deleted | LostReason::Broken { .. } => !hold.also.is_empty(),
        _ => false,
    };
    if still_there {
        give_up(&hold).await;
    }
}

/// Runs until the hold has ended; `false` when this client may not read the key.
async fn keep_by_watch(hold: &Arc<Hold>) -> bool {
    let chance = hold.epoch.client().chance();
    let mut from = hold.token + 1;
    let mut backoff = Backoff::new(FIRST_WAIT, WAIT_LIMIT).drawn_by(chance);
    let interval = hold.epoch.verify_interval();
    tokio::select! {
        biased;
        () = hold.fired() => return true,
        () = limit_reached(hold) => return true,
        () = tokio::time::sleep(UNWATCHED) => {}
    }
    loop {
        let verify = interval.mul_f64(chance.factor(0.8, 1.2));
        let departed = tokio::select! {
            biased;
            () = hold.fired() => return true,
            () = limit_reached(hold) => return true,
            departed = departure(hold, from) => departed,
            () = tokio::time::sleep(verify) => None,
        };
        if let Some((key, at)) = departed {
            hold.key_is_gone(key, at);
            return true;
        }
        let reads = hold.epoch.client().txn().then(hold.keys().map(Op::get));
        match reads.commit().await {
            Ok(answer) => {
                let at = answer.header.revision;
                if let Some(key) = first_gone(hold, &answer) {
                    hold.key_is_gone(key, at);
                    return true;
                }
                from = at + 1;
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return false,
            Err(_) => {}
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

/// Waits until one of the keys is deleted, at `from` or later, and tells at which revision; `None`
/// if a watch cannot tell.
async fn departure(hold: &Hold, from: i64) -> Option<(&Bytes, i64)> {
    let client = hold.epoch.client();
    let waits = hold.keys().map(|key| {
        let departure = Departure::of(client, key.clone(), from);
        Box::pin(async move {
            match departure.await {
                Departure::Deleted { revision } => Some((key, revision)),
                Departure::Unsure => None,
            }
        })
    });
    select_all(waits).await.0
}

/// The first key that `answer`, which has read them all in order, does not show as it was put.
pub(super) fn first_gone<'a>(hold: &'a Hold, answer: &TxnResponse) -> Option<&'a Bytes> {
    let mut keys = hold.keys().enumerate();
    let gone = keys.find(|(index, _)| {
        let read = answer.range(*index).ok().and_then(|read| read.kvs.first());
        read.is_none_or(|pair| pair.create_revision != hold.token)
    });
    gone.map(|(_, key)| key)
}

/// Runs until the hold has ended; the mirror verifies itself.
async fn keep_by_mirror(hold: &Arc<Hold>, mirror: &Mirror) -> bool {
    let mut progress = mirror.progress();
    loop {
        progress.borrow_and_update();
        let gone_at = mirror.read(|view| {
            let pair = view.get(&hold.key);
            let gone = view.revision() >= hold.token
                && pair.is_none_or(|pair| pair.create_revision != hold.token);
            gone.then_some(view.revision())
        });
        // What the holder deletes itself is no loss; it says how that went.
        if let Some(at) = gone_at.filter(|_| !hold.is_leaving()) {
            hold.key_is_gone(&hold.key, at);
            return true;
        }
        tokio::select! {
            biased;
            () = hold.fired() => return true,
            () = limit_reached(hold) => return true,
            changed = progress.changed() => if changed.is_err() {
                return keep_by_watch(hold).await;
            },
        }
    }
}

/// Waits until a limit on the hold is reached, if there is one.
async fn limit_reached(hold: &Hold) {
    loop {
        match hold.limit_left() {
            None => std::future::pending().await,
            Some((Duration::ZERO, reason)) => {
                hold.lose(reason);
                return;
            }
            Some((left, _)) => tokio::time::sleep(left.min(TICK)).await,
        }
    }
}

/// Gives the key back once the work has stopped, or had the time to.
async fn give_up(hold: &Hold) {
    hold.scopes_ended(hold.epoch.ttl() / 4).await;
    if let Some(leave) = hold.take_leave() {
        leave.leave().await;
    }
}
