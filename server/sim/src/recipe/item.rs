//! The items of a queue: pushed, worked on by workers that succeed, fail and give back, and claimed
//! by those that do it wrong.
//!
//! Owns writing down what was pushed and claimed.

use std::time::Duration;

use handfast::Claim as Guard;
use handfast::{Tenure, Worker};
use handfast_checker::recipe::{Claim, Claimed, Push};
use handfast_core::{Compare, KeyValue, Op};
use tokio::time::sleep;

use super::process::Process;
use crate::subject::Mutation;

pub(super) const PREFIX: &str = "queue/a/";
/// Where acknowledgements write what came out.
pub(super) const EFFECTS: &str = "effects/";

/// Pushes, and writes it down; whether it was confirmed.
pub(super) async fn send(process: &Process, note: Push, push: &handfast::Push) -> bool {
    let at = process.world.write(|story| {
        let pushes = &mut story.queues[0].pushes;
        pushes.push(note);
        pushes.len() - 1
    });
    let sent = process.until_stop(push.send()).await;
    process.awake().await;
    let confirmed = matches!(sent, Some(Ok(_)));
    if confirmed {
        let now = process.now();
        process
            .world
            .write(|story| story.queues[0].pushes[at].told = Some(now));
    }
    confirmed
}

/// A claim as it is written down.
struct Note<'a> {
    process: &'a Process,
    at: usize,
}

impl Note<'_> {
    fn of<'a>(process: &'a Process, claim: &Guard) -> Note<'a> {
        let (tenure, now) = (claim.tenure(), process.now());
        let note = Claim {
            id: claim.id().to_owned(),
            client: process.name.clone(),
            token: tenure.token(),
            lease: tenure.lease(),
            attempt: claim.attempt(),
            told: now,
            checked: now,
            ended: None,
        };
        let at = process.world.write(|story| {
            story.queues[0].claims.push(note);
            story.queues[0].claims.len() - 1
        });
        Note { process, at }
    }

    fn edit(&self, edit: impl FnOnce(&mut Claim)) {
        let at = self.at;
        self.process
            .world
            .write(|story| edit(&mut story.queues[0].claims[at]));
    }

    fn end(&self, how: Claimed) {
        let now = self.process.now();
        self.edit(|claim| claim.ended = Some((now, how)));
    }

    /// Keeps the claim for a while; false when it is lost.
    async fn keep(&self, tenure: &Tenure) -> bool {
        let process = self.process;
        let until = process.now() + process.draw(|dice| dice.range(10..700)) * 1_000_000;
        loop {
            process.awake().await;
            let now = process.now();
            if tenure.check().is_err() {
                return false;
            }
            self.edit(|claim| claim.checked = now);
            if now >= until {
                return true;
            }
            let pause = process.draw(|dice| dice.millis(5..40));
            sleep(pause).await;
        }
    }
}

/// Works on an item, with whatever comes of it; the next one, if there is one at once.
pub(super) async fn work(process: &Process, claim: Guard, worker: &mut Worker) -> Option<Guard> {
    let note = Note::of(process, &claim);
    let end = |how| note.end(how);
    if !note.keep(&claim.tenure()).await {
        end(Claimed::Lost);
        return None;
    }
    if process.errs() == Some(Mutation::AcksUnguarded) {
        end(Claimed::Released);
        ack_unguarded(process, claim).await;
        return None;
    }
    let how = process.draw(|dice| dice.below(10));
    match how {
        0..6 => {
            end(Claimed::AckOpen);
            let effect = format!("{EFFECTS}{}", claim.id());
            let ack = claim.ack().put(effect, process.name.clone());
            let acked = match how {
                0..3 => ack.commit_and_next(worker).await,
                _ => ack.commit().await.map(|acked| (acked, None)),
            };
            process.awake().await;
            if let Ok((_, next)) = acked {
                end(Claimed::Acked);
                return next;
            }
        }
        6 | 7 => {
            end(Claimed::Failed);
            drop(claim.nack("out of luck").await);
        }
        8 => {
            end(Claimed::Released);
            drop(claim.release().await);
        }
        _ => {
            end(Claimed::Released);
            drop(claim);
        }
    }
    None
}

/// Gives the claim back, and acknowledges a little later all the same.
async fn ack_unguarded(process: &Process, claim: Guard) {
    let id = claim.id().to_owned();
    let _ = claim.release().await;
    sleep(Duration::from_millis(300)).await;
    let delete = |part: &str| Op::delete(format!("{PREFIX}{part}/{id}"));
    let ops = [
        delete("items"),
        delete("claims"),
        delete("tickets"),
        Op::put(format!("{PREFIX}done/{id}"), "{}"),
        Op::put(format!("{EFFECTS}{id}"), "late"),
    ];
    let _ = process.client().txn().then(ops).commit().await;
}

/// Claims any item that nobody has.
pub(super) async fn claim_unready(process: &Process) {
    let lease = process.lease();
    let answer = process
        .client()
        .range(format!("{PREFIX}items/"))
        .prefix()
        .await;
    let Ok(answer) = answer else { return };
    let Some(item) = process.draw(|dice| dice.pick(&answer.kvs).cloned()) else {
        return;
    };
    if lease == 0 {
        return;
    }
    claim_item(process, &item, lease).await;
}

/// Claims an item that nobody has, and looks at nothing else.
pub(super) async fn claim_item(process: &Process, item: &KeyValue, lease: i64) {
    let id = String::from_utf8_lossy(&item.key[PREFIX.len() + "items/".len()..]).into_owned();
    let claim = format!("{PREFIX}claims/{id}");
    let free = [
        Compare::create_revision(claim.clone()).eq(0),
        Compare::create_revision(&item.key).eq(item.create_revision),
    ];
    let put = Op::put(claim.clone(), "mine").lease(lease);
    let txn = process.client().txn().when(free).then([put]);
    if txn.commit().await.is_ok_and(|answer| answer.succeeded) {
        sleep(Duration::from_millis(100)).await;
        let mine = Compare::value(claim.clone()).eq("mine");
        let txn = process
            .client()
            .txn()
            .when([mine])
            .then([Op::delete(claim)]);
        let _ = txn.repeatable().commit().await;
    }
}
