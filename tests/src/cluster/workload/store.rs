//! Clients that read and write keys: half of them anywhere, half at one member only.
//!
//! A client of one member keeps asking it while it is cut off from the others, which is where a
//! stale answer would come from.

use std::{sync::atomic::Ordering, time::Duration};

use handfast_checker::{Request, Response};
use handfast_core::{Client, Error};
use tokio::task::JoinSet;

use super::{Scene, convert::perform, generate::Generator};
use crate::{Result, dice::Dice};

/// Shorter than an isolation, so that a client cut off asks more than once.
const PINNED_LIMIT: Duration = Duration::from_millis(1_500);
const ROAMING_LIMIT: Duration = Duration::from_secs(4);
/// Between two requests of a client, in milliseconds.
const MOST_THOUGHT: u64 = 70;
const AFTER_FAILURE: Duration = Duration::from_millis(100);
const MARK_ATTEMPTS: u32 = 20;

/// Starts client `client`.
pub(super) fn start(
    scene: &Scene,
    client: u32,
    dice: Dice,
    workers: &mut JoinSet<()>,
) -> Result<()> {
    let members = scene.endpoints.len();
    let builder = if client.is_multiple_of(2) {
        let mut endpoints = scene.endpoints.to_vec();
        endpoints.rotate_left(client as usize % members);
        Client::builder()
            .endpoints(endpoints)
            .timeout(ROAMING_LIMIT)
    } else {
        let only = &scene.endpoints[client as usize / 2 % members];
        // It shall try even where there is no leader.
        let builder = Client::builder()
            .endpoints(only.as_str())
            .timeout(PINNED_LIMIT);
        builder.require_leader(false)
    };
    let generator = Generator::new(client, dice.clone());
    workers.spawn(work(
        scene.clone(),
        client,
        builder.build()?,
        generator,
        dice,
    ));
    Ok(())
}

async fn work(scene: Scene, number: u32, client: Client, mut generator: Generator, mut dice: Dice) {
    while !scene.is_over() {
        let request = generator.next();
        match recorded(&scene, number, &client, &request).await {
            Ok((revision, response)) => {
                generator.learn(revision, &request, &response);
                scene.done.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                if error.in_doubt() {
                    scene.done.fetch_add(1, Ordering::Relaxed);
                }
                scene.pause(AFTER_FAILURE).await;
            }
        }
        scene
            .pause(Duration::from_millis(dice.below(MOST_THOUGHT)))
            .await;
    }
}

/// Makes a request and takes it down.
pub(super) async fn recorded(
    scene: &Scene,
    number: u32,
    client: &Client,
    request: &Request,
) -> Result<(i64, Response), Error> {
    let recorder = &scene.recorder;
    let id = recorder.invoke(scene.now(), number, request.clone());
    let done = perform(client, request).await;
    let now = scene.now();
    match &done {
        Ok((revision, response)) => recorder.ok(now, id, *revision, response.clone()),
        Err(error) if error.in_doubt() => recorder.unknown(now, id, error.to_string()),
        Err(error) => recorder.failed(now, id, error.to_string()),
    }
    done
}

/// One last write that no watcher of all keys can miss.
///
/// # Errors
/// When the members do not take it.
pub(super) async fn mark(scene: &Scene) -> Result<i64> {
    let client = Client::builder().endpoints(scene.endpoints.to_vec());
    let client = client.timeout(ROAMING_LIMIT).build()?;
    let mut last = None;
    for attempt in 0..MARK_ATTEMPTS {
        let value = format!("mark-{attempt}-{}", scene.now());
        let request = Request::put("r/mark", value);
        match recorded(scene, super::CLIENTS, &client, &request).await {
            Ok((revision, _)) => return Ok(revision),
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(AFTER_FAILURE).await;
    }
    let why = last.map_or_else(String::new, |error| error.to_string());
    Err(format!("the last write is not taken: {why}").into())
}
