//! All machines of a run, and what can be done to them as a cluster.
//!
//! Owns the machines, who keeps watch over members that fail, and the list of what went wrong.
//! Knows nothing of when a fault shall happen, nor of clients.

use std::sync::Arc;
use std::time::Duration;

use handfast_consensus::Failure;
use handfast_proto::command::MemberInfo;
use handfast_storage::sim::Loss;
use handfast_storage::wal::Identity;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::dice::Dice;
use crate::machine::{Machine, Tenant, Tuning};
use crate::net::{Net, Place};
use crate::trace::Trace;

/// How often something that has no event is looked at.
pub(crate) const LOOK: Duration = Duration::from_millis(50);

/// The cluster of one run.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) net: Net,
    pub(crate) trace: Trace,
    /// One for each founding member, and a spare one.
    pub(crate) machines: Vec<Arc<Machine>>,
    /// How many members founded it.
    #[cfg(test)]
    pub(crate) size: usize,
    cluster_id: u64,
    problems: Arc<Mutex<Vec<String>>>,
    /// Members that were told to go.
    removed: Mutex<Vec<u64>>,
    /// Members that may have been told to go.
    doubtful: Mutex<Vec<u64>>,
    dice: Mutex<Dice>,
}

impl Cluster {
    /// Prepares machines for `size` founding members, and starts nothing.
    pub(crate) fn new(size: usize, tuning: &Tuning, dice: &Dice, trace: &Trace) -> Arc<Cluster> {
        let net = Net::new(dice.branch("net"), trace.clone());
        let mut own = dice.branch("cluster");
        let machines: Vec<_> = (0..=size)
            .map(|place| Arc::new(Machine::new(place, &net, tuning.clone(), dice)))
            .collect();
        let cluster_id = own.next() | 1;
        let ids: Vec<u64> = (0..size).map(|_| own.next() >> 1 | 1).collect();
        let founders: Vec<MemberInfo> = machines
            .iter()
            .zip(&ids)
            .map(|(machine, &id)| machine.info(id))
            .collect();
        for (machine, &member_id) in machines.iter().zip(&ids) {
            machine.let_to(Some(Tenant {
                identity: Identity {
                    cluster_id,
                    member_id,
                },
                founders: Some(founders.clone()),
            }));
        }
        Arc::new(Cluster {
            net,
            trace: trace.clone(),
            machines,
            #[cfg(test)]
            size,
            cluster_id,
            problems: Arc::default(),
            removed: Mutex::default(),
            doubtful: Mutex::default(),
            dice: Mutex::new(own),
        })
    }

    /// Notes something that must not happen.
    pub(crate) fn problem(&self, what: String) {
        self.trace.note(format_args!("PROBLEM {what}"));
        let mut problems = self.problems.lock();
        if !problems.contains(&what) {
            problems.push(what);
        }
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        self.problems.lock().clone()
    }

    pub(crate) fn machine(&self, place: Place) -> &Arc<Machine> {
        &self.machines[place]
    }

