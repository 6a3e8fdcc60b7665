//! Small histories whose verdict is plain to see.

use crate::{
    Budget, Promise, check_all, check_within,
    history::{
        Compare, CompareResult, Event, EventKind, EventLog, Get, KeyRange, Kv, Operation, Outcome,
        Put, Request, Response, Run, Target, Txn, TxnOp,
    },
};

fn operation(times: (u64, u64), request: Request, outcome: Outcome) -> Operation {
    Operation {
        client: 1,
        invoked: times.0,
        returned: Some(times.1),
        request,
        outcome,
    }
}

fn kv(key: &'static str, value: &'static str, revisions: (i64, i64, i64)) -> Kv {
    Kv {
        create_revision: revisions.0,
        mod_revision: revisions.1,
        version: revisions.2,
        ..Kv::seen(key, value)
    }
}

/// An acknowledged put; revision 0 if nobody noted it.
fn put(times: (u64, u64), key: &'static str, value: &'static str, revision: i64) -> Operation {
    let response = Response::Put { prev_kv: None };
    let outcome = Outcome::Ok { revision, response };
    operation(times, Request::put(key, value), outcome)
}

/// A put in doubt.
fn doubt(times: (u64, u64), key: &'static str, value: &'static str) -> Operation {
    let why = "cut off".to_owned();
    operation(times, Request::put(key, value), Outcome::Unknown { why })
}

/// A read that showed this value; "" for none.
fn get(times: (u64, u64), key: &'static str, value: &'static str) -> Operation {
    let kvs = if value.is_empty() {
        vec![]
    } else {
        vec![Kv::seen(key, value)]
    };
    read(times, key, kvs, 0)
}

fn read(times: (u64, u64), key: &'static str, kvs: Vec<Kv>, revision: i64) -> Operation {
    let response = Response::Get { kvs, count: None };
    let outcome = Outcome::Ok { revision, response };
    operation(times, Request::get(key), outcome)
}

fn run(operations: Vec<Operation>) -> Run {
    Run {
        operations,
        ..Run::default()
    }
}

fn is_good(operations: Vec<Operation>) -> bool {
    let report = check_all(&run(operations));
    assert!(report.undecided.is_empty(), "{report}");
    let others = report
        .violations
        .iter()
        .any(|one| one.promise != Promise::Linearizable);
    assert!(!others, "{report}");
    report.violations.is_empty()
}

#[test]
fn a_read_beside_a_write_may_show_either() {
    for value in ["", "1"] {
        assert!(is_good(vec![
            put((1, 9), "a", "1", 0),
            get((2, 8), "a", value)
        ]));
    }
}

#[test]
fn a_read_after_a_write_must_show_it() {
    assert!(!is_good(vec![
        put((1, 2), "a", "1", 0),
        get((3, 4), "a", "")
    ]));
    let old = put((1, 2), "a", "0", 2);
    let new = put((3, 4), "a", "1", 3);
    let stale = read((5, 6), "a", vec![kv("a", "0", (2, 2, 1))], 2);
    assert!(!is_good(vec![old, new, stale]));
}

#[test]
fn no_read_goes_back_behind_another() {
    let write = put((1, 20), "a", "1", 0);
    let (new, old) = (get((2, 3), "a", "1"), get((4, 5), "a", ""));
    assert!(!is_good(vec![write.clone(), new, old]));
    let (old, new) = (get((2, 3), "a", ""), get((4, 5), "a", "1"));
    assert!(is_good(vec![write, old, new]));
}

#[test]
fn two_clients_must_agree_on_the_order_of_writes() {
    let writes = [put((1, 20), "a", "1", 0), put((1, 20), "a", "2", 0)];
    let reads = |one, two| vec![get((21, 22), "a", one), get((23, 24), "a", two)];
    let with = |more: Vec<Operation>| [writes.to_vec(), more].concat();
    assert!(is_good(with(reads("1", "1"))) && is_good(with(reads("2", "2"))));
    assert!(!is_good(with(reads("1", "2"))) && !is_good(with(reads("2", "1"))));
}

