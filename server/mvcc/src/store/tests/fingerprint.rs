//! The fingerprint is the log's and nobody else's; the hash of the rows holds still under writes.

use proptest::prelude::*;

use super::{strategies::op, *};
use crate::HashPoint;

/// Entries that share a position stay together.
type Log = Vec<Vec<LogEntry>>;

/// A log of proposals, and a blank entry behind it at which a point lies.
fn log(proposals: &[Vec<Op>]) -> Log {
    let mut log: Log = Vec::new();
    for (index, ops) in (1..).zip(proposals) {
        let term = 1 + index / 30;
        let position = LogPosition { term, index };
        let entry = |op: &Op| LogEntry {
            position,
            payload: Payload::Command(
                Command {
                    op: Some(op.clone()),
                }
                .encode_to_vec()
                .into(),
            ),
        };
        log.push(ops.iter().map(entry).collect());
    }
    let index = (proposals.len() as u64 + 1).next_multiple_of(64);
    log.push(vec![LogEntry {
        position: LogPosition { term: 99, index },
        payload: Payload::Blank,
    }]);
    log
}

fn apply(store: &Store, log: &[Vec<LogEntry>]) {
    if !log.is_empty() {
        store.apply(log.concat());
    }
}

fn points(log: &Log) -> Vec<HashPoint> {
    let fixture = Fixture::new();
    apply(fixture.store(), log);
    fixture.store().hash_points()
}

/// What happens between two calls of apply.
#[derive(Debug, Clone, Copy)]
enum Between {
    Nothing,
    Flush,
    Sweep,
    /// Starts anew from what was flushed.
    Restart,
    /// Goes on as another member that was sent a snapshot.
    Install,
}

fn between() -> impl Strategy<Value = Between> {
    prop_oneof![
        Just(Between::Nothing),
        Just(Between::Flush),
        Just(Between::Sweep),
        Just(Between::Restart),
        Just(Between::Install),
    ]
}

/// Applies the log in calls of the given lengths. Returns the points at the end.
fn in_pieces(log: &Log, steps: &[(usize, Between)]) -> Vec<HashPoint> {
    let mut fixture = Fixture::small();
    let mut done = 0;
    for (count, between) in steps {
        let end = log.len().min(done + count);
        apply(fixture.store(), &log[done..end]);
        done = end;
        match between {
            Between::Nothing => {}
            Between::Flush => drop(fixture.store().flush().unwrap()),
            Between::Sweep => fixture.sweep_all(),
            Between::Restart => {
                drop(fixture.store.take());
                let store = open(fixture.dir.path(), &fixture.options);
                let index = store.applied().map_or(0, |position| position.index);
                done = log.partition_point(|entries| entries[0].position.index <= index);
                fixture.store = Some(Arc::new(store));
            }
            Between::Install => {
                let Some(snapshot) = fixture.store().snapshot().unwrap() else {
                    continue;
                };
                let other = Fixture::small();
                apply(other.store(), &log[..done / 2]);
                let rows = super::install::rows(&snapshot);
                other
                    .store()
                    .install(snapshot.header.clone(), &mut rows.into_iter())
                    .unwrap();
                assert_eq!(other.store().hash_points(), fixture.store().hash_points());
                fixture = other;
            }
        }
    }
    apply(fixture.store(), &log[done..]);
    fixture.store().hash_points()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_same_log_gives_the_same_points_and_another_one_others(
        proposals in prop::collection::vec(prop::collection::vec(op(), 1..4), 1..40),
        steps in prop::collection::vec((1_usize..9, between()), 0..12),
        place in any::<prop::sample::Index>(),
    ) {
        let log = log(&proposals);
        let expected = points(&log);
        prop_assert!(!expected.is_empty());
        prop_assert_eq!(&in_pieces(&log, &steps), &expected);

        let at = place.index(proposals.len());
        let last = |log: &Log| points(log).last().copied();
        let mut duplicated = log.clone();
        let again = duplicated[at][0].clone();
        duplicated[at].push(again);
        prop_assert_ne!(last(&duplicated), expected.last().copied());
        let mut dropped = log.clone();
        dropped[at].pop();
        prop_assert_ne!(last(&dropped), expected.last().copied());
        let mut swapped = log.clone();
        let other = (at + 1) % proposals.len();
        let (a, b) = (swapped[at][0].payload.clone(), swapped[other][0].payload.clone());
        prop_assume!(a != b);
        swapped[at][0].payload = b;
        swapped[other][0].payload = a;
        prop_assert_ne!(last(&swapped), expected.last().copied());
    }
}

#[test]
fn a_state_of_an_older_version_has_no_points_and_hands_none_on() {
    let mut fixture = Fixture::new();
    fixture.apply((0..10).map(|i| put("k", &i.to_string())).collect());
    fixture.store().flush().unwrap();
    let header = fixture.store().snapshot().unwrap().unwrap().header;
    let stripped = crate::SnapshotHeader {
        fingerprint: crate::Fingerprint::unknown(),
        ..header
    };
    let snapshot = fixture.store().snapshot().unwrap().unwrap();
    let mut other = Fixture::new();
    let rows = super::install::rows(&snapshot);
    other
        .store()
        .install(stripped, &mut rows.into_iter())
        .unwrap();
    other.log = fixture.log.clone();
    other.apply((0..10).map(|i| put("k", &i.to_string())).collect());
    assert_eq!(other.store().hash_points(), []);
    other.store().flush().unwrap();
    other.reopen();
    assert_eq!(other.store().hash_points(), []);
}

#[test]
fn the_hash_of_old_rows_holds_still_while_writes_go_on() {
    let mut fixture = Fixture::small();
    for round in 0..40 {
        let puts = (0..10).map(|key| put(&format!("k{key}"), &format!("{round}")));
        fixture.apply(puts.chain([delete("k3", "")]).collect());
    }
    fixture.one(compact(100));
    let at = fixture.store().revision();
    let expected = fixture.store().hash_kv(at).unwrap();
    let store = Arc::clone(fixture.store());
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let puts = (0..20).map(|key| put(&format!("k{key}"), "later"));
                fixture.apply(puts.chain([delete("k", "l")]).collect());
                fixture.store().flush().unwrap();
                fixture.store().sweep().unwrap();
            }
        });
        for _ in 0..30 {
            assert_eq!(store.hash_kv(at).unwrap(), expected);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(store.hash_kv(at).unwrap(), expected);
}
