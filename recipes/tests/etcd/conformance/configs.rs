//! The verbs of configurations, and those that configurations and services have in common.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use futures::{
    future::{BoxFuture, FutureExt},
    stream::{self, BoxStream, StreamExt},
};
use handfast::{Config, ConfigEvent, ConfigProblemKind, ConfigSource, Handfast};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    base::{file, now},
    player::{Player, Verb},
    services,
    thing::{Doing, Failed, Followed, NOTHING, Step, Thing},
    work::Body,
};

pub(super) const VERBS: &[(&str, Verb)] = &[
    ("publish", publish),
    ("config", config),
    ("value", |play, step, _| {
        now(Ok(Thing::Json(play.config(step).current().0)))
    }),
    ("source", |play, step, _| {
        now(Ok(play.config(step).current().1.into()))
    }),
    ("refused", |play, step, _| {
        now(Ok(play.config(step).refused().into()))
    }),
    ("saved", |play, step, _| {
        play.config(step).saved().map(|()| Ok(NOTHING)).boxed()
    }),
    ("on_change", on_change),
    ("called", called),
    ("at_least", at_least),
    ("changes", changes),
];

impl<T: Serialize + Send + Sync + 'static> Followed for Config<T> {
    fn current(&self) -> (Value, &'static str) {
        let current = Config::current(self);
        let source = match current.source {
            ConfigSource::Server => "server",
            ConfigSource::Snapshot => "snapshot",
            ConfigSource::Default => "default",
            other => panic!("no word for {other:?}"),
        };
        (serde_json::to_value(&*current.value).unwrap(), source)
    }

    fn refused(&self) -> Option<&'static str> {
        Some(match Config::refused(self)?.kind {
            ConfigProblemKind::Missing => "missing",
            ConfigProblemKind::Undecodable => "undecodable",
            ConfigProblemKind::Invalid => "invalid",
            other => panic!("no word for {other:?}"),
        })
    }

    fn at_least(&self, revision: i64) -> BoxFuture<'static, ()> {
        let config = self.clone();
        Box::pin(async move { Config::at_least(&config, revision).await })
    }

    fn saved(&self) -> BoxFuture<'static, ()> {
        let config = self.clone();
        Box::pin(async move { Config::saved(&config).await })
    }

    fn changes(&self) -> BoxStream<'static, Result<Value, Failed>> {
        let changes = stream::unfold(Config::changes(self), |mut changes| async move {
            let told = match changes.next().await {
                ConfigEvent::Applied { value, .. } => json!(["applied", &*value.value]),
                ConfigEvent::Problem(_) => json!(["problem", null]),
                ConfigEvent::Reset { .. } => json!(["reset", null]),
                ConfigEvent::Disconnected => json!(["disconnected", null]),
                ConfigEvent::Connected => json!(["connected", null]),
                _ => panic!("no word for what happened"),
            };
            Some((Ok(told), changes))
        });
        changes.boxed()
    }
}

fn publish(play: &Player, step: &Step, _: &Body) -> Doing {
    let mut publish = play.client(step).publish(step.text("key"));
    let value = step.find("value").expect("a value");
    match value.as_object().filter(|_| step.is("prefix")) {
        // Text as it is, all else as JSON.
        None => publish = publish.value(step.find_text("value").unwrap_or(value.to_string())),
        Some(entries) => {
            for (name, value) in entries {
                publish = match value {
                    Value::Null => publish.delete(name),
                    value => publish.put(name, value.to_string()),
                };
            }
        }
    }
    if let Some(revision) = step.find_number("unchanged_since") {
        publish = publish.if_unchanged_since(revision);
    }
    Box::pin(async move { Ok(publish.send().await?.revision.into()) })
}

fn config(play: &Player, step: &Step, _: &Body) -> Doing {
    let (client, step) = (play.client(step), step.clone());
    let snapshot = step.find_text("snapshot").map(|name| file(play, &name));
    match step.find_text("type").as_deref() {
        None => open::<Value>(client, step, snapshot),
        Some("int") => open::<i64>(client, step, snapshot),
        Some("strings") => open::<Vec<String>>(client, step, snapshot),
        Some(other) => panic!("no type {other}"),
    }
}

fn open<T>(client: Handfast, step: Step, snapshot: Option<PathBuf>) -> Doing
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let mut builder = client.config::<T>(step.text("key"));
    if step.is("prefix") {
        builder = builder.prefix();
    }
    if let Some(most) = step.find_number("at_most") {
        builder = builder.validate(move |value| match json!(value).as_i64() {
            Some(number) if number > most => Err("it is too much"),
            _ => Ok(()),
        });
    }
    if let Some(value) = step.find("default") {
        builder = builder.default_value(serde_json::from_value(value.clone()).unwrap());
    }
    if let Some(path) = snapshot {
        builder = builder.snapshot_file(path);
    }
    Box::pin(async move { Ok(Thing::Config(Arc::new(builder.open().await?))) })
}

/// There are no callbacks here: a task takes what comes, and its trouble is its own.
fn on_change(play: &Player, step: &Step, _: &Body) -> Doing {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let (told, mut changes) = (Arc::clone(&calls), play.config(step).changes().skip(1));
    tokio::spawn(async move {
        while let Some(Ok(change)) = changes.next().await {
            if change[0] == "applied" {
                told.lock().unwrap().push(change[1].clone());
            }
        }
    });
    now(Ok(Thing::Calls(calls)))
}

fn called(play: &Player, step: &Step, _: &Body) -> Doing {
    let Thing::Calls(calls) = play.on(step) else {
        panic!("nothing is called back")
    };
    let calls = calls.lock().unwrap().clone();
    now(Ok(calls.into()))
}

fn at_least(play: &Player, step: &Step, _: &Body) -> Doing {
    let (on, revision) = (play.on(step), step.number("revision"));
    Box::pin(async move {
        match on {
            Thing::Config(config) => config.at_least(revision).await,
            Thing::Discovery(discovery) => discovery.at_least(revision).await,
            _ => panic!("it has no revisions"),
        }
        Ok(NOTHING)
    })
}

fn changes(play: &Player, step: &Step, _: &Body) -> Doing {
    now(Ok(match play.on(step) {
        Thing::Config(config) => Thing::stream(config.changes()),
        Thing::Discovery(discovery) => services::changes(&discovery),
        _ => panic!("it does not change"),
    }))
}
