//! The spool against crashes, full disks and senders that change.

use super::*;
use crate::chunk::encode_rows;
use crate::sim::{Loss, SimDisk};

const PATH: &str = "/data/snapshot.spool";

fn open(disk: &SimDisk) -> Spool {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    disk.create_dir_all(Path::new("/data")).unwrap();
    Spool::open(disk, Path::new(PATH)).unwrap()
}

fn row(main: i64) -> Row {
    Row {
        main,
        sub: 0,
        tombstone: false,
        key: format!("key {main}").into(),
        create_revision: main,
        version: 1,
        lease: 0,
        value: vec![main as u8; 700].into(),
    }
}

fn offer(revision: i64, compacted: i64, swept: i64, sweeping: i64) -> Offer {
    Offer {
        revision,
        compacted,
        swept,
        sweeping,
    }
}

/// Appends rows `from..until`.
fn append(spool: &mut Spool, from: i64, until: i64) -> Result<(), Error> {
    let rows: Vec<Row> = (from..until).map(row).collect();
    let begin = if from == 1 { (0, 0) } else { (from, 0) };
    spool.append(begin, (until, 0), &encode_rows(&rows))
}

fn mains(spool: &Spool) -> Vec<i64> {
    spool.rows().map(|row| row.unwrap().main).collect()
}

#[test]
fn rows_come_back_in_order_after_any_restart() {
    let disk = SimDisk::new();
    let mut spool = open(&disk);
    assert_eq!((spool.next(), mains(&spool)), ((0, 0), vec![]));
    assert_eq!(spool.begin(offer(100, -1, -1, -1)).unwrap(), (0, 0));
    append(&mut spool, 1, 10).unwrap();
    append(&mut spool, 10, 12).unwrap();
    append(&mut spool, 10, 12).unwrap();
    let mut spool = open(&disk);
    assert_eq!(spool.next(), (12, 0));
    assert_eq!(spool.begin(offer(100, -1, -1, -1)).unwrap(), (12, 0));
    append(&mut spool, 12, 30).unwrap();
    assert_eq!(mains(&spool), (1..30).collect::<Vec<_>>());
    let whole: Vec<Row> = spool.rows().map(Result::unwrap).collect();
    assert_eq!(whole[20], row(21));
    spool.clear().unwrap();
    assert_eq!((spool.next(), mains(&spool)), ((0, 0), vec![]));
    assert!(disk.content(Path::new(PATH)).is_none());
    spool.clear().unwrap();
    assert_eq!(open(&disk).begin(offer(9, -1, -1, -1)).unwrap(), (0, 0));
}

#[test]
fn what_does_not_continue_it_is_refused() {
    let disk = SimDisk::new();
    let mut spool = open(&disk);
    let refused = |result: Result<(), Error>| {
        assert!(matches!(result, Err(Error::BadChunk { .. })), "{result:?}");
    };
    refused(append(&mut spool, 1, 5));
    spool.begin(offer(100, -1, -1, -1)).unwrap();
    append(&mut spool, 1, 5).unwrap();
    refused(append(&mut spool, 6, 9));
    refused(append(&mut spool, 3, 9));
    let rows = encode_rows(&[row(5), row(9)]);
    refused(spool.append((5, 0), (9, 0), &rows));
    let rows = encode_rows(&[row(7), row(6)]);
    refused(spool.append((5, 0), (9, 0), &rows));
    let mut damaged = encode_rows(&[row(5)]).to_vec();
    damaged[30] ^= 1;
    refused(spool.append((5, 0), (9, 0), &damaged));
    assert_eq!(mains(&spool), [1, 2, 3, 4]);
    append(&mut spool, 5, 6).unwrap();
}

