//! Plays steps: what a step is, and what its outcome must be.
//!
//! Owns what steps have named, and the comparison of outcomes. Knows no verb.

use std::{
    collections::BTreeMap,
    path::Path,
    slice,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use handfast::{Discovery, Handfast, Registration};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    thing::{Doing, Failed, Followed, Held, Outcome, Step, Stream, Thing},
    work::{Body, Work},
    world::World,
};

const LIMIT: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(20);

/// Does a step. What it refers to it looks up before it gives back its future.
pub(super) type Verb = fn(&Player, &Step, &Body) -> Doing;

/// Plays a scenario on a server of its own; `false` when there can be none.
pub(super) async fn play(steps: &[Value], verbs: &[&[(&str, Verb)]]) -> Result<bool, String> {
    let Some(world) = World::start().await else {
        return Ok(false);
    };
    let player = Player {
        world,
        folder: TempDir::new().unwrap(),
        named: Mutex::default(),
        works: Mutex::default(),
        kept: Mutex::default(),
    };
    let mut end = Ok(true);
    for (number, given) in steps.iter().enumerate() {
        let step = Step(player.resolved(given));
        let played = tokio::time::timeout(LIMIT, player.step(&step, verbs)).await;
        let played = played.unwrap_or_else(|_| Err("it takes too long".to_owned()));
        if let Err(why) = played {
            end = Err(format!("step {number}, {given}: {why}"));
            break;
        }
    }
    player.end().await;
    end
}

/// One scenario, its server and what its steps have named.
pub(super) struct Player {
    pub(super) world: World,
    folder: TempDir,
    named: Mutex<BTreeMap<String, Thing>>,
    works: Mutex<BTreeMap<String, Work>>,
    /// What has no name is held all the same.
    kept: Mutex<Vec<Thing>>,
}

