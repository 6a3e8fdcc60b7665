//! Named situations with a fixed schedule: what a cluster must do in each of them.
//!
//! Owns the stage they play on. Each plays with a few seeds, for the seed still decides delays and
//! election timeouts.

mod catch_up;
mod leaders;
mod losses;
mod recipes;
mod restored;

use std::sync::Arc;
use std::time::Duration;

use handfast_core::Client;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, LOOK};
use crate::dice::Dice;
use crate::invariants::Watchman;
use crate::machine::Tuning;
use crate::net::{Place, Weather};
use crate::panics;
use crate::trace::Trace;
use crate::workload::helper;

/// A cluster that runs, and a client of it.
struct Stage {
    cluster: Arc<Cluster>,
    client: Client,
}

/// Plays with a few seeds, on `members` members that keep `log_tail` entries of their logs.
fn play<F>(members: usize, log_tail: u64, scene: impl Fn(Stage) -> F)
where
    F: Future<Output = Stage>,
{
    play_unwatched(members, log_tail, |stage| {
        tokio::spawn(Watchman::patrol(Arc::clone(&stage.cluster)));
        scene(stage)
    });
}

/// The same where members go back to what they were: nobody looks after their terms and states.
fn play_unwatched<F>(members: usize, log_tail: u64, scene: impl Fn(Stage) -> F)
where
    F: Future<Output = Stage>,
{
    for seed in 1..=3 {
        panics::collect();
        handfast_consensus::seed_randomness(seed);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let stage = scene(Stage::new(seed, members, log_tail).await).await;
            assert_eq!(
                stage.cluster.problems(),
                Vec::<String>::new(),
                "seed {seed}"
            );
        });
        assert_eq!(panics::take(), Vec::<String>::new(), "seed {seed}");
    }
}

impl Stage {
    async fn new(seed: u64, members: usize, log_tail: u64) -> Stage {
        let dice = Dice::new(seed);
        let tuning = Tuning {
            heartbeat: Duration::from_millis(100),
            election: Duration::from_millis(1000),
            log_tail,
            flush_every: Duration::from_millis(100),
        };
        let cluster = Cluster::new(members, &tuning, &dice, &Trace::new(false));
        cluster.net.set_weather(Weather::FAIR);
        cluster.start_all().await;
        assert!(
            cluster.settled(Duration::from_secs(10)).await,
            "seed {seed}"
        );
        let client = helper(&cluster, &cluster.endpoints()).unwrap();
        Stage { cluster, client }
    }

    fn leader(&self) -> Place {
        self.cluster
            .leader()
            .expect("the stage begins with a leader")
    }

    fn followers(&self) -> Vec<Place> {
        let leader = self.leader();
        let up = self.cluster.up();
        up.into_iter().filter(|&place| place != leader).collect()
    }

    fn term(&self) -> u64 {
        let leader = self.cluster.machine(self.leader());
        leader.status().map_or(0, |status| status.term)
    }

    /// Cuts a member off from all others.
    fn isolate(&self, place: Place) {
        let others: Vec<Place> = (0..self.cluster.size).collect();
        self.cluster.net.part(&[place], &others);
    }

    /// Writes `key` until it is acknowledged, and says how long that took.
    async fn write(&self, key: &str) -> Duration {
        let begun = Instant::now();
        while self.client.put(key, key).repeatable().await.is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "no write of {key}"
            );
            sleep(LOOK).await;
        }
        begun.elapsed()
    }

    async fn expect(&self, key: &str) {
        let pair = self.client.get(key.to_owned()).await.unwrap();
        assert_eq!(pair.map(|pair| pair.value).as_deref(), Some(key.as_bytes()));
    }

    /// Waits until `holds`, and says how long that took.
    async fn until(&self, what: &str, holds: impl Fn(&Cluster) -> bool) -> Duration {
        let begun = Instant::now();
        while !holds(&self.cluster) {
            assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}");
            sleep(Duration::from_millis(5)).await;
        }
        begun.elapsed()
    }

    /// Waits until all members that run have applied all of the leader's log.
    async fn agree(&self) {
        self.until("all members agree", |cluster| {
            let states = cluster
                .machines
                .iter()
                .filter_map(|machine| machine.status());
            let states: Vec<_> = states.collect();
            let last = states.iter().map(|status| status.last_log_index).max();
            states
                .iter()
                .all(|status| Some(status.applied_index) == last)
        })
        .await;
    }
}
