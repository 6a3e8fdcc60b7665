//! Segment files: their header, how they are made with all their blocks in place, and how used
//! ones become new ones. Must not know records.
//!
//! A segment is `NNNNNNNN.seg`; its number is also its generation and is never used twice. The
//! header block is synced before the file gets that name, so a segment always has a whole one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Identity;
use crate::Error;
use crate::disk::{Disk, DiskFile};

/// Size of the header block, and of the pages that are written as a whole.
pub(super) const PAGE_BYTES: u64 = 4096;
const SUFFIX: &str = ".seg";
const SPARE_SUFFIX: &str = ".tmp";
const MAGIC: &[u8; 8] = b"hf-wal\r\n";
const FORMAT_VERSION: u32 = 1;
const HEADER_BYTES: usize = 44;
/// Size of the first segment: small, because opening a new log waits for its zeros.
const FIRST_BYTES: u64 = 1 << 20;
/// Each segment is this many times larger than the one before, up to the configured size.
const GROWTH: u64 = 4;
/// Used files kept for reuse.
const SPARES: usize = 2;

/// An open segment file.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    /// Bytes in place; writing beyond them works, but is slow.
    pub(super) bytes: u64,
}

/// Makes, finds and retires segments of one directory.
#[derive(Debug)]
pub(super) struct Segments {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    identity: Identity,
    full_bytes: u64,
    sync: bool,
    spares: Vec<PathBuf>,
    /// A segment could not be retired: later ones stay too, or a gap would look like a loss.
    stuck: bool,
}