#[test]
fn a_write_in_doubt_may_come_late_or_never_but_not_twice() {
    let ghost = doubt((1, 2), "a", "1");
    assert!(is_good(vec![ghost.clone(), get((3, 4), "a", "")]));
    let late = vec![
        ghost.clone(),
        put((3, 4), "a", "2", 0),
        get((5, 6), "a", "1"),
    ];
    assert!(is_good(late.clone()));
    let again = vec![put((7, 8), "a", "3", 0), get((9, 10), "a", "1")];
    assert!(!is_good([late, again].concat()));
    let lost = vec![ghost, get((3, 4), "a", "1"), get((5, 6), "a", "")];
    assert!(!is_good(lost));
}

#[test]
fn a_write_in_doubt_cannot_come_before_it_was_asked_for() {
    assert!(!is_good(vec![
        get((1, 2), "a", "1"),
        doubt((3, 4), "a", "1")
    ]));
}

#[test]
fn a_refused_write_is_never_seen() {
    let why = "refused".to_owned();
    let failed = operation((1, 2), Request::put("a", "1"), Outcome::Failed { why });
    assert!(is_good(vec![failed.clone(), get((3, 4), "a", "")]));
    assert!(!is_good(vec![failed, get((3, 4), "a", "1")]));
}

#[test]
fn revisions_tie_the_keys_together() {
    // Each key alone would be fine; the headers say that the read of b came before the write of a.
    let early = read((3, 4), "b", vec![], 1);
    assert!(!is_good(vec![put((1, 2), "a", "1", 2), early]));
    assert!(!is_good(vec![
        put((1, 2), "a", "1", 3),
        put((3, 4), "b", "1", 2)
    ]));
    assert!(is_good(vec![
        put((1, 4), "a", "1", 3),
        put((2, 3), "b", "1", 2)
    ]));
}

#[test]
fn a_revision_that_nobody_made_is_found() {
    assert!(!is_good(vec![put((1, 2), "a", "1", 3)]));
    assert!(is_good(vec![
        doubt((0, 1), "b", "x"),
        put((1, 2), "a", "1", 3)
    ]));
}

#[test]
fn two_writes_cannot_have_one_revision() {
    let report = check_all(&run(vec![
        put((1, 2), "a", "1", 2),
        put((3, 4), "b", "1", 2),
    ]));
    assert!(report.breaks(Promise::RevisionsUnique), "{report}");
}

#[test]
fn create_revision_and_version_are_part_of_the_answer() {
    let writes = vec![put((1, 2), "a", "1", 2), put((3, 4), "a", "2", 3)];
    for (revisions, due) in [((2, 3, 2), true), ((3, 3, 2), false), ((2, 3, 1), false)] {
        let read = read((5, 6), "a", vec![kv("a", "2", revisions)], 3);
        assert_eq!(is_good([writes.clone(), vec![read]].concat()), due);
    }
}

fn if_absent(times: (u64, u64), watched: &'static str, key: &'static str, rev: i64) -> Operation {
    let txn = Txn {
        compares: vec![Compare {
            range: KeyRange::key(watched),
            result: CompareResult::Equal,
            target: Target::Version(0),
        }],
        then: vec![TxnOp::Put(Put::new(key, "x"))],
        otherwise: vec![],
    };
    let response = Response::Txn {
        succeeded: true,
        responses: vec![Response::Put { prev_kv: None }],
    };
    let outcome = Outcome::Ok {
        revision: rev,
        response,
    };
    operation(times, Request::Txn(txn), outcome)
}

#[test]
fn transactions_that_exclude_each_other_cannot_both_succeed() {
    for revisions in [(0, 0), (2, 3)] {
        let one = if_absent((1, 9), "b", "a", revisions.0);
        let two = if_absent((2, 8), "a", "b", revisions.1);
        assert!(!is_good(vec![one.clone(), two]));
        assert!(is_good(vec![one]));
    }
}

#[test]
fn only_a_key_with_a_lease_may_vanish_by_itself() {
    for (lease, due) in [(0, false), (7, true)] {
        let mut write = put((1, 2), "a", "1", 2);
        write.request = Request::Put(Put {
            lease,
            ..Put::new("a", "1")
        });
        assert_eq!(is_good(vec![write, read((3, 4), "a", vec![], 3)]), due);
    }
}

