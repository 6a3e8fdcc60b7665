//! Who is listed, and what a change of the store means for the list.
//!
//! Owns the guard against a mass disappearance. Plain data and a time that is handed in: knows
//! nothing of servers and clocks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::entry::Instance;

/// Fewer deaths than this are believed.
const MASS: usize = 3;
/// For how many windows those of a mass disappearance are kept.
const HOLD_FACTOR: u32 = 3;

/// One change of a service's list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServiceChange {
    /// It is new, or back.
    Joined(Arc<Instance>),
    /// It says something else of itself, or registered anew without a gap.
    Updated {
        /// As it is now.
        now: Arc<Instance>,
        /// As it was.
        before: Arc<Instance>,
    },
    /// It unregistered.
    Left(Arc<Instance>),
    /// Its lease ended, or it was removed, without a word of its own. Also the end of a suspect.
    Died(Arc<Instance>),
    /// It seems to have died together with many others; it stays listed for a while, unless
    /// calls to it fail.
    Suspect(Arc<Instance>),
}

impl ServiceChange {
    /// A short stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Joined(_) => "joined",
            Self::Updated { .. } => "updated",
            Self::Left(_) => "left",
            Self::Died(_) => "died",
            Self::Suspect(_) => "suspect",
        }
    }

    /// The instance, as it is now or was last.
    #[must_use]
    pub fn instance(&self) -> &Arc<Instance> {
        match self {
            Self::Updated { now: instance, .. }
            | Self::Joined(instance)
            | Self::Left(instance)
            | Self::Died(instance)
            | Self::Suspect(instance) => instance,
        }
    }
}

/// What the store says of one instance.
#[derive(Debug, Clone)]
pub(super) enum Said {
    There(Instance),
    Gone { id: String, left: bool },
}

/// The list.
#[derive(Debug, Default)]
pub(super) struct Roster {
    listed: BTreeMap<String, Arc<Instance>>,
    /// When each suspect is given up.
    suspects: BTreeMap<String, Duration>,
    /// Deaths of the last window, the newest of each instance only.
    deaths: BTreeMap<String, (Duration, Arc<Instance>)>,
    /// How long deaths count as happening together; zero for no guard.
    window: Duration,
}

impl Roster {
    pub(super) fn new(window: Duration, there: impl IntoIterator<Item = Instance>) -> Self {
        let listed = there
            .into_iter()
            .map(|instance| (instance.id.clone(), Arc::new(instance)));
        Self {
            listed: listed.collect(),
            window,
            ..Default::default()
        }
    }

    pub(super) fn listed(&self) -> &BTreeMap<String, Arc<Instance>> {
        &self.listed
    }

    /// Takes in what the store says, all of one step; what changed.
    pub(super) fn step(&mut self, now: Duration, said: Vec<Said>) -> Vec<ServiceChange> {
        let mut changes = self.due(now);
        let mut dead = BTreeSet::new();
        for said in said {
            match said {
                Said::There(instance) => changes.extend(self.there(instance)),
                Said::Gone { id, left: true } => {
                    self.suspects.remove(&id);
                    self.deaths.remove(&id);
                    changes.extend(self.listed.remove(&id).map(ServiceChange::Left));
                }
                Said::Gone { id, left: false } => {
                    if let Some(instance) = self.listed.remove(&id) {
                        self.deaths.insert(id.clone(), (now, instance));
                        dead.insert(id);
                    }
                }
            }
        }
        // Whoever is gone and back within the step did not die.
        dead.retain(|id| self.deaths.contains_key(id));
        if !dead.is_empty() {
            changes.extend(match self.is_mass() {
                true => self.suspect(now),
                false => dead.iter().filter_map(|id| self.died(id)).collect(),
            });
        }
        changes
    }

    fn died(&self, id: &str) -> Option<ServiceChange> {
        let (_, instance) = self.deaths.get(id)?;
        Some(ServiceChange::Died(Arc::clone(instance)))
    }

    fn there(&mut self, instance: Instance) -> Option<ServiceChange> {
        let id = instance.id.clone();
        self.deaths.remove(&id);
        let was_suspect = self.suspects.remove(&id).is_some();
        let now = Arc::new(instance);
        match self.listed.insert(id, Arc::clone(&now)) {
            Some(before) if !was_suspect => {
                (before != now).then_some(ServiceChange::Updated { now, before })
            }
            _ => Some(ServiceChange::Joined(now)),
        }
    }

    /// Whether so many died within the window that it is hard to believe.
    fn is_mass(&self) -> bool {
        let died = self.deaths.len();
        let sure = self.listed.len() - self.suspects.len();
        !self.window.is_zero() && died >= MASS && died * 2 > died + sure
    }

    /// Keeps all who died within the window as suspects.
    fn suspect(&mut self, now: Duration) -> Vec<ServiceChange> {
        let until = now + self.window * HOLD_FACTOR;
        let mut changes = Vec::new();
        for (id, (_, instance)) in &self.deaths {
            if !self.suspects.contains_key(id) {
                let mut instance = Instance::clone(instance);
                instance.suspect = true;
                let instance = Arc::new(instance);
                self.listed.insert(id.clone(), Arc::clone(&instance));
                self.suspects.insert(id.clone(), until);
                changes.push(ServiceChange::Suspect(instance));
            }
        }
        changes
    }

