//! Makes faults happen, one after the other, and takes each of them back.
//!
//! Owns what each kind of fault does to the cluster. Which kinds a run has is the plan's affair.

mod disks;
mod links;
mod members;

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use handfast_core::Client;
use handfast_storage::sim::Loss;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout_at};

use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::keeper::Keeper;
use crate::machine::HEALTHY_SYNC_MS;
use crate::net::Place;
use crate::plan::{KINDS, Kind, Plan};
use crate::workload::Patron;

/// The evil spirit of a run; its streams share it.
pub(crate) struct Nemesis {
    /// For changes that have to be finished on a task of their own.
    this: Weak<Nemesis>,
    cluster: Arc<Cluster>,
    plan: Plan,
    dice: Mutex<Dice>,
    patrons: Vec<Arc<Patron>>,
    /// For membership changes, as an operator would make them.
    admin: Client,
    keeper: Arc<Keeper>,
    /// Held while the membership is being changed: one at a time, as an operator would.
    changing: tokio::sync::Mutex<()>,
    /// How often each kind happened.
    done: Mutex<BTreeMap<Kind, u64>>,
}

impl Nemesis {
    pub(crate) fn new(
        cluster: &Arc<Cluster>,
        plan: &Plan,
        dice: &Dice,
        patrons: &[Arc<Patron>],
        admin: Client,
        keeper: &Arc<Keeper>,
    ) -> Arc<Nemesis> {
        Arc::new_cyclic(|this| Nemesis {
            this: this.clone(),
            cluster: Arc::clone(cluster),
            plan: plan.clone(),
            dice: Mutex::new(dice.branch("nemesis")),
            patrons: patrons.to_vec(),
            admin,
            keeper: Arc::clone(keeper),
            changing: tokio::sync::Mutex::default(),
            done: Mutex::default(),
        })
    }

    /// Makes faults happen as long as the plan says.
    pub(crate) async fn rage(self: &Arc<Self>) {
        let until = Instant::now() + self.plan.chaos;
        let streams = (0..self.plan.streams).map(|_| {
            let this = Arc::clone(self);
            tokio::spawn(async move {
                // What is under way at the end is taken back by the healing.
                let _ = timeout_at(until, this.stream()).await;
            })
        });
        for stream in streams.collect::<Vec<_>>() {
            // A panic was noted by the hook that saw it first.
            let _ = stream.await;
        }
    }

    async fn stream(&self) {
        loop {
            let pause = self.draw(|dice| dice.millis(self.plan.pause_ms.clone()));
            sleep(pause).await;
            let kind = self.draw(|dice| dice.pick(&self.plan.kinds).copied());
            if let Some(kind) = kind {
                self.cluster.trace.note(format_args!("fault {kind:?}"));
                *self.done.lock().entry(kind).or_default() += 1;
                self.strike(kind).await;
                // Members that gave up are restarted by whoever looks after them.
                self.revive().await;
            }
        }
    }

    async fn strike(&self, kind: Kind) {
        match kind {
            Kind::Crash => self.crash(self.any_up()).await,
            Kind::CrashLeader => self.crash(self.cluster.leader()).await,
            Kind::CrashAll => self.crash_all().await,
            Kind::Restart => self.restart().await,
            Kind::Freeze => self.freeze().await,
            Kind::Isolate => self.isolate(self.any_up()).await,
            Kind::IsolateLeader => self.isolate(self.cluster.leader()).await,
            Kind::OneWay => self.one_way().await,
            Kind::Split => self.split(false).await,
            Kind::Bridge => self.split(true).await,
            Kind::ClientCut => self.client_cut().await,
            Kind::BadWeather => self.bad_weather().await,
            Kind::SlowDisk => self.slow_disk().await,
            Kind::HungDisk => self.hung_disk().await,
            Kind::FailedSync => self.failed_sync().await,
            Kind::FullDisk => self.full_disk().await,
            Kind::Drift => self.drift(),
            Kind::MoveLeader => self.move_leader().await,
            Kind::MoveAndCut => self.move_and_cut().await,
            Kind::Replace => self.replace().await,
            Kind::Compact => self.keeper.compact().await,
        }
    }

    /// Takes every fault back: from now on the cluster must be well, once a change of the
    /// membership that is under way is done.
    pub(crate) async fn heal(&self) {
        self.cluster.trace.note(format_args!("heal"));
        self.cluster.net.heal();
        self.cluster.net.set_weather(self.plan.weather.clone());
        for machine in &self.cluster.machines {
            machine.repair_disk();
            machine.pace.take_millis(HEALTHY_SYNC_MS);
            machine.pace.hang(false);
            machine.clock.drift(0);
            self.cluster.net.thaw(machine.place);
        }
        // A member whose disk failed may notice only now; it is restarted with its disk in order.
        sleep(Duration::from_millis(500)).await;
        self.cluster.rest().await;
        self.revive().await;
        drop(self.changing.lock().await);
        self.cluster.rest().await;
        self.revive().await;
    }

    /// How often each kind happened, in the order of the list.
    pub(crate) fn figures(&self) -> Vec<(Kind, u64)> {
        let done = self.done.lock();
        let count = |kind: &Kind| done.get(kind).map(|&count| (*kind, count));
        KINDS.iter().filter_map(count).collect()
    }

    async fn crash(&self, place: Option<Place>) {
        let Some(place) = place else { return };
        let loss = self.cluster.any_loss();
        self.cluster.kill(place, loss);
        let down = self.draw(|dice| dice.millis(0..6_000));
        sleep(down).await;
    }

    async fn crash_all(&self) {
        let mut places = self.cluster.up();
        self.draw(|dice| {
            dice.shuffle(&mut places);
            // Mostly all of them: nothing in memory then remains.
            if dice.per_mille(300) {
                places.pop();
            }
        });
        let loss = match self.draw(|dice| dice.below(4)) {
            0 => self.cluster.any_loss(),
            _ => Loss::Everything,
        };
        for place in places {
            self.cluster.kill(place, loss);
        }
        let down = self.draw(|dice| dice.millis(0..1_000));
        sleep(down).await;
    }

    async fn restart(&self) {
        let Some(place) = self.any_up() else { return };
        self.cluster.stop(place).await;
        let down = self.draw(|dice| dice.millis(0..3_000));
        sleep(down).await;
    }

    async fn freeze(&self) {
        let Some(place) = self.any_up() else { return };
        let machine = self.cluster.machine(place);
        self.cluster.net.freeze(place);
        machine.pace.hang(true);
        let span = self.draw(|dice| dice.millis(200..8_000));
        sleep(span).await;
        self.cluster.net.thaw(place);
        machine.pace.hang(false);
    }

    fn drift(&self) {
        for machine in &self.cluster.machines {
            let ppm = self.draw(|dice| dice.range(0..40_000)) as i64 - 20_000;
            machine.clock.drift(ppm);
        }
        for patron in &self.patrons {
            let ppm = self.draw(|dice| dice.range(0..40_000)) as i64 - 20_000;
            patron.clock.drift(ppm);
        }
    }

    /// Starts whoever is down.
    async fn revive(&self) {
        self.cluster.start_all().await;
    }

    fn any_up(&self) -> Option<Place> {
        let up = self.cluster.up();
        self.draw(|dice| dice.pick(&up).copied())
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut Dice) -> T) -> T {
        draw(&mut self.dice.lock())
    }
}
