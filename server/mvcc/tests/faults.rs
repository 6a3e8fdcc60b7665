//! Every deliberate bug of the store and of the log does what its name says, and is gone when it
//! is switched off: a check that shall find it is not searching for nothing.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use bytes::Bytes;
use handfast_fault::{Fault, set};
use handfast_mvcc::{Applied, Clock, LogEntry, Outcome, Payload, Store, StoreOptions};
use handfast_proto::{
    Message,
    command::{Command, LeaseExpire, LeaseGrant, command::Op},
    etcdserverpb::{
        Compare, PutRequest, TxnRequest, WatchCreateRequest, WatchRequest, compare::TargetUnion,
        watch_request::RequestUnion,
    },
};
use handfast_storage::{
    LogPosition,
    disk::Disk,
    sim::{Loss, SimDisk},
    state::{State, StateOptions},
    wal::{self, Identity, Vote, Wal, WalDriver, WalOptions},
};

/// What a scenario shows without any bug, and with one.
fn compare<T>(fault: Fault, scenario: impl Fn() -> T) -> (T, T) {
    set(None);
    let sound = scenario();
    set(Some(fault));
    let broken = scenario();
    set(None);
    (sound, broken)
}

#[derive(Default)]
struct ManualClock(AtomicU64);

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

fn store_with(clock: Arc<ManualClock>) -> Store {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    disk.create_dir_all(Path::new("/data")).unwrap();
    let state = State::open(disk, Path::new("/data/state"), StateOptions::default()).unwrap();
    let options = StoreOptions {
        clock,
        ..StoreOptions::default()
    };
    Store::open(Arc::new(state), options).unwrap()
}

fn store() -> Store {
    store_with(Arc::default())
}

fn put(key: &str, value: &str) -> PutRequest {
    PutRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        ..PutRequest::default()
    }
}

fn grant() -> Op {
    Op::LeaseGrant(LeaseGrant {
        id: 7,
        ttl_seconds: 10,
    })
}

/// Applies in one call, as entries of `term` from `index` on.
fn apply(store: &Store, term: u64, index: u64, ops: Vec<Op>) -> Vec<Applied> {
    let entry = |(index, op)| LogEntry {
        position: LogPosition { term, index },
        payload: Payload::Command(Command { op: Some(op) }.encode_to_vec().into()),
    };
    store.apply((index..).zip(ops).map(entry).collect())
}

#[test]
fn apply_out_of_order_shows_on_members_that_group_the_log_otherwise() {
    let members_differ = || {
        let ops: Vec<Op> = (0..128)
            .map(|at| Op::Put(put("k", &at.to_string())))
            .collect();
        let in_calls_of = |size: usize| {
            let store = store();
            for (at, batch) in ops.chunks(size).enumerate() {
                apply(&store, 1, (at * size) as u64 + 1, batch.to_vec());
            }
            store.hash_points()
        };
        in_calls_of(4) != in_calls_of(3)
    };
    assert_eq!(
        compare(Fault::ApplyOutOfOrder, members_differ),
        (false, true)
    );
}

#[test]
fn a_lease_expires_under_an_old_term() {
    let revoked = || {
        let store = store();
        apply(&store, 1, 1, vec![grant()]);
        let expire = Op::LeaseExpire(LeaseExpire {
            ids: vec![7],
            term: 1,
        });
        let answers = apply(&store, 2, 2, vec![expire]);
        matches!(answers[0].result, Ok(Outcome::LeaseExpire { revoked: 1 }))
    };
    assert_eq!(compare(Fault::ExpireUnderOldTerm, revoked), (false, true));
}

#[test]
fn a_lease_is_not_extended_by_a_new_leader() {
    let expired = || {
        let clock = Arc::new(ManualClock::default());
        let store = store_with(Arc::clone(&clock));
        apply(&store, 1, 1, vec![grant()]);
        clock.0.store(60, Ordering::Relaxed);
        store.leases().promote();
        store.leases().expired(10)
    };
    let (sound, broken) = compare(Fault::LeaseNotExtended, expired);
    assert_eq!((sound, broken), (vec![], vec![7]));
}

