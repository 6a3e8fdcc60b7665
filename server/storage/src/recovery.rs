//! The note that a data directory is being made the start of a new cluster, so that an interrupted
//! recovery can be finished and nothing else uses the half of it. Must not know what is done.

use std::path::Path;

use crate::disk::Disk;
use crate::wal::Identity;
use crate::{Error, LogPosition};

pub(crate) const NAME: &str = "RECOVERING";
pub(crate) const TEMPORARY: &str = "RECOVERING.tmp";
const MAGIC: &[u8; 8] = b"hf-recov";
const BYTES: usize = 68;

/// How far a recovery has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Whose data it becomes.
    pub identity: Identity,
    /// Set once the state is complete and the old log is of no use any more.
    pub state: Option<Complete>,
}

/// What the finished state says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complete {
    /// Last log entry applied.
    pub applied: LogPosition,
    /// Newest term that is known of, at least that of `applied`.
    pub term: u64,
    /// The store's revision.
    pub revision: i64,
}

impl Mark {
    /// Reads the note, if there is one.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, Error> {
        let path = dir.join(NAME);
        if !disk.exists(&path).map_err(Error::io("look for", &path))? {
            return Ok(None);
        }
        let file = disk.open(&path).map_err(Error::io("open", &path))?;
        let mut bytes = [0; BYTES];
        file.read_at(&mut bytes, 0)
            .map_err(Error::io("read", &path))?;
        let mark = decode(&bytes);
        mark.map(Some)
            .ok_or_else(|| Error::corrupt(&path, 0, "it is no note of a recovery"))
    }

    /// Writes the note, atomically and durably, over an earlier one.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
        let (path, temporary) = (dir.join(NAME), dir.join(TEMPORARY));
        remove_if_there(disk, &temporary)?;
        let file = disk
            .create(&temporary)
            .map_err(Error::io("create", &temporary))?;
        file.write_at(&self.encode(), 0)
            .and_then(|()| file.sync_data())
            .map_err(Error::io("write", &temporary))?;
        disk.rename(&temporary, &path)
            .map_err(Error::io("rename", &temporary))?;
        disk.sync_dir(dir).map_err(Error::io("sync", dir))
    }

    /// Removes the note, durably: the recovery is complete.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove(disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
        remove_if_there(disk, &dir.join(TEMPORARY))?;
        remove_if_there(disk, &dir.join(NAME))?;
        disk.sync_dir(dir).map_err(Error::io("sync", dir))
    }

    fn encode(&self) -> [u8; BYTES] {
        let state = self.state.unwrap_or(Complete {
            applied: LogPosition::default(),
            term: 0,
            revision: 0,
        });
        let words = [
            self.identity.cluster_id,
            self.identity.member_id,
            u64::from(self.state.is_some()),
            state.applied.term,
            state.applied.index,
            state.term,
            state.revision.cast_unsigned(),
        ];
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        for (place, word) in bytes[8..].chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let checksum = crc32c::crc32c(&bytes[..BYTES - 4]);
        bytes[BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }
}

fn decode(bytes: &[u8; BYTES]) -> Option<Mark> {
    let (content, checksum) = bytes.split_last_chunk::<4>()?;
    let words = content.strip_prefix(MAGIC)?;
    if crc32c::crc32c(content) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let mut words = words
        .as_chunks::<8>()
        .0
        .iter()
        .map(|word| u64::from_le_bytes(*word));
    let mut next = || words.next().unwrap_or(0);
    let identity = Identity {
        cluster_id: next(),
        member_id: next(),
    };
    let is_complete = next() != 0;
    let applied = LogPosition {
        term: next(),
        index: next(),
    };
    let state = Complete {
        applied,
        term: next(),
        revision: next().cast_signed(),
    };
    Some(Mark {
        identity,
        state: is_complete.then_some(state),
    })
}

/// Removes a file that may be missing, not durably.
///
/// # Errors
/// [`Error::Io`].
pub fn remove_if_there(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    if disk.exists(path).map_err(Error::io("look for", path))? {
        disk.remove(path).map_err(Error::io("remove", path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimDisk;

    #[test]
    fn a_note_survives_and_damage_is_noticed() {
        let (disk, dir) = (SimDisk::new(), Path::new("/data"));
        disk.create_dir_all(dir).unwrap();
        assert_eq!(Mark::read(&disk, dir).unwrap(), None);
        let begun = Mark {
            identity: Identity {
                cluster_id: 7,
                member_id: u64::MAX,
            },
            state: None,
        };
        let complete = Mark {
            state: Some(Complete {
                applied: LogPosition { term: 3, index: 9 },
                term: 5,
                revision: 1 << 40,
            }),
            ..begun
        };
        for mark in [begun, complete] {
            mark.write(&disk, dir).unwrap();
            assert_eq!(Mark::read(&disk, dir).unwrap(), Some(mark));
        }
        assert!(disk.flip_bit(&dir.join(NAME), 20, 1));
        assert!(matches!(Mark::read(&disk, dir), Err(Error::Corrupt { .. })));
        Mark::remove(&disk, dir).unwrap();
        Mark::remove(&disk, dir).unwrap();
        assert_eq!(Mark::read(&disk, dir).unwrap(), None);
    }
}
