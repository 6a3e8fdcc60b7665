//! A queue: items with conditions, workers that wait for them, and somebody who pauses it now and
//! then.
//!
//! Owns who does what and when. What happens to an item is in [`super::item`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use handfast::{Control, Queue};
use handfast_checker::recipe::{Push, QueueStory, Span, Wait};
use tokio::time::{sleep, timeout};

use super::condition;
use super::item::{self, EFFECTS, PREFIX};
use super::process::Process;
use super::world::World;
use crate::subject::Mutation;

const NAME: &str = "queue/a";
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

/// Pushes, works, and one of them also pauses and another sets conditions, until the run is over.
pub(super) async fn work(process: Arc<Process>) {
    let queue = process.handfast.queue(NAME);
    let control = async {
        match process.seat {
            1 => control(&process, &queue).await,
            2 => condition::work(&process, &queue).await,
            _ => {}
        }
    };
    let errs = condition::ignore(&process);
    tokio::join!(
        push(&process, &queue),
        workers(&process, &queue),
        control,
        errs
    );
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
                note.opens = Some(id.clone());
                gate = Some(id.clone());
            }
            1 => {
                note.gate = gate.take();
                push = push.gate(note.gate.clone().unwrap_or_default());
            }
            _ => {}
        }
        if item::send(process, note, &push).await {
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
            item::claim_unready(process).await;
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
                Some(Ok(Ok(Some(claim)))) => {
                    let mut next = Some(claim);
                    while let Some(claim) = next {
                        next = item::work(process, claim, &mut worker).await;
                    }
                }
                _ => break,
            }
        }
    }
}
