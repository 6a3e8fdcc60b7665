//! Work that is done once: by whoever comes first, with runners that die, fail and lose the lock.
//!
//! Owns writing down who ran when and who was given what.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use handfast::Tenure;
use handfast_checker::recipe::{OnceCall, OnceRun, Span};
use tokio::time::{sleep, timeout};

use super::process::Process;
use crate::subject::Mutation;

/// Results that are wanted at a time.
const NAMES: u64 = 3;
/// How long until others are wanted.
const BATCH: Duration = Duration::from_secs(4);

/// Wants one result after the other until the run is over.
pub(super) async fn work(process: Arc<Process>) {
    while process.think(50..900).await {
        let batch = process.now() / u64::try_from(BATCH.as_nanos()).unwrap_or(1);
        let number = batch * NAMES + process.draw(|dice| dice.range(0..NAMES));
        let name = format!("once/{number}");
        if process.errs() == Some(Mutation::PutsAnyway) {
            put_anyway(&process, &name).await;
        } else {
            one(&process, &name).await;
        }
    }
}

async fn one(process: &Process, name: &str) {
    let asked = process.now();
    let call = OnceCall {
        result: Bytes::from(format!("{name}/result")),
        client: process.name.clone(),
        asked,
        ..OnceCall::default()
    };
    let at = process.world.write(|story| {
        story.once.push(call);
        story.once.len() - 1
    });
    let once = process.handfast.once(name.to_owned());
    let running = once.get_or_run(|tenure| run(process, at, tenure));
    // Some change their mind on the way.
    let mind = match process.draw(|dice| dice.below(10)) {
        0..2 => process.draw(|dice| dice.millis(0..2_000)),
        _ => Duration::from_secs(1_000),
    };
    let answer = process.until_stop(timeout(mind, running)).await;
    process.awake().await;
    let now = process.now();
    process.world.write(|story| match answer {
        Some(Ok(Ok(result))) => story.once[at].answered = Some((now, result.value)),
        _ => story.once[at].ended = Some(now),
    });
}

/// Works in small steps, and fails now and then.
async fn run(process: &Process, at: usize, tenure: Tenure) -> Result<String, &'static str> {
    let begun = process.now();
    let index = process.world.write(|story| {
        let runs = &mut story.once[at].runs;
        runs.push(OnceRun {
            token: tenure.token(),
            lease: tenure.lease(),
            span: Span {
                from: begun,
                to: begun,
            },
        });
        runs.len() - 1
    });
    let steps = process.draw(|dice| dice.range(1..40));
    for _ in 0..steps {
        let now = process.now();
        sleep(Duration::from_millis(25)).await;
        process
            .world
            .write(|story| story.once[at].runs[index].span.to = now);
    }
    if process.draw(|dice| dice.per_mille(150)) {
        return Err("out of luck");
    }
    Ok(format!("{} {}", process.name, tenure.token()))
}

async fn put_anyway(process: &Process, name: &str) {
    let value = format!("{} anyway {}", process.name, process.now());
    // Whether it is there is for others to see.
    let _ = process.client().put(format!("{name}/result"), value).await;
}
