//! Small watches whose verdict is plain to see.

use crate::{
    Promise, check_all,
    history::{
        Delivery, Event, EventKind, EventLog, KeyRange, Kv, Note, Operation, Outcome, Request,
        Response, Run, WatchRecord, WatchRequest,
    },
};

fn event(key: &'static str, revision: i64) -> Event {
    Event {
        kind: EventKind::Put,
        kv: Kv {
            create_revision: revision,
            mod_revision: revision,
            version: 1,
            ..Kv::seen(key, "v")
        },
        prev_kv: None,
    }
}

fn events(revision: i64, keys: &[&'static str], fragment: bool) -> Delivery {
    Delivery::Events {
        revision,
        events: keys.iter().map(|key| event(key, revision)).collect(),
        fragment,
    }
}

/// The log: a and b at revision 2, c at 3, d at 4. A watch of all from 2 on.
fn broken(deliveries: Vec<Delivery>, drained_to: Option<i64>) -> Vec<Promise> {
    let note = |delivery| Note { at: 1, delivery };
    let put = |key: &'static str, revision| Operation {
        client: 1,
        invoked: 1,
        returned: Some(2),
        request: Request::put(key, "v"),
        outcome: Outcome::Ok {
            revision,
            response: Response::Put { prev_kv: None },
        },
    };
    let two = crate::history::Txn {
        then: vec![
            crate::history::TxnOp::Put(crate::history::Put::new("a", "v")),
            crate::history::TxnOp::Put(crate::history::Put::new("b", "v")),
        ],
        ..crate::history::Txn::default()
    };
    let mut first = put("a", 2);
    first.request = Request::Txn(two);
    first.outcome = Outcome::Unknown { why: String::new() };
    let run = Run {
        operations: vec![first, put("c", 3), put("d", 4)],
        log: Some(EventLog {
            from: 2,
            to: 4,
            events: vec![event("a", 2), event("b", 2), event("c", 3), event("d", 4)],
        }),
        watches: vec![WatchRecord {
            name: "w".to_owned(),
            request: WatchRequest {
                range: KeyRange::all(),
                start_revision: 2,
                ..WatchRequest::default()
            },
            notes: deliveries.into_iter().map(note).collect(),
            drained_to,
        }],
        ..Run::default()
    };
    let report = check_all(&run);
    let mut promises: Vec<Promise> = report.violations.iter().map(|one| one.promise).collect();
    promises.dedup();
    promises
}

#[test]
fn what_never_came_matters_only_if_it_was_waited_for() {
    let some = vec![events(2, &["a", "b"], false), events(3, &["c"], false)];
    assert_eq!(broken(some.clone(), None), []);
    assert_eq!(broken(some.clone(), Some(3)), []);
    assert_eq!(broken(some, Some(4)), [Promise::WatchReliable]);
    assert_eq!(broken(vec![], Some(4)), [Promise::WatchReliable]);
}

#[test]
fn a_compacted_watch_need_not_deliver_the_rest() {
    let compact_revision = 4;
    let cut = vec![
        events(2, &["a", "b"], false),
        Delivery::Compacted { compact_revision },
    ];
    assert_eq!(broken(cut.clone(), Some(4)), []);
    let on = [
        cut,
        vec![Delivery::Resumed { from: 4 }, events(4, &["d"], false)],
    ]
    .concat();
    assert_eq!(broken(on, Some(4)), []);
}

#[test]
fn fragments_are_one_response() {
    let whole = vec![events(2, &["a"], true), events(2, &["b"], false)];
    assert_eq!(broken(whole, Some(2)), []);
    let two = vec![events(2, &["a"], false), events(2, &["b"], false)];
    assert!(broken(two, None).contains(&Promise::WatchAtomic));
}

#[test]
fn a_watch_cut_within_a_revision_asks_for_it_again() {
    let cut = vec![events(2, &["a"], true), Delivery::Resumed { from: 2 }];
    let good = [cut.clone(), vec![events(2, &["a", "b"], false)]].concat();
    assert_eq!(broken(good, Some(2)), []);
    let skipped = vec![events(2, &["a"], true), Delivery::Resumed { from: 3 }];
    let skipped = [skipped, vec![events(3, &["c"], false)]].concat();
    assert_eq!(broken(skipped, None), [Promise::WatchResumable]);
}

#[test]
fn a_resumed_watch_neither_skips_nor_goes_back() {
    let begin = vec![events(2, &["a", "b"], false), Delivery::Resumed { from: 3 }];
    let with = |more: Delivery| [begin.clone(), vec![more]].concat();
    assert_eq!(broken(with(events(3, &["c"], false)), None), []);
    assert_eq!(
        broken(with(events(4, &["d"], false)), None),
        [Promise::WatchResumable]
    );
    let back = broken(with(events(2, &["a", "b"], false)), None);
    assert_eq!(back, [Promise::WatchUnique, Promise::WatchResumable]);
}

#[test]
fn a_promise_holds_for_all_that_comes_after_it() {
    let begin = events(2, &["a", "b"], false);
    let late = vec![
        begin.clone(),
        Delivery::Progress { revision: 3 },
        events(3, &["c"], false),
    ];
    assert_eq!(broken(late, None), [Promise::WatchBookmarkable]);
    let header = Delivery::Events {
        revision: 3,
        events: vec![event("d", 4)],
        fragment: false,
    };
    let ahead = broken(vec![begin, events(3, &["c"], false), header], None);
    assert_eq!(ahead, [Promise::WatchBookmarkable]);
    let back = [4, 3].map(|revision| Delivery::Progress { revision });
    let all = [(2, &["a", "b"][..]), (3, &["c"]), (4, &["d"])];
    let all = all.map(|(revision, keys)| events(revision, keys, false));
    assert_eq!(
        broken([&all[..], &back].concat(), None),
        [Promise::WatchBookmarkable]
    );
}
