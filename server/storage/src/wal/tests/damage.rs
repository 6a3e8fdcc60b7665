//! Damage to what was acknowledged is refused; a torn last write is cut.

use super::*;
use crate::sim::Loss;

const FIRST: &str = "/data/wal/00000001.seg";

/// A log of single-entry writes; returns the disk and where the records of each write start.
fn written(count: u64) -> (SimDisk, Vec<u64>) {
    let disk = SimDisk::new();
    let wal = open(&disk).unwrap();
    let mut starts = Vec::new();
    for index in 0..count {
        append(&wal, vec![entry(1, index, 40)]).unwrap();
        let content = disk.content(Path::new(FIRST)).unwrap();
        let needle = format!("entry 1.{index} ");
        let at = content
            .windows(needle.len())
            .position(|window| window == needle.as_bytes());
        starts.push(at.unwrap() as u64 - 32);
    }
    (disk, starts)
}

#[test]
fn a_flipped_bit_in_any_acknowledged_write_but_the_last_is_refused() {
    let (disk, starts) = written(6);
    let last = *starts.last().unwrap();
    let end = last + 72;
    let mut refused = 0;
    for offset in 4096..end {
        assert!(disk.flip_bit(Path::new(FIRST), offset, (offset % 8) as u8));
        match open(&disk) {
            Err(Error::Corrupt { path, .. }) => {
                assert_eq!(path, Path::new(FIRST));
                refused += 1;
            }
            Err(error) => panic!("at {offset}: {error}"),
            Ok(wal) => {
                let len = everything(&wal).len();
                let in_padding = len == 6;
                assert!(
                    in_padding || (len == 5 && offset >= last),
                    "at {offset}: {len}"
                );
            }
        }
        // Opening may have cut the last write, so it is restored as a whole.
        let (fresh, _) = written(6);
        disk.put(Path::new(FIRST), &fresh.content(Path::new(FIRST)).unwrap());
    }
    assert!(refused > 300, "{refused}");
}

#[test]
fn a_refused_log_is_not_changed() {
    let (disk, starts) = written(6);
    assert!(disk.flip_bit(Path::new(FIRST), starts[2] + 40, 0));
    let before = disk.content(Path::new(FIRST));
    let error = open(&disk).unwrap_err();
    assert!(
        error.to_string().contains("00000001.seg is damaged"),
        "{error}"
    );
    assert_eq!(disk.content(Path::new(FIRST)), before);
}

#[test]
fn damage_at_the_end_of_an_older_segment_is_refused() {
    let disk = SimDisk::new();
    let wal = open(&disk).unwrap();
    append(&wal, entries(1, 0..100, 900)).unwrap();
    drop(wal);
    let content = disk.content(Path::new(FIRST)).unwrap();
    let end = content.iter().rposition(|&byte| byte == b'x').unwrap();
    assert!(disk.flip_bit(Path::new(FIRST), end as u64, 3));
    assert!(matches!(open(&disk), Err(Error::Corrupt { .. })));
}

#[test]
fn damage_behind_the_recovered_part_is_found_when_read() {
    let disk = SimDisk::new();
    let wal = open(&disk).unwrap();
    append(&wal, entries(1, 0..30, 900)).unwrap();
    assert!(disk.flip_bit(Path::new(FIRST), 4096 + 3_000, 1));
    let error = wal.read(0..30, usize::MAX).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(error.to_string().contains("00000001.seg"), "{error}");
}

#[test]
fn a_missing_segment_is_refused() {
    for missing in ["00000001.seg", "00000002.seg"] {
        let disk = SimDisk::new();
        let wal = open(&disk).unwrap();
        append(&wal, entries(1, 0..100, 900)).unwrap();
        drop(wal);
        disk.remove(&Path::new(DIR).join(missing)).unwrap();
        let error = open(&disk).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{missing}: {error}");
    }
}

#[test]
fn logs_of_others_are_refused() {
    let (disk, _) = written(2);
    let other = Identity {
        cluster_id: 1,
        member_id: 3,
    };
    let opened = Wal::open(Arc::new(disk.clone()), Path::new(DIR), other, small());
    assert!(matches!(
        opened,
        Err(Error::OtherMember {
            found_member: 2,
            member: 3,
            ..
        })
    ));

    let good = disk.content(Path::new(FIRST)).unwrap();
    let mut newer = good.clone();
    newer[8] = 9;
    disk.put(Path::new(FIRST), &newer);
    assert!(matches!(
        open(&disk),
        Err(Error::FormatVersion { found: 9, .. })
    ));
    let mut flipped = good.clone();
    flipped[20] ^= 1;
    disk.put(Path::new(FIRST), &flipped);
    assert!(matches!(open(&disk), Err(Error::Corrupt { .. })));
    disk.put(Path::new(FIRST), b"PNG");
    assert!(matches!(open(&disk), Err(Error::ForeignFile { .. })));
    disk.put(Path::new(FIRST), &good);
    disk.put(&Path::new(DIR).join("holiday.jpg"), b"");
    let error = open(&disk).unwrap_err();
    assert!(error.to_string().contains("holiday.jpg"), "{error}");
}

/// Later records of a torn write must not come back to life behind the writes that replace it.
#[test]
fn what_a_torn_write_left_never_follows_its_replacement() {
    let mut dangerous = 0;
    for seed in 0..60 {
        let disk = SimDisk::new();
        let wal = open(&disk).unwrap();
        // Fills the first page behind the header, so that records of one sector each follow.
        append(&wal, vec![entry(1, 0, 4_096 - 40 - 32)]).unwrap();
        disk.stop_at(disk.operations() + 1);
        assert!(append(&wal, entries(7, 1..17, 480)).is_err());
        drop(wal);
        disk.restart(Loss::Sectors, seed);
        let torn = disk.content(Path::new(FIRST)).unwrap();
        let wal = open(&disk).unwrap();
        let next = wal.state().last.unwrap().index + 1;
        // Ends with its page, just before the ninth record of the torn write.
        dangerous += u64::from(next == 1 && torn[8_192 + 8 * 512 + 12] != 0);
        append(&wal, entries(8, next..next + 8, 480)).unwrap();
        disk.stop();
        drop(wal);
        disk.restart(Loss::Everything, seed);
        let wal = open(&disk).unwrap();
        assert_eq!(wal.state().last, Some(position(8, next + 7)), "seed {seed}");
    }
    assert!(dangerous > 5, "{dangerous}");
}
