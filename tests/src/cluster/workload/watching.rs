//! Watchers: through the client core, which heals them, and bare ones that each ask one member.
//!
//! Owns their tasks and the waiting for the last event. What they must deliver is the checkers'
//! business.

use std::{sync::Arc, time::Duration};

use handfast_checker::{Delivery, Event, EventLog, KeyRange, WatchId, WatchRequest};
use handfast_core::{Client, WatchEvent, WatchOptions};
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{Collected, Scene, convert, raw};
use crate::{Result, dice::Dice};

const DRAIN_LIMIT: Duration = Duration::from_secs(60);
/// A watcher from the past begins at most so many revisions back.
const MOST_BACK: u64 = 200;
const ASK_PROGRESS: Duration = Duration::from_millis(700);

/// How far one watcher is.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    name: String,
    range: KeyRange,
    /// The latest record of it; a new one begins after a compaction.
    id: Arc<Mutex<WatchId>>,
    at: watch::Sender<i64>,
}

impl Progress {
    pub(super) fn new(name: String, range: KeyRange, id: WatchId) -> Self {
        Self {
            name,
            range,
            id: Arc::new(Mutex::new(id)),
            at: watch::Sender::new(0),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn id(&self) -> WatchId {
        *self.id.lock()
    }

    pub(super) fn again(&self, id: WatchId) {
        *self.id.lock() = id;
    }

    pub(super) fn reached(&self, revision: i64) {
        self.at.send_modify(|at| *at = revision.max(*at));
    }
}

/// All watchers of a trial. Dropping them ends them.
#[derive(Debug)]
pub(super) struct Watchers {
    progress: Vec<Progress>,
    tasks: JoinSet<()>,
}

impl Watchers {
    pub(super) fn start(scene: &Scene, collected: &Collected, dice: &mut Dice) -> Result<Self> {
        let mut watchers = Self {
            progress: Vec::new(),
            tasks: JoinSet::new(),
        };
        let roaming = || {
            Client::builder()
                .endpoints(scene.endpoints.to_vec())
                .build()
        };
        watchers.heal(scene, "keys", "r/", true, roaming()?);
        watchers.heal(scene, "locks", "lock/", false, roaming()?);
        for (place, endpoint) in scene.endpoints.iter().enumerate() {
            let request = WatchRequest {
                range: KeyRange::all(),
                start_revision: 2,
                prev_kv: place % 2 == 0,
                ..WatchRequest::default()
            };
            let name = format!("bare-{place}");
            let id = scene.recorder.watch(name.clone(), request.clone());
            let progress = Progress::new(name, KeyRange::all(), id);
            let bare = raw::Bare::new(scene, endpoint, request, progress.clone());
            watchers.progress.push(progress);
            watchers.tasks.spawn(bare?.work());
        }
        let (scene, collected) = (scene.clone(), collected.clone());
        let dice = Dice::new(dice.bits());
        watchers
            .tasks
            .spawn(come_and_go(scene, collected, roaming()?, dice));
        Ok(watchers)
    }

    /// A watcher that heals, for the whole trial.
    fn heal(
        &mut self,
        scene: &Scene,
        name: &str,
        prefix: &'static str,
        prev: bool,
        client: Client,
    ) {
        let request = WatchRequest {
            range: KeyRange::prefix(prefix),
            start_revision: 2,
            prev_kv: prev,
            ..WatchRequest::default()
        };
        let id = scene.recorder.watch(name, request.clone());
        let progress = Progress::new(name.to_owned(), KeyRange::prefix(prefix), id);
        self.progress.push(progress.clone());
        let scene = scene.clone();
        self.tasks.spawn(async move {
            let mut from = 2;
            loop {
                let Some(compacted) = follow(&scene, &client, prefix, prev, from, &progress).await
                else {
                    return;
                };
                from = compacted;
                let request = WatchRequest {
                    start_revision: from,
                    ..request.clone()
                };
                progress.again(scene.recorder.watch(&progress.name, request));
            }
        });
    }

    /// Waits until each has everything that it asked for of `log`.
    pub(super) async fn drain(&mut self, scene: &Scene, log: &EventLog) -> Result<()> {
        let begun = Instant::now();
        for progress in &self.progress {
            let mut wanted = log.events.iter().rev();
            let wanted = wanted.find(|event| progress.range.contains(&event.kv.key));
            let wanted = wanted.map_or(0, Event::revision);
            let left = DRAIN_LIMIT.saturating_sub(begun.elapsed());
            let mut at = progress.at.subscribe();
            let there = timeout(left, at.wait_for(|at| *at >= wanted)).await;
            if !matches!(there, Ok(Ok(_))) {
                let at = *progress.at.borrow();
                let name = &progress.name;
                return Err(format!("the watch {name} is at {at} of {wanted}").into());
            }
            scene.recorder.drained(progress.id(), log.to);
        }
        self.tasks.abort_all();
        Ok(())
    }
}

/// Takes down what a healing watch delivers. Ends only with a compaction, and gives the revision
/// to go on from; nothing when the watch fails for good.
async fn follow(
    scene: &Scene,
    client: &Client,
    prefix: &'static str,
    prev: bool,
    from: i64,
    progress: &Progress,
) -> Option<i64> {
    let mut options = WatchOptions::prefix(prefix).start_revision(from);
    if prev {
        options = options.prev_kv();
    }
    let mut stream = client.watch(options);
    loop {
        let Ok(next) = timeout(ASK_PROGRESS, stream.next()).await else {
            // Also what does not concern its keys brings it forward.
            if scene.asks_progress {
                stream.request_progress();
            }
            continue;
        };
        let taken = next?;
        let now = scene.now();
        let deliver = |delivery| scene.recorder.delivered(now, progress.id(), delivery);
        match taken {
            Ok(WatchEvent::Created { revision }) => deliver(Delivery::Created { revision }),
            Ok(WatchEvent::Events { revision, events }) => {
                let events = events.into_iter().map(convert::event).collect();
                deliver(Delivery::Events {
                    revision,
                    events,
                    fragment: false,
                });
                progress.reached(revision);
            }
            Ok(WatchEvent::Progress { revision }) => {
                deliver(Delivery::Progress { revision });
                progress.reached(revision);
            }
            Ok(WatchEvent::Resumed { revision }) => deliver(Delivery::Resumed { from: revision }),
            Ok(WatchEvent::Compacted { compact_revision }) => {
                deliver(Delivery::Compacted { compact_revision });
                return Some(compact_revision.max(1));
            }
            Ok(other) => unreachable!("a report that the record has no form for: {other:?}"),
            Err(error) => {
                deliver(Delivery::Cancelled {
                    why: error.to_string(),
                });
                return None;
            }
        }
    }
}

/// One watch after the other, each from somewhere in the past and for a short time.
async fn come_and_go(scene: Scene, collected: Collected, client: Client, mut dice: Dice) {
    let mut count = 0;
    while !scene.is_over() {
        count += 1;
        let from = collected.revision() - dice.below(MOST_BACK) as i64;
        let request = WatchRequest {
            range: KeyRange::prefix("r/"),
            start_revision: from.max(2),
            ..WatchRequest::default()
        };
        let start = request.start_revision;
        let name = format!("short-{count}");
        let range = request.range.clone();
        let id = scene.recorder.watch(name.clone(), request);
        let progress = Progress::new(name, range, id);
        let time = Duration::from_millis(200 + dice.below(1_500));
        let following = follow(&scene, &client, "r/", false, start, &progress);
        let _ = timeout(time, following).await;
        scene.pause(Duration::from_millis(50)).await;
    }
}
