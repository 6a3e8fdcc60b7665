//! What clients do while faults happen, through the real client core and the real recipes.
//!
//! Owns the clients of a run and their end. What was seen goes into the record; whether it was
//! right is not judged here.

mod convert;
mod kv;
mod lease;
mod patron;
mod tenure;
mod watch;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use handfast_checker::{KeyRange, Recorder, WatchId};
use handfast_core::Client;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::plan::Plan;

pub(crate) use convert::{event, pair};
pub(crate) use patron::{Patron, plain_client, wired};

/// How long clients may take to notice that the run is over.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// Prefix of the keys that reads and writes are about.
pub(crate) const KV_PREFIX: &str = "k/";
/// Prefix of the keys that hang on leases.
pub(crate) const LEASE_PREFIX: &str = "l/";

/// The clients of a run.
pub(crate) struct Workload {
    pub(crate) recorder: Recorder,
    watches: Vec<WatchId>,
    patrons: Vec<Arc<Patron>>,
    tasks: JoinSet<()>,
}

impl Workload {
    /// Starts the clients that the plan asks for.
    ///
    /// # Errors
    /// When a client cannot be made, which is a mistake of this program.
    pub(crate) fn start(
        cluster: &Arc<Cluster>,
        plan: &Plan,
        dice: &Dice,
    ) -> Result<Workload, String> {
        let recorder = Recorder::new();
        recorder.edit(|run| {
            run.unrecorded = ["lock/", "election/", "_handfast/", "probe/"]
                .map(KeyRange::prefix)
                .into();
            run.clock_error_ppm = 30_000;
        });
        let mut work = Workload {
            recorder,
            watches: Vec::new(),
            patrons: Vec::new(),
            tasks: JoinSet::new(),
        };
        for number in 0..plan.clients {
            let patron = Patron::new(cluster, number, plan, dice, &work.recorder)?;
            work.employ(Arc::new(patron), number);
        }
        Ok(work)
    }

    fn employ(&mut self, patron: Arc<Patron>, number: usize) {
        self.tasks.spawn(kv::work(Arc::clone(&patron)));
        match number % 4 {
            0 => {
                for (name, watch) in watch::wanted(&patron) {
                    let id = self.recorder.watch(name, watch.request.clone());
                    self.watches.push(id);
                    self.tasks
                        .spawn(watch::follow(Arc::clone(&patron), watch, id));
                }
                self.tasks.spawn(tenure::observe(Arc::clone(&patron)));
            }
            1 => {
                self.tasks.spawn(lease::work(Arc::clone(&patron)));
                self.tasks.spawn(tenure::lock(Arc::clone(&patron)));
            }
            2 => {
                self.tasks.spawn(tenure::lock(Arc::clone(&patron)));
                self.tasks.spawn(tenure::lead(Arc::clone(&patron)));
            }
            _ => {
                self.tasks.spawn(lease::work(Arc::clone(&patron)));
                self.tasks.spawn(tenure::lead(Arc::clone(&patron)));
                self.tasks.spawn(wire::work(Arc::clone(&patron)));
            }
        }
        self.patrons.push(patron);
    }

    /// The clients, for faults that concern them.
    pub(crate) fn patrons(&self) -> &[Arc<Patron>] {
        &self.patrons
    }

    /// Tells the writers that the run is over and waits for them. Watches go on.
    pub(crate) fn finish_writing(&self) {
        for patron in &self.patrons {
            patron.stop.cancel();
        }
    }

    /// Waits until watches have delivered everything up to `revision`, and all clients are done.
    ///
    /// # Errors
    /// Who is not done in time.
    pub(crate) async fn finish(mut self, revision: i64) -> Result<(), String> {
        for patron in &self.patrons {
            patron.read_to.send_replace(revision);
        }
        let ended = timeout(STOP_TIMEOUT, async {
            while let Some(ended) = self.tasks.join_next().await {
                // A panic is reported by the hook that sees it first.
                drop(ended);
            }
        });
        if ended.await.is_err() {
            let left = self.tasks.len();
            let lagging: Vec<String> = self.patrons.iter().flat_map(|p| p.lagging()).collect();
            return Err(format!(
                "{left} tasks of clients do not end within {STOP_TIMEOUT:?} after everything was \
                 healed: {}",
                lagging.join(", ")
            ));
        }
        for id in &self.watches {
            self.recorder.drained(*id, revision);
        }
        Ok(())
    }
}

/// A client that is not part of the workload.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn helper(cluster: &Arc<Cluster>, endpoints: &[String]) -> Result<Client, String> {
    plain_client(
        &cluster.net,
        crate::net::CLIENTS - 1,
        endpoints,
        cluster.draw(),
    )
}
