//! What all programs of a run share: time, the story that is written down, and the stage.
//!
//! Owns the story while it is written. Knows nothing of recipes and of what programs do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use handfast_checker::recipe::{Meddling, Moment, Span, Story};
use handfast_core::Client;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::stage::{Stage, TICK};
use crate::dice::Dice;
use crate::net::{CLIENTS, Place};
use crate::subject::Mutation;

/// The stage of a run.
pub(crate) struct World {
    pub(crate) stage: Stage,
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
    /// What is on the disks of the seats.
    disks: Mutex<BTreeMap<usize, Disk>>,
}

/// A disk with one file on it; it outlives the programs that write it.
pub(crate) type Disk = Arc<Mutex<Option<Bytes>>>;

impl World {
    pub(crate) fn new(
        (stage, helper): (Stage, Client),
        dice: &Dice,
        mutation: Option<Mutation>,
    ) -> Arc<World> {
        Arc::new(World {
            stage,
            mutation,
            stop: CancellationToken::new(),
            helper,
            origin: Instant::now(),
            dice: dice.clone(),
            story: Mutex::default(),
            places: AtomicUsize::new(CLIENTS),
            disks: Mutex::default(),
        })
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

    /// The disk of a seat.
    pub(crate) fn disk(&self, seat: usize) -> Disk {
        Arc::clone(self.disks.lock().entry(seat).or_default())
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

    /// Notes when revisions come to be, by what `highest` says of the servers; 0 is no answer.
    /// Goes on until it is dropped.
    pub(crate) async fn keep_time<F>(self: Arc<World>, highest: impl Fn() -> F)
    where
        F: Future<Output = i64>,
    {
        let mut after = 0;
        let mut seen = 1;
        loop {
            let asked = self.now();
            let revision = highest().await;
            if revision > seen {
                let by = self.now();
                let moment = Moment {
                    after,
                    by,
                    revision,
                };
                self.write(|story| story.moments.push(moment));
                seen = revision;
            }
            if revision > 0 {
                after = asked;
            }
            sleep(TICK).await;
        }
    }
}
