//! The scenarios that every language must pass, played through this crate; see the README of
//! `tests/conformance`.
//!
//! Owns which tests there are, a test for each recipe, and where it is written what passed. Knows
//! nothing of what a scenario does.

mod base;
mod configs;
mod locks;
mod player;
mod queues;
mod services;
mod thing;
mod work;
mod world;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Mutex,
};

use futures::stream::{self, StreamExt};
use serde_json::Value;

use player::Verb;

/// How many scenarios of one recipe are played at once: they wait most of the time.
const AT_ONCE: usize = 2;

const VERBS: &[&[(&str, Verb)]] = &[
    base::VERBS,
    locks::VERBS,
    queues::VERBS,
    services::VERBS,
    configs::VERBS,
];

/// A test for each recipe, and the list of their names.
macro_rules! recipes {
    ($($recipe:ident)*) => {
        const RECIPES: &[&str] = &[$(stringify!($recipe)),*];

        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $recipe() {
                every_scenario_of(stringify!($recipe)).await;
            }
        )*
    };
}

recipes!(client config election lock multi once queue service);

#[test]
fn every_recipe_with_scenarios_has_a_test() {
    let files = std::fs::read_dir(folder()).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|it| it == "json"));
    let found: BTreeSet<String> = files
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        found,
        RECIPES.iter().map(|name| (*name).to_owned()).collect()
    );
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance")
}

async fn every_scenario_of(recipe: &str) {
    let text = std::fs::read(folder().join(recipe).with_extension("json")).unwrap();
    let file: Value = serde_json::from_slice(&text).unwrap();
    let scenarios = file["scenarios"].as_array().unwrap().iter();
    let played = stream::iter(scenarios.filter(|one| one["not_for"]["rust"].is_null()))
        .map(|scenario| async move {
            let steps = scenario["steps"].as_array().unwrap();
            (
                scenario["id"].as_str().unwrap(),
                player::play(steps, VERBS).await,
            )
        })
        .buffer_unordered(AT_ONCE);
    let played: Vec<_> = played.collect().await;
    let passed = played.iter().filter(|(_, end)| matches!(end, Ok(true)));
    note(passed.map(|(id, _)| (*id).to_owned()));
    let failed = played.iter().filter_map(|(id, end)| {
        let why = end.as_ref().err()?;
        Some(format!("{id}: {why}"))
    });
    let failed: Vec<String> = failed.collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Writes down which scenarios passed so far, where the environment says so.
fn note(passed: impl Iterator<Item = String>) {
    static PASSED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let Some(folder) = std::env::var_os("HANDFAST_CONFORMANCE") else {
        return;
    };
    let mut all = PASSED.lock().unwrap();
    all.extend(passed);
    let lines: String = all.iter().map(|id| format!("{id}\n")).collect();
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(Path::new(&folder).join("rust.txt"), lines).unwrap();
}
