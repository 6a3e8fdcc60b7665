//! Readers beside a writer: snapshots, compactions that overtake, the flush and the sweep.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::{Error, Outcome};

/// More than one hold of the lock reads.
const KEYS: usize = 700;

fn same_everywhere(value: usize) -> Op {
    let puts = (0..KEYS)
        .map(|at| Request::RequestPut(put_request(&format!("k{at:04}"), &value.to_string())))
        .collect();
    Op::Txn(txn(puts))
}

#[test]
fn a_list_sees_one_revision_while_a_writer_a_flush_and_a_sweep_run() {
    let mut fixture = Fixture::small();
    fixture.one(same_everywhere(0));
    let store = Arc::clone(fixture.store());
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let reader = threads.spawn(|| {
            let mut lists = 0;
            while !stop.load(Ordering::Relaxed) || lists < 20 {
                let all = store.range(&range("k", "l")).unwrap();
                assert_eq!((all.kvs.len(), all.count), (KEYS, KEYS as i64));
                let revision = all.header.unwrap().revision;
                for kv in &all.kvs {
                    assert_eq!((kv.mod_revision, &kv.value), (revision, &all.kvs[0].value));
                }
                let request = TxnRequest {
                    success: ops(vec![
                        Request::RequestRange(range("k", "l")),
                        Request::RequestRange(RangeRequest {
                            limit: 2,
                            ..range("k", "l")
                        }),
                    ]),
                    ..TxnRequest::default()
                };
                let both = format!("{:?}", store.read_only_txn(&request).unwrap());
                let at = both.split("revision: ").nth(1).unwrap();
                let at = at.split(',').next().unwrap();
                assert_eq!(
                    both.matches(&format!("mod_revision: {at},")).count(),
                    KEYS + 2
                );
                lists += 1;
            }
            lists
        });
        for value in 1..40 {
            fixture.one(same_everywhere(value));
            let revision = fixture.store().revision();
            if value % 3 == 0 {
                fixture.one(compact(revision - 1));
                fixture.sweep_all();
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() >= 20);
    });
}

#[test]
fn an_old_revision_is_read_whole_or_not_at_all() {
    let mut fixture = Fixture::small();
    fixture.one(same_everywhere(0));
    let store = Arc::clone(fixture.store());
    for value in 1..12 {
        let old = fixture.store().revision();
        fixture.one(same_everywhere(value));
        std::thread::scope(|threads| {
            let reader = threads.spawn(|| {
                let request = RangeRequest {
                    revision: old,
                    ..range("k", "l")
                };
                match store.range(&request) {
                    Ok(all) => {
                        assert_eq!(all.kvs.len(), KEYS);
                        assert!(all.kvs.iter().all(|kv| kv.mod_revision == old));
                        assert_eq!(all.header.unwrap().revision, old + 1);
                    }
                    Err(Error::Compacted {
                        requested,
                        compacted,
                    }) => {
                        assert_eq!((requested, compacted), (old, old + 1));
                    }
                    Err(error) => panic!("{error}"),
                }
            });
            fixture.one(compact(old + 1));
            fixture.sweep_all();
            reader.join().unwrap();
        });
        let request = RangeRequest {
            revision: old,
            ..range("k", "l")
        };
        assert!(matches!(
            store.range(&request),
            Err(Error::Compacted { .. })
        ));
    }
}

#[test]
fn counts_at_old_revisions_need_many_holds_and_agree() {
    let mut fixture = Fixture::small();
    for part in 0..5 {
        let puts = (0..4000)
            .map(|at| Request::RequestPut(put_request(&format!("k{at:04}{part}"), "")))
            .collect();
        fixture.one(Op::Txn(txn(puts)));
    }
    fixture.apply(vec![
        delete("k1", "k2"),
        delete("k0", "k3"),
        put("k15", "back"),
    ]);
    let count = |key: &str, end: &str, revision: i64| {
        let request = RangeRequest {
            revision,
            count_only: true,
            ..range(key, end)
        };
        let counted = fixture.store().range(&request).unwrap();
        let listed = RangeRequest {
            revision,
            limit: 1,
            ..range(key, end)
        };
        let listed = fixture.store().range(&listed).unwrap();
        assert_eq!(counted.count, listed.count);
        assert!(counted.kvs.is_empty() && !counted.more);
        counted.count
    };
    for (revision, keys) in [(2, 4000), (4, 12_000), (6, 20_000), (7, 15_000), (8, 5_000)] {
        assert_eq!(count("\0", "\0", revision), keys, "at {revision}");
    }
    assert_eq!(count("k1", "k2", 6), 5_000);
    assert_eq!(count("k1", "k2", 7), 0);
    assert_eq!(count("k1", "k2", 9), 1);
    assert_eq!(count("k2", "k1", 6), 0);
    assert_eq!(count("\0", "\0", 0), 5_001);
}

