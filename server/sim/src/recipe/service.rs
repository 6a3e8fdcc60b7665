//! A service: instances that come, change, leave and die, and callers who follow the list.
//!
//! Owns writing down what was registered and what was offered, and those who do it wrong.

use std::sync::Arc;

use bytes::Bytes;
use handfast::{ServiceList, Status};
use handfast_checker::recipe::{Listed, Listing, Registration, ServiceStory};
use tokio::time::{Duration, timeout};

use super::process::Process;
use super::world::World;
use crate::subject::Mutation;

const NAME: &str = "service/a";
const PREFIX: &str = "service/a/";
const LEFT: &str = "_handfast/left/";

/// Prepares the story.
pub(super) fn begin(world: &World) {
    world.write(|story| {
        story.services.push(ServiceStory {
            prefix: Bytes::from_static(PREFIX.as_bytes()),
            left: Bytes::from_static(LEFT.as_bytes()),
            ..ServiceStory::default()
        });
    });
}

/// Registers and follows until the run is over.
pub(super) async fn work(process: Arc<Process>) {
    tokio::join!(register(&process), follow(&process));
}

async fn register(process: &Process) {
    while process.think(50..1_500).await {
        // Now and then somebody else's name, which is refused while it is taken.
        let seat = match process.draw(|dice| dice.below(10)) {
            0 => process.seat + 1,
            _ => process.seat,
        };
        let instance = format!("i{seat}");
        let wait = process.draw(|dice| dice.millis(0..9_000));
        let service = process.handfast.service(NAME);
        let addr = format!("{}:80", process.name);
        let listing = service
            .instance(instance.clone(), addr)
            .wait(wait)
            .register();
        let at = note_asked(process, &instance);
        let made = process
            .until_stop(timeout(Duration::from_secs(12), listing))
            .await;
        let Some(Ok(Ok(registration))) = made else {
            continue;
        };
        process.awake().await;
        let edit = |edit: &dyn Fn(&mut Registration, u64)| {
            let now = process.now();
            process
                .world
                .write(|story| edit(&mut story.services[0].registrations[at], now));
        };
        edit(&|it, now| (it.told, it.leaving) = (now, None));
        let updates = process.draw(|dice| dice.range(0..6));
        for _ in 0..updates {
            if !process.think(200..3_000).await {
                break;
            }
            let status = process.draw(|dice| match dice.below(3) {
                0 => Status::Warming,
                1 => Status::Draining,
                _ => Status::Up,
            });
            let _ = process.until_stop(registration.set_status(status)).await;
        }
        edit(&|it, now| it.leaving = Some(now));
        if process.draw(|dice| dice.per_mille(250)) {
            drop(registration);
            continue;
        }
        let leaving = registration.unregister();
        drop(registration);
        leaving.await;
        process.awake().await;
        edit(&|it, now| it.left = Some(now));
        if process.errs() == Some(Mutation::ComesBack) && process.lease() != 0 {
            process.think(50..60).await;
            let key = format!("{PREFIX}{instance}");
            let put = process.client().put(key, "{\"Addr\":\"back:80\"}");
            let _ = put.lease(process.lease()).await;
            // Long enough that it is not taken for another registration.
            process.think(1_000..1_500).await;
        }
    }
}

/// Notes a registration before it is made: given up, or with its program gone, it may be there all
/// the same. Returns its place in the story.
fn note_asked(process: &Process, instance: &str) -> usize {
    let asked = process.now();
    let note = Registration {
        instance: instance.to_owned(),
        client: process.name.clone(),
        told: asked,
        leaving: Some(asked),
        ..Registration::default()
    };
    process.world.write(|story| {
        story.services[0].registrations.push(note);
        story.services[0].registrations.len() - 1
    })
}

async fn follow(process: &Process) {
    let mut count = 0;
    while process.think(10..300).await {
        count += 1;
        let observer = format!("{} #{count}", process.name);
        let opening = process.handfast.discover(NAME).open();
        let Some(Ok(discovery)) = process.until_stop(opening).await else {
            continue;
        };
        let looks = process.draw(|dice| dice.range(5..80));
        let mut first = None;
        for _ in 0..looks {
            process.awake().await;
            let list = discovery.list();
            let first = first.get_or_insert_with(|| list.clone());
            let shown = match process.errs() {
                Some(Mutation::ShowsOld) => first,
                _ => &list,
            };
            note(process, &observer, list.revision, shown);
            if !process.think(50..400).await {
                return;
            }
        }
    }
}

fn note(process: &Process, observer: &str, revision: i64, list: &ServiceList) {
    let listed = list.instances.iter().map(|it| Listed {
        instance: it.id.clone(),
        suspect: it.suspect,
    });
    let listing = Listing {
        observer: observer.to_owned(),
        at: process.now(),
        revision,
        instances: listed.collect(),
    };
    process
        .world
        .write(|story| story.services[0].listings.push(listing));
}
