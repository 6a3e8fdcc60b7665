//! Tests of the log against a vector, and of what it refuses.

mod damage;
mod driven;
mod model;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use bytes::Bytes;

use super::*;
use crate::disk::RealDisk;
use crate::sim::SimDisk;

const DIR: &str = "/data/wal";
const IDENTITY: Identity = Identity {
    cluster_id: 1,
    member_id: 2,
};

/// Small segments and a small cache, so that short tests reach every place.
fn small() -> WalOptions {
    WalOptions {
        segment_bytes: 16 << 10,
        tail_cache_bytes: 2 << 10,
        prepare_ahead: false,
        ..WalOptions::default()
    }
}

fn open(disk: &SimDisk) -> Result<Wal, Error> {
    Wal::open(Arc::new(disk.clone()), Path::new(DIR), IDENTITY, small())
}

/// Runs an operation and waits until it is durable.
fn wait(run: impl FnOnce(Done)) -> io::Result<()> {
    let (sender, receiver) = channel();
    run(Box::new(move |result| sender.send(result).unwrap()));
    receiver.recv().unwrap()
}

fn ignore() -> Done {
    Box::new(|_| {})
}

fn position(term: u64, index: u64) -> LogPosition {
    LogPosition { term, index }
}

/// An entry whose payload tells it from every other one.
fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    let mut payload = format!("entry {term}.{index} ").into_bytes();
    payload.resize(payload.len().max(bytes), b'x');
    Entry {
        position: position(term, index),
        payload: Bytes::from(payload),
    }
}

fn entries(term: u64, range: Range<u64>, bytes: usize) -> Vec<Entry> {
    range.map(|index| entry(term, index, bytes)).collect()
}

fn append(wal: &Wal, entries: Vec<Entry>) -> io::Result<()> {
    wait(|done| wal.append(entries, done))
}

fn everything(wal: &Wal) -> Vec<Entry> {
    wal.read(0..u64::MAX, usize::MAX).unwrap()
}

#[test]
fn entries_are_readable_before_and_durable_after_the_callback() {
    let disk = SimDisk::new();
    let wal = open(&disk).unwrap();
    wal.append(entries(1, 0..3, 10), ignore());
    assert_eq!(everything(&wal), entries(1, 0..3, 10));
    append(&wal, entries(2, 3..5, 10)).unwrap();
    disk.stop();
    drop(wal);
    disk.restart(crate::sim::Loss::Everything, 0);
    let wal = open(&disk).unwrap();
    assert_eq!(wal.state().last, Some(position(2, 4)));
    assert_eq!(everything(&wal).len(), 5);
}

