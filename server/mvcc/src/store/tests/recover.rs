//! A lone survivor becomes a cluster of its own, and nobody takes its history for the old one.

use super::{
    watchers::{Watching, told},
    *,
};
use crate::Error;

const BUMP: i64 = 1_000_000;

fn membership(position: LogPosition) -> Bytes {
    bytes(format!("alone since {position:?}"))
}

fn survivor() -> Fixture {
    let mut fixture = Fixture::small();
    let attached = PutRequest {
        lease: 7,
        ..put_request("leased", "x")
    };
    fixture.apply(vec![
        grant(7),
        put("a", "1"),
        put("a", "2"),
        Op::Put(attached),
        put("b", "1"),
        delete("b", ""),
        alarm(true, 5, 2),
        join_secret("old"),
    ]);
    fixture
}

fn values(store: &Store) -> Vec<String> {
    let all = store.range(&range("\0", "\0")).unwrap().kvs;
    all.iter()
        .map(|kv| format!("{}@{}", String::from_utf8_lossy(&kv.key), kv.mod_revision))
        .collect()
}

#[test]
fn everything_stays_but_what_belongs_to_the_old_cluster() {
    let mut fixture = survivor();
    let before = values(fixture.store());
    let points = fixture.store().hash_points();
    let mut old = Watching::everything_from(fixture.store(), 3);
    let mut future = Watching::everything_from(fixture.store(), 500);
    old.poll(fixture.store());
    future.poll(fixture.store());
    let raised = fixture.store().recover(&membership, BUMP).unwrap();
    assert_eq!(raised, 6 + BUMP);
    for watching in [&mut old, &mut future] {
        let responses = watching.poll(fixture.store());
        let last = responses.last().unwrap();
        assert!(
            last.canceled && last.compact_revision == raised,
            "{responses:?}"
        );
    }
    for reopened in [false, true, true] {
        if reopened {
            assert_eq!(fixture.reopen().1.len(), 0);
            fixture.sweep_all();
        }
        let store = fixture.store();
        assert_eq!(
            (store.revision(), store.compact_revision()),
            (raised, raised)
        );
        assert_eq!(values(store), before);
        assert_eq!(store.applied().unwrap().index, 8);
        assert_eq!(
            store.membership(),
            Some(membership(store.applied().unwrap()))
        );
        assert_eq!(store.leases().keys_of(7), Some(vec![bytes("leased")]));
        assert_eq!((store.alarms(), store.join_secret()), (vec![], None));
        assert!(!store.has_alarm(2));
        let at_old = RangeRequest {
            revision: 6,
            ..range("a", "")
        };
        assert!(matches!(store.range(&at_old), Err(Error::Compacted { .. })));
        assert_eq!(store.hash_points(), points);
    }
    let mut new = Watching::everything_from(fixture.store(), 0);
    new.poll(fixture.store());
    assert_eq!(fixture.one(put("c", "1")).revision, raised + 1);
    let events = new.events(fixture.store());
    assert_eq!(told(&events), [format!("put c {} None", raised + 1)]);
    fixture.reopen();
    assert_eq!(fixture.store().revision(), raised + 1);
}

#[test]
fn its_snapshots_carry_the_raised_revision() {
    let mut fixture = survivor();
    fixture.store().recover(&membership, BUMP).unwrap();
    fixture.sweep_all();
    for round in 0..2 {
        let snapshot = fixture.store().snapshot().unwrap().unwrap();
        let mut other = Fixture::small();
        let mut rows = super::install::rows(&snapshot).into_iter();
        other
            .store()
            .install(snapshot.header.clone(), &mut rows)
            .unwrap();
        other.log = fixture.log.clone();
        for _ in 0..2 {
            assert_eq!(
                super::replay::state(other.store()),
                super::replay::state(fixture.store())
            );
            other.reopen();
        }
        fixture.one(put("next", &round.to_string()));
        fixture.one(delete("next", ""));
        fixture.one(compact(6 + BUMP + 2));
        fixture.sweep_all();
    }
}

#[test]
fn it_can_be_repeated_and_refuses_what_makes_no_sense() {
    let fixture = survivor();
    let empty = Fixture::small();
    let nothing = empty.store().recover(&membership, BUMP);
    assert!(matches!(nothing, Err(Error::Malformed(_))));
    for bump in [0, -1, i64::MAX] {
        let refused = fixture.store().recover(&membership, bump);
        assert!(matches!(refused, Err(Error::Malformed(_))), "{bump}");
    }
    assert_eq!(fixture.store().revision(), 6);
    fixture.store().recover(&membership, BUMP).unwrap();
    let again = fixture.store().recover(&membership, BUMP).unwrap();
    assert_eq!(again, 6 + 2 * BUMP);
}
