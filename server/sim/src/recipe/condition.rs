//! Conditions of a whole queue: a number of items, a gate, a start; set, fulfilled after a while,
//! and taken away again.
//!
//! Owns the program that sets them, and those that do not respect them.

use std::collections::BTreeSet;
use std::time::Duration;

use handfast::{Condition, Control, Queue};
use handfast_checker::recipe::Push;
use handfast_core::KeyValue;
use tokio::time::sleep;

use super::item::{PREFIX, claim_item, send};
use super::process::Process;
use crate::subject::Mutation;

/// Sets one condition after the other, until the run is over.
pub(super) async fn work(process: &Process, queue: &Queue) {
    let mut count = 0;
    while process.think(300..5_000).await {
        count += 1;
        let id = format!("{}-whole-{count}", process.name);
        match process.draw(|dice| dice.below(3)) {
            0 => {
                // Few are there at once, and many only when the others have pushed for a while.
                let wanted = process.draw(|dice| match dice.below(3) {
                    0 => dice.range(10..40),
                    _ => dice.range(2..7),
                }) as u32;
                set(process, queue, Condition::Count(wanted)).await;
                process.think(500..6_000).await;
            }
            1 => gate(process, queue, id).await,
            _ => start(process, queue).await,
        }
        if process.draw(|dice| dice.per_mille(700)) {
            set(process, queue, Condition::None).await;
        }
    }
    // Nobody shall wait for ever.
    set(process, queue, Condition::None).await;
}

async fn set(process: &Process, queue: &Queue, condition: Condition) {
    while queue.condition(condition.clone()).await.is_err() {
        pause().await;
    }
    process.awake().await;
}

/// Between two attempts at something that must be done.
async fn pause() {
    sleep(Duration::from_millis(100)).await;
}

/// The gate is opened by an item, or by hand.
async fn gate(process: &Process, queue: &Queue, gate: String) {
    set(process, queue, Condition::Gate(gate.clone())).await;
    if process.draw(|dice| dice.per_mille(600)) {
        let note = Push {
            id: gate.clone(),
            asked: process.now(),
            opens: Some(gate.clone()),
            ..Push::default()
        };
        let push = queue.push(gate.clone()).id(gate.clone());
        send(process, note, &push.opens(gate.clone())).await;
    }
    process.think(200..3_000).await;
    while queue.open_gate(&gate).await.is_err() {
        pause().await;
    }
}

/// A queue that was never started, or is as if it was not: somebody has deleted the word.
async fn start(process: &Process, queue: &Queue) {
    set(process, queue, Condition::Start).await;
    let word = format!("{PREFIX}control");
    // In doubt is as good as done.
    let _ = process.client().delete(word).await;
    process.think(200..3_000).await;
    while queue.control(Control::Run).await.is_err() {
        pause().await;
    }
}

/// The keys of a queue at one revision.
struct Seen(Vec<KeyValue>);

impl Seen {
    fn part<'a>(&'a self, part: &'a str) -> impl Iterator<Item = (&'a [u8], &'a KeyValue)> {
        let begin = format!("{PREFIX}{part}");
        self.0
            .iter()
            .filter_map(move |pair| Some((pair.key.strip_prefix(begin.as_bytes())?, pair)))
    }

    fn json(&self, part: &str) -> serde_json::Value {
        let found = self.part(part).find(|(rest, _)| rest.is_empty());
        let read = found.and_then(|(_, pair)| serde_json::from_slice(&pair.value).ok());
        read.unwrap_or_default()
    }

    fn has(&self, part: &str) -> bool {
        self.part(part).any(|(rest, _)| rest.is_empty())
    }

    fn is_paused(&self) -> bool {
        let mut control = self.part("control");
        control.any(|(rest, pair)| rest.is_empty() && pair.value == "pause")
    }

    /// Items that nobody has and that wait for nothing of their own.
    fn free(&self) -> Vec<KeyValue> {
        let claimed: BTreeSet<&[u8]> = self.part("claims/").map(|(id, _)| id).collect();
        let tickets = self.part("tickets/");
        let waiting: BTreeSet<&[u8]> = tickets
            .filter(|(_, pair)| {
                let ticket: serde_json::Value =
                    serde_json::from_slice(&pair.value).unwrap_or_default();
                ["after", "gate", "opens"]
                    .iter()
                    .any(|it| ticket.get(it).is_some())
            })
            .map(|(id, _)| id)
            .collect();
        let free = self.part("items/");
        let free = free.filter(|(id, _)| !claimed.contains(id) && !waiting.contains(id));
        free.map(|(_, pair)| pair.clone()).collect()
    }
}

/// Does not respect what the queue waits for, again and again, until the run is over: who works on
/// items only would wait for the queue like everybody else.
pub(super) async fn ignore(process: &Process) {
    let about = [
        Mutation::IgnoresCount,
        Mutation::IgnoresGate,
        Mutation::IgnoresStart,
        Mutation::OpensEarly,
    ];
    let mutation = process.world.mutation.filter(|_| process.seat == 0);
    if mutation.is_none_or(|mutation| !about.contains(&mutation)) {
        return;
    }
    while process.think(10..150).await {
        if let Some(errs) = process.errs() {
            ignore_once(process, errs).await;
        }
    }
}

/// Does what `errs` says, if the queue waits for what it is about and for nothing else.
async fn ignore_once(process: &Process, errs: Mutation) {
    let Ok(answer) = process.client().range(PREFIX).prefix().await else {
        return;
    };
    let seen = Seen(answer.kvs);
    let rule = seen.json("condition");
    let condition = &rule["condition"];
    let mark = format!("open/{}", rule["epoch"].as_str().unwrap_or_default());
    let counts = condition["count"].as_u64().filter(|_| !seen.has(&mark));
    let gate = condition["gate"].as_str();
    let about = match errs {
        Mutation::IgnoresGate => gate.is_some_and(|gate| !seen.has(&format!("gate/{gate}"))),
        Mutation::IgnoresStart => condition == "start" && !seen.has("control"),
        _ => counts.is_some(),
    };
    if !about || seen.is_paused() {
        return;
    }
    let free = seen.free();
    if errs == Mutation::OpensEarly {
        if counts.is_some_and(|wanted| (free.len() as u64) < wanted) {
            // In doubt is as good as done.
            let _ = process.client().put(format!("{PREFIX}{mark}"), "").await;
        }
        return;
    }
    let lease = process.lease();
    if let Some(item) = process.draw(|dice| dice.pick(&free).cloned())
        && lease != 0
    {
        claim_item(process, &item, lease).await;
    }
}
