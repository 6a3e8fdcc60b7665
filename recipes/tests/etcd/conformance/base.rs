//! The verbs of server, clients, tasks and keys.

use std::{path::Path, time::Duration};

use futures::{
    FutureExt,
    stream::{self, StreamExt},
};
use handfast::{
    Handfast,
    core::{WatchEvent, WatchOptions},
};
use serde_json::{Value, json};

use super::{
    player::{Player, Verb},
    thing::{Doing, Failed, Guard, NOTHING, Outcome, Step, Thing, text},
    work::Body,
};
use crate::util::TTL;

/// On a machine that is busy an answer may take long; what a scenario is not about has time.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) const VERBS: &[(&str, Verb)] = &[
    ("connect", connect),
    ("close", close),
    ("expire", |play, step, _| {
        let gone = play.world.clone().expire(step.text("client"));
        gone.map(|()| Ok(NOTHING)).boxed()
    }),
    ("restart", |play, _, _| {
        play.world.clone().stop(true).map(|()| Ok(NOTHING)).boxed()
    }),
    ("stop", |play, _, _| {
        play.world.clone().stop(false).map(|()| Ok(NOTHING)).boxed()
    }),
    ("disconnect", |play, _, _| {
        play.world.disconnect();
        now(Ok(NOTHING))
    }),
    ("pause", |play, _, _| {
        play.world.pause();
        now(Ok(NOTHING))
    }),
    ("resume", |play, _, _| {
        play.world.resume();
        now(Ok(NOTHING))
    }),
    ("compact", |play, _, _| {
        play.world.clone().compact().map(|()| Ok(NOTHING)).boxed()
    }),
    ("wait", |play, step, _| play.work(step).outcome()),
    ("cancel", |play, step, _| {
        play.work(step).cancel();
        now(Ok(NOTHING))
    }),
    ("running", |play, step, _| {
        now(Ok(play.work(step).is_running().into()))
    }),
    ("entered", |play, step, _| {
        let times = step.find_number("times").unwrap_or(1);
        play.work(step).entered(times.try_into().expect("a count"))
    }),
    ("leave", |play, step, _| {
        play.work(step).leave();
        now(Ok(NOTHING))
    }),
    ("tick", tick),
    ("compare", |_, step, _| now(compare(step))),
    ("put", put),
    ("get", get),
    ("delete", delete),
    ("count", count),
    ("put_many", put_many),
    ("watch", watch),
    ("take", take),
    ("next", next),
    ("release", release),
];

/// What is done already.
pub(super) fn now(outcome: Outcome) -> Doing {
    futures::future::ready(outcome).boxed()
}

fn connect(play: &Player, step: &Step, _: &Body) -> Doing {
    let builder = Handfast::builder()
        .endpoints(play.world.endpoint())
        .ttl(step.seconds("ttl").unwrap_or(TTL))
        .request_timeout(step.seconds("timeout").unwrap_or(PATIENCE))
        .app_name(step.text("as"));
    now(builder.build().map(Thing::Client).map_err(Failed::from))
}

fn close(play: &Player, step: &Step, _: &Body) -> Doing {
    match play.on(step) {
        Thing::Client(client) => Box::pin(async move {
            client.close().await?;
            Ok(NOTHING)
        }),
        _ => {
            play.forget(&step.text("on"));
            now(Ok(NOTHING))
        }
    }
}

fn tick(_: &Player, _: &Step, _: &Body) -> Doing {
    Box::pin(async {
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(NOTHING)
    })
}

fn compare(step: &Step) -> Outcome {
    let side = |name| step.find(name).cloned().unwrap_or_default();
    let (left, right) = (side("left"), side("right"));
    let numbers = (left.as_f64(), right.as_f64());
    let holds = match step.text("is").as_str() {
        "==" => left == right,
        "!=" => left != right,
        "<" => matches!(numbers, (Some(left), Some(right)) if left < right),
        ">" => matches!(numbers, (Some(left), Some(right)) if left > right),
        other => panic!("no comparison {other}"),
    };
    match holds {
        true => Ok(NOTHING),
        false => Err(Failed::new("DIFFERENT", format!("{left} and {right}"))),
    }
}