#[test]
fn unseen_writers_fill_gaps_only_where_they_are_declared() {
    let operations = vec![put((1, 2), "a", "1", 2), put((3, 4), "a", "2", 4)];
    assert!(!is_good(operations.clone()));
    let mut run = run(operations);
    run.unrecorded = vec![KeyRange::prefix("locks/")];
    assert!(check_all(&run).is_good());
    let event = |key, value, revisions: (i64, i64, i64)| Event {
        kind: EventKind::Put,
        kv: kv(key, value, revisions),
        prev_kv: None,
    };
    for (key, due) in [("locks/1", true), ("b", false)] {
        let events = vec![
            event("a", "1", (2, 2, 1)),
            event(key, "x", (3, 3, 1)),
            event("a", "2", (2, 4, 2)),
        ];
        run.log = Some(EventLog {
            from: 2,
            to: 4,
            events,
        });
        assert_eq!(check_all(&run).is_good(), due);
    }
}

#[test]
fn the_log_tells_which_writes_in_doubt_were_done() {
    let ghosts: Vec<Operation> = (0..20).map(|_| doubt((1, 2), "a", "x")).collect();
    let mut operations = ghosts;
    operations.push(doubt((1, 2), "b", "1"));
    operations.push(put((3, 4), "c", "1", 3));
    operations.push(read((5, 6), "a", vec![], 3));
    let mut run = run(operations);
    let event = |key, revision| Event {
        kind: EventKind::Put,
        kv: kv(key, "1", (revision, revision, 1)),
        prev_kv: None,
    };
    run.log = Some(EventLog {
        from: 2,
        to: 3,
        events: vec![event("b", 2), event("c", 3)],
    });
    assert!(check_all(&run).is_good());
}

#[test]
fn a_serializable_read_may_be_late_but_not_wrong_or_early() {
    let writes = vec![put((1, 2), "a", "1", 2), put((5, 6), "a", "2", 3)];
    let late = |times, value, revision, at| {
        let mut read = read(
            times,
            "a",
            vec![kv("a", value, (2, revision, at))],
            revision,
        );
        read.request = Request::Get(Get {
            range: KeyRange::key("a"),
            serializable: true,
            ..Get::default()
        });
        [writes.clone(), vec![read]].concat()
    };
    assert!(check_all(&run(late((7, 8), "1", 2, 1))).is_good());
    for wrong in [late((7, 8), "2", 2, 1), late((3, 4), "2", 3, 2)] {
        let report = check_all(&run(wrong));
        assert!(report.breaks(Promise::SerializableRead), "{report}");
    }
}

#[test]
fn a_search_that_comes_to_no_end_says_so() {
    let mut operations: Vec<Operation> = (0..12).map(|at| doubt((1, 2), "a", VALUES[at])).collect();
    operations.extend((0..12).map(|at| put((1, 2), "a", VALUES[at], 0)));
    operations.push(get((3, 4), "a", "none of them"));
    let report = check_within(&run(operations), Budget { steps: 1000 });
    assert!(
        report.violations.is_empty() && report.undecided.len() == 1,
        "{report}"
    );
    assert!(!report.is_good());
}

const VALUES: [&str; 12] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"];

#[test]
fn the_evidence_shows_the_contradiction_and_not_the_run() {
    let mut operations: Vec<Operation> = Vec::new();
    for at in 0..50 {
        let time = 10 * u64::try_from(at).unwrap();
        let key = if at % 10 == 0 { "a" } else { "noise" };
        operations.push(put((time, time + 1), key, "v", at + 2));
    }
    operations.push(read((600, 601), "a", vec![kv("a", "old", (2, 2, 1))], 51));
    let report = check_all(&run(operations));
    let text = report.to_string();
    assert!(
        text.contains("get \"a\" → revision 51: \"a\"=\"old\""),
        "{text}"
    );
    assert!(
        text.contains("it must be: \"a\"=\"v\" (created 2, changed 42, version 5)"),
        "{text}"
    );
    assert!(
        !text.contains("noise") && text.lines().count() < 15,
        "{text}"
    );
}
