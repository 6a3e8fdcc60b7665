//! Tests of the state file on the simulated disk.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::disk::RealDisk;
use crate::sim::SimDisk;

const PATH: &str = "/data/state.redb";

fn open(disk: &SimDisk) -> Result<State, Error> {
    State::open(
        Arc::new(disk.clone()),
        Path::new(PATH),
        StateOptions::default(),
    )
}

fn row(main: i64, sub: u32) -> Row {
    Row {
        main,
        sub,
        tombstone: main % 5 == 0,
        key: Bytes::from(format!("key-{}", main % 7)),
        create_revision: main / 2,
        version: main,
        lease: -main,
        value: Bytes::from(vec![sub as u8; main as usize % 300]),
    }
}

fn batch(rows: Vec<Row>, index: u64) -> FlushBatch {
    FlushBatch {
        rows,
        applied: LogPosition { term: 1, index },
        ..FlushBatch::default()
    }
}

fn rows(view: &View) -> Vec<Row> {
    let mut rows = Vec::new();
    view.scan((0, 0), usize::MAX, &mut |row| {
        rows.push(row);
        true
    })
    .unwrap();
    rows
}

#[test]
fn a_flush_is_read_back_after_reopening() {
    let disk = SimDisk::new();
    let state = open(&disk).unwrap();
    assert_eq!(state.applied().unwrap(), None);
    assert_eq!(state.membership().unwrap(), None);
    let expected: Vec<_> = (1..200)
        .flat_map(|main| [row(main, 0), row(main, 1)])
        .collect();
    let leases = vec![
        LeaseRow {
            id: 3,
            ttl_seconds: 60,
        },
        LeaseRow {
            id: -4,
            ttl_seconds: 5,
        },
    ];
    let flushed = FlushBatch {
        lease_puts: leases.clone(),
        lease_deletes: vec![3, 77],
        membership: Some(Bytes::from_static(b"members")),
        meta: vec![("compacted", Bytes::from_static(b"12"))],
        ..batch(expected.clone(), 9)
    };
    state.flush(flushed, true).unwrap();
    drop(state);
    let state = open(&disk).unwrap();
    assert_eq!(
        state.applied().unwrap(),
        Some(LogPosition { term: 1, index: 9 })
    );
    assert_eq!(state.membership().unwrap().unwrap(), "members");
    assert_eq!(state.meta("compacted").unwrap().unwrap(), "12");
    assert_eq!(
        state.meta("schema").unwrap(),
        None,
        "own names are out of reach"
    );
    assert_eq!(state.leases().unwrap(), [leases[1], leases[0]]);
    let view = state.view().unwrap();
    assert_eq!(rows(&view), expected);
    assert_eq!(view.row_count().unwrap(), 398);
    assert_eq!(view.last_revision().unwrap(), Some((199, 1)));
    assert_eq!(view.get(50, 1).unwrap(), Some(row(50, 1)));
    assert_eq!(view.get(50, 2).unwrap(), None);
    let mut seen = Vec::new();
    view.scan((50, 1), 3, &mut |row| {
        seen.push((row.main, row.sub));
        seen.len() < 2
    })
    .unwrap();
    assert_eq!(seen, [(50, 1), (51, 0)]);
}

#[test]
fn views_are_snapshots_and_outlive_the_state() {
    let disk = SimDisk::new();
    let state = open(&disk).unwrap();
    state.flush(batch(vec![row(1, 0)], 1), false).unwrap();
    let view = state.view().unwrap();
    state.flush(batch(vec![row(2, 0)], 2), false).unwrap();
    assert_eq!(rows(&state.view().unwrap()).len(), 2);
    drop(state);
    assert_eq!(rows(&view), [row(1, 0)]);
    assert_eq!(view.applied().unwrap().unwrap().index, 1);
}

#[test]
fn rows_that_do_not_ascend_are_refused_with_nothing_written() {
    let disk = SimDisk::new();
    let state = open(&disk).unwrap();
    state.flush(batch(vec![row(5, 0)], 1), true).unwrap();
    for bad in [vec![row(5, 0)], vec![row(4, 9)], vec![row(7, 0), row(6, 0)]] {
        let error = state.flush(batch(bad, 2), true).unwrap_err();
        assert!(matches!(error, Error::UnorderedRow { .. }), "{error}");
    }
    assert_eq!(state.applied().unwrap().unwrap().index, 1);
    assert_eq!(rows(&state.view().unwrap()), [row(5, 0)]);
    state.flush(batch(vec![row(6, 0)], 2), true).unwrap();
}

