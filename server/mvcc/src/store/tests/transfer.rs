//! The whole way of a snapshot: chunks, a spool that may be continued by another sender, the
//! installation under readers and watchers.

use std::sync::atomic::{AtomicUsize, Ordering};

use handfast_storage::{disk::Disk, sim::SimDisk, spool::Spool, state::Row};
use proptest::prelude::*;

use super::{
    replay::state,
    strategies::op,
    watchers::{Watching, told},
    *,
};
use crate::SnapshotHeader;

const CHUNK_BYTES: usize = 60;

fn spool(disk: &SimDisk) -> Spool {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Spool::open(disk, Path::new("/spool")).unwrap()
}

/// Sends up to `max` chunks; the header once all is there.
fn send(source: &Store, spool: &mut Spool, max: usize) -> Option<SnapshotHeader> {
    let snapshot = source.snapshot().unwrap()?;
    let header = SnapshotHeader::decode(&snapshot.header.encode()).unwrap();
    let mut next = spool.begin(header.offer()).unwrap();
    for _ in 0..max {
        let Some(chunk) = snapshot.chunk(next, CHUNK_BYTES).unwrap() else {
            return Some(header);
        };
        spool.append(chunk.from, chunk.next, &chunk.rows).unwrap();
        next = chunk.next;
        assert_eq!(spool.next(), next);
    }
    None
}

fn install(target: &Store, header: SnapshotHeader, spool: &mut Spool) {
    target.install(header, &mut spool.rows()).unwrap();
    spool.clear().unwrap();
}