impl Player {
    async fn step(&self, step: &Step, verbs: &[&[(&str, Verb)]]) -> Result<(), String> {
        let word = step.text("do");
        let verb = verbs.iter().copied().flatten();
        let verb = verb.clone().find(|(name, _)| *name == word);
        let (_, verb) = verb.ok_or("there is no such verb")?;
        let body = Body::of(step);
        if let Some(name) = step.find_text("start") {
            let work = Work::start(verb(self, step, &body), body).await;
            self.works.lock().unwrap().insert(name, work);
            return Ok(());
        }
        loop {
            let judged = self.judge(step, verb(self, step, &body).await);
            if judged.is_ok() || !step.is("eventually") {
                return judged;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn judge(&self, step: &Step, outcome: Outcome) -> Result<(), String> {
        let thing = match (outcome, step.find("fails")) {
            (Ok(thing), None) => thing,
            (Ok(thing), Some(_)) => return Err(format!("it gave {:?}", thing.json())),
            (Err(failed), None) => return Err(format!("{}: {}", failed.code, failed.text)),
            (Err(failed), Some(wanted)) => return judge_failure(&failed, wanted),
        };
        if let Some(wanted) = step.find("gives") {
            let any = wanted.get("any").and_then(Value::as_array);
            let choice = any.map_or(std::slice::from_ref(wanted), Vec::as_slice);
            if !thing.json().is_some_and(|given| choice.contains(given)) {
                return Err(format!("it gave {:?}", thing.json()));
            }
        }
        match step.find_text("as") {
            Some(name) => self.name(name, thing),
            None => self.kept.lock().unwrap().push(thing),
        }
        Ok(())
    }

    /// `given` with what earlier steps have named in the place of `$name` and `$name.field`.
    fn resolved(&self, given: &Value) -> Value {
        match given {
            Value::String(text) => match text.strip_prefix('$') {
                Some(path) => self.field(path),
                None => given.clone(),
            },
            Value::Array(items) => items.iter().map(|item| self.resolved(item)).collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| (name.clone(), self.resolved(value)))
                .collect(),
            _ => given.clone(),
        }
    }

    fn field(&self, path: &str) -> Value {
        let (name, field) = path.split_once('.').unwrap_or((path, ""));
        let whole = match self.thing(name) {
            Thing::Json(value) => value,
            Thing::Held(held) => held.facts.clone(),
            _ => panic!("${path} has no fields"),
        };
        match field {
            "" => whole,
            field => whole.get(field).expect("such a field").clone(),
        }
    }

    fn thing(&self, name: &str) -> Thing {
        let named = self.named.lock().unwrap();
        named.get(name).expect("an earlier step's name").clone()
    }

    /// A folder of the scenario's own.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn client(&self, step: &Step) -> Handfast {
        match self.thing(&step.text("client")) {
            Thing::Client(client) => client,
            _ => panic!("it is no client"),
        }
    }

    pub(super) fn on(&self, step: &Step) -> Thing {
        self.thing(&step.text("on"))
    }

    pub(super) fn held(&self, step: &Step) -> std::sync::Arc<Held> {
        match self.on(step) {
            Thing::Held(held) => held,
            _ => panic!("it is not held"),
        }
    }

    pub(super) fn stream(&self, step: &Step) -> Stream {
        match self.on(step) {
            Thing::Stream(stream) => stream,
            _ => panic!("it is no stream"),
        }
    }

    pub(super) fn config(&self, step: &Step) -> std::sync::Arc<dyn Followed> {
        match self.on(step) {
            Thing::Config(config) => config,
            _ => panic!("it is no configuration"),
        }
    }

    pub(super) fn discovery(&self, step: &Step) -> Discovery {
        match self.on(step) {
            Thing::Discovery(discovery) => discovery,
            _ => panic!("it is no discovery"),
        }
    }

    pub(super) fn registration(&self, step: &Step) -> Registration {
        match self.on(step) {
            Thing::Registration(registration) => registration,
            _ => panic!("it is no registration"),
        }
    }

    pub(super) fn work(&self, step: &Step) -> Work {
        let works = self.works.lock().unwrap();
        works
            .get(&step.text("task"))
            .expect("a started step")
            .clone()
    }

    /// Gives `thing` a name of the step's own.
    pub(super) fn name(&self, name: String, thing: Thing) {
        self.named.lock().unwrap().insert(name, thing);
    }

    /// Forgets what is called so.
    pub(super) fn forget(&self, name: &str) {
        self.named.lock().unwrap().remove(name);
    }

    /// Ends what is under way, and closes what was opened.
    async fn end(self) {
        let works = self
            .works
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        for work in works.values() {
            work.cancel();
            let _ = work.outcome().await;
        }
        drop(self.kept);
        let named = self
            .named
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let (clients, rest): (Vec<_>, Vec<_>) = named
            .into_values()
            .partition(|thing| matches!(thing, Thing::Client(_)));
        drop(rest);
        for client in clients {
            if let Thing::Client(client) = client {
                let _ = client.close().await;
            }
        }
    }
}

fn judge_failure(failed: &Failed, wanted: &Value) -> Result<(), String> {
    let whole = match wanted {
        Value::String(_) | Value::Array(_) => &json!({ "code": wanted }),
        _ => wanted,
    };
    let no_details = serde_json::Map::new();
    let details = whole.get("details").and_then(Value::as_object);
    let fits = |(name, value): (&String, &Value)| {
        let found = failed.details.get(name);
        found.is_some_and(|found| value.is_null() || value == found)
    };
    let codes = &whole["code"];
    let codes = codes
        .as_array()
        .map_or(slice::from_ref(codes), Vec::as_slice);
    let fit = codes.iter().any(|code| *code == failed.code)
        && details.unwrap_or(&no_details).iter().all(fits);
    if fit {
        return Ok(());
    }
    let Failed {
        code,
        details,
        text,
    } = failed;
    Err(format!("it failed with {code}, {details:?}: {text}"))
}
