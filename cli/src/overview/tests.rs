//! Pictures of made-up stores.

use handfast::Kind;
use handfast_core::KeyValue;

use super::*;

/// A pair as a put without anything special leaves it.
pub(crate) fn pair(key: &str, value: &str, lease: i64, revision: i64) -> KeyValue {
    KeyValue {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        lease,
        create_revision: revision,
        mod_revision: revision,
        version: 1,
    }
}

/// A store with something of everything: session a1 is alive everywhere, b2 waits.
pub(crate) fn busy() -> Vec<KeyValue> {
    let record = |host: &str, pid: u32, since: u64| {
        format!(r#"{{"host":"{host}","pid":{pid},"app":"backup","since_unix_ms":{since}}}"#)
    };
    vec![
        pair(
            "_handfast/session/a1",
            &record("db-1", 7, 1_000_000),
            0xa1,
            2,
        ),
        pair(
            "_handfast/session/b2",
            &record("db-2", 8, 2_000_000),
            0xb2,
            3,
        ),
        pair(
            "_handfast/own/jobs/nightly",
            r#"{"kind":"lock","own":"a1","since_unix_ms":1500000}"#,
            0,
            4,
        ),
        pair("jobs/nightly/a1", "", 0xa1, 4),
        pair("jobs/nightly/b2", "", 0xb2, 5),
        pair(
            "_handfast/own/boss",
            r#"{"kind":"election","own":"b2","since_unix_ms":1}"#,
            0,
            6,
        ),
        pair("boss/b2", "", 0xb2, 6),
        // Another program's: no record of any kind.
        pair("go/leader/c3", "n1", 0xc3, 7),
        pair("img/items/1", "x", 0, 8),
        pair("img/items/2", "y", 0, 9),
        pair("img/tickets/2", r#"{"attempts":1}"#, 0, 9),
        pair("img/workers/a1", "", 0xa1, 9),
        pair("img/claims/1", "", 0xa1, 10),
        pair("img/control", "pause", 0, 11),
        pair("img/dead/0", "z", 0, 12),
        pair(
            "api/n1",
            r#"{"Op":0,"Addr":"10.0.0.5:80","Metadata":{"status":"up"}}"#,
            0xb2,
            13,
        ),
        pair("greeting", "hello", 0, 14),
    ]
}

fn overview(pairs: &[KeyValue]) -> Overview {
    Overview::of(pairs, b"_handfast/")
}

#[test]
fn a_line_has_its_holder_first_and_its_kind_from_the_record() {
    let busy = overview(&busy());
    let names: Vec<&[u8]> = busy.lines.iter().map(|line| &line.name[..]).collect();
    assert_eq!(names, [&b"boss"[..], b"go/leader", b"jobs/nightly"]);
    let nightly = busy.line(b"jobs/nightly").unwrap();
    let leases: Vec<i64> = nightly.places.iter().map(|place| place.lease).collect();
    assert_eq!(leases, [0xa1, 0xb2]);
    assert_eq!(
        (nightly.kind, nightly.since_unix_ms),
        (Kind::Lock, 1_500_000)
    );
    assert!(nightly.kind_is_known && !nightly.left_behind);
    // Empty value, but the record says what it is.
    assert_eq!(busy.line(b"boss").unwrap().kind, Kind::Election);
    let go = busy.line(b"go/leader").unwrap();
    assert_eq!((go.kind, go.kind_is_known), (Kind::Election, false));
}

#[test]
fn what_a_dead_holder_left_is_seen() {
    let pairs = [pair(
        "_handfast/own/x",
        r#"{"kind":"lock","own":"a1"}"#,
        0,
        4,
    )];
    let dead = overview(&pairs);
    let line = dead.line(b"x").unwrap();
    assert!(line.left_behind && line.places.is_empty());
}

#[test]
fn keys_that_only_look_like_places_are_none() {
    let twice = |key: &str, lease| KeyValue {
        version: 2,
        ..pair(key, "x", lease, 4)
    };
    // Users of a program, written more than once.
    assert!(overview(&[twice("users/1f", 0)]).lines.is_empty());
    // A holder's key that a careless put took off its lease stays the holder's.
    let held = pair("_handfast/own/x", r#"{"kind":"lock","own":"1f"}"#, 0, 4);
    let immortal = overview(&[held, twice("x/1f", 0)]);
    let line = immortal.line(b"x").unwrap();
    assert!(line.places[0].immortal && !line.left_behind);
}

#[test]
fn sessions_have_what_is_on_their_leases() {
    let busy = overview(&busy());
    let has = |lease: i64| {
        let session = busy.sessions.iter().find(|session| session.lease == lease);
        let holdings = &session.unwrap().holdings;
        holdings.iter().map(Holding::text).collect::<Vec<_>>()
    };
    assert_eq!(
        has(0xa1),
        ["holds jobs/nightly", "works for img", "has img 1"]
    );
    assert_eq!(
        has(0xb2),
        [
            "leads boss",
            "waits for jobs/nightly (2.)",
            "serves api as n1"
        ]
    );
    assert_eq!(has(0xc3), ["leads go/leader"]);
    let order: Vec<i64> = busy.sessions.iter().map(|session| session.lease).collect();
    assert_eq!(order, [0xa1, 0xb2, 0xc3], "without a record last");
    assert_eq!(busy.session(0xa1).unwrap().host, "db-1");
}

#[test]
fn queues_are_counted() {
    let busy = overview(&busy());
    let queue = busy.queue(b"img").unwrap();
    assert_eq!((queue.items, queue.waiting(), queue.dead), (2, 1, 1));
    assert_eq!(queue.control.as_deref(), Some("pause"));
    assert_eq!(queue.workers, [0xa1]);
    assert!(busy.line(b"img/workers").is_none());
    assert_eq!(queue.claims[0].token, 10);
}

#[test]
fn folders_that_are_called_like_a_queues_make_none() {
    let shop = [
        pair("shop/items/5", "a chair", 0, 4),
        pair("shop/open/x", "", 0, 5),
    ];
    assert!(overview(&shop).queues.is_empty());
}

#[test]
fn services_have_addresses() {
    let busy = overview(&busy());
    assert_eq!(busy.services.len(), 1);
    let instance = &busy.services[0].instances[0];
    assert_eq!(
        (&*instance.address, &*instance.status),
        ("10.0.0.5:80", "up")
    );
}
