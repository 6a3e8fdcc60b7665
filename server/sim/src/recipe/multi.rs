//! Several locks at once, in overlapping sets, mixed with single ones, and with elections that are
//! held under the same names by mistake.
//!
//! Owns choosing the sets, and the client that takes names one by one.

use std::sync::Arc;
use std::time::Duration;

use handfast::{Error, Kind, MultiGuard, TryMulti};
use handfast_checker::recipe::{Conflict, HoldKind, Span};
use handfast_core::session::lease_hex;
use handfast_core::{Compare, Op};
use tokio::time::{sleep, timeout};

use super::process::Process;
use super::tenure::{self, Note};
use crate::subject::Mutation;

/// What is wanted.
pub(super) const NAMES: [&str; 4] = ["multi/a", "multi/b", "multi/c", "multi/d"];

/// Acquires and gives back until the run is over.
pub(super) async fn work(process: Arc<Process>) {
    while process.think(30..500).await {
        let mut names = NAMES.to_vec();
        let count = process.draw(|dice| {
            dice.shuffle(&mut names);
            1 + dice.below(NAMES.len() - 1)
        });
        names.truncate(count);
        let mistaken = process.seat == 1 && process.draw(|dice| dice.per_mille(250));
        match (process.errs(), &*names) {
            (_, [name, ..]) if mistaken => campaign(&process, name).await,
            (Some(Mutation::TakesOneByOne), [one, other, ..]) => {
                one_by_one(&process, one, other).await;
            }
            (_, [one]) => tenure::one(&process, HoldKind::Lock, one, None).await,
            _ => several(&process, &names).await,
        }
    }
}

async fn several(process: &Process, names: &[&'static str]) {
    let note = Note::asked(process, HoldKind::Lock, names);
    let from = process.now();
    let (how, patience) = process.draw(|dice| (dice.below(100), dice.millis(500..9_000)));
    note.waits(patience);
    let waiting = async {
        let lock = process
            .handfast
            .multi_lock(names.to_vec())
            .timeout(patience);
        match how {
            0..20 => Ok(match lock.try_acquire().await? {
                TryMulti::Acquired(guard) => Some(guard),
                _ => None,
            }),
            _ => lock.acquire().await.map(Some),
        }
    };
    // Some change their mind on the way.
    let mind = match how {
        80.. => process.draw(|dice| dice.millis(0..700)),
        _ => Duration::from_secs(1_000),
    };
    let acquired = process.until_stop(timeout(mind, waiting)).await;
    process.awake().await;
    let guard: MultiGuard = match acquired.and_then(Result::ok) {
        Some(Ok(Some(guard))) => guard,
        Some(Err(error)) => {
            conflict(process, from, &error);
            return note.failed(&error);
        }
        Some(Ok(None)) | None => return note.left(),
    };
    let tenure = guard.tenure();
    note.told(tenure.token(), tenure.lease());
    if !tenure::keep(process, &tenure, &note).await {
        return note.lost();
    }
    note.left();
    match process.draw(|dice| dice.below(3)) {
        0 => drop(guard),
        _ => drop(guard.release().await),
    }
}

/// Takes a lock's name for that of an election.
async fn campaign(process: &Process, name: &'static str) {
    let note = Note::asked(process, HoldKind::Election, &[name]);
    let from = process.now();
    let patience = process.draw(|dice| dice.millis(500..4_000));
    note.waits(patience);
    let election = process.handfast.election(name).value(process.name.clone());
    let campaigning = election.timeout(patience);
    let campaigned = process.until_stop(campaigning.campaign()).await;
    process.awake().await;
    let leadership = match campaigned {
        Some(Ok(leadership)) => leadership,
        Some(Err(error)) => {
            conflict(process, from, &error);
            return note.failed(&error);
        }
        None => return note.left(),
    };
    let tenure = leadership.tenure();
    note.told(tenure.token(), tenure.lease());
    if !tenure::keep(process, &tenure, &note).await {
        return note.lost();
    }
    note.left();
    drop(leadership.resign().await);
}

/// Writes down what a name is said to be used for.
fn conflict(process: &Process, from: u64, error: &Error) {
    let Error::KindConflict { name, found, .. } = error else {
        return;
    };
    let found = match found {
        Kind::Election => HoldKind::Election,
        _ => HoldKind::Lock,
    };
    let to = process.now();
    let conflict = Conflict {
        name: name.clone().into(),
        found,
        span: Span { from, to },
    };
    process.world.write(|story| story.conflicts.push(conflict));
}

/// Takes one name and then the other, and believes to have both when both are there.
async fn one_by_one(process: &Process, one: &'static str, other: &'static str) {
    let lease = process.lease();
    if lease == 0 {
        // The session is opened by this.
        let _ = process
            .until_stop(process.handfast.lock(one).try_acquire())
            .await;
        return;
    }
    let note = Note::asked(process, HoldKind::Lock, &[one, other]);
    let mut places = Vec::new();
    for name in [one, other] {
        let key = format!("{name}/{}-98", lease_hex(lease));
        let put = process.client().put(key.clone(), "").lease(lease);
        if let Ok(answer) = put.await {
            places.push((key, answer.header.revision));
        }
        sleep(Duration::from_millis(50)).await;
    }
    if let [_, (_, token)] = &*places {
        note.told(*token, lease);
    }
    note.left();
    for (key, token) in places {
        let guard = Compare::create_revision(key.clone()).eq(token);
        let txn = process.client().txn().when([guard]).then([Op::delete(key)]);
        let _ = txn.repeatable().commit().await;
    }
}