#[test]
fn rows_stay_only_where_no_sweep_can_have_come_between() {
    // (held snapshot, offered snapshot, whether rows below revision 50 may stay)
    let cases = [
        (offer(90, -1, -1, -1), offer(95, -1, -1, -1), true),
        // The same sweep, finished before both.
        (offer(90, 60, 60, 60), offer(95, 70, 60, 60), true),
        // Deletions up to 70 are gone; what they ended may be held.
        (offer(90, 60, 60, 60), offer(95, 70, 70, 70), false),
        (offer(90, 60, 20, 60), offer(95, 60, 60, 60), false),
        (offer(90, 60, 20, 60), offer(95, 60, 20, 60), false),
        // Every deletion that is gone would have come before 50.
        (offer(90, -1, -1, -1), offer(95, 50, -1, 50), true),
        // An older snapshot may end before the rows do, or promise what is gone.
        (offer(90, -1, -1, -1), offer(49, -1, -1, -1), false),
        (offer(90, 60, 60, 60), offer(80, 55, 55, 55), false),
    ];
    for (held, offered, stays) in cases {
        for restart in [false, true] {
            let disk = SimDisk::new();
            let mut spool = open(&disk);
            spool.begin(held).unwrap();
            append(&mut spool, 1, 50).unwrap();
            if restart {
                spool = open(&disk);
            }
            let expected = if stays { (50, 0) } else { (0, 0) };
            assert_eq!(
                spool.begin(offered).unwrap(),
                expected,
                "{held:?} {offered:?}"
            );
            assert_eq!(mains(&spool).len(), if stays { 49 } else { 0 });
        }
    }
}

#[test]
fn what_several_snapshots_brought_is_judged_by_the_worst() {
    let disk = SimDisk::new();
    let mut spool = open(&disk);
    spool.begin(offer(90, 10, -1, -1)).unwrap();
    append(&mut spool, 1, 20).unwrap();
    assert_eq!(spool.begin(offer(95, 20, 20, 20)).unwrap(), (20, 0));
    append(&mut spool, 20, 30).unwrap();
    let mut spool = open(&disk);
    assert_eq!(spool.begin(offer(95, 31, 31, 31)).unwrap(), (0, 0));
}

#[test]
fn any_crash_leaves_a_prefix_that_can_be_continued() {
    let mut kept = std::collections::BTreeSet::new();
    let plain = SimDisk::new();
    let fill = |disk: &SimDisk| -> Result<(), Error> {
        let mut spool = open(disk);
        let begun = spool.begin(offer(1000, -1, -1, -1))?.0.max(1);
        (begun / 10 * 10..100)
            .step_by(10)
            .filter(|from| from + 10 > begun)
            .try_for_each(|from| append(&mut spool, from.max(1), from + 10))
    };
    fill(&plain).unwrap();
    for loss in Loss::ALL {
        for moment in 1..=plain.operations() + 1 {
            let disk = SimDisk::new();
            disk.stop_at(moment);
            let _ = fill(&disk);
            disk.stop();
            disk.restart(loss, moment);
            let spool = open(&disk);
            let held = mains(&spool);
            assert_eq!(held, (1..spool.next().0.max(1)).collect::<Vec<_>>());
            kept.insert(held.len());
            drop(spool);
            fill(&disk).unwrap();
            assert_eq!(mains(&open(&disk)), (1..100).collect::<Vec<_>>());
        }
    }
    assert!(kept.len() > 5, "{kept:?}");
}

#[test]
fn a_full_disk_adds_nothing_and_room_helps() {
    let disk = SimDisk::new();
    let mut spool = open(&disk);
    spool.begin(offer(100, -1, -1, -1)).unwrap();
    append(&mut spool, 1, 5).unwrap();
    disk.set_capacity(Some(4000));
    assert!(matches!(append(&mut spool, 5, 9), Err(Error::Io { .. })));
    disk.set_capacity(None);
    append(&mut spool, 5, 9).unwrap();
    assert_eq!(mains(&open(&disk)), (1..9).collect::<Vec<_>>());
}

#[test]
fn damage_found_while_reading_is_an_error() {
    let disk = SimDisk::new();
    let mut spool = open(&disk);
    spool.begin(offer(100, -1, -1, -1)).unwrap();
    append(&mut spool, 1, 5).unwrap();
    append(&mut spool, 5, 9).unwrap();
    assert!(disk.flip_bit(Path::new(PATH), 4000, 3));
    let last = spool.rows().last().unwrap();
    assert!(matches!(last, Err(Error::Corrupt { .. })), "{last:?}");
    assert_eq!(open(&disk).next(), (5, 0));
}

#[test]
fn a_foreign_file_is_taken_for_nothing() {
    let disk = SimDisk::new();
    disk.put(Path::new(PATH), b"something else entirely");
    let mut spool = open(&disk);
    assert_eq!(spool.begin(offer(9, -1, -1, -1)).unwrap(), (0, 0));
    append(&mut spool, 1, 5).unwrap();
    assert_eq!(open(&disk).next(), (5, 0));
}
