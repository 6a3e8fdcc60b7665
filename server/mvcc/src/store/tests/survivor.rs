//! Recovering a survivor's data, interrupted wherever it can be.

use std::io;

use handfast_storage::{
    disk::Disk,
    sim::{Loss, SimDisk},
    wal::{self, Identity, Wal, WalOptions},
};

use super::*;
use crate::survivor::{Recovered, Recovery, Survivor};

const OLD: Identity = Identity {
    cluster_id: 1,
    member_id: 2,
};
const NEW: Identity = Identity {
    cluster_id: 8,
    member_id: 9,
};
const BUMP: i64 = 1000;

fn survivor(disk: &SimDisk, identity: Identity) -> Survivor {
    let at = |name| Path::new("/data").join(name);
    Survivor {
        disk: Arc::new(disk.clone()),
        root: at(""),
        wal_dir: at("wal"),
        state_path: at("state.redb"),
        spool_path: at("spool"),
        identity,
        wal: WalOptions {
            segment_bytes: 16 << 10,
            ..WalOptions::default()
        },
        state: StateOptions::default(),
        store: StoreOptions::default(),
    }
}

fn command(op: Op) -> Bytes {
    Command { op: Some(op) }.encode_to_vec().into()
}

fn entries(entry: wal::Entry) -> io::Result<Vec<LogEntry>> {
    Ok(vec![LogEntry {
        position: entry.position,
        payload: Payload::Command(entry.payload),
    }])
}

fn membership(identity: Identity, position: LogPosition) -> Bytes {
    bytes(format!("{} at {position:?}", identity.member_id))
}

fn recovery() -> Recovery<'static> {
    Recovery {
        identity: NEW,
        bump: BUMP,
        membership: &membership,
        entries: &entries,
    }
}

fn log(survivor: &Survivor) -> (Wal, wal::WalDriver) {
    let disk = Arc::clone(&survivor.disk);
    let options = survivor.wal.clone();
    Wal::open_driven(
        disk,
        &survivor.wal_dir,
        survivor.identity,
        options,
        Arc::new(|| {}),
    )
    .unwrap()
}

fn store(survivor: &Survivor) -> Store {
    let disk = Arc::clone(&survivor.disk);
    let state = State::open(disk, &survivor.state_path, survivor.state.clone()).unwrap();
    Store::open(Arc::new(state), survivor.store.clone()).unwrap()
}

/// 40 entries, 25 of them committed, 10 in the state.
fn member(disk: &SimDisk) -> Survivor {
    disk.create_dir_all(Path::new("/data")).unwrap();
    let survivor = survivor(disk, OLD);
    let (wal, mut driver) = log(&survivor);
    let all: Vec<wal::Entry> = (1..=40)
        .map(|index| wal::Entry {
            position: LogPosition {
                term: 1 + index / 20,
                index,
            },
            payload: command(put(&format!("k{}", index % 13), &index.to_string())),
        })
        .collect();
    wal.append(all.clone(), Box::new(|_| {}));
    driver.step();
    wal.save_committed(all[24].position);
    let vote = wal::Vote {
        term: 7,
        node_id: 3,
        committed: true,
    };
    wal.save_vote(vote, Box::new(|_| {}));
    driver.step();
    let store = store(&survivor);
    store.apply(
        all[..10]
            .iter()
            .cloned()
            .flat_map(|e| entries(e).unwrap())
            .collect(),
    );
    store.flush().unwrap();
    disk.put(&survivor.spool_path, b"half of a snapshot");
    survivor
}

/// What everything must look like afterwards, whatever came between.
fn check(disk: &SimDisk, recovered: Recovered) {
    let survivor = survivor(disk, NEW);
    let last = LogPosition { term: 3, index: 40 };
    assert_eq!((recovered.identity, recovered.applied), (NEW, last));
    let (wal, _driver) = log(&survivor);
    let state = wal.state();
    assert_eq!((state.purged, state.last), (Some(last), Some(last)));
    let vote = state.vote.unwrap();
    assert_eq!((vote.term, vote.node_id, vote.committed), (7, 9, false));
    let store = store(&survivor);
    assert_eq!(store.applied(), Some(last));
    assert_eq!(store.revision(), recovered.revision);
    assert_eq!((recovered.revision - 41) % BUMP, 0);
    assert!(recovered.revision > 41);
    assert_eq!(store.compact_revision(), recovered.revision);
    assert_eq!(store.membership(), Some(membership(NEW, last)));
    let kvs = store.range(&range("k", "l")).unwrap().kvs;
    assert_eq!(kvs.len(), 13);
    assert!(kvs.iter().all(|kv| (29..=41).contains(&kv.mod_revision)));
    assert!(!disk.exists(&survivor.spool_path).unwrap());
}

