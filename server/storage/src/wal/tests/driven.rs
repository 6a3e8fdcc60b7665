//! The log without a thread: nothing happens but in a step, and a driver that is gone is a crash.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use super::*;
use crate::sim::Loss;

struct Driven {
    wal: Wal,
    driver: WalDriver,
    wakes: Arc<AtomicUsize>,
}

fn driven(disk: &SimDisk) -> Driven {
    let wakes = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&wakes);
    let wake = Arc::new(move || {
        counter.fetch_add(1, Relaxed);
    });
    let disk = Arc::new(disk.clone());
    let (wal, driver) = Wal::open_driven(disk, Path::new(DIR), IDENTITY, small(), wake).unwrap();
    Driven { wal, driver, wakes }
}

type Heard = std::sync::mpsc::Receiver<io::Result<()>>;

fn listen() -> (Done, Heard) {
    let (send, receive) = channel();
    (Box::new(move |result| drop(send.send(result))), receive)
}

#[test]
fn one_step_writes_and_syncs_once_whatever_is_queued() {
    let disk = SimDisk::new();
    let mut log = driven(&disk);
    log.driver.step();
    let before = disk.operations();
    assert!(log.driver.step(), "a step without work is none");
    log.wal.save_committed(position(1, 0));
    assert_eq!(
        (log.wakes.load(Relaxed), log.wal.unsynced_batch()),
        (0, None)
    );
    let heard: Vec<Heard> = (0..5)
        .map(|index| {
            let (done, heard) = listen();
            log.wal.append(vec![entry(1, index, 10)], done);
            heard
        })
        .collect();
    assert_eq!(log.wakes.load(Relaxed), 1);
    assert_eq!(log.wal.unsynced_batch(), Some(1));
    assert!(heard.iter().all(|heard| heard.try_recv().is_err()));
    assert_eq!(disk.operations(), before);
    assert!(log.driver.step());
    assert_eq!(disk.operations(), before + 2, "one write and one sync");
    assert!(heard.iter().all(|heard| heard.try_recv().unwrap().is_ok()));
    assert_eq!(log.wal.unsynced_batch(), None);
    assert_eq!(log.wal.fsync_stats().count, 1);
    let (done, _heard) = listen();
    log.wal.append(vec![entry(1, 5, 10)], done);
    assert_eq!(
        log.wal.unsynced_batch(),
        Some(6),
        "a serial is never used twice"
    );
}

#[test]
fn closing_leaves_the_rest_to_one_more_step() {
    let disk = SimDisk::new();
    let Driven {
        wal,
        mut driver,
        wakes,
    } = driven(&disk);
    let (done, heard) = listen();
    wal.append(vec![entry(1, 0, 10)], done);
    wal.save_committed(position(1, 0));
    wal.close();
    assert_eq!(wakes.load(Relaxed), 2);
    assert!(!driver.step());
    assert!(heard.recv().unwrap().is_ok());
    assert!(!driver.step());
    drop(driver);
    disk.restart(Loss::Everything, 0);
    let log = driven(&disk);
    assert_eq!(log.wal.state().committed, Some(position(1, 0)));
}

#[test]
fn a_dropped_driver_is_a_crash() {
    let disk = SimDisk::new();
    let mut log = driven(&disk);
    let (done, durable) = listen();
    log.wal.append(vec![entry(1, 0, 10)], done);
    log.driver.step();
    assert!(durable.recv().unwrap().is_ok());
    let (done, queued) = listen();
    log.wal.append(vec![entry(1, 1, 10)], done);
    drop(log.driver);
    assert!(queued.recv().unwrap().is_err(), "nobody waits for ever");
    let (done, late) = listen();
    log.wal.append(vec![entry(1, 1, 10)], done);
    assert!(late.recv().unwrap().is_err());
    drop(log.wal);
    disk.stop();
    disk.restart(Loss::Everything, 0);
    assert_eq!(everything(&driven(&disk).wal), entries(1, 0..1, 10));
}

#[test]
fn the_same_calls_and_steps_give_the_same_disk() {
    let image = || {
        let disk = SimDisk::new();
        let mut log = driven(&disk);
        for index in 0..40 {
            log.wal
                .append(entries(1, index * 5..index * 5 + 5, 300), ignore());
            if index % 3 == 0 {
                log.wal.purge(position(1, (index * 5).saturating_sub(60)));
                log.driver.step();
            }
        }
        disk.stop();
        drop(log);
        disk.restart(Loss::Sectors, 7);
        let disk_ref: &dyn Disk = &disk;
        let mut names = disk_ref.list(Path::new(DIR)).unwrap();
        names.sort();
        let contents = names
            .iter()
            .map(|name| disk.content(&Path::new(DIR).join(name)));
        (
            disk.operations(),
            names.clone(),
            contents.collect::<Vec<_>>(),
        )
    };
    assert_eq!(image(), image());
}

#[test]
fn a_log_that_is_restarted_is_empty_and_goes_on_behind() {
    let vote = Vote {
        term: 9,
        node_id: 77,
        committed: false,
    };
    let other = Identity {
        cluster_id: 8,
        member_id: 77,
    };
    let (purged, options) = (position(9, 199), small());
    let at = Path::new(DIR);
    let prepare = |disk: &SimDisk| {
        let mut log = driven(disk);
        log.wal.append(entries(1, 0..200, 300), ignore());
        log.driver.step();
    };
    let plain = SimDisk::new();
    prepare(&plain);
    let first = plain.operations();
    restart(
        Arc::new(plain.clone()),
        at,
        other,
        options.clone(),
        purged,
        vote,
    )
    .unwrap();
    let last = plain.operations();
    for moment in first + 1..=last {
        let disk = SimDisk::new();
        prepare(&disk);
        disk.stop_at(moment);
        let again = || {
            restart(
                Arc::new(disk.clone()),
                at,
                other,
                options.clone(),
                purged,
                vote,
            )
        };
        again().unwrap_err();
        disk.restart(Loss::Sectors, moment);
        again().unwrap();
        disk.stop();
        disk.restart(Loss::Everything, 0);
        let (wal, _driver) =
            Wal::open_driven(Arc::new(disk.clone()), at, other, small(), Arc::new(|| {})).unwrap();
        let state = wal.state();
        assert_eq!(
            (state.vote, state.purged, state.last),
            (Some(vote), Some(purged), Some(purged))
        );
        assert_eq!(everything(&wal), []);
        wal.append(vec![entry(10, 200, 10)], ignore());
        assert_eq!(everything(&wal).len(), 1);
    }
}

#[test]
fn a_full_disk_stops_the_log_with_a_clear_word_and_room_helps_after_a_restart() {
    let disk = SimDisk::new();
    let mut log = driven(&disk);
    log.wal.append(entries(1, 0..10, 300), ignore());
    log.driver.step();
    disk.set_capacity(Some(20 << 10));
    let (done, heard) = listen();
    log.wal.append(entries(1, 10..200, 300), done);
    log.driver.step();
    let error = heard.recv().unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(error.to_string().contains("free space"), "{error}");
    disk.set_capacity(None);
    let (done, heard) = listen();
    log.wal.append(entries(1, 200..201, 300), done);
    assert!(heard.recv().unwrap().is_err(), "not before a restart");
    drop(log);
    let mut log = driven(&disk);
    let held = log.wal.state().last.unwrap().index + 1;
    assert!(held >= 10);
    let (done, heard) = listen();
    log.wal.append(entries(2, held..held + 100, 300), done);
    log.driver.step();
    assert!(heard.recv().unwrap().is_ok());
}