fn put(play: &Player, step: &Step, _: &Body) -> Doing {
    let (key, value) = (step.text("key"), step.text("value"));
    if step.find("on").is_none() {
        let client = play.client(step);
        return Box::pin(async move {
            client.client().put(key, value).await?;
            Ok(NOTHING)
        });
    }
    let held = play.held(step);
    Box::pin(async move {
        held.tenure.txn().put(key, value).commit().await?;
        Ok(NOTHING)
    })
}

fn get(play: &Player, step: &Step, _: &Body) -> Doing {
    let (client, key) = (play.client(step), step.text("key"));
    Box::pin(async move {
        let pair = client.client().get(key).await?;
        Ok(pair.map(|pair| text(&pair.value)).into())
    })
}

fn delete(play: &Player, step: &Step, _: &Body) -> Doing {
    let (client, key) = (play.client(step), step.text("key"));
    Box::pin(async move {
        client.client().delete(key).await?;
        Ok(NOTHING)
    })
}

fn count(play: &Player, step: &Step, _: &Body) -> Doing {
    let (client, prefix) = (play.client(step), step.text("prefix"));
    Box::pin(async move {
        let found = client.client().range(prefix).prefix().await?;
        Ok(found.count.into())
    })
}

fn put_many(play: &Player, step: &Step, _: &Body) -> Doing {
    let (client, prefix, count) = (play.client(step), step.text("prefix"), step.number("count"));
    Box::pin(async move {
        for number in 1..=count {
            client
                .client()
                .put(format!("{prefix}{number}"), "v")
                .await?;
        }
        Ok(NOTHING)
    })
}

fn watch(play: &Player, step: &Step, _: &Body) -> Doing {
    let mut options = WatchOptions::prefix(step.text("prefix"));
    if let Some(revision) = step.find_number("start_revision") {
        options = options.start_revision(revision);
    }
    let mut watch = play.client(step).client().watch(options);
    Box::pin(async move {
        // That it is in place, or why it cannot be: that is for whoever takes from it.
        let first = stream::iter(watch.next().await);
        let items = first
            .chain(watch)
            .flat_map(|told| stream::iter(changes(told)));
        Ok(Thing::stream(items.boxed()))
    })
}

fn changes(told: Result<WatchEvent, handfast::core::Error>) -> Vec<Result<Value, Failed>> {
    match told {
        Ok(WatchEvent::Events { events, .. }) => events
            .iter()
            .map(|event| Ok(json!({ "revision": event.kv.mod_revision })))
            .collect(),
        // An event here, a failure with a code in the packages.
        Ok(WatchEvent::Compacted { .. }) => vec![Err(Failed::new("COMPACTED", "compacted"))],
        Ok(_) => Vec::new(),
        Err(error) => vec![Err(error.into())],
    }
}

fn take(play: &Player, step: &Step, _: &Body) -> Doing {
    let (stream, count) = (play.stream(step), step.number("count"));
    Box::pin(async move {
        let mut stream = stream.lock().await;
        let (mut last, mut in_order) = (0, 0);
        for _ in 0..count {
            let Some(item) = stream.next().await else {
                break;
            };
            let revision = item?["revision"].as_i64().unwrap_or_default();
            in_order += i64::from(revision > last);
            last = revision;
        }
        Ok(in_order.into())
    })
}

fn next(play: &Player, step: &Step, _: &Body) -> Doing {
    let stream = play.stream(step);
    Box::pin(async move {
        let item = stream.lock().await.next().await;
        item.unwrap_or_else(|| Err(Failed::new("ENDED", "the stream has ended")))
            .map(Thing::Json)
    })
}

fn release(play: &Player, step: &Step, _: &Body) -> Doing {
    let guard = play.held(step).take();
    Box::pin(async move {
        match guard {
            Guard::Lock(guard) => guard.release().await?,
            Guard::Multi(guard) => guard.release().await?,
            Guard::Leader(guard) => guard.resign().await?,
            Guard::Claim(claim, _) => claim.release().await?,
        }
        Ok(NOTHING)
    })
}

/// The path of a file in the scenario's own folder.
pub(super) fn file(play: &Player, name: &str) -> std::path::PathBuf {
    Path::new(play.folder()).join(name)
}