#[test]
fn everything_the_log_has_is_kept() {
    let disk = SimDisk::new();
    let recovered = member(&disk).recover(&recovery()).unwrap();
    assert_eq!((recovered.revision, recovered.undecided), (41 + BUMP, 15));
    check(&disk, recovered);
}

#[test]
fn an_interrupted_recovery_can_be_repeated() {
    let plain = SimDisk::new();
    let begun = {
        let survivor = member(&plain);
        let before = plain.operations();
        survivor.recover(&recovery()).unwrap();
        survivor.finish().unwrap();
        before
    };
    for moment in begun + 1..=plain.operations() {
        for loss in [Loss::Everything, Loss::Sectors] {
            let disk = SimDisk::new();
            let survivor = member(&disk);
            disk.stop_at(moment);
            let first = survivor.recover(&recovery());
            assert!(first.is_err() || survivor.finish().is_err());
            disk.restart(loss, moment);
            let begun = disk.exists(Path::new("/data/RECOVERING")).unwrap();
            if let (Ok(complete), false) = (first, begun) {
                check(&disk, complete);
                continue;
            }
            // Another identity is proposed the second time, as a new process would.
            let again = Recovery {
                identity: Identity {
                    cluster_id: 80,
                    member_id: 90,
                },
                ..recovery()
            };
            let again = if begun { again } else { recovery() };
            let recovered = survivor.recover(&again).unwrap();
            survivor.finish().unwrap();
            assert!(!disk.exists(Path::new("/data/RECOVERING")).unwrap());
            disk.stop();
            disk.restart(Loss::Everything, 0);
            check(&disk, recovered);
        }
    }
}

#[test]
fn a_log_that_does_not_reach_back_to_the_state_is_refused() {
    let disk = SimDisk::new();
    let survivor = member(&disk);
    {
        let (wal, mut driver) = log(&survivor);
        wal.purge(LogPosition { term: 1, index: 15 });
        wal.close();
        driver.step();
    }
    let refused = survivor.recover(&recovery()).unwrap_err().to_string();
    assert!(refused.contains("choose another survivor"), "{refused}");
}

#[test]
fn a_whole_directory_is_recovered_with_its_identity() {
    use handfast_storage::data_dir::DataDir;
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("data");
    let mut dir = DataDir::open(&path).unwrap();
    dir.set_identity(OLD).unwrap();
    dir.write_join_token("old").unwrap();
    {
        let real = Survivor::in_dir(&dir).unwrap();
        let store = store(&real);
        store.apply(vec![LogEntry {
            position: LogPosition { term: 1, index: 1 },
            payload: Payload::Command(command(put("k", "v"))),
        }]);
        store.flush().unwrap();
        let (wal, _) = log(&real);
        wal.close();
    }
    drop(dir);
    let mut dir = DataDir::open_for_recovery(&path).unwrap();
    let recovered = crate::survivor::recover(&mut dir, &recovery()).unwrap();
    assert_eq!((recovered.identity, recovered.revision), (NEW, 2 + BUMP));
    drop(dir);
    let dir = DataDir::open(&path).unwrap();
    assert_eq!(dir.identity(), Some(NEW));
    assert_eq!(dir.join_token().unwrap(), None);
    let real = Survivor::in_dir(&dir).unwrap();
    assert_eq!(log(&real).0.state().last, Some(recovered.applied));
    assert_eq!(store(&real).revision(), 2 + BUMP);
}

#[test]
fn a_look_at_a_survivor_sees_what_only_its_log_has_and_writes_nothing() {
    let disk = SimDisk::new();
    let survivor = member(&disk);
    let of_log = |entry: wal::Entry| {
        Ok(vec![LogEntry {
            position: entry.position,
            payload: match entry.position.index {
                30 => Payload::Membership(bytes("three of them")),
                _ => Payload::Command(entry.payload),
            },
        }])
    };
    for _ in 0..2 {
        let seen = survivor.look(&of_log).unwrap();
        assert_eq!((seen.applied_index, seen.last_index), (10, 40));
        assert_eq!(seen.store.membership(), Some(bytes("three of them")));
        assert_eq!(seen.store.revision(), 40);
    }
    assert_eq!(store(&survivor).revision(), 11);
}
