//! A configuration of several keys: published as a whole, some of it not valid, and followed.
//!
//! Owns writing down which sets were applied.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use handfast::{Config, ConfigSet};
use handfast_checker::recipe::{Applied, ConfigStory, Span};

use super::process::Process;
use super::world::World;
use crate::subject::Mutation;

const PREFIX: &str = "cfg/";
const KEYS: [&str; 3] = ["a", "b", "c"];
/// How values begin that no subscriber may apply.
const INVALID: &str = "!";

/// Prepares the story.
pub(super) fn begin(world: &World) {
    world.write(|story| {
        story.configs.push(ConfigStory {
            prefix: Bytes::from_static(PREFIX.as_bytes()),
            invalid: Bytes::from_static(INVALID.as_bytes()),
            ..ConfigStory::default()
        });
    });
}

/// Follows, and publishes now and then, until the run is over.
pub(super) async fn work(process: Arc<Process>) {
    tokio::join!(follow(&process), publish(&process));
}

async fn publish(process: &Process) {
    let mut count = 0;
    while process.think(200..3_000).await {
        count += 1;
        let bad = process.draw(|dice| dice.per_mille(150));
        let mark = if bad { INVALID } else { "" };
        let mut publish = process.handfast.publish(PREFIX);
        for key in KEYS {
            publish = publish.put(key, format!("{mark}{} {count}", process.name));
        }
        if process.draw(|dice| dice.per_mille(200)) {
            publish = publish.delete("c");
        }
        // Conflicts and doubts are for followers to see.
        let _ = process.until_stop(publish.send()).await;
    }
}

async fn follow(process: &Process) {
    let mut count = 0;
    while process.think(10..300).await {
        count += 1;
        let client = format!("{} #{count}", process.name);
        let check = |set: &ConfigSet| match set.iter().any(|(_, it)| it.value.starts_with(b"!")) {
            true => Err("an invalid value"),
            false => Ok(()),
        };
        let builder = process.handfast.config_set(PREFIX).prefix().validate(check);
        let Some(Ok(config)) = process.until_stop(builder.open()).await else {
            continue;
        };
        let from = process.now();
        let at = process.world.write(|story| {
            let all = &mut story.configs[0].subscribers;
            all.push((process.name.clone(), Span { from, to: u64::MAX }));
            all.len() - 1
        });
        let span = process.draw(|dice| dice.millis(1_000..25_000));
        let one = subscribed(process, &client, config);
        let _ = process.until_stop(tokio::time::timeout(span, one)).await;
        let to = process.now();
        process.world.write(|story| {
            let (name, span) = &mut story.configs[0].subscribers[at];
            *name = client;
            span.to = span.to.min(to);
        });
    }
}

async fn subscribed(process: &Process, client: &str, mut config: Config<ConfigSet>) {
    let first = config.get();
    apply(process, client, &first, None);
    let mut before = first;
    loop {
        let set = config.changed().await;
        process.awake().await;
        let half = process.errs() == Some(Mutation::AppliesHalf);
        apply(process, client, &set, half.then_some(&*before));
        before = set;
    }
}

/// Writes down a set; with `before`, one of its keys is still as it was.
fn apply(process: &Process, client: &str, set: &ConfigSet, before: Option<&ConfigSet>) {
    let values = set.iter();
    let values = values.map(|(name, pair)| (String::from_utf8_lossy(name), &pair.value));
    let mut values: BTreeMap<String, Bytes> = values
        .map(|(name, value)| (name.into_owned(), value.clone()))
        .collect();
    if let Some(old) = before.and_then(|before| before.get(b"a")) {
        values.insert("a".to_owned(), old.clone());
    }
    let applied = Applied {
        client: client.to_owned(),
        at: process.now(),
        revision: set.revision(),
        values,
    };
    process
        .world
        .write(|story| story.configs[0].applied.push(applied));
}
