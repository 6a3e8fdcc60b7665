//! The task that watches over what is held.
//!
//! Owns noticing the end: the key deleted by somebody, the lease lost, a limit reached. Gives the
//! place up where nobody else does.

use std::{sync::Arc, time::Duration};

use handfast_core::{
    Backoff, ErrorKind,
    session::{Departure, LostReason},
};

use super::{super::txns::Leaving, hold::Hold};

const FIRST_WAIT: Duration = Duration::from_millis(50);
const WAIT_LIMIT: Duration = Duration::from_secs(1);
/// Sleeps are cut to this, since they do not count time in which the machine was suspended.
const TICK: Duration = Duration::from_secs(1);

/// Runs until the hold has ended.
pub(super) async fn keep(hold: Arc<Hold>) {
    let chance = hold.epoch.client().chance();
    let mut from = hold.token + 1;
    let mut backoff = Backoff::new(FIRST_WAIT, WAIT_LIMIT).drawn_by(chance);
    let interval = hold.epoch.verify_interval();
    loop {
        let verify = interval.mul_f64(chance.factor(0.8, 1.2));
        let departure = tokio::select! {
            biased;
            () = hold.fired() => break,
            () = limit_reached(&hold) => break,
            departure = Departure::of(hold.epoch.client(), hold.key.clone(), from) => departure,
            () = tokio::time::sleep(verify) => Departure::Unsure,
        };
        if let Departure::Deleted { .. } = departure {
            hold.key_is_gone().await;
            break;
        }
        match hold.epoch.client().range(&hold.key).await {
            Ok(answer) => match answer.kvs.first() {
                Some(pair) if pair.create_revision == hold.token => {
                    from = answer.header.revision + 1;
                }
                _ => {
                    hold.key_is_gone().await;
                    break;
                }
            },
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return,
            Err(_) => {}
        }
        tokio::time::sleep(backoff.next()).await;
    }
    let reason = hold.lost().await;
    if matches!(reason, LostReason::MaxHold | LostReason::NoBeat) {
        give_up(&hold).await;
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

/// Gives the place up once the work has stopped, or had the time to.
async fn give_up(hold: &Hold) {
    hold.scopes_ended(hold.epoch.ttl() / 4).await;
    if let Some(place) = hold.take_place() {
        place.leave(Leaving::Holder).await;
    }
}
