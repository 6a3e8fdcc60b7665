//! A snapshot that is being received, as a file of checked frames that survives restarts. Must not
//! know who sends it or what rows mean.
//!
//! The file is `magic | version`, then frames `len u32 | crc32c u32 | kind u8 | body`. It is read
//! up to the first frame that is not whole; what follows is written anew. Losing its end costs a
//! part of the transfer only, so it is synced now and then, to bound what is lost.

mod frame;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::frame::{Frame, Frames, HEADER, Part};
use crate::Error;
use crate::chunk::decode_rows;
use crate::disk::{Disk, DiskFile};
use crate::state::Row;

/// Bytes after which the file is synced.
const SYNC_BYTES: u64 = 8 << 20;

/// A place among rows: all rows at or behind it, by main and sub revision.
pub type Cursor = (i64, u32);

/// What a snapshot says about the rows it has and those it lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Revision of its newest row at the most.
    pub revision: i64,
    /// Its compaction mark.
    pub compacted: i64,
    /// Compaction mark up to which all unreadable rows are gone from it.
    pub swept: i64,
    /// Compaction mark up to which unreadable rows may be gone from it.
    pub sweeping: i64,
}

/// A received part of a snapshot.
#[derive(Debug)]
pub struct Spool {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Option<Arc<dyn DiskFile>>,
    /// End of the last whole frame.
    end: u64,
    synced: u64,
    next: Cursor,
    /// What all snapshots that rows came from have in common; `None` before the first.
    part: Option<Part>,
}

impl Spool {
    /// Opens the file, if there is one. Reads it whole; a torn end, or a file of another version,
    /// is dropped.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(disk: Arc<dyn Disk>, path: &Path) -> Result<Self, Error> {
        let mut spool = Self {
            disk,
            path: path.to_owned(),
            file: None,
            end: HEADER.len() as u64,
            synced: 0,
            next: (0, 0),
            part: None,
        };
        let exists = spool
            .disk
            .exists(path)
            .map_err(Error::io("look for", path))?;
        if exists {
            let file = spool.disk.open(path).map_err(Error::io("open", path))?;
            spool.recover(&file)?;
            spool.file = Some(file);
        }
        Ok(spool)
    }

    /// The first row that is lacking.
    #[must_use]
    pub fn next(&self) -> Cursor {
        self.next
    }

    /// Begins to receive a snapshot, after rows of earlier ones if these may stay, and returns the
    /// first row that is lacking.
    ///
    /// Committed history is the same on all members, so rows of an older snapshot stay true. But a
    /// sweep takes old rows and the deletions that ended them together: rows received before it
    /// must not be joined with rows read after it, or deleted keys would come back.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn begin(&mut self, offer: Offer) -> Result<Cursor, Error> {
        let joined = match self.part {
            None => Part::from(offer),
            Some(part) if part.may_precede(self.next.0, &offer) => part.join(offer),
            Some(_) => {
                self.clear()?;
                Part::from(offer)
            }
        };
        if self.part != Some(joined) {
            self.write(&Frame::Part(joined))?;
            self.part = Some(joined);
        }
        Ok(self.next)
    }

    /// Adds an encoded chunk with the rows from `from` up to before `next`. One that is there
    /// already is passed over.
    ///
    /// # Errors
    /// [`Error::BadChunk`] when it is damaged or does not continue what is there; [`Error::Io`],
    /// also for a full disk. In both cases nothing was added.
    pub fn append(&mut self, from: Cursor, next: Cursor, rows: &[u8]) -> Result<(), Error> {
        if next <= self.next {
            return Ok(());
        }
        let bad = |detail: String| Err(Error::BadChunk { detail });
        if from != self.next {
            let here = self.next;
            return bad(format!("it begins at {from:?}, {here:?} is wanted"));
        }
        if self.part.is_none() {
            return bad("no snapshot was offered before it".to_owned());
        }
        let decoded = decode_rows(rows)?;
        let cursors = || decoded.iter().map(|row| (row.main, row.sub));
        if !cursors().is_sorted_by(|a, b| a < b) || cursors().any(|at| at < from || at >= next) {
            return bad(format!("its rows do not lie between {from:?} and {next:?}"));
        }
        self.write(&Frame::Chunk { next, rows })?;
        self.next = next;
        Ok(())
    }

    /// All rows received, ascending. Holds one chunk in memory at a time.
    pub fn rows(&self) -> impl Iterator<Item = Result<Row, Error>> + '_ {
        let frames = self
            .file
            .as_ref()
            .map(|file| Frames::new(file, &self.path, self.end));
        let chunks = frames
            .into_iter()
            .flatten()
            .filter_map(|frame| match frame {
                Ok(frame) => frame.into_rows(),
                Err(error) => Some(Err(error)),
            });
        chunks.flat_map(|chunk| {
            let (rows, error) = match chunk.and_then(|bytes| decode_rows(&bytes)) {
                Ok(rows) => (rows, None),
                Err(error) => (Vec::new(), Some(Err(error))),
            };
            rows.into_iter().map(Ok).chain(error)
        })
    }

    /// Forgets everything received and frees its space.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn clear(&mut self) -> Result<(), Error> {
        let path = &self.path;
        if self.file.take().is_some() {
            self.disk.remove(path).map_err(Error::io("remove", path))?;
            sync_parent(self.disk.as_ref(), path)?;
        }
        self.end = HEADER.len() as u64;
        self.synced = 0;
        self.next = (0, 0);
        self.part = None;
        Ok(())
    }

    fn recover(&mut self, file: &Arc<dyn DiskFile>) -> Result<(), Error> {
        let mut frames = Frames::new(file, &self.path, u64::MAX);
        if !frames.has_header()? {
            return Ok(());
        }
        while let Some(frame) = frames.next_whole()? {
            match frame.part() {
                Some(part) => self.part = Some(part),
                None => self.next = frame.cursor(),
            }
            self.end = frames.offset();
        }
        self.synced = self.end;
        let len = file.len().map_err(Error::io("read", &self.path))?;
        if len > self.end {
            // Or frames behind the torn one could follow new ones by accident.
            file.set_len(self.end)
                .and_then(|()| file.sync_data())
                .map_err(Error::io("cut", &self.path))?;
        }
        Ok(())
    }

    fn write(&mut self, frame: &Frame<'_>) -> Result<(), Error> {
        let path = &self.path;
        let file = match &self.file {
            Some(file) => file,
            None => {
                let file = self.disk.create(path).map_err(Error::io("create", path))?;
                sync_parent(self.disk.as_ref(), path)?;
                self.file.insert(file)
            }
        };
        let bytes = frame.encode();
        if self.end == HEADER.len() as u64 {
            file.write_at(HEADER, 0).map_err(Error::io("write", path))?;
        }
        file.write_at(&bytes, self.end)
            .map_err(Error::io("write", path))?;
        let end = self.end + bytes.len() as u64;
        if end - self.synced.min(end) >= SYNC_BYTES {
            file.sync_data().map_err(Error::io("sync", path))?;
            self.synced = end;
        }
        self.end = end;
        Ok(())
    }
}

fn sync_parent(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    let parent = path.parent().unwrap_or(Path::new("."));
    disk.sync_dir(parent).map_err(Error::io("sync", parent))
}
