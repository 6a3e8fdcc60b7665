//! Locks and elections, held for a while, given back or lost.
//!
//! Owns when a holder believes to hold. The record has both ends of each tenure, as the holder saw
//! them.

use std::sync::Arc;
use std::time::Duration;

use handfast::Tenure;
use handfast_checker::{Ending, Observation, TenureId};

use super::{Patron, kv};

/// The one lock and the one election that everybody wants.
const LOCK: &str = "lock/a";
const ELECTION: &str = "election/a";
/// How long to wait for either.
const WAIT: Duration = Duration::from_secs(8);

/// Takes the lock again and again until the run is over.
pub(super) async fn lock(patron: Arc<Patron>) {
    while rest(&patron).await {
        let _busy = patron.at("a lock".to_owned());
        let lock = patron.handfast.lock(LOCK).timeout(WAIT);
        let wanted = patron.stop.run_until_cancelled(lock.acquire());
        let Some(Ok(guard)) = wanted.await else {
            continue;
        };
        let tenure = guard.tenure();
        let holder = holder(&patron);
        let id = patron
            .recorder
            .locked(patron.now(), LOCK.as_bytes(), &holder, guard.token());
        hold(&patron, &tenure, id).await;
        // Whether it was given back in time is the record's affair.
        let _ = guard.release().await;
    }
}

/// Leads again and again until the run is over.
pub(super) async fn lead(patron: Arc<Patron>) {
    while rest(&patron).await {
        let _busy = patron.at("an election".to_owned());
        let holder = holder(&patron);
        let election = patron.handfast.election(ELECTION).value(holder.clone());
        let election = election.timeout(WAIT);
        let wanted = patron.stop.run_until_cancelled(election.campaign());
        let Some(Ok(leadership)) = wanted.await else {
            continue;
        };
        let tenure = leadership.tenure();
        let token = leadership.token();
        let now = patron.now();
        let id = patron
            .recorder
            .elected(now, ELECTION.as_bytes(), &holder, token);
        hold(&patron, &tenure, id).await;
        let _ = leadership.resign().await;
    }
}

/// Watches who leads.
pub(super) async fn observe(patron: Arc<Patron>) {
    let election = patron.handfast.election(ELECTION);
    while rest(&patron).await {
        let Some(Ok(mut observer)) = patron.stop.run_until_cancelled(election.observe()).await
        else {
            continue;
        };
        while let Some(leader) = patron.stop.run_until_cancelled(observer.next()).await {
            let (token, value) = leader.map_or_else(Default::default, |it| (it.token, it.value));
            let observation = Observation {
                name: kv::bytes(ELECTION),
                observer: holder(&patron),
                at: 0,
                token,
                value,
                revision: 0,
            };
            patron.recorder.observed(patron.now(), observation);
        }
    }
}

/// Holds for a while, and notes when it is over for the holder.
async fn hold(patron: &Patron, tenure: &Tenure, id: TenureId) {
    let span = patron.draw(|dice| dice.millis(100..3_000));
    let how = tokio::select! {
        biased;
        _ = tenure.lost() => Ending::Lost,
        _ = patron.pause(span) => Ending::Released,
    };
    patron.recorder.ended(patron.now(), id, how);
}

async fn rest(patron: &Patron) -> bool {
    let pause = patron.draw(|dice| dice.millis(50..1_500));
    patron.pause(pause).await
}

fn holder(patron: &Patron) -> String {
    format!("client {}", patron.number)
}