    /// Addresses for clients: of every machine, whether a member runs on it or not.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.machines
            .iter()
            .map(|machine| machine.client_url())
            .collect()
    }

    /// Starts every member that has data and does not run.
    pub(crate) async fn start_all(self: &Arc<Self>) {
        for place in 0..self.machines.len() {
            self.start(place).await;
        }
    }

    /// Starts a member. One that cannot start is a problem unless its disk fails.
    pub(crate) async fn start(self: &Arc<Self>, place: Place) {
        let machine = self.machine(place);
        let gone = |id| self.removed.lock().contains(&id);
        if machine.is_up() || machine.is_busy() || machine.member_id().is_none_or(gone) {
            return;
        }
        self.trace.note(format_args!("start {place}"));
        let starting = tokio::spawn({
            let machine = Arc::clone(machine);
            async move { machine.start().await }
        });
        match starting
            .await
            .unwrap_or_else(|panic| Err(panic.to_string()))
        {
            Ok(()) => self.watch(place),
            Err(why) if machine.is_troubled() => {
                self.trace.note(format_args!("no start {place}: {why}"));
            }
            Err(why) => self.problem(format!("m{place} does not start: {why}")),
        }
    }

    /// Takes everything down after a run, with no word to anybody. The network holds who answers,
    /// and who answers holds the network: left alone, they would stay in memory for ever.
    pub(crate) fn end(&self) {
        for machine in &self.machines {
            machine.kill(Loss::Everything);
        }
    }

    pub(crate) fn kill(&self, place: Place, loss: Loss) {
        self.trace.note(format_args!("kill {place} {loss:?}"));
        self.machine(place).kill(loss);
    }

    /// Any of the three ways in which a disk can lose what was not synced.
    pub(crate) fn any_loss(&self) -> Loss {
        let mut dice = self.dice.lock();
        dice.pick(&Loss::ALL).copied().unwrap_or(Loss::Everything)
    }

    /// A number for somebody's seed.
    pub(crate) fn draw(&self) -> u64 {
        self.dice.lock().next()
    }

    pub(crate) async fn stop(&self, place: Place) {
        self.trace.note(format_args!("stop {place}"));
        let machine = Arc::clone(self.machine(place));
        let stopping = tokio::spawn(async move { machine.stop().await });
        if let Ok(Err(why)) = stopping.await {
            self.trace.note(format_args!("{why}"));
        }
    }

    /// Waits until no member is just being started or stopped.
    pub(crate) async fn rest(&self) {
        while self.machines.iter().any(|machine| machine.is_busy()) {
            sleep(LOOK).await;
        }
    }

    /// Who leads by its own account: of several, the one of the highest term.
    pub(crate) fn leader(&self) -> Option<Place> {
        let mut best = None;
        for machine in &self.machines {
            let Some(status) = machine.status().filter(|status| status.is_leader) else {
                continue;
            };
            if best.is_none_or(|(term, _)| term < status.term) {
                best = Some((status.term, machine.place));
            }
        }
        best.map(|(_, place)| place)
    }

    /// Machines with a running member.
    pub(crate) fn up(&self) -> Vec<Place> {
        let up = self.machines.iter().filter(|machine| machine.is_up());
        up.map(|machine| machine.place).collect()
    }

    /// Machines whose member belongs to the cluster, running or not.
    pub(crate) fn tenants(&self) -> Vec<Place> {
        let removed = self.removed.lock();
        let ours = self
            .machines
            .iter()
            .filter(|machine| machine.member_id().is_some_and(|id| !removed.contains(&id)));
        ours.map(|machine| machine.place).collect()
    }

    /// Waits until one member leads and all running ones follow it; false after `patience`.
    pub(crate) async fn settled(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            let states: Vec<_> = self.machines.iter().filter_map(|m| m.status()).collect();
            let leader = states.iter().find(|status| status.is_leader);
            if let Some(leader) = leader
                && states
                    .iter()
                    .all(|status| status.leader == leader.leader && status.term == leader.term)
            {
                return true;
            }
            sleep(LOOK).await;
        }
        false
    }

    /// Says that a member was removed: it may stop by itself, and must not be started again.
    pub(crate) fn mark_removed(&self, id: u64) {
        self.removed.lock().push(id);
    }

    /// Says that nobody knows whether a member was removed.
    pub(crate) fn mark_doubtful(&self, id: u64) {
        self.doubtful.lock().push(id);
    }

    pub(crate) fn is_removed(&self, id: u64) -> bool {
        self.removed.lock().contains(&id)
    }

    /// Gives a machine to a new member that was added to the cluster under `id`.
    pub(crate) fn let_to_new(&self, place: Place, id: u64) {
        self.trace.note(format_args!("new member on {place}"));
        self.machine(place).let_to(Some(Tenant {
            identity: Identity {
                cluster_id: self.cluster_id,
                member_id: id,
            },
            founders: None,
        }));
    }

    /// Keeps an eye on the member that was just started there.
    fn watch(self: &Arc<Self>, place: Place) {
        let this = Arc::clone(self);
        let Some(consensus) = self.machine(place).consensus() else {
            return;
        };
        let starts = self.machine(place).starts();
        tokio::spawn(async move {
            let failure = consensus.failed().await;
            drop(consensus);
            // A killed member fails, too, and that is no news.
            let machine = this.machine(place);
            if machine.is_up() && machine.starts() == starts {
                this.gave_up(place, &failure);
            }
        });
    }

    fn gave_up(&self, place: Place, failure: &Failure) {
        let machine = self.machine(place);
        self.trace
            .note(format_args!("m{place} gave up: {failure:?}"));
        let may_go = |id| self.is_removed(id) || self.doubtful.lock().contains(&id);
        let removed = machine.member_id().is_some_and(may_go);
        match failure {
            Failure::Removed(_) if removed => {}
            Failure::Fatal(_) if machine.is_troubled() => {}
            _ => self.problem(format!("m{place} gave up without cause: {failure:?}")),
        }
        self.kill(place, Loss::Sectors);
    }
}