impl Segments {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        dir: &Path,
        identity: Identity,
        full_bytes: u64,
        sync: bool,
    ) -> Self {
        let full_bytes = full_bytes
            .next_multiple_of(PAGE_BYTES)
            .clamp(2 * PAGE_BYTES, 1 << 30);
        Self {
            disk,
            dir: dir.to_owned(),
            identity,
            full_bytes,
            sync,
            spares: Vec::new(),
            stuck: false,
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Size for a new segment behind one of `previous` bytes.
    pub(super) fn size_after(&self, previous: u64) -> u64 {
        previous
            .saturating_mul(GROWTH)
            .clamp(FIRST_BYTES.min(self.full_bytes), self.full_bytes)
    }

    /// Opens all segments, ascending, and removes leftovers of interrupted preparations.
    pub(super) fn open_all(&mut self) -> Result<Vec<Segment>, Error> {
        let dir = self.dir.clone();
        self.disk
            .create_dir_all(&dir)
            .map_err(Error::io("create", &dir))?;
        let mut numbers = Vec::new();
        for name in self.disk.list(&dir).map_err(Error::io("list", &dir))? {
            if name.ends_with(SPARE_SUFFIX) {
                let path = dir.join(&name);
                self.disk
                    .remove(&path)
                    .map_err(Error::io("remove", &path))?;
                continue;
            }
            let number = name
                .strip_suffix(SUFFIX)
                .and_then(|digits| digits.parse().ok());
            numbers.push(number.ok_or_else(|| Error::ForeignFile {
                path: dir.join(&name),
                expected: "log segment",
                detail: "its name is no segment number".to_owned(),
            })?);
        }
        numbers.sort_unstable();
        numbers
            .into_iter()
            .map(|number| self.open(number))
            .collect()
    }

    fn open(&self, number: u64) -> Result<Segment, Error> {
        let path = self.path(number);
        let file = self.disk.open(&path).map_err(Error::io("open", &path))?;
        let bytes = file.len().map_err(Error::io("open", &path))?;
        let mut header = [0; HEADER_BYTES];
        match file.read_at(&mut header, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(foreign(&path, "it is too short"));
            }
            other => other.map_err(Error::io("read", &path))?,
        }
        self.check_header(&header, number, &path)?;
        Ok(Segment {
            number,
            path,
            file,
            bytes,
        })
    }

    /// Makes a segment of `bytes` bytes with every block in place and durable, out of a used
    /// file when there is one.
    pub(super) fn make(&mut self, number: u64, bytes: u64) -> io::Result<Segment> {
        let spare = self.spares.pop();
        let made = self.make_from(spare, number, bytes);
        if made.is_err() {
            // The half-made file must not be in the way of the next attempt.
            let _ = self.disk.remove(&self.unfinished(number));
        }
        made
    }

    fn make_from(&self, spare: Option<PathBuf>, number: u64, bytes: u64) -> io::Result<Segment> {
        let path = self.path(number);
        let unfinished = self.unfinished(number);
        let file = match &spare {
            Some(spare) => self.disk.open(spare)?,
            None => self.disk.create(&unfinished)?,
        };
        if spare.is_none() {
            self.fill(file.as_ref(), bytes)?;
        }
        file.write_at(&self.header(number), 0)?;
        if self.sync {
            file.sync_data()?;
        }
        self.disk
            .rename(spare.as_deref().unwrap_or(&unfinished), &path)?;
        self.sync_dir()?;
        let bytes = file.len()?;
        Ok(Segment {
            number,
            path,
            file,
            bytes,
        })
    }

    /// Takes back a segment whose content is no longer needed; `reusable` when nobody reads it.
    pub(super) fn retire(&mut self, segment: &Segment, reusable: bool) -> io::Result<()> {
        if self.stuck {
            return Ok(());
        }
        let retired = self.try_retire(segment, reusable);
        self.stuck = retired.is_err();
        retired
    }

    fn try_retire(&mut self, segment: &Segment, reusable: bool) -> io::Result<()> {
        let fits = (self.full_bytes..=2 * self.full_bytes).contains(&segment.bytes);
        if !reusable || !fits || self.spares.len() >= SPARES {
            self.disk.remove(&segment.path)?;
            return self.sync_dir();
        }
        let spare = self
            .dir
            .join(format!("spare-{:08}{SPARE_SUFFIX}", segment.number));
        self.disk.rename(&segment.path, &spare)?;
        // Before the file is written again: a crash must not bring the old name back for it.
        self.sync_dir()?;
        self.spares.push(spare);
        Ok(())
    }

    fn fill(&self, file: &dyn DiskFile, bytes: u64) -> io::Result<()> {
        if !self.sync {
            return file.set_len(bytes);
        }
        let zeros = vec![0; FIRST_BYTES.min(bytes) as usize];
        let mut offset = 0;
        while offset < bytes {
            let part = zeros.len().min((bytes - offset) as usize);
            file.write_at(&zeros[..part], offset)?;
            offset += part as u64;
            if offset < bytes {
                // In small steps: one big sync would hold up the log's own ones.
                file.sync_data()?;
            }
        }
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        if self.sync {
            self.disk.sync_dir(&self.dir)
        } else {
            Ok(())
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:08}{SUFFIX}"))
    }

    fn unfinished(&self, number: u64) -> PathBuf {
        self.dir.join(format!("next-{number:08}{SPARE_SUFFIX}"))
    }

    fn header(&self, number: u64) -> Vec<u8> {
        let mut header = Vec::with_capacity(PAGE_BYTES as usize);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        header.extend_from_slice(&self.identity.cluster_id.to_le_bytes());
        header.extend_from_slice(&self.identity.member_id.to_le_bytes());
        header.extend_from_slice(&number.to_le_bytes());
        header.extend_from_slice(&crc32c::crc32c(&header).to_le_bytes());
        header.resize(PAGE_BYTES as usize, 0);
        header
    }

    fn check_header(
        &self,
        header: &[u8; HEADER_BYTES],
        number: u64,
        path: &Path,
    ) -> Result<(), Error> {
        let word = |at: usize| {
            header[at..]
                .first_chunk::<8>()
                .map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        if !header.starts_with(MAGIC) {
            return Err(foreign(path, "it starts with other bytes"));
        }
        let version = word(8) as u32;
        if version != FORMAT_VERSION {
            return Err(Error::FormatVersion {
                path: path.to_owned(),
                found: version,
                known: FORMAT_VERSION,
            });
        }
        let checksum = header
            .last_chunk::<4>()
            .map(|bytes| u32::from_le_bytes(*bytes));
        if checksum != Some(crc32c::crc32c(&header[..HEADER_BYTES - 4])) {
            return Err(Error::corrupt(
                path,
                0,
                "the segment header's checksum does not match",
            ));
        }
        let found = Identity {
            cluster_id: word(16),
            member_id: word(24),
        };
        if found != self.identity {
            return Err(Error::OtherMember {
                path: path.to_owned(),
                found_cluster: found.cluster_id,
                found_member: found.member_id,
                cluster: self.identity.cluster_id,
                member: self.identity.member_id,
            });
        }
        if word(32) != number {
            return Err(Error::corrupt(path, 0, "the segment was renamed"));
        }
        Ok(())
    }
}

fn foreign(path: &Path, detail: &str) -> Error {
    let detail = detail.to_owned();
    Error::ForeignFile {
        path: path.to_owned(),
        expected: "log segment",
        detail,
    }
}
