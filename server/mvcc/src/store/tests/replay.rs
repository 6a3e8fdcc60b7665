//! Members that apply the same log agree, whatever their sweeps, flushes and restarts did.

use proptest::prelude::*;

use super::{strategies::op, *};
use crate::{Alarm, Outcome};

/// Everything a client could compare between two members, and what members compare.
pub(super) fn state(store: &Store) -> String {
    let mut readable = Vec::new();
    for revision in store.compact_revision().max(1)..=store.revision() {
        readable.push(
            store
                .range(&RangeRequest {
                    revision,
                    ..range("\0", "\0")
                })
                .unwrap(),
        );
    }
    let mut leases = store.leases().list();
    leases.sort_unstable();
    let hash = store.hash_kv(0).unwrap();
    let points = store.hash_points();
    let (alarms, secret) = (store.alarms(), store.join_secret());
    format!(
        "{hash:?} {leases:?} {:?} {points:?} {alarms:?} {secret:?} {readable:?}",
        store.applied()
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn members_agree(batches in prop::collection::vec(prop::collection::vec(op(), 1..5), 1..40)) {
        let mut plain = Fixture::new();
        let mut swept = Fixture::small();
        let mut restarted = Fixture::small();
        for (at, batch) in batches.iter().enumerate() {
            let expected: Vec<_> = plain.apply(batch.clone()).iter().map(seen).collect();
            let found: Vec<_> = swept.apply(batch.clone()).iter().map(seen).collect();
            prop_assert_eq!(&found, &expected);
            swept.sweep_all();
            let found: Vec<_> = restarted.apply(batch.clone()).iter().map(seen).collect();
            prop_assert_eq!(&found, &expected);
            if at % 7 == 3 {
                restarted.store().flush().unwrap();
            }
            if at % 5 == 4 {
                restarted.reopen();
            }
        }
        let expected = state(plain.store());
        prop_assert_eq!(&state(swept.store()), &expected);
        prop_assert_eq!(&state(restarted.store()), &expected);
        swept.reopen();
        prop_assert_eq!(&state(swept.store()), &expected);
        // One log in one batch is the same log.
        let whole = Fixture::new();
        whole.store().apply(plain.log.clone());
        prop_assert_eq!(&state(whole.store()), &expected);
    }
}

#[test]
fn a_compaction_that_was_not_durable_is_replayed_before_its_sweep_counts() {
    let mut fixture = Fixture::new();
    let txn_at = |revision| {
        Op::Txn(TxnRequest {
            success: ops(vec![
                Request::RequestRange(RangeRequest {
                    revision,
                    ..range("k", "")
                }),
                Request::RequestPut(put_request("seen", "")),
            ]),
            ..TxnRequest::default()
        })
    };
    fixture.apply(vec![put("k", "1"), put("k", "2")]);
    fixture.store().flush().unwrap();
    let before = seen(&fixture.one(txn_at(2)));
    fixture.apply(vec![put("k", "3"), compact(4)]);
    assert!(before.contains("Ok"));
    fixture.sweep_all();
    let (first, answers) = fixture.reopen();
    assert_eq!(
        (first, answers.len()),
        (5, 0),
        "the sweep made everything before it durable"
    );
    assert_eq!(fixture.store().compact_revision(), 4);
}

#[test]
fn a_failing_read_fails_its_transaction_live_and_replayed() {
    let mut fixture = Fixture::new();
    let reads = |revision| {
        Op::Txn(TxnRequest {
            success: ops(vec![
                Request::RequestPut(put_request("k", "x")),
                Request::RequestRange(RangeRequest {
                    revision,
                    ..range("k", "")
                }),
            ]),
            ..TxnRequest::default()
        })
    };
    fixture.apply(vec![
        put("k", "1"),
        put("k", "2"),
        put("k", "3"),
        compact(3),
    ]);
    let live: Vec<String> = [reads(2), reads(5), reads(-7), reads(3)]
        .map(|op| seen(&fixture.one(op)))
        .to_vec();
    assert!(
        live[0].starts_with("4 Err(Compacted { requested: 2, compacted: 3 }"),
        "{live:?}"
    );
    assert!(
        live[1].starts_with("4 Err(FutureRevision { requested: 5, current: 4 }"),
        "{live:?}"
    );
    assert!(
        live[2].starts_with("4 Err(Compacted { requested: -7, compacted: 3 }"),
        "{live:?}"
    );
    assert!(live[3].starts_with("5 Ok"), "{live:?}");
    let (first, replayed) = fixture.reopen();
    assert_eq!(first, 0);
    assert_eq!(replayed[4..].iter().map(seen).collect::<Vec<_>>(), live);
}

#[test]
fn the_revision_survives_when_no_row_is_left() {
    let mut fixture = Fixture::new();
    fixture.apply(vec![
        put("a", ""),
        put("b", ""),
        delete("\0", "\0"),
        put("c", ""),
    ]);
    fixture.apply(vec![
        delete("c", ""),
        put("d", ""),
        delete("d", ""),
        grant(7),
    ]);
    fixture.apply(vec![compact(8)]);
    fixture.sweep_all();
    let (first, answers) = fixture.reopen();
    assert_eq!((first, answers.len()), (9, 0));
    let store = fixture.store();
    assert_eq!((store.revision(), store.compact_revision()), (8, 8));
    assert_eq!(
        store.stats().superseded,
        1,
        "only the deletion at the mark itself is left"
    );
    assert!(store.leases().contains(7));
    assert_eq!(fixture.one(put("e", "")).revision, 9);
}

#[test]
fn a_file_whose_newest_rows_are_gone_is_refused() {
    let mut fixture = Fixture::new();
    fixture.apply(vec![put("a", ""), put("b", "")]);
    fixture.store().flush().unwrap();
    fixture.store().state.delete_rows(&[(3, 0)], &[]).unwrap();
    drop(fixture.store.take());
    let state_options = StateOptions {
        sync: false,
        ..StateOptions::default()
    };
    let path = fixture.dir.path().join("state.redb");
    let state = State::open(Arc::new(RealDisk), &path, state_options).unwrap();
    let opened = Store::open(Arc::new(state), fixture.options.clone());
    assert!(matches!(opened, Err(crate::Error::Malformed(_))));
}

#[test]
fn a_membership_is_kept_with_the_state() {
    let mut fixture = Fixture::new();
    let position = LogPosition { term: 3, index: 1 };
    let payload = Payload::Membership(Bytes::from_static(b"members"));
    fixture.log.push(LogEntry { position, payload });
    fixture.store().apply(fixture.log.clone());
    assert_eq!(fixture.store().durable_applied(), None);
    assert!(fixture.store().flush().unwrap());
    assert!(!fixture.store().flush().unwrap());
    fixture.reopen();
    let store = fixture.store();
    assert_eq!(store.membership().as_deref(), Some(&b"members"[..]));
    assert_eq!(
        (store.applied(), store.durable_applied()),
        (Some(position), Some(position))
    );
    assert_eq!(store.revision(), 1);
}

#[test]
fn alarms_and_the_join_secret_are_kept_with_the_state() {
    let mut fixture = Fixture::new();
    let full = Alarm {
        member_id: 9,
        kind: 1,
    };
    let odd = Alarm {
        member_id: 3,
        kind: 2,
    };
    let answer = |applied: Applied| match applied.result.unwrap() {
        Outcome::Alarm(alarms) => alarms,
        other => panic!("{other:?}"),
    };
    assert_eq!(answer(fixture.one(alarm(true, 9, 1))), [full]);
    assert_eq!(answer(fixture.one(alarm(true, 9, 1))), [full]);
    assert_eq!(answer(fixture.one(alarm(true, 3, 2))), [odd]);
    assert_eq!(answer(fixture.one(alarm(true, 3, 0))), []);
    assert_eq!(answer(fixture.one(alarm(false, 3, 1))), []);
    fixture.apply(vec![
        join_secret(""),
        join_secret("first"),
        join_secret("second"),
    ]);
    fixture.store().flush().unwrap();
    let refused = fixture.one(put("k", "v"));
    assert!(matches!(refused.result, Err(crate::Error::NoSpace)));
    for (durable, replayed) in [(8, 1), (8, 1)] {
        let (first, answers) = fixture.reopen();
        assert_eq!((first, answers.len()), (durable, replayed));
        assert!(matches!(answers[0].result, Err(crate::Error::NoSpace)));
        let store = fixture.store();
        assert_eq!(store.alarms(), [odd, full]);
        assert!(store.has_alarm(1) && store.has_alarm(2) && !store.has_alarm(3));
        assert_eq!(store.join_secret(), Some(bytes("first")));
        assert_eq!(store.revision(), 1, "no revision of its own");
    }
    assert_eq!(answer(fixture.one(alarm(false, 9, 1))), [full]);
    assert_eq!(fixture.one(alarm(false, 3, 2)).revision, 1);
    assert!(!fixture.store().has_alarm(1));
    assert!(fixture.one(put("k", "v")).result.is_ok());
    fixture.store().flush().unwrap();
    fixture.reopen();
    assert_eq!(fixture.store().alarms(), []);
}
