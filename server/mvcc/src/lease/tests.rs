//! The lessor, by a clock that is set by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;

#[derive(Default)]
struct ManualClock(AtomicU64);

impl ManualClock {
    fn advance(&self, millis: u64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

fn leader() -> (Arc<ManualClock>, Lessor) {
    let clock = Arc::new(ManualClock::default());
    let lessor = Lessor::new(Arc::clone(&clock) as Arc<dyn Clock>);
    lessor.promote();
    (clock, lessor)
}

fn counter() -> (Arc<AtomicUsize>, impl Fn() -> Settled) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let settled = move || -> Settled {
        let count = Arc::clone(&counted);
        Box::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        })
    };
    (count, settled)
}

#[test]
fn a_ttl_is_raised_to_the_minimum_and_has_a_maximum() {
    assert_eq!(granted_ttl(-5).unwrap(), 2);
    assert_eq!(granted_ttl(0).unwrap(), 2);
    assert_eq!(granted_ttl(2).unwrap(), 2);
    assert_eq!(granted_ttl(9_000_000_000).unwrap(), 9_000_000_000);
    assert!(matches!(
        granted_ttl(9_000_000_001),
        Err(Error::LeaseTtlTooLarge(9_000_000_001))
    ));
}

#[test]
fn an_id_is_granted_once_and_any_id_will_do() {
    let (_, lessor) = leader();
    lessor.grant(-3, 10).unwrap();
    assert!(matches!(lessor.grant(-3, 10), Err(Error::LeaseExists(-3))));
    assert!(lessor.revoke(-3).is_some());
    assert!(lessor.revoke(-3).is_none());
    lessor.grant(-3, 10).unwrap();
}

#[test]
fn keys_are_given_back_in_ascending_order() {
    let (_, lessor) = leader();
    lessor.grant(1, 10).unwrap();
    for key in ["c", "a", "d", "b", "a"] {
        assert!(lessor.attach(1, key.as_bytes()));
    }
    lessor.detach(1, b"d");
    lessor.detach(1, b"absent");
    assert!(!lessor.attach(2, b"a"));
    lessor.detach(2, b"a");
    let keys: Vec<Bytes> = ["a", "b", "c"].into_iter().map(Bytes::from).collect();
    assert_eq!(lessor.keys_of(1), Some(keys.clone()));
    assert_eq!(lessor.time_to_live(1, true).unwrap().keys, keys);
    assert!(lessor.time_to_live(1, false).unwrap().keys.is_empty());
    assert_eq!(lessor.revoke(1), Some(keys));
    assert_eq!(lessor.keys_of(1), None);
}

#[test]
fn a_lease_expires_at_its_deadline_and_not_before() {
    let (clock, lessor) = leader();
    lessor.grant(1, 2).unwrap();
    assert_eq!(lessor.next_deadline(), Some(Duration::from_secs(2)));
    clock.advance(1_999);
    assert!(lessor.expired(10).is_empty());
    assert_eq!(lessor.renew(1), Renewal::Renewed { ttl_seconds: 2 });
    clock.advance(1_999);
    assert!(lessor.expired(10).is_empty());
    clock.advance(1);
    assert_eq!(lessor.expired(10), [1]);
}

#[test]
fn time_to_live_is_rounded_down_and_never_negative() {
    let (clock, lessor) = leader();
    lessor.grant(1, 60).unwrap();
    clock.advance(1);
    let left = |lessor: &Lessor| lessor.time_to_live(1, false).unwrap().remaining_seconds;
    assert_eq!(left(&lessor), 59);
    clock.advance(59_500);
    assert_eq!(left(&lessor), 0);
    clock.advance(5_000);
    assert_eq!(left(&lessor), 0);
    assert_eq!(lessor.time_to_live(1, false).unwrap().granted_seconds, 60);
    assert_eq!(lessor.time_to_live(2, false), None);
}