#[test]
fn a_transaction_skips_its_last_compare() {
    let succeeded = || {
        let store = store();
        let compare = Compare {
            key: Bytes::from_static(b"k"),
            target_union: Some(TargetUnion::Version(5)),
            ..Compare::default()
        };
        let txn = TxnRequest {
            compare: vec![compare],
            ..TxnRequest::default()
        };
        let answers = apply(&store, 1, 1, vec![Op::Txn(txn)]);
        match answers.into_iter().next().unwrap().result {
            Ok(Outcome::Txn(response)) => response.succeeded,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(compare(Fault::TxnSkipsCompare, succeeded), (false, true));
}

/// The revisions a watch from revision 3 gets, some from the past and some as they come.
fn watched() -> Vec<i64> {
    let store = store();
    let puts = |range: std::ops::Range<u64>| {
        let ops = range.clone().map(|at| Op::Put(put("k", &at.to_string())));
        apply(&store, 1, range.start, ops.collect());
    };
    puts(1..10);
    let mut stream = store.watch().open_stream(Arc::new(|| {}));
    let create = WatchCreateRequest {
        key: Bytes::from_static(b"k"),
        start_revision: 3,
        ..WatchCreateRequest::default()
    };
    stream.handle(WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    });
    let mut responses = Vec::new();
    while stream.poll(&store, &mut responses, 1 << 20) {}
    puts(10..15);
    while stream.poll(&store, &mut responses, 1 << 20) {}
    let events = responses.into_iter().flat_map(|response| response.events);
    events.map(|event| event.kv.unwrap().mod_revision).collect()
}

#[test]
fn a_watch_skips_a_revision() {
    let (sound, broken) = compare(Fault::WatchSkipsRevision, watched);
    assert_eq!(sound, (3..16).collect::<Vec<_>>());
    let skipped = (3..16).filter(|main| *main != 11);
    assert_eq!(broken, skipped.collect::<Vec<_>>());
}

#[test]
fn a_watch_repeats_a_revision() {
    let (sound, broken) = compare(Fault::WatchRepeatsRevision, watched);
    assert_eq!(sound, (3..16).collect::<Vec<_>>());
    assert_eq!(broken, (3..11).chain(10..16).collect::<Vec<_>>());
}

fn log(disk: &SimDisk) -> (Wal, WalDriver) {
    let identity = Identity {
        cluster_id: 1,
        member_id: 2,
    };
    let options = WalOptions {
        segment_bytes: 1 << 16,
        ..WalOptions::default()
    };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Wal::open_driven(disk, Path::new("/wal"), identity, options, Arc::new(|| {})).unwrap()
}

fn entry(index: u64) -> wal::Entry {
    wal::Entry {
        position: LogPosition { term: 1, index },
        payload: Bytes::from_static(b"something"),
    }
}

fn crash(disk: &SimDisk, parts: (Wal, WalDriver)) {
    drop(parts);
    disk.stop();
    disk.restart(Loss::Everything, 1);
}

#[test]
fn an_entry_is_acknowledged_before_its_sync() {
    let acknowledged_and_kept = || {
        let disk = SimDisk::new();
        let (wal, mut driver) = log(&disk);
        let (send, receive) = mpsc::channel();
        for index in 0..3 {
            let send = send.clone();
            wal.append(vec![entry(index)], Box::new(move |r| send.send(r).unwrap()));
            driver.step();
        }
        assert_eq!(receive.try_iter().filter(Result::is_ok).count(), 3);
        crash(&disk, (wal, driver));
        log(&disk).0.state().last.map_or(0, |last| last.index + 1)
    };
    assert_eq!(compare(Fault::AckBeforeSync, acknowledged_and_kept), (3, 2));
}

#[test]
fn a_vote_is_forgotten_over_a_restart_only() {
    let vote = Vote {
        term: 5,
        node_id: 2,
        committed: false,
    };
    let before_and_after = || {
        let disk = SimDisk::new();
        let (wal, mut driver) = log(&disk);
        let (send, receive) = mpsc::channel();
        wal.save_vote(vote, Box::new(move |result| send.send(result).unwrap()));
        driver.step();
        receive.try_recv().unwrap().unwrap();
        let before = wal.state().vote;
        crash(&disk, (wal, driver));
        (before, log(&disk).0.state().vote)
    };
    let (sound, broken) = compare(Fault::VoteNotSaved, before_and_after);
    assert_eq!(sound, (Some(vote), Some(vote)));
    assert_eq!(broken, (Some(vote), None));
}

#[test]
fn a_restart_forgets_the_log_but_can_go_on() {
    let held = || {
        let disk = SimDisk::new();
        let (wal, mut driver) = log(&disk);
        wal.append((0..9).map(entry).collect(), Box::new(|_| {}));
        wal.purge(LogPosition { term: 1, index: 3 });
        driver.step();
        crash(&disk, (wal, driver));
        let mut held = Vec::new();
        for _ in 0..2 {
            let (wal, mut driver) = log(&disk);
            held.push(wal.read(0..100, usize::MAX).unwrap().len());
            // As raft does when its state is ahead of its log.
            wal.purge(LogPosition { term: 1, index: 8 });
            wal.append(vec![entry(9)], Box::new(|_| {}));
            driver.step();
            drop((wal, driver));
            set(None);
        }
        held
    };
    assert_eq!(held()[0], 5);
    set(Some(Fault::ReplayForgotten));
    assert_eq!(held(), [0, 1]);
    set(None);
}
