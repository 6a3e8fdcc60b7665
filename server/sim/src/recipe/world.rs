//! What all programs of a run share: time, the story that is written down, and the cluster.
//!
//! Owns the story while it is written. Knows nothing of recipes and of what programs do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use handfast_checker::recipe::{Meddling, Moment, Span, Story};
use handfast_core::Client;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::net::{CLIENTS, Place};
use crate::subject::Mutation;
use crate::workload::helper;

/// How exactly it is known when a revision came to be.
const TICK: Duration = Duration::from_millis(10);

/// The stage of a run.
pub(crate) struct World {
    pub(crate) cluster: Arc<Cluster>,
    /// What the program at the first seat does wrong.
    pub(crate) mutation: Option<Mutation>,
    /// Cancelled when nothing new shall be begun.
    pub(crate) stop: CancellationToken,
    /// A client that no fault concerns.
    pub(crate) helper: Client,
    origin: Instant,
    dice: Dice,
    story: Mutex<Story>,
    places: AtomicUsize,
}

impl World {
    pub(crate) fn new(
        cluster: &Arc<Cluster>,
        dice: &Dice,
        mutation: Option<Mutation>,
    ) -> Result<Arc<World>, String> {
        Ok(Arc::new(World {
            cluster: Arc::clone(cluster),
            mutation,
            stop: CancellationToken::new(),
            helper: helper(cluster, &cluster.endpoints())?,
            origin: Instant::now(),
            dice: dice.clone(),
            story: Mutex::default(),
            places: AtomicUsize::new(CLIENTS),
        }))
    }

    /// Nanoseconds since the programs began.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Randomness for one purpose.
    pub(crate) fn dice(&self, purpose: &str) -> Dice {
        self.dice.branch(purpose)
    }

    /// Writes something down.
    pub(crate) fn write<T>(&self, write: impl FnOnce(&mut Story) -> T) -> T {
        write(&mut self.story.lock())
    }

    /// A place in the network that nobody had before.
    pub(crate) fn new_place(&self) -> Place {
        self.places.fetch_add(1, Ordering::Relaxed)
    }

    /// Says that nothing disturbs from `from` to now.
    pub(crate) fn was_calm(&self, from: u64) {
        let to = self.now();
        self.write(|story| story.calm.push(Span { from, to }));
    }

    /// Says that something is about to be taken away from its holder.
    pub(crate) fn meddle(&self, lease: i64, key: bytes::Bytes) {
        let at = self.now();
        self.write(|story| story.meddlings.push(Meddling { at, lease, key }));
    }

    /// Notes when revisions come to be, until it is dropped.
    pub(crate) async fn keep_time(self: Arc<World>) {
        let mut after = 0;
        let mut seen = 1;
        loop {
            let now = self.now();
            let machines = self.cluster.machines.iter();
            let highest = machines.map(|machine| machine.highest_revision()).max();
            let revision = highest.unwrap_or(0);
            if revision > seen {
                let moment = Moment {
                    after,
                    by: now,
                    revision,
                };
                self.write(|story| story.moments.push(moment));
                seen = revision;
            }
            after = now;
            sleep(TICK).await;
        }
    }
}
