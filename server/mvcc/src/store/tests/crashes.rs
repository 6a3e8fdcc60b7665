//! A disk that fails or loses what was not synced: the log makes up for it, or the store stops.

use handfast_storage::{
    disk::Disk,
    sim::{Loss, SimDisk},
};

use super::*;
use crate::Error;

const PATH: &str = "/data/state.redb";
/// Moments of a run at which the machine stops, for each kind of loss.
const MOMENTS: u64 = 40;

fn open_on(disk: &SimDisk, options: &StoreOptions) -> Result<Store, Error> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    disk.create_dir_all(Path::new("/data")).unwrap();
    let state = State::open(disk, Path::new(PATH), StateOptions::default())?;
    Store::open(Arc::new(state), options.clone())
}

/// Commands that leave superseded versions, deletions, leases and compactions behind.
fn script() -> Vec<LogEntry> {
    let mut ops = vec![grant(1)];
    for round in 0..12_i64 {
        for at in 0..30 {
            ops.push(put(&format!("k{at:02}"), &"v".repeat(20 + round as usize)));
        }
        let attached = PutRequest {
            lease: round + 1,
            ..put_request("leased", "x")
        };
        ops.extend([
            Op::Put(attached),
            delete("k2", "k3"),
            revoke(round + 1),
            grant(round + 2),
        ]);
        if round % 3 == 2 {
            ops.push(compact(30 * round - 7));
        }
    }
    let entry = |(index, op)| LogEntry {
        position: LogPosition { term: 1, index },
        payload: Payload::Command(Command { op: Some(op) }.encode_to_vec().into()),
    };
    (1..).zip(ops).map(entry).collect()
}

/// Applies the log in batches and carries it to the disk, until that fails.
fn run(store: &Store, log: &[LogEntry]) -> Result<(), Error> {
    for (at, batch) in log.chunks(23).enumerate() {
        store.apply(batch.to_vec());
        if at % 2 == 1 {
            store.flush()?;
        }
        store.sweep()?;
    }
    store.flush()?;
    while store.sweep()? {}
    Ok(())
}

fn visible(store: &Store) -> String {
    let all = |revision| {
        store
            .range(&RangeRequest {
                revision,
                ..range("\0", "\0")
            })
            .unwrap()
    };
    let old: Vec<_> = (store.compact_revision()..=store.revision())
        .step_by(10)
        .map(all)
        .collect();
    format!(
        "{:?} {:?} {:?} {old:?}",
        store.applied(),
        store.leases().list(),
        store.hash_kv(0)
    )
}

#[test]
fn after_any_crash_the_log_leads_to_the_same_state() {
    let (log, options) = (
        script(),
        StoreOptions {
            value_cache_bytes: 0,
            ..Default::default()
        },
    );
    let whole = SimDisk::new();
    let store = open_on(&whole, &options).unwrap();
    run(&store, &log).unwrap();
    let expected = visible(&store);
    drop(store);
    let operations = whole.operations();
    let mut unsynced = 0;
    for loss in Loss::ALL {
        for moment in 0..MOMENTS {
            let disk = SimDisk::new();
            disk.stop_at(1 + moment * operations / MOMENTS);
            if let Ok(store) = open_on(&disk, &options) {
                assert!(run(&store, &log).is_err() || disk.operations() < operations);
            }
            disk.restart(loss, moment);
            unsynced += disk.unsynced_stops();
            let store = open_on(&disk, &options).unwrap();
            let durable = store.applied().map_or(0, |position| position.index) as usize;
            store.apply(log[durable..].to_vec());
            assert_eq!(visible(&store), expected, "{loss:?} at {moment}");
        }
    }
    assert!(
        unsynced > MOMENTS,
        "crashes met unsynced data {unsynced} times only"
    );
}

#[test]
fn a_disk_that_does_not_take_a_flush_stops_the_store_before_memory_runs_out() {
    let options = StoreOptions {
        unflushed_limit_bytes: 20_000,
        ..StoreOptions::default()
    };
    let disk = SimDisk::new();
    let store = open_on(&disk, &options).unwrap();
    let log = script();
    store.apply(log[..10].to_vec());
    assert!(store.flush().unwrap());
    disk.fail_syncs(true);
    store.apply(log[10..20].to_vec());
    assert!(matches!(store.flush(), Err(Error::Storage(_))));
    assert_eq!(store.durable_applied().unwrap().index, 10);
    assert_eq!(
        store.range(&range("k", "l")).unwrap().count,
        19,
        "reads go on"
    );
    let mut answers = Vec::new();
    for batch in log[20..].chunks(10) {
        answers.extend(store.apply(batch.to_vec()));
    }
    assert!(matches!(
        answers.last().unwrap().result,
        Err(Error::Halted(_))
    ));
    let applied = store.applied().unwrap().index as usize;
    assert_eq!(
        answers
            .iter()
            .filter(|a| !matches!(a.result, Err(Error::Halted(_))))
            .count(),
        applied - 20
    );
    assert!(matches!(
        store.range(&range("k", "l")),
        Err(Error::Halted(_))
    ));
    assert!(matches!(store.flush(), Err(Error::Halted(_))));
    drop(store);

    disk.fail_syncs(false);
    let store = open_on(&disk, &options).unwrap();
    store.apply(log[store.applied().unwrap().index as usize..].to_vec());
    let plain = open_on(&SimDisk::new(), &options).unwrap();
    plain.apply(log.clone());
    assert_eq!(visible(&store), visible(&plain));
}

#[test]
fn a_row_that_is_missing_stops_the_store_instead_of_answering_without_it() {
    let options = StoreOptions {
        value_cache_bytes: 0,
        recent_bytes: 0,
        ..StoreOptions::default()
    };
    let disk = SimDisk::new();
    let store = open_on(&disk, &options).unwrap();
    let entry = |index, op| LogEntry {
        position: LogPosition { term: 1, index },
        payload: Payload::Command(Command { op: Some(op) }.encode_to_vec().into()),
    };
    store.apply(vec![entry(1, put("a", "1"))]);
    store.flush().unwrap();
    store.state.delete_rows(&[(2, 0)], &[]).unwrap();
    store.apply(vec![entry(2, put("b", "1"))]);
    store.flush().unwrap();
    assert!(matches!(
        store.range(&range("a", "")),
        Err(Error::Halted(_))
    ));
    assert_eq!(
        store.range(&range("b", "")).unwrap().count,
        1,
        "a failed read is no reason"
    );
    let reads = PutRequest {
        prev_kv: true,
        ..put_request("a", "2")
    };
    let answers = store.apply(vec![
        entry(3, put("c", "1")),
        entry(4, Op::Put(reads)),
        entry(5, put("d", "1")),
    ]);
    assert!(answers[0].result.is_ok());
    assert!(matches!(answers[1].result, Err(Error::Halted(_))));
    assert!(matches!(answers[2].result, Err(Error::Halted(_))));
    assert_eq!(store.applied().unwrap().index, 3);
    assert!(matches!(
        store.range(&range("b", "")),
        Err(Error::Halted(_))
    ));
    assert!(matches!(store.sweep(), Ok(false)));
    assert_eq!(
        store.watch().recent().revision(),
        4,
        "watchers hear of what was applied only"
    );
}