    /// What time alone changes: suspects that were held for long enough.
    pub(super) fn due(&mut self, now: Duration) -> Vec<ServiceChange> {
        let window = self.window;
        let held = &self.suspects;
        // A suspect counts as long as it is held, so that others of its kind are held, too.
        self.deaths
            .retain(|id, (at, _)| now.saturating_sub(*at) < window || held.contains_key(id));
        let over: Vec<String> = self
            .suspects
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(id, _)| id.clone())
            .collect();
        over.iter().filter_map(|id| self.give_up(id)).collect()
    }

    /// When [`due`](Self::due) has to be asked next.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.suspects.values().min().copied()
    }

    /// A call to `id` failed: a suspect is not kept any longer.
    pub(super) fn failed(&mut self, id: &str) -> Option<ServiceChange> {
        self.suspects.contains_key(id).then(|| self.give_up(id))?
    }

    fn give_up(&mut self, id: &str) -> Option<ServiceChange> {
        self.suspects.remove(id);
        self.deaths.remove(id);
        self.listed.remove(id).map(ServiceChange::Died)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::entry::Entry;

    const WINDOW: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn instance(id: usize, revision: i64) -> Instance {
        Instance {
            id: format!("n{id:03}"),
            entry: Entry::new(format!("h{id}:1")),
            lease: 1,
            token: revision,
            revision,
            suspect: false,
        }
    }

    fn of(count: usize) -> Roster {
        Roster::new(WINDOW, (0..count).map(|id| instance(id, 1)))
    }

    fn gone(id: usize, left: bool) -> Said {
        let id = format!("n{id:03}");
        Said::Gone { id, left }
    }

    fn codes(changes: &[ServiceChange]) -> Vec<&'static str> {
        changes.iter().map(ServiceChange::code).collect()
    }

    #[test]
    fn a_few_deaths_and_any_number_of_leaves_are_believed() {
        let mut roster = of(10);
        let changes = roster.step(at(0), (0..5).map(|id| gone(id, false)).collect());
        // Five of ten are not more than half.
        assert_eq!(codes(&changes), ["died"; 5]);
        let mut roster = of(10);
        let changes = roster.step(at(0), (0..10).map(|id| gone(id, true)).collect());
        assert_eq!(codes(&changes), ["left"; 10]);
        assert!(roster.listed().is_empty());
        let mut roster = of(2);
        let changes = roster.step(at(0), (0..2).map(|id| gone(id, false)).collect());
        assert_eq!(codes(&changes), ["died"; 2]);
    }

    #[test]
    fn a_mass_disappearance_is_held_and_believed_in_the_end() {
        let mut roster = of(10);
        let mut changes = Vec::new();
        for id in 0..9 {
            let now = Duration::from_millis(id as u64);
            changes.extend(roster.step(now, vec![gone(id, false)]));
        }
        // The first five seemed to die; with the sixth all are suspected.
        assert_eq!(codes(&changes[..5]), ["died"; 5]);
        assert_eq!(codes(&changes[5..]), ["suspect"; 9]);
        assert_eq!(roster.listed().len(), 10);
        assert!(roster.listed()["n000"].suspect && !roster.listed()["n009"].suspect);
        assert!(roster.due(at(29)).is_empty());
        let back = roster.step(at(29), vec![Said::There(instance(0, 2))]);
        assert_eq!(codes(&back), ["joined"]);
        let due = roster.next_due().unwrap();
        assert_eq!(codes(&roster.due(due)), ["died"; 5]);
        assert_eq!(codes(&roster.due(at(31))), ["died"; 3]);
        let left: Vec<_> = roster.listed().keys().collect();
        assert_eq!(left, ["n000", "n009"]);
        assert_eq!(roster.next_due(), None);
    }

    #[test]
    fn deaths_that_are_far_apart_are_believed() {
        let mut roster = of(4);
        for id in 0..4 {
            let changes = roster.step(at(20 * id as u64), vec![gone(id, false)]);
            assert_eq!(codes(&changes), ["died"]);
        }
    }

    #[test]
    fn the_last_survivors_of_a_mass_disappearance_are_held_too() {
        let mut roster = of(10);
        roster.step(at(0), (0..9).map(|id| gone(id, false)).collect());
        let changes = roster.step(at(15), vec![gone(9, false)]);
        assert_eq!(codes(&changes), ["suspect"]);
        assert_eq!(roster.listed().len(), 10);
    }

    #[test]
    fn a_suspect_goes_at_once_when_it_fails_or_leaves() {
        let mut roster = of(4);
        roster.step(at(0), (0..4).map(|id| gone(id, false)).collect());
        assert_eq!(roster.failed("n000").map(|it| it.code()), Some("died"));
        assert_eq!(roster.failed("n000"), None);
        let changes = roster.step(at(1), vec![gone(1, true)]);
        assert_eq!(codes(&changes), ["left"]);
        assert_eq!(roster.listed().len(), 2);
        assert_eq!(of(1).failed("n000"), None);
    }

    #[test]
    fn whoever_is_gone_and_back_in_one_step_did_not_die() {
        let mut roster = of(3);
        let said = vec![gone(0, false), Said::There(instance(0, 5))];
        assert_eq!(codes(&roster.step(at(0), said)), ["joined"]);
        let again = vec![Said::There(instance(0, 5))];
        assert_eq!(roster.step(at(0), again), []);
        let update = vec![Said::There(instance(0, 6))];
        assert_eq!(codes(&roster.step(at(0), update)), ["updated"]);
    }
}
