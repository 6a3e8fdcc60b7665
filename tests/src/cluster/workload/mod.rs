//! The clients of a trial, and the taking down of what they see.
//!
//! Each kind of client has a module. They share a [`Scene`]: where the members are, the record,
//! its clock, and the word to stop. They must not know which faults happen.

mod collect;
mod convert;
mod generate;
mod leases;
mod owners;
mod raw;
mod store;
mod watching;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use handfast_checker::{KeyRange, Nanos, Recorder, Run};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};

pub use collect::Collected;
pub(in crate::cluster) use convert::pair;

use crate::{Result, dice::Dice, harness::Subject};

/// Clients that read and write keys.
pub const CLIENTS: u32 = 8;
/// How long clients may take to come to an end when they are told to.
const END_LIMIT: Duration = Duration::from_secs(180);

/// What all clients share.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) recorder: Recorder,
    pub(super) endpoints: Arc<Vec<String>>,
    /// Whether watchers ask how far they are: etcd before 3.4.25 answers that too early.
    pub(super) asks_progress: bool,
    begun: Instant,
    stop: watch::Receiver<bool>,
    done: Arc<AtomicU64>,
}

impl Scene {
    /// The time of the record.
    pub(super) fn now(&self) -> Nanos {
        // A trial does not last for centuries.
        self.begun.elapsed().as_nanos() as Nanos
    }

    pub(super) fn is_over(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits until it is over. Cancel safe.
    pub(super) async fn over(&self) {
        let mut stop = self.stop.clone();
        // Without a sender it is over, too.
        let _ = stop.wait_for(|stop| *stop).await;
    }

    /// Waits, but not beyond the end.
    pub(super) async fn pause(&self, time: Duration) {
        let _ = timeout(time, self.over()).await;
    }
}

/// The clients at work. Dropping it stops them at once.
#[derive(Debug)]
pub struct Workload {
    scene: Scene,
    stop: watch::Sender<bool>,
    /// Those that end by themselves when told to.
    workers: JoinSet<()>,
    watchers: watching::Watchers,
    collector: collect::Collector,
}

impl Workload {
    /// Starts all clients of the members at `endpoints`, which run `subject`.
    ///
    /// # Errors
    /// When an endpoint is no address.
    pub fn start(subject: Subject, endpoints: Vec<String>, dice: &mut Dice) -> Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let scene = Scene {
            recorder: Recorder::new(),
            endpoints: Arc::new(endpoints),
            asks_progress: subject == Subject::Handfast,
            begun: Instant::now(),
            stop: stopped,
            done: Arc::default(),
        };
        let unrecorded = owners::PREFIXES.map(KeyRange::prefix).to_vec();
        scene.recorder.edit(|run| run.unrecorded = unrecorded);
        let collector = collect::Collector::start(&scene)?;
        let mut workers = JoinSet::new();
        for client in 0..CLIENTS {
            store::start(&scene, client, Dice::new(dice.bits()), &mut workers)?;
        }
        let collected = collector.collected();
        leases::start(&scene, &collected, dice, &mut workers)?;
        owners::start(&scene, dice, &mut workers)?;
        let watchers = watching::Watchers::start(&scene, &collected, dice)?;
        Ok(Self {
            scene,
            stop,
            workers,
            watchers,
            collector,
        })
    }

    /// How many operations on keys had an answer, or none in time; refusals do not count.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.scene.done.load(Ordering::Relaxed)
    }

    /// What the collector has: all changes so far.
    #[must_use]
    pub fn collected(&self) -> Collected {
        self.collector.collected()
    }

    /// Notes that somebody is about to compact at `revision`.
    pub fn compacting(&self, revision: i64) {
        self.scene
            .recorder
            .edit(|run| run.compacted = run.compacted.max(revision));
    }

    /// Tells the clients to end, and waits until they have. The members must be well again.
    ///
    /// # Errors
    /// When one hangs or panicked.
    pub async fn quiesce(&mut self) -> Result<()> {
        self.stop.send_replace(true);
        let ending = async {
            while let Some(ended) = self.workers.join_next().await {
                ended?;
            }
            Ok(())
        };
        match timeout(END_LIMIT, ending).await {
            Ok(ended) => ended,
            Err(_) => Err(format!("clients do not end within {END_LIMIT:?}").into()),
        }
    }

    /// Makes one last write, and gives its revision.
    ///
    /// # Errors
    /// When the members do not take it.
    pub async fn mark(&self) -> Result<i64> {
        store::mark(&self.scene).await
    }

    /// Waits until every watcher has all that it asked for up to `revision`, and gives the record.
    ///
    /// # Errors
    /// When a watcher does not get there: the message says which and how far it is.
    pub async fn finish(mut self, revision: i64) -> Result<Run> {
        let log = self.collector.drain(revision).await?;
        self.watchers.drain(&self.scene, &log).await?;
        self.scene.recorder.edit(|run| run.log = Some(log));
        Ok(self.scene.recorder.run())
    }

    /// The record as it is, of a trial that went wrong.
    #[must_use]
    pub fn record(&self) -> Run {
        self.scene.recorder.run()
    }
}
