//! A queue: items with conditions, workers that succeed, fail, give back and die, and somebody
//! who pauses it now and then.
//!
//! Owns writing down what was pushed and claimed, and the workers that do it wrong.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use handfast::Claim as Guard;
use handfast::{Control, Queue};
use handfast_checker::recipe::{Claim, Claimed, Push, QueueStory, Span, Wait};
use handfast_core::{Compare, Op};
use tokio::time::{sleep, timeout};

use super::process::Process;
use super::world::World;
use crate::subject::Mutation;

const NAME: &str = "queue/a";
const PREFIX: &str = "queue/a/";
const EFFECTS: &str = "effects/";
const MAX_ATTEMPTS: u32 = 4;

/// Prepares the story.
pub(super) fn begin(world: &World) {
    world.write(|story| {
        story.queues.push(QueueStory {
            prefix: Bytes::from_static(PREFIX.as_bytes()),
            effects: Bytes::from_static(EFFECTS.as_bytes()),
            max_attempts: MAX_ATTEMPTS,
            ..QueueStory::default()
        });
    });
}

/// Pushes, works, and the first one also pauses, until the run is over.
pub(super) async fn work(process: Arc<Process>) {
    let queue = process.handfast.queue(NAME);
    let control = async {
        if process.seat == 1 {
            control(&process, &queue).await;
        }
    };
    tokio::join!(push(&process, &queue), workers(&process, &queue), control);
}

async fn control(process: &Process, queue: &Queue) {
    while process.think(2_000..9_000).await {
        let _ = process.until_stop(queue.control(Control::Pause)).await;
        process.think(200..2_500).await;
        // Also at the end: nobody shall wait for ever.
        while queue.control(Control::Run).await.is_err() {
            sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn push(process: &Process, queue: &Queue) {
    let mut before: Option<String> = None;
    let mut gate: Option<String> = None;
    let mut count = 0;
    while process.think(100..1_200).await {
        count += 1;
        let id = format!("{}-{count}", process.name);
        let mut push = queue.push(id.clone()).id(id.clone());
        let mut note = Push {
            id: id.clone(),
            asked: process.now(),
            ..Push::default()
        };
        match process.draw(|dice| dice.below(4)) {
            0 => {
                if let Some(other) = before.take() {
                    push = push.after([other.clone()]);
                    note.after.push(other);
                }
            }
            1 if gate.is_none() => {
                push = push.opens(id.clone());
                gate = Some(id.clone());
            }
            1 => {
                note.gate = gate.take();
                push = push.gate(note.gate.clone().unwrap_or_default());
            }
            _ => {}
        }
        let at = process.world.write(|story| {
            let pushes = &mut story.queues[0].pushes;
            pushes.push(note);
            pushes.len() - 1
        });
        let sent = process.until_stop(push.send()).await;
        process.awake().await;
        if let Some(Ok(_)) = sent {
            let now = process.now();
            process
                .world
                .write(|story| story.queues[0].pushes[at].told = Some(now));
            before = Some(id);
        }
        if process.draw(|dice| dice.per_mille(100)) {
            // Nothing comes of the same id again.
            let _ = process.until_stop(push.send()).await;
        }
    }
}

async fn workers(process: &Process, queue: &Queue) {
    while process.think(10..300).await {
        if process.errs() == Some(Mutation::ClaimsUnready) {
            claim_unready(process).await;
            continue;
        }
        let mut worker = queue.worker().max_attempts(MAX_ATTEMPTS);
        let items = process.draw(|dice| dice.range(1..8));
        for _ in 0..items {
            // Some change their mind on the way.
            let mind = match process.draw(|dice| dice.below(8)) {
                0 => process.draw(|dice| dice.millis(0..500)),
                _ => Duration::from_secs(1_000),
            };
            let from = process.now();
            let at = process.world.write(|story| {
                let (client, span) = (process.name.clone(), Span { from, to: u64::MAX });
                story.queues[0].waits.push(Wait { client, span });
                story.queues[0].waits.len() - 1
            });
            let next = process.until_stop(timeout(mind, worker.next())).await;
            process.awake().await;
            let now = process.now();
            process
                .world
                .write(|story| story.queues[0].waits[at].span.to = now);
            match next {
                Some(Ok(Ok(Some(claim)))) => one(process, claim).await,
                _ => break,
            }
        }
    }
}

async fn one(process: &Process, claim: Guard) {
    let tenure = claim.tenure();
    let now = process.now();
    let id = claim.id().to_owned();
    let note = Claim {
        id: id.clone(),
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
    let edit = |edit: &dyn Fn(&mut Claim, u64)| {
        let now = process.now();
        process
            .world
            .write(|story| edit(&mut story.queues[0].claims[at], now));
    };
    let end = |how: Claimed| edit(&move |claim, now| claim.ended = Some((now, how)));
    let until = now + process.draw(|dice| dice.range(10..700)) * 1_000_000;
    loop {
        process.awake().await;
        let now = process.now();
        if tenure.check().is_err() {
            return end(Claimed::Lost);
        }
        edit(&|claim, _| claim.checked = now);
        if now >= until {
            break;
        }
        let pause = process.draw(|dice| dice.millis(5..40));
        sleep(pause).await;
    }
    if process.errs() == Some(Mutation::AcksUnguarded) {
        end(Claimed::Released);
        return ack_unguarded(process, claim).await;
    }
    match process.draw(|dice| dice.below(10)) {
        0..6 => {
            end(Claimed::AckOpen);
            let effect = format!("{EFFECTS}{id}");
            if claim
                .ack()
                .put(effect, process.name.clone())
                .commit()
                .await
                .is_ok()
            {
                end(Claimed::Acked);
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
async fn claim_unready(process: &Process) {
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