#[test]
fn sweeping_removes_rows_and_shows_in_the_size() {
    let disk = SimDisk::new();
    let state = open(&disk).unwrap();
    let all: Vec<_> = (1..2_000).map(|main| row(main, 0)).collect();
    state.flush(batch(all, 1), true).unwrap();
    let before = state.size();
    assert!(
        before.in_use > 100_000 && before.in_use <= before.allocated,
        "{before:?}"
    );
    let gone: Vec<_> = (1..1_900)
        .map(|main| (main, 0))
        .chain([(9_999, 9)])
        .collect();
    let meta = [("swept", Bytes::from_static(b"1900"))];
    state.delete_rows(&gone, &meta).unwrap();
    state.delete_rows(&gone[..10], &meta).unwrap();
    assert_eq!(rows(&state.view().unwrap()).len(), 100);
    assert_eq!(state.meta("swept").unwrap().unwrap(), "1900");
    let after = state.size();
    assert!(after.in_use < before.in_use / 2, "{before:?} {after:?}");
    drop(state);
    assert_eq!(open(&disk).unwrap().size().in_use, after.in_use);
}

#[test]
fn replacing_is_complete_or_not_at_all() {
    let disk = SimDisk::new();
    let state = open(&disk).unwrap();
    let lease = LeaseRow {
        id: 1,
        ttl_seconds: 2,
    };
    let old = FlushBatch {
        lease_puts: vec![lease],
        meta: vec![("old", Bytes::from_static(b"1"))],
        ..batch(vec![row(7, 0), row(8, 0)], 1)
    };
    state.flush(old, true).unwrap();
    let failing = [
        Ok(row(1, 0)),
        Err(Error::corrupt(Path::new("snapshot"), 0, "cut off")),
    ];
    let new = FlushBatch {
        lease_puts: vec![],
        ..batch(vec![], 50)
    };
    state.replace(&mut failing.into_iter(), &new).unwrap_err();
    assert_eq!(rows(&state.view().unwrap()), [row(7, 0), row(8, 0)]);
    assert_eq!(state.leases().unwrap(), [lease]);

    let good = [Ok(row(3, 0)), Ok(row(4, 0))];
    state.replace(&mut good.into_iter(), &new).unwrap();
    assert_eq!(rows(&state.view().unwrap()), [row(3, 0), row(4, 0)]);
    assert!(state.leases().unwrap().is_empty());
    assert_eq!(state.meta("old").unwrap(), None);
    drop(state);
    let state = open(&disk).unwrap();
    assert_eq!(state.applied().unwrap().unwrap().index, 50);
    assert!(state.size().in_use < 70_000);
}

#[test]
fn foreign_empty_newer_and_locked_files_are_refused() {
    let disk = SimDisk::new();
    disk.put(Path::new(PATH), b"SQLite format 3\0");
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, Error::ForeignFile { .. }), "{error}");
    disk.put(Path::new(PATH), b"");
    assert!(matches!(open(&disk), Err(Error::ForeignFile { .. })));

    let disk = SimDisk::new();
    let state = open(&disk).unwrap();
    assert!(matches!(open(&disk), Err(Error::Locked { .. })));
    let txn = state.db.begin_write().unwrap();
    let mut meta = txn.open_table(tables::META).unwrap();
    meta.insert(tables::META_SCHEMA, 7u32.to_le_bytes().as_slice())
        .unwrap();
    drop(meta);
    txn.commit().unwrap();
    drop(state);
    assert!(matches!(
        open(&disk),
        Err(Error::FormatVersion { found: 7, .. })
    ));

    let disk = SimDisk::new();
    let file = disk.create(Path::new(PATH)).unwrap();
    let db = redb::Builder::new()
        .create_with_backend(backend::Backend(file))
        .unwrap();
    drop(db);
    let error = open(&disk).unwrap_err();
    assert!(error.to_string().contains("another program"), "{error}");
}

#[test]
fn a_damaged_file_is_refused_or_read_correctly() {
    let disk = SimDisk::new();
    let state = open(&disk).unwrap();
    state
        .flush(batch((1..50).map(|main| row(main, 0)).collect(), 1), true)
        .unwrap();
    drop(state);
    let good = disk.content(Path::new(PATH)).unwrap();
    let mut refused = 0;
    // The header and the pages of an engine that checks them only when it repairs.
    for offset in (0..320).step_by(3) {
        disk.put(Path::new(PATH), &good);
        assert!(disk.flip_bit(Path::new(PATH), offset, 2));
        match open(&disk) {
            Err(_) => refused += 1,
            Ok(state) => assert_eq!(rows(&state.view().unwrap()).len(), 49, "at {offset}"),
        }
    }
    assert!(refused > 3, "{refused}");
}

