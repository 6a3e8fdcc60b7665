//! A snapshot makes another member the same, and leaves it so.

use handfast_proto::mvccpb::KeyValue;
use handfast_storage::state::Row;

use super::*;
use crate::Snapshot;

pub(super) fn rows(snapshot: &Snapshot) -> Vec<Result<Row, handfast_storage::Error>> {
    let mut rows = Vec::new();
    let visit = &mut |row| {
        rows.push(Ok(row));
        true
    };
    snapshot.rows((0, 0), usize::MAX, visit).unwrap();
    rows
}

fn all(store: &Store, revision: i64) -> Vec<KeyValue> {
    store
        .range(&RangeRequest {
            revision,
            ..range("\0", "\0")
        })
        .unwrap()
        .kvs
}

fn with_history() -> Fixture {
    let mut fixture = Fixture::small();
    let attached = PutRequest {
        lease: 7,
        ..put_request("attached", "x")
    };
    fixture.apply(vec![
        grant(7),
        put("a", "1"),
        put("b", "1"),
        Op::Put(attached),
    ]);
    fixture.apply(vec![
        put("a", "2"),
        delete("b", ""),
        compact(4),
        put("c", "3"),
    ]);
    fixture
}

#[test]
fn a_member_that_installs_a_snapshot_is_the_same_and_goes_on() {
    let mut source = with_history();
    let snapshot = source.store().snapshot().unwrap().unwrap();
    source.one(put("later", "not in the snapshot"));
    let mut target = Fixture::small();
    target.apply(vec![grant(1), put("old", "1"), put("a", "old"), compact(2)]);
    target.store().flush().unwrap();
    let (told, heard) = std::sync::mpsc::channel();
    target
        .store()
        .when_swept(9, Box::new(move || told.send(()).unwrap()));
    target
        .store()
        .install(snapshot.header.clone(), &mut rows(&snapshot).into_iter())
        .unwrap();
    assert_eq!(heard.try_iter().count(), 1, "nobody is left waiting");

    let source = source.store();
    for reopened in [false, true] {
        if reopened {
            let old = target.store.take().unwrap();
            drop(old);
            target.store = Some(Arc::new(open(target.dir.path(), &target.options)));
        }
        let store = target.store();
        assert_eq!((store.revision(), store.compact_revision()), (7, 4));
        assert_eq!(store.applied(), Some(snapshot.header.applied));
        assert_eq!(store.durable_applied(), store.applied());
        for revision in 4..=7 {
            assert_eq!(all(store, revision), all(source, revision));
        }
        assert_eq!(store.leases().list(), [7]);
        assert_eq!(store.leases().keys_of(7), Some(vec![bytes("attached")]));
        assert_eq!(store.hash_kv(7).unwrap(), source.hash_kv(7).unwrap());
        assert_eq!(store.watch().recent().floor(), 8);
    }
    target.sweep_all();
    assert_eq!(
        target.store().hash_kv(7).unwrap(),
        source.hash_kv(7).unwrap()
    );
    target.log.clear();
    let position = LogPosition { term: 1, index: 20 };
    let command = Command {
        op: Some(put("next", "")),
    }
    .encode_to_vec()
    .into();
    let entry = LogEntry {
        position,
        payload: Payload::Command(command),
    };
    assert_eq!(target.store().apply(vec![entry])[0].revision, 8);
}

#[test]
fn a_snapshot_that_breaks_off_changes_nothing() {
    let source = with_history();
    let snapshot = source.store().snapshot().unwrap().unwrap();
    let mut broken = rows(&snapshot);
    broken.truncate(2);
    broken.push(Err(handfast_storage::Error::UnorderedRow {
        main: 0,
        sub: 0,
    }));
    let mut target = Fixture::small();
    target.apply(vec![put("old", "1")]);
    let before = all(target.store(), 0);
    let installed = target
        .store()
        .install(snapshot.header.clone(), &mut broken.into_iter());
    assert!(installed.is_err());
    assert_eq!(all(target.store(), 0), before);
    assert_eq!(target.one(put("old", "2")).revision, 3);
    assert!(target.store().flush().unwrap());
}

#[test]
fn rows_of_a_newer_snapshot_are_left_out_and_missing_ones_are_noticed() {
    let mut source = with_history();
    let snapshot = source.store().snapshot().unwrap().unwrap();
    source.apply(vec![put("later", "1"), put("later", "2")]);
    let newer = source.store().snapshot().unwrap().unwrap();
    let mut target = Fixture::small();
    target.apply(vec![put("old", "1")]);
    let mut short = rows(&snapshot);
    short.pop();
    let refused = target
        .store()
        .install(snapshot.header.clone(), &mut short.into_iter());
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("end at revision 6, not at 7"), "{refused}");
    assert_eq!(target.one(put("old", "2")).revision, 3);
    target
        .store()
        .install(snapshot.header.clone(), &mut rows(&newer).into_iter())
        .unwrap();
    assert_eq!(target.store().revision(), 7);
    assert_eq!(all(target.store(), 7), all(source.store(), 7));
}

#[test]
fn a_store_without_a_row_can_be_installed() {
    let mut source = Fixture::new();
    source.one(grant(4));
    let snapshot = source.store().snapshot().unwrap().unwrap();
    let mut target = Fixture::new();
    target.one(put("old", "1"));
    target
        .store()
        .install(snapshot.header.clone(), &mut rows(&snapshot).into_iter())
        .unwrap();
    assert_eq!(
        (target.store().revision(), target.store().leases().len()),
        (1, 1)
    );
}

#[test]
fn an_untouched_store_has_no_snapshot() {
    assert!(Fixture::new().store().snapshot().unwrap().is_none());
}