#[test]
fn physical_compactions_are_told_when_they_are_done() {
    let mut fixture = Fixture::new();
    fixture.apply(vec![put("a", "1"), put("a", "2"), put("a", "3")]);
    let (told, heard) = std::sync::mpsc::channel();
    let tell = |number: i32| {
        let told = told.clone();
        Box::new(move || told.send(number).unwrap())
    };
    fixture.one(compact(3));
    fixture.store().when_swept(3, tell(3));
    fixture.store().when_swept(4, tell(4));
    assert!(heard.try_recv().is_err());
    fixture.sweep_all();
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), [3]);
    fixture.store().when_swept(2, tell(2));
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), [2]);
    fixture.one(compact(4));
    fixture.sweep_all();
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), [4]);
    assert_eq!(fixture.store().stats().superseded, 0);
    fixture.reopen();
    assert!(
        !fixture.store().sweep().unwrap(),
        "a finished sweep does not begin again"
    );
}

#[test]
fn an_interrupted_sweep_is_finished_after_a_restart() {
    let mut fixture = Fixture::small();
    fixture.one(put("other", "1"));
    for value in 0..20 {
        fixture.one(same_everywhere(value));
    }
    fixture.apply(vec![delete("k", "l"), put("other", "2")]);
    let revision = fixture.store().revision();
    fixture.one(compact(revision));
    fixture.store().flush().unwrap();
    let rows = |fixture: &Fixture| fixture.store().state.view().unwrap().row_count().unwrap();
    let all = rows(&fixture);
    let mut seen = vec![all];
    for pieces in 1.. {
        let mut more = true;
        for _ in 0..pieces {
            more = fixture.store().sweep().unwrap();
        }
        seen.push(rows(&fixture));
        fixture.reopen();
        let left = fixture.store().range(&range("\0", "\0")).unwrap();
        assert_eq!(
            (left.count, &left.kvs[0].value[..]),
            (1, &b"2"[..]),
            "after {pieces} pieces"
        );
        if !more {
            break;
        }
    }
    assert_eq!(seen.last(), Some(&1));
    assert!(
        seen.is_sorted_by(|a, b| a >= b) && seen.len() > 3,
        "{seen:?}"
    );
    assert!(
        seen.iter().any(|rows| (2..all).contains(rows)),
        "none was interrupted: {seen:?}"
    );
    assert!(!fixture.store().sweep().unwrap());
}

#[test]
fn values_come_from_wherever_they_are() {
    let mut fixture = Fixture::with(StoreOptions {
        sync: false,
        value_cache_bytes: 20_000,
        recent_bytes: 0,
        ..StoreOptions::default()
    });
    let large = "v".repeat(3_000);
    let all = |fixture: &Fixture| {
        let response = fixture.store().range(&range("\0", "\0")).unwrap();
        response
            .kvs
            .iter()
            .map(|kv| kv.value.len())
            .collect::<Vec<_>>()
    };
    fixture.apply(vec![
        put("empty", ""),
        put("large", &large),
        put("small", "x"),
    ]);
    assert_eq!(all(&fixture), [0, 3_000, 1]);
    fixture.store().flush().unwrap();
    assert_eq!(all(&fixture), [0, 3_000, 1]);
    fixture.reopen();
    assert_eq!(fixture.store().stats().cached_bytes, 0);
    assert_eq!(all(&fixture), [0, 3_000, 1]);
    let cached = fixture.store().stats().cached_bytes;
    assert!(
        cached > 0 && cached < 3_000,
        "small values are kept once read: {cached}"
    );
    let previous = PutRequest {
        prev_kv: true,
        ignore_value: true,
        ..put_request("large", "")
    };
    let answer = fixture.one(Op::Put(previous));
    let Ok(Outcome::Put(response)) = answer.result else {
        panic!("{answer:?}")
    };
    assert_eq!(response.prev_kv.unwrap().value.len(), 3_000);
    assert_eq!(all(&fixture), [0, 3_000, 1]);
}

#[test]
fn apply_flushes_by_itself_when_too_much_is_only_in_memory() {
    let mut fixture = Fixture::with(StoreOptions {
        sync: false,
        unflushed_limit_bytes: 10_000,
        ..StoreOptions::default()
    });
    for at in 0..100 {
        fixture.one(put(&format!("k{at}"), &"v".repeat(1_000)));
        assert!(fixture.store().stats().unflushed_bytes < 12_000);
    }
    assert!(fixture.store().durable_applied().is_some());
    fixture.reopen();
    assert_eq!(fixture.store().stats().keys, 100);
}
