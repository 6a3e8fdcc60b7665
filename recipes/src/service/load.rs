//! How the instances fare that calls go to.
//!
//! Owns the counts behind picks, and the ejection of instances whose calls fail. Plain data and a
//! time that is handed in.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::entry::Instance;

/// So many failures in a row eject an instance.
const FAILURES: u32 = 5;
const FIRST_EJECTION: Duration = Duration::from_secs(10);
const EJECTION_LIMIT: Duration = Duration::from_secs(300);
/// What a new sample counts beside all before it.
const SAMPLE_SHARE: f64 = 0.3;

/// One instance's calls.
#[derive(Debug, Clone, Default)]
pub(super) struct Load {
    /// Which registration this is of.
    token: i64,
    pub(super) in_flight: u32,
    /// In seconds; `None` before the first answer.
    latency: Option<f64>,
    failures: u32,
    ejections: u32,
    ejected_until: Option<Duration>,
    /// What smooth weighted picks owe it.
    pub(super) credit: i64,
}

impl Load {
    fn of(token: i64) -> Self {
        Self {
            token,
            ..Default::default()
        }
    }

    pub(super) fn is_ejected(&self, now: Duration) -> bool {
        self.ejected_until.is_some_and(|until| now < until)
    }

    /// What one more call would cost here; `usual` is the latency to expect of an unknown one.
    pub(super) fn cost(&self, usual: f64) -> f64 {
        let waiting = f64::from(self.in_flight) + 1.0;
        // An instance that fails at once must not look fast.
        let trouble = f64::from(self.failures) + 1.0;
        self.latency.unwrap_or(usual) * waiting * trouble
    }

    fn answered(&mut self, ok: bool, latency: Duration) {
        let sample = latency.as_secs_f64();
        let mixed = self
            .latency
            .map_or(sample, |known| known + SAMPLE_SHARE * (sample - known));
        if ok {
            self.latency = Some(mixed);
            self.failures = 0;
            self.ejections = 0;
        } else {
            self.latency = self.latency.map(|known| known.max(mixed));
            self.failures += 1;
        }
    }
}

/// All instances' calls.
#[derive(Debug, Default)]
pub(super) struct Loads(BTreeMap<String, Load>);

impl Loads {
    pub(super) fn of(&mut self, instance: &Instance) -> &mut Load {
        let load = self
            .0
            .entry(instance.id.clone())
            .or_insert_with(|| Load::of(instance.token));
        if load.token != instance.token {
            // Another process, maybe elsewhere: what is known of the old one says nothing.
            let in_flight = load.in_flight;
            *load = Load::of(instance.token);
            load.in_flight = in_flight;
        }
        load
    }

    /// Forgets those who are not listed and not called.
    pub(super) fn keep(&mut self, listed: &BTreeMap<String, Arc<Instance>>) {
        self.0
            .retain(|id, load| load.in_flight > 0 || listed.contains_key(id));
    }

    /// A call begins.
    pub(super) fn begin(&mut self, instance: &Instance) {
        self.of(instance).in_flight += 1;
    }

    /// A call ended without a word.
    pub(super) fn end(&mut self, id: &str) {
        if let Some(load) = self.0.get_mut(id) {
            load.in_flight = load.in_flight.saturating_sub(1);
        }
    }

    /// A call to this registration ended so. Whether that ejects it, if `may_eject`.
    pub(super) fn report(
        &mut self,
        instance: &Instance,
        now: Duration,
        outcome: (bool, Duration),
        may_eject: bool,
    ) -> bool {
        let Some(load) = self.0.get_mut(&instance.id) else {
            return false;
        };
        if load.token != instance.token {
            return false;
        }
        load.answered(outcome.0, outcome.1);
        if load.failures < FAILURES || load.is_ejected(now) || !may_eject {
            return false;
        }
        let time = FIRST_EJECTION.saturating_mul(1 << load.ejections.min(8));
        load.ejections += 1;
        load.failures = 0;
        load.ejected_until = Some(now + time.min(EJECTION_LIMIT));
        true
    }

    /// How many are ejected.
    pub(super) fn ejected(&self, now: Duration) -> usize {
        self.0.values().filter(|load| load.is_ejected(now)).count()
    }

    /// When the next ejection ends.
    pub(super) fn next_return(&self, now: Duration) -> Option<Duration> {
        let until = self.0.values().filter_map(|load| load.ejected_until);
        until.filter(|until| *until > now).min()
    }

    /// The mean latency of those that are known; a guess when none is.
    pub(super) fn usual_latency(&self) -> f64 {
        let known = self.0.values().filter_map(|load| load.latency);
        let (sum, count) = known.fold((0.0, 0_u32), |(sum, count), it| (sum + it, count + 1));
        match count {
            0 => 0.001,
            count => sum / f64::from(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::entry::Entry;

    fn instance(token: i64) -> Instance {
        Instance {
            id: "n".into(),
            entry: Entry::new("h:1"),
            lease: 1,
            token,
            revision: token,
            suspect: false,
        }
    }

    const FAILED: (bool, Duration) = (false, Duration::from_millis(1));
    const OK: (bool, Duration) = (true, Duration::from_millis(1));

    fn fail(loads: &mut Loads, now: Duration, count: u32) -> bool {
        (0..count).any(|_| loads.report(&instance(1), now, FAILED, true))
    }

    #[test]
    fn failures_in_a_row_eject_for_longer_each_time() {
        let mut loads = Loads::default();
        let mut now = Duration::ZERO;
        loads.begin(&instance(1));
        assert!(!fail(&mut loads, now, FAILURES - 1));
        assert!(!loads.report(&instance(1), now, OK, true));
        assert!(!fail(&mut loads, now, FAILURES - 1));
        assert!(fail(&mut loads, now, 1));
        assert_eq!(loads.next_return(now), Some(FIRST_EJECTION));
        now += FIRST_EJECTION;
        assert_eq!(loads.ejected(now), 0);
        assert!(fail(&mut loads, now, FAILURES));
        assert_eq!(loads.next_return(now), Some(now + FIRST_EJECTION * 2));
    }

    #[test]
    fn a_new_registration_starts_afresh_and_old_reports_do_not_count() {
        let mut loads = Loads::default();
        loads.begin(&instance(1));
        fail(&mut loads, Duration::ZERO, FAILURES);
        assert_eq!(loads.ejected(Duration::ZERO), 1);
        loads.begin(&instance(2));
        assert_eq!(loads.ejected(Duration::ZERO), 0);
        assert!(!fail(&mut loads, Duration::ZERO, 2 * FAILURES));
        assert_eq!(loads.of(&instance(2)).in_flight, 2);
    }

    #[test]
    fn failing_fast_is_not_being_fast() {
        let mut loads = Loads::default();
        loads.begin(&instance(1));
        let slow = (true, Duration::from_millis(100));
        loads.report(&instance(1), Duration::ZERO, slow, true);
        let before = loads.of(&instance(1)).cost(0.0);
        loads.report(&instance(1), Duration::ZERO, FAILED, true);
        assert!(loads.of(&instance(1)).cost(0.0) > before);
    }
}