#[test]
fn appends_with_gaps_are_refused_and_change_nothing() {
    let disk = SimDisk::new();
    let wal = open(&disk).unwrap();
    append(&wal, entries(1, 0..3, 10)).unwrap();
    for bad in [
        vec![entry(1, 4, 1)],
        vec![entry(1, 2, 1)],
        vec![entry(1, 3, 1), entry(1, 5, 1)],
    ] {
        let error = append(&wal, bad).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
    append(&wal, Vec::new()).unwrap();
    append(&wal, entries(1, 3..4, 10)).unwrap();
    assert_eq!(everything(&wal), entries(1, 0..4, 10));
}

#[test]
fn an_entry_larger_than_a_segment_is_stored() {
    let disk = SimDisk::new();
    let wal = open(&disk).unwrap();
    append(&wal, entries(1, 0..3, 10)).unwrap();
    append(&wal, entries(1, 3..4, 50_000)).unwrap();
    append(&wal, entries(1, 4..6, 10)).unwrap();
    drop(wal);
    let wal = open(&disk).unwrap();
    let read = everything(&wal);
    assert_eq!(read.len(), 6);
    assert_eq!(read[3], entry(1, 3, 50_000));
}

#[test]
fn reads_honour_range_and_bytes_on_disk_and_in_memory() {
    let disk = SimDisk::new();
    let wal = open(&disk).unwrap();
    append(&wal, entries(1, 10..200, 500)).unwrap();
    for start in [0, 10, 11, 57, 150, 198, 199] {
        let first = start.max(10);
        let read = wal.read(start..start + 7, usize::MAX).unwrap();
        assert_eq!(
            read,
            entries(1, first..(start + 7).clamp(first, 200), 500),
            "from {start}"
        );
        let read = wal.read(start..u64::MAX, 1_200).unwrap();
        assert_eq!(
            read,
            entries(1, first..(first + 2).min(200), 500),
            "from {start}"
        );
        let read = wal.read(start..u64::MAX, 0).unwrap();
        assert_eq!(read, entries(1, first..first + 1, 500), "from {start}");
    }
    assert!(wal.read(200..300, 100).unwrap().is_empty());
    assert!(wal.read(20..20, 100).unwrap().is_empty());
}

#[test]
fn purged_segments_are_recycled_and_their_stale_records_never_count() {
    let disk = SimDisk::new();
    let wal = open(&disk).unwrap();
    let mut next = 0;
    for _ in 0..40 {
        append(&wal, entries(1, next..next + 10, 300)).unwrap();
        next += 10;
        wal.purge(position(1, next - 5));
    }
    append(&wal, entries(2, next..next + 1, 300)).unwrap();
    let names = disk.list(Path::new(DIR)).unwrap();
    assert!(names.len() <= 5, "{names:?}");
    drop(wal);
    let newest = disk.list(Path::new(DIR)).unwrap();
    let newest = newest
        .iter()
        .filter(|name| name.ends_with(".seg"))
        .max()
        .unwrap();
    let content = disk.content(&Path::new(DIR).join(newest)).unwrap();
    let text = String::from_utf8_lossy(&content);
    assert!(
        text.contains("entry 1.3"),
        "the last file was not a used one"
    );
    let wal = open(&disk).unwrap();
    assert_eq!(wal.state().last, Some(position(2, next)));
    assert_eq!(everything(&wal).first().unwrap().position.index, next - 4);
}

#[test]
fn the_next_segment_is_prepared_ahead() {
    let disk = SimDisk::new();
    let options = WalOptions {
        prepare_ahead: true,
        ..small()
    };
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let open = || {
        Wal::open(
            Arc::clone(&shared),
            Path::new(DIR),
            IDENTITY,
            options.clone(),
        )
    };
    drop(open().unwrap());
    let mut names = disk.list(Path::new(DIR)).unwrap();
    names.sort();
    assert_eq!(names, ["00000001.seg", "00000002.seg"]);
    let wal = open().unwrap();
    append(&wal, entries(1, 0..100, 1_000)).unwrap();
    drop(wal);
    assert_eq!(everything(&open().unwrap()), entries(1, 0..100, 1_000));
}

#[test]
fn lazy_operations_are_durable_after_close() {
    let disk = SimDisk::new();
    let wal = open(&disk).unwrap();
    append(&wal, entries(1, 0..10, 10)).unwrap();
    let syncs = wal.fsync_stats().count;
    wal.save_committed(position(1, 7));
    wal.save_committed(position(1, 8));
    wal.save_committed(position(1, 99));
    wal.purge(position(1, 3));
    let state = wal.state();
    assert_eq!(
        (state.committed, state.purged),
        (Some(position(1, 8)), Some(position(1, 3)))
    );
    assert_eq!(wal.fsync_stats().count, syncs);
    wal.close();
    disk.stop();
    disk.restart(crate::sim::Loss::Everything, 0);
    assert_eq!(open(&disk).unwrap().state(), state);
}

#[test]
fn queued_appends_share_syncs() {
    let disk = SimDisk::new();
    let wal = open(&disk).unwrap();
    let (gate, opened) = channel::<()>();
    let (inside, reached) = channel();
    // The thread is held inside a callback, so that everything below queues up.
    let hold = Box::new(move |_| {
        inside.send(()).unwrap();
        opened.recv().unwrap();
    });
    wal.save_vote(
        Vote {
            term: 1,
            node_id: 1,
            committed: false,
        },
        hold,
    );
    reached.recv().unwrap();
    let syncs = wal.fsync_stats().count;
    let (sender, receiver) = channel();
    for index in 0..50 {
        let sender = sender.clone();
        let done = Box::new(move |result: io::Result<()>| sender.send(result.is_ok()).unwrap());
        wal.append(vec![entry(1, index, 10)], done);
    }
    gate.send(()).unwrap();
    assert!(receiver.iter().take(50).all(|ok| ok));
    assert_eq!(wal.fsync_stats().count, syncs + 1);
}

#[test]
fn a_sync_error_poisons_the_log_for_good() {
    let disk = SimDisk::new();
    let wal = open(&disk).unwrap();
    append(&wal, entries(1, 0..3, 10)).unwrap();
    disk.fail_syncs(true);
    assert!(append(&wal, entries(1, 3..4, 10)).is_err());
    disk.fail_syncs(false);
    let operations = disk.operations();
    assert!(append(&wal, entries(1, 4..5, 10)).is_err());
    assert!(wait(|done| wal.truncate_after(None, done)).is_err());
    let vote = Vote {
        term: 9,
        node_id: 9,
        committed: false,
    };
    assert!(wait(|done| wal.save_vote(vote, done)).is_err());
    wal.save_committed(position(1, 1));
    assert_eq!(everything(&wal)[..3], entries(1, 0..3, 10));
    drop(wal);
    assert_eq!(
        disk.operations(),
        operations,
        "nothing was written or synced again"
    );
    assert_eq!(open(&disk).unwrap().state().vote, None);
}

#[test]
fn a_panic_in_a_callback_leaves_nobody_waiting() {
    let disk = SimDisk::new();
    let wal = open(&disk).unwrap();
    wal.append(
        entries(1, 0..1, 10),
        Box::new(|_| panic!("expected by the test")),
    );
    let mut index = 1;
    // Accepted while the thread still lives, refused afterwards; answered in any case.
    while append_answered(&wal, index) {
        index += 1;
    }
    assert!(append(&wal, entries(1, index + 1..index + 2, 10)).is_err());
}

/// Whether the append succeeded; a callback dropped with its thread counts as an answer.
fn append_answered(wal: &Wal, index: u64) -> bool {
    let (sender, receiver) = channel();
    wal.append(
        vec![entry(1, index, 10)],
        Box::new(move |result| sender.send(result.is_ok()).unwrap()),
    );
    receiver.recv().unwrap_or(false)
}

#[test]
fn a_full_disk_fails_the_append_and_loses_nothing() {
    let disk = SimDisk::new();
    let wal = open(&disk).unwrap();
    disk.set_capacity(Some(20 << 10));
    let mut stored = 0;
    let error = loop {
        match append(&wal, entries(1, stored..stored + 1, 900)) {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(stored > 5, "{stored}");
    drop(wal);
    disk.set_capacity(None);
    let wal = open(&disk).unwrap();
    assert_eq!(
        everything(&wal)[..stored as usize],
        entries(1, 0..stored, 900)
    );
    let next = wal.state().last.unwrap().index + 1;
    append(&wal, entries(1, next..next + 1, 900)).unwrap();
}

#[test]
fn reads_beside_truncation_and_purging_never_join_what_never_stood_together() {
    let disk = SimDisk::new();
    let wal = Arc::new(open(&disk).unwrap());
    append(&wal, entries(1, 0..50, 200)).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let reader = {
        let (wal, stop) = (Arc::clone(&wal), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut reads = 0;
            while !stop.load(Ordering::Relaxed) {
                let read = wal.read(0..u64::MAX, usize::MAX).unwrap();
                for pair in read.windows(2) {
                    assert_eq!(pair[0].position.index + 1, pair[1].position.index);
                    assert!(pair[0].position.term <= pair[1].position.term);
                }
                reads += 1;
            }
            reads
        })
    };
    for term in 2..120 {
        let last = wal.state().last.unwrap().index;
        wal.truncate_after(Some(last - 20), ignore());
        append(&wal, entries(term, last - 19..last + 10, 200)).unwrap();
        wal.purge(position(term, last - 35));
    }
    stop.store(true, Ordering::Relaxed);
    assert!(reader.join().unwrap() > 0);
}

#[test]
fn works_on_a_real_disk_with_and_without_sync() {
    for sync in [true, false] {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("wal");
        let options = WalOptions { sync, ..small() };
        let open = || Wal::open(Arc::new(RealDisk), &dir, IDENTITY, options.clone());
        let wal = open().unwrap();
        append(&wal, entries(1, 0..100, 700)).unwrap();
        assert_eq!(wal.fsync_stats().count > 0, sync);
        drop(wal);
        assert_eq!(everything(&open().unwrap()), entries(1, 0..100, 700));
    }
}