#[test]
fn a_lease_past_its_deadline_is_not_renewed_and_who_waits_is_told_of_the_revocation() {
    let (clock, lessor) = leader();
    let (count, settled) = counter();
    lessor.grant(1, 2).unwrap();
    clock.advance(2_000);
    assert_eq!(lessor.renew(1), Renewal::Expiring);
    lessor.when_settled(1, settled());
    assert_eq!(lessor.expired(1), [1]);
    assert_eq!(lessor.renew(1), Renewal::Expiring);
    assert_eq!(count.load(Ordering::SeqCst), 0);
    lessor.revoke(1);
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert_eq!(lessor.renew(1), Renewal::Gone);
    lessor.when_settled(1, settled());
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[test]
fn a_change_of_leader_tells_who_waits_to_ask_again() {
    for change in [
        Lessor::demote as fn(&Lessor),
        Lessor::promote,
        Lessor::clear,
    ] {
        let (clock, lessor) = leader();
        let (count, settled) = counter();
        lessor.grant(1, 2).unwrap();
        clock.advance(2_000);
        lessor.when_settled(1, settled());
        change(&lessor);
        assert_eq!(count.load(Ordering::SeqCst), 1);
        lessor.when_settled(1, settled());
        assert_eq!(
            count.load(Ordering::SeqCst),
            2,
            "there is nothing to wait for"
        );
    }
}

#[test]
fn only_a_leader_has_deadlines_and_a_new_one_starts_them_over() {
    let (clock, lessor) = leader();
    lessor.grant(1, 10).unwrap();
    clock.advance(9_000);
    lessor.demote();
    clock.advance(60_000);
    lessor.grant(2, 5).unwrap();
    assert!(lessor.expired(10).is_empty());
    assert_eq!(lessor.next_deadline(), None);
    assert_eq!(lessor.renew(1), Renewal::NotLeader);
    assert_eq!(lessor.time_to_live(1, false).unwrap().remaining_seconds, 10);
    assert_eq!(lessor.list(), [2, 1]);
    lessor.promote();
    clock.advance(4_999);
    assert!(lessor.expired(10).is_empty());
    clock.advance(1);
    assert_eq!(lessor.expired(10), [2]);
    lessor.revoke(2);
    clock.advance(5_000);
    assert_eq!(lessor.expired(10), [1]);
}

#[test]
fn a_lost_revocation_is_asked_for_again() {
    let (clock, lessor) = leader();
    lessor.grant(1, 2).unwrap();
    clock.advance(2_000);
    assert_eq!(lessor.expired(10), [1]);
    clock.advance(1_999);
    assert!(lessor.expired(10).is_empty());
    clock.advance(1);
    assert_eq!(lessor.expired(10), [1]);
    lessor.revoke(1);
    clock.advance(10_000);
    assert!(lessor.expired(10).is_empty());
}

#[test]
fn two_thousand_leases_that_end_together_come_in_one_go() {
    let (clock, lessor) = leader();
    for id in 0..2_000 {
        lessor.grant(id, 5).unwrap();
    }
    clock.advance(5_000);
    assert_eq!(lessor.expired(5_000), (0..2_000).collect::<Vec<i64>>());
    assert!(lessor.expired(5_000).is_empty());
}

#[test]
fn the_list_is_sorted_by_the_time_left() {
    let (clock, lessor) = leader();
    for (id, ttl) in [(1, 30), (2, 10), (3, 20)] {
        lessor.grant(id, ttl).unwrap();
    }
    assert_eq!(lessor.list(), [2, 3, 1]);
    clock.advance(9_000);
    lessor.renew(2);
    assert_eq!(lessor.list(), [2, 3, 1]);
    clock.advance(9_000);
    lessor.renew(2);
    assert_eq!(lessor.list(), [3, 2, 1]);
}

#[test]
fn the_largest_ttl_does_not_overflow() {
    let (clock, lessor) = leader();
    clock.advance(u64::MAX / 4);
    lessor.grant(1, MAX_TTL_SECONDS).unwrap();
    assert_eq!(
        lessor.renew(1),
        Renewal::Renewed {
            ttl_seconds: MAX_TTL_SECONDS
        }
    );
    lessor.grant(2, i64::MAX).unwrap();
    assert!(lessor.expired(10).is_empty());
}

#[test]
fn renewals_do_not_touch_the_heap_and_ghosts_do_not_pile_up() {
    let (clock, lessor) = leader();
    let slots = |lessor: &Lessor| lessor.leases.lock().deadlines.len();
    for id in 0..1_000 {
        lessor.grant(id, 60).unwrap();
    }
    for round in 0..50 {
        clock.advance(20_000);
        (0..1_000).for_each(|id| {
            lessor.renew(id);
        });
        assert!(lessor.expired(usize::MAX).is_empty(), "round {round}");
        assert_eq!(slots(&lessor), 1_000);
    }
    for id in 10_000..60_000 {
        lessor.grant(id, MAX_TTL_SECONDS).unwrap();
        lessor.revoke(id);
        assert!(slots(&lessor) < 5_000);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Grant(i64, i64),
    Revoke(i64),
    Renew(i64),
    Attach(i64, u8),
    Detach(i64, u8),
    Advance(u64),
    Expire(usize),
    Lead(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0i64..6;
    prop_oneof![
        4 => (id.clone(), 2i64..20).prop_map(|(id, ttl)| Step::Grant(id, ttl)),
        1 => id.clone().prop_map(Step::Revoke),
        5 => id.clone().prop_map(Step::Renew),
        2 => (id.clone(), 0u8..5).prop_map(|(id, key)| Step::Attach(id, key)),
        1 => (id, 0u8..5).prop_map(|(id, key)| Step::Detach(id, key)),
        5 => (0u64..6_000).prop_map(Step::Advance),
        4 => (0usize..4).prop_map(Step::Expire),
        1 => any::<bool>().prop_map(Step::Lead),
    ]
}

#[derive(Debug, Default)]
struct ModelLease {
    ttl: i64,
    deadline: u64,
    /// When its revocation may be asked for (again).
    ask_at: u64,
    keys: BTreeSet<u8>,
}

impl ModelLease {
    fn restart(&mut self, now: u64) {
        self.deadline = now + 1_000 * self.ttl as u64;
        self.ask_at = self.deadline;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn agrees_with_a_plain_map(steps in prop::collection::vec(step(), 1..150)) {
        let (clock, lessor) = leader();
        let mut leading = true;
        let mut now = 0;
        let mut model: BTreeMap<i64, ModelLease> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Grant(id, ttl) => {
                    prop_assert_eq!(lessor.grant(id, ttl).is_ok(), !model.contains_key(&id));
                    model.entry(id).or_insert_with(|| {
                        let mut lease = ModelLease { ttl, ..ModelLease::default() };
                        lease.restart(now);
                        lease
                    });
                }
                Step::Revoke(id) => {
                    let keys = model.remove(&id).map(|lease| {
                        lease.keys.iter().map(|key| Bytes::from(vec![*key])).collect::<Vec<_>>()
                    });
                    prop_assert_eq!(lessor.revoke(id), keys);
                }
                Step::Renew(id) => {
                    let expected = match model.get_mut(&id) {
                        _ if !leading => Renewal::NotLeader,
                        None => Renewal::Gone,
                        Some(lease) if lease.deadline <= now => Renewal::Expiring,
                        Some(lease) => {
                            lease.restart(now);
                            Renewal::Renewed { ttl_seconds: lease.ttl }
                        }
                    };
                    prop_assert_eq!(lessor.renew(id), expected);
                }
                Step::Attach(id, key) => {
                    let lease = model.get_mut(&id);
                    prop_assert_eq!(lessor.attach(id, &[key]), lease.is_some());
                    if let Some(lease) = lease {
                        lease.keys.insert(key);
                    }
                }
                Step::Detach(id, key) => {
                    lessor.detach(id, &[key]);
                    if let Some(lease) = model.get_mut(&id) {
                        lease.keys.remove(&key);
                    }
                }
                Step::Advance(millis) => {
                    clock.advance(millis);
                    now += millis;
                }
                Step::Expire(max) => {
                    let mut due: Vec<(u64, i64)> = model
                        .iter()
                        .filter(|(_, lease)| leading && lease.ask_at <= now)
                        .map(|(id, lease)| (lease.ask_at, *id))
                        .collect();
                    let expired = lessor.expired(max);
                    prop_assert_eq!(expired.len(), due.len().min(max));
                    due.retain(|(_, id)| expired.contains(id));
                    prop_assert_eq!(due.len(), expired.len());
                    for id in expired {
                        model.get_mut(&id).unwrap().ask_at = now + 2_000;
                    }
                }
                Step::Lead(lead) => {
                    leading = lead;
                    if lead {
                        lessor.promote();
                        model.values_mut().for_each(|lease| lease.restart(now));
                    } else {
                        lessor.demote();
                    }
                }
            }
            let due = model.values().map(|lease| lease.ask_at).min();
            if let (true, Some(due)) = (leading, due) {
                let next = lessor.next_deadline().unwrap();
                prop_assert!(next <= Duration::from_millis(due), "a driver would sleep too long");
            }
            prop_assert_eq!(lessor.len(), model.len());
        }
    }
}
