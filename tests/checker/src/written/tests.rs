//! Small cases of losses.

use super::*;
use crate::history::{EventLog, Snapshot};

fn kv(key: &'static str, value: &'static str, revision: i64) -> Kv {
    Kv {
        create_revision: revision,
        mod_revision: revision,
        version: 1,
        ..Kv::seen(key, value)
    }
}

fn put(key: &'static str, value: &'static str, revision: i64) -> Operation {
    Operation {
        client: 1,
        invoked: 1,
        returned: Some(2),
        request: Request::put(key, value),
        outcome: Outcome::Ok {
            revision,
            response: Response::Put { prev_kv: None },
        },
    }
}

fn end(member: &str, revision: i64, kvs: Vec<Kv>) -> Final {
    Final {
        member: member.to_owned(),
        state: Snapshot { revision, kvs },
    }
}

fn judge(run: &Run) -> Vec<Promise> {
    let log = LogIndex::read(run).map(|(log, _)| log);
    check(run, log.as_ref())
        .into_iter()
        .map(|one| one.promise)
        .collect()
}

#[test]
fn a_state_with_everything_acknowledged_is_fine() {
    let run = Run {
        operations: vec![put("a", "1", 2)],
        finals: vec![
            end("m1", 2, vec![kv("a", "1", 2)]),
            end("m2", 2, vec![kv("a", "1", 2)]),
        ],
        ..Run::default()
    };
    assert_eq!(judge(&run), []);
}

#[test]
fn a_key_that_is_gone_or_old_or_another_is_a_loss() {
    for kvs in [vec![], vec![kv("a", "2", 2)]] {
        let run = Run {
            operations: vec![put("a", "1", 2)],
            finals: vec![end("m1", 2, kvs)],
            ..Run::default()
        };
        assert_eq!(judge(&run), [Promise::NothingLost]);
    }
    let run = Run {
        operations: vec![put("a", "0", 2), put("a", "1", 3)],
        finals: vec![end("m1", 3, vec![kv("a", "0", 2)])],
        ..Run::default()
    };
    assert_eq!(judge(&run), [Promise::NothingLost]);
    let run = Run {
        operations: vec![put("a", "1", 2)],
        finals: vec![end("m1", 1, vec![])],
        ..Run::default()
    };
    assert_eq!(judge(&run), [Promise::NothingLost]);
}

#[test]
fn a_key_that_somebody_may_have_deleted_is_no_loss() {
    let mut delete = put("a", "", 3);
    delete.request = Request::delete("a");
    delete.outcome = Outcome::Unknown { why: String::new() };
    let run = Run {
        operations: vec![put("a", "1", 2), delete],
        finals: vec![end("m1", 3, vec![])],
        ..Run::default()
    };
    assert_eq!(judge(&run), []);
}

#[test]
fn the_log_must_have_every_acknowledged_write() {
    let event = |value| Event {
        kind: EventKind::Put,
        kv: kv("a", value, 2),
        prev_kv: None,
    };
    for (value, due) in [("1", vec![]), ("2", vec![Promise::NothingLost])] {
        let run = Run {
            operations: vec![put("a", "1", 2)],
            log: Some(EventLog {
                from: 2,
                to: 2,
                events: vec![event(value)],
            }),
            ..Run::default()
        };
        assert_eq!(judge(&run), due);
    }
}

#[test]
fn members_that_differ_are_found() {
    let run = Run {
        finals: vec![end("m1", 2, vec![kv("a", "1", 2)]), end("m2", 2, vec![])],
        ..Run::default()
    };
    assert_eq!(judge(&run), [Promise::MembersAgree]);
}
