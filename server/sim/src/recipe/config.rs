//! A configuration of several keys: published as a whole, some of it not valid, followed, and kept
//! on the disk of each seat.
//!
//! Owns writing down which sets were applied, and the disks.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use handfast::{Config, ConfigSet, ConfigSource, SnapshotFuture, SnapshotStore};
use handfast_checker::recipe::{Applied, ConfigStory, Span, Start};
use parking_lot::Mutex;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::process::Process;
use super::world::{Disk, World};
use crate::dice::Dice;
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
        let disk = SeatDisk::of(process);
        let builder = process.handfast.config_set(PREFIX).prefix().validate(check);
        let builder = builder.snapshot_store(Arc::new(disk));
        let Some(Ok(handle)) = process.until_stop(builder.open()).await else {
            continue;
        };
        let from = process.now();
        let at = process.world.write(|story| {
            let config = &mut story.configs[0];
            let current = config_start(&config.subscribers, process, &client, &handle);
            config.starts.extend(current);
            config
                .subscribers
                .push((client.clone(), Span { from, to: u64::MAX }));
            config.subscribers.len() - 1
        });
        let span = process.draw(|dice| dice.millis(1_000..25_000));
        let one = subscribed(process, &client, handle);
        let _ = process.until_stop(tokio::time::timeout(span, one)).await;
        let to = process.now();
        process.world.write(|story| {
            let (_, span) = &mut story.configs[0].subscribers[at];
            span.to = span.to.min(to);
        });
    }
}

/// What was on the disk, if that is what `handle` started with.
fn config_start(
    subscribers: &[(String, Span)],
    process: &Process,
    client: &str,
    handle: &Config<ConfigSet>,
) -> Option<Start> {
    let current = handle.current();
    let seat = format!("p{}.", process.seat);
    let before = subscribers.iter().map(|(name, _)| name);
    (current.source == ConfigSource::Snapshot).then(|| Start {
        client: client.to_owned(),
        at: process.now(),
        revision: current.revision(),
        before: before.filter(|it| it.starts_with(&seat)).cloned().collect(),
    })
}

/// The disk of a seat, in the hands of one of its programs.
#[derive(Debug)]
struct SeatDisk {
    disk: Disk,
    life: CancellationToken,
    /// How long each write takes, and whether it fails.
    dice: Mutex<(Dice, bool)>,
    keeps_first: bool,
}

impl SeatDisk {
    fn of(process: &Process) -> SeatDisk {
        let seed = process.draw(Dice::next);
        SeatDisk {
            disk: process.world.disk(process.seat),
            life: process.life.clone(),
            dice: Mutex::new((Dice::new(seed), false)),
            keeps_first: process.seat == 0 && process.world.mutation == Some(Mutation::KeepsFirst),
        }
    }
}

impl SnapshotStore for SeatDisk {
    fn load(&self) -> SnapshotFuture<Option<Bytes>> {
        Box::pin(std::future::ready(Ok(self.disk.lock().clone())))
    }

    fn save(&self, snapshot: Bytes) -> SnapshotFuture<()> {
        let (disk, life, keeps_first) = (self.disk.clone(), self.life.clone(), self.keeps_first);
        let (takes, fails) = {
            let mut state = self.dice.lock();
            let (dice, failed) = &mut *state;
            // Never twice, so that it is known when all is written.
            *failed = dice.per_mille(50) && !*failed;
            (dice.millis(0..30), *failed)
        };
        Box::pin(async move {
            sleep(takes).await;
            // Nothing is written by a process that is gone.
            if fails || life.is_cancelled() {
                return Err(std::io::Error::other("the disk is away"));
            }
            let mut disk = disk.lock();
            if !(keeps_first && disk.is_some()) {
                *disk = Some(snapshot);
            }
            Ok(())
        })
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