#[derive(Debug, Clone)]
enum Step {
    Apply(Vec<Op>),
    /// Up to a revision that far below the newest.
    Compact(i64),
    /// Up to that many pieces, on one of the two senders.
    Sweep(usize, usize),
    Send(usize, usize),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let plain = prop_oneof![
        4 => prop::sample::select(&["a", "b", "c", "d", "e"][..]).prop_map(|key| put(key, key)),
        2 => prop::sample::select(&["a", "b", "c", "d", "e"][..]).prop_map(|key| delete(key, "")),
        2 => op(),
    ];
    prop_oneof![
        5 => prop::collection::vec(plain, 1..5).prop_map(Step::Apply),
        2 => (0_i64..4).prop_map(Step::Compact),
        3 => (0_usize..2, 1_usize..6).prop_map(|(who, pieces)| Step::Sweep(who, pieces)),
        4 => (0_usize..2, 0_usize..4).prop_map(|(who, chunks)| Step::Send(who, chunks)),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whoever_sent_which_part_the_receiver_is_the_same(
        steps in prop::collection::vec(step(), 1..60),
        last in 0_usize..2,
    ) {
        let mut senders = [Fixture::small(), Fixture::small()];
        for sender in &senders {
            sender.store().sweeping.lock().piece_rows = 2;
        }
        let target = Fixture::small();
        let disk = SimDisk::new();
        let mut received = spool(&disk);
        for step in steps {
            match step {
                Step::Apply(ops) => senders
                    .iter_mut()
                    .for_each(|sender| drop(sender.apply(ops.clone()))),
                Step::Compact(back) => senders.iter_mut().for_each(|sender| {
                    let revision = sender.store().revision() - back;
                    sender.one(compact(revision));
                }),
                Step::Sweep(who, pieces) => {
                    let sweep = || senders[who].store().sweep().unwrap();
                    (0..pieces).any(|_| !sweep());
                }
                Step::Send(who, chunks) => drop(send(senders[who].store(), &mut received, chunks)),
                Step::Restart => received = spool(&disk),
            }
        }
        senders.iter_mut().for_each(|sender| drop(sender.one(put("last", ""))));
        let header = send(senders[last].store(), &mut received, usize::MAX).unwrap();
        install(target.store(), header, &mut received);
        let expected = state(senders[last].store());
        prop_assert_eq!(&state(target.store()), &expected);
        target.sweep_all();
        prop_assert_eq!(&state(target.store()), &expected);
        senders[last].sweep_all();
        prop_assert_eq!(&state(senders[last].store()), &expected);
        prop_assert_eq!(
            target.store().stats().superseded,
            senders[last].store().stats().superseded
        );
    }
}

#[test]
fn a_sweep_between_two_parts_does_not_bring_deleted_keys_back() {
    let mut source = Fixture::small();
    source.apply(vec![put("dead", "1"), put("a", "1"), put("b", "1")]);
    let disk = SimDisk::new();
    let mut received = spool(&disk);
    assert!(send(source.store(), &mut received, 1).is_none());
    assert!(received.next() > (2, 0), "the key is held");
    source.apply(vec![delete("dead", ""), put("c", "1"), compact(6)]);
    source.sweep_all();
    let header = send(source.store(), &mut received, usize::MAX).unwrap();
    let target = Fixture::small();
    install(target.store(), header, &mut received);
    assert_eq!(target.store().range(&range("dead", "")).unwrap().count, 0);
    assert_eq!(state(target.store()), state(source.store()));
}

#[test]
fn what_was_compacted_but_sent_before_is_superfluous_only() {
    let mut source = Fixture::small();
    for round in 0..20 {
        source.one(put("k", &round.to_string()));
    }
    let mut received = spool(&SimDisk::new());
    assert!(send(source.store(), &mut received, 2).is_none());
    let held = received.next();
    assert!(held.0 > 5);
    source.one(compact(5));
    source.sweep_all();
    let header = send(source.store(), &mut received, usize::MAX).unwrap();
    let rows = received.rows().count();
    let target = Fixture::small();
    install(target.store(), header, &mut received);
    assert_eq!(rows, 20, "the first part was kept");
    assert_eq!(source.store().stats().superseded, 16);
    assert_eq!(target.store().stats().superseded, 19);
    assert_eq!(
        target.store().hash_kv(0).unwrap(),
        source.store().hash_kv(0).unwrap()
    );
    target.sweep_all();
    assert_eq!(target.store().stats().superseded, 16);
    assert_eq!(state(target.store()), state(source.store()));
}

#[test]
fn watchers_pass_over_an_installation_without_a_gap() {
    let mut source = Fixture::small();
    let mut target = Fixture::small();
    for round in 0..30 {
        let op = put(&format!("k{}", round % 7), &round.to_string());
        source.one(op.clone());
        if round < 10 {
            target.one(op);
        }
    }
    let mut synced = Watching::everything_from(target.store(), 0);
    let mut behind = Watching::everything_from(target.store(), 5);
    let mut future = Watching::everything_from(target.store(), 25);
    synced.poll(target.store());
    future.poll(target.store());
    let mut received = spool(&SimDisk::new());
    let header = send(source.store(), &mut received, usize::MAX).unwrap();
    install(target.store(), header, &mut received);
    assert_eq!(
        synced.wakes.load(Ordering::Relaxed),
        1,
        "woken by the installation"
    );
    let later = put("later", "");
    source.one(later.clone());
    let entry = source.log.last().unwrap().clone();
    target.store().apply(vec![entry]);
    let mains = |events: Vec<handfast_proto::mvccpb::Event>| -> Vec<i64> {
        let main = |event: &handfast_proto::mvccpb::Event| event.kv.as_ref().unwrap().mod_revision;
        events.iter().map(main).collect()
    };
    assert_eq!(
        mains(synced.events(target.store())),
        (12..=32).collect::<Vec<_>>()
    );
    assert_eq!(
        mains(behind.events(target.store())),
        (5..=32).collect::<Vec<_>>()
    );
    assert_eq!(
        mains(future.events(target.store())),
        (25..=32).collect::<Vec<_>>()
    );
    let mut same = Watching::everything_from(source.store(), 12);
    let expected = told(&same.events(source.store()));
    let mut again = Watching::everything_from(target.store(), 12);
    assert_eq!(told(&again.events(target.store())), expected);
}

#[test]
fn watchers_that_an_installation_leaves_behind_the_compaction_are_told() {
    let mut source = Fixture::small();
    let mut target = Fixture::small();
    for round in 0..30 {
        source.one(put("k", &round.to_string()));
    }
    target.one(put("k", "0"));
    source.one(compact(20));
    let mut lost = Watching::everything_from(target.store(), 0);
    let mut far = Watching::everything_from(target.store(), 20);
    lost.poll(target.store());
    far.poll(target.store());
    let mut received = spool(&SimDisk::new());
    let header = send(source.store(), &mut received, usize::MAX).unwrap();
    install(target.store(), header, &mut received);
    let told = lost.poll(target.store());
    let last = told.last().unwrap();
    assert!(last.canceled && last.compact_revision == 20, "{told:?}");
    assert_eq!(far.events(target.store()).len(), 12, "from 20 to 31");
}

/// Bytes that count how many of them are alive.
struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn a_large_snapshot_is_installed_row_by_row_while_readers_read() {
    const ROWS: i64 = 120_000;
    let mut target = Fixture::new();
    target.apply(vec![put("old", "1"), grant(5)]);
    let store = Arc::clone(target.store());
    let alive = Arc::new(AtomicUsize::new(0));
    let mut most = 0;
    let mut rows = (2..ROWS + 2).map(|main| {
        alive.fetch_add(1, Ordering::Relaxed);
        most = most.max(alive.load(Ordering::Relaxed));
        if main % 10_000 == 0 {
            assert_eq!(store.range(&range("\0", "\0")).unwrap().count, 1);
            assert!(store.leases().contains(5));
        }
        let value = Counted(vec![7; 100], Arc::clone(&alive));
        Ok(Row {
            main,
            sub: 0,
            tombstone: false,
            key: format!("key {:06}", main % 100_000).into(),
            create_revision: main,
            version: 1,
            lease: 0,
            value: Bytes::from_owner(value),
        })
    });
    let header = SnapshotHeader {
        applied: LogPosition { term: 1, index: 9 },
        membership: None,
        revision: ROWS + 1,
        compact_revision: -1,
        raised: 0,
        swept: -1,
        sweeping: -1,
        leases: Vec::new(),
        alarms: Vec::new(),
        join_secret: None,
        fingerprint: crate::Fingerprint::default(),
    };
    target.store().install(header, &mut rows).unwrap();
    drop(rows);
    assert!(most < 10, "{most} rows in memory at once");
    assert_eq!(store.range(&range("\0", "\0")).unwrap().count, 100_000);
    assert_eq!(store.revision(), ROWS + 1);
    assert!(store.leases().is_empty());
}