#[test]
fn after_an_io_error_everything_is_refused_until_reopened() {
    let disk = SimDisk::new();
    let state = open(&disk).unwrap();
    state.flush(batch(vec![row(1, 0)], 1), true).unwrap();
    disk.fail_syncs(true);
    let error = state.flush(batch(vec![row(2, 0)], 2), true).unwrap_err();
    assert!(matches!(&error, Error::Io { .. }), "{error}");
    disk.fail_syncs(false);
    assert!(state.flush(batch(vec![row(3, 0)], 3), true).is_err());
    drop(state);
    let state = open(&disk).unwrap();
    assert!(state.applied().unwrap().unwrap().index <= 2);
    state.flush(batch(vec![row(3, 0)], 3), true).unwrap();
}

#[test]
fn a_full_disk_is_named() {
    let disk = SimDisk::new();
    let state = open(&disk).unwrap();
    disk.set_capacity(Some(state.size().allocated));
    let large = Row {
        value: Bytes::from(vec![1; 8 << 20]),
        ..row(1, 0)
    };
    let error = state.flush(batch(vec![large], 1), true).unwrap_err();
    let Error::Io { source, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn works_on_a_real_disk_with_and_without_sync() {
    for sync in [true, false] {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("state.redb");
        let options = StateOptions {
            sync,
            ..StateOptions::default()
        };
        let open = || State::open(Arc::new(RealDisk), &path, options.clone());
        let state = open().unwrap();
        state.flush(batch(vec![row(1, 0)], 1), true).unwrap();
        assert!(matches!(open(), Err(Error::Locked { .. })));
        drop(state);
        assert_eq!(rows(&open().unwrap().view().unwrap()), [row(1, 0)]);
    }
}

#[test]
fn the_same_flushes_leave_the_same_disk_after_the_same_crash() {
    use crate::sim::Loss;
    let image = |loss| {
        let disk = SimDisk::new();
        // A cache so small that pages are written before the commit, too.
        let options = StateOptions {
            cache_bytes: 64 << 10,
            sync: true,
        };
        let state = State::open(Arc::new(disk.clone()), Path::new(PATH), options).unwrap();
        for round in 0..6 {
            let main = 1 + round * 300;
            let many = (main..main + 300).map(|main| row(main, 0)).collect();
            state
                .flush(batch(many, main as u64), round % 2 == 0)
                .unwrap();
            let some: Vec<_> = (main..main + 200).map(|main| (main, 0)).collect();
            state.delete_rows(&some, &[]).unwrap();
        }
        let held = state.view().unwrap();
        let mut more = (1..900).map(|main| Ok(row(main, 1)));
        state.replace(&mut more, &batch(Vec::new(), 9000)).unwrap();
        drop(held);
        let last = (900..1500).map(|main| row(main, 0)).collect();
        let operations = disk.operations();
        disk.stop_at(operations + 4);
        assert!(state.flush(batch(last, 9001), true).is_err());
        drop(state);
        disk.restart(loss, 5);
        (disk.operations(), disk.content(Path::new(PATH)).unwrap())
    };
    for loss in Loss::ALL {
        let (first, again) = (image(loss), image(loss));
        assert_eq!(first.0, again.0);
        assert!(first.1 == again.1, "{loss:?}: the images differ");
    }
}

#[test]
fn a_full_disk_fails_the_flush_and_room_helps_after_reopening() {
    let disk = SimDisk::new();
    let state = open(&disk).unwrap();
    state.flush(batch(vec![row(1, 0)], 1), true).unwrap();
    disk.set_capacity(Some(state.size().allocated));
    let large: Vec<Row> = (2..9000).map(|main| row(main, 0)).collect();
    let full = state.flush(batch(large.clone(), 2), true).unwrap_err();
    assert!(
        matches!(&full, Error::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull),
        "{full}"
    );
    drop(state);
    disk.set_capacity(None);
    let state = open(&disk).unwrap();
    assert_eq!(state.applied().unwrap().unwrap().index, 1);
    state.flush(batch(large, 2), true).unwrap();
}
