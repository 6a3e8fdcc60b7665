//! The frames of a spool: their form, and reading them one by one. Must not write.

use std::path::Path;
use std::sync::Arc;

use super::{Cursor, Offer};
use crate::Error;
use crate::disk::DiskFile;

/// Magic and version.
pub(super) const HEADER: &[u8; 16] = b"hf-spool\r\n\0\0\x01\0\0\0";
const FRAME_BYTES: usize = 9;
/// Longest body believed; chunks are about a MiB, one with a huge row more.
const MAX_BODY_BYTES: usize = 1 << 30;
const PART: u8 = 1;
const CHUNK: u8 = 2;
const CURSOR_BYTES: usize = 12;

/// What can be said of all snapshots that the rows came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The lowest mark up to which all unreadable rows are gone.
    swept: i64,
    /// The highest mark up to which unreadable rows may be gone.
    sweeping: i64,
}

impl From<Offer> for Part {
    fn from(offer: Offer) -> Self {
        Self {
            swept: offer.swept,
            sweeping: offer.sweeping,
        }
    }
}

impl Part {
    /// Whether these rows, which end before revision `next`, may be joined with those that the
    /// offered snapshot has from there on.
    pub(super) fn may_precede(self, next: i64, offer: &Offer) -> bool {
        // A deletion that is gone from the snapshot lies below `sweeping`. Either it would have
        // come before `next`, or the rows it ended were gone from all earlier snapshots as well.
        let consistent = offer.sweeping <= next.max(self.swept);
        // The snapshot must not promise to read what an earlier one had lost, nor be too old.
        consistent && self.sweeping <= offer.compacted && next <= offer.revision
    }

    pub(super) fn join(self, offer: Offer) -> Self {
        Self {
            swept: self.swept.min(offer.swept),
            sweeping: self.sweeping.max(offer.sweeping),
        }
    }
}

/// A frame to write.
#[derive(Debug)]
pub(super) enum Frame<'a> {
    Part(Part),
    Chunk { next: Cursor, rows: &'a [u8] },
}

impl Frame<'_> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; 8];
        match self {
            Self::Part(part) => {
                bytes.push(PART);
                bytes.extend_from_slice(&part.swept.to_le_bytes());
                bytes.extend_from_slice(&part.sweeping.to_le_bytes());
            }
            Self::Chunk { next, rows } => {
                bytes.push(CHUNK);
                bytes.extend_from_slice(&next.0.to_le_bytes());
                bytes.extend_from_slice(&next.1.to_le_bytes());
                bytes.extend_from_slice(rows);
            }
        }
        let length = (bytes.len() - FRAME_BYTES) as u32;
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        let checksum = checksum(&bytes);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }
}

fn checksum(frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&frame[..4]), &frame[8..])
}

/// A frame that was read and is whole.
#[derive(Debug)]
pub(super) struct Found {
    bytes: Vec<u8>,
}

impl Found {
    fn new(bytes: Vec<u8>) -> Option<Self> {
        let sum = bytes.get(4..8)?.first_chunk().copied()?;
        if checksum(&bytes) != u32::from_le_bytes(sum) {
            return None;
        }
        let found = Self { bytes };
        let long_enough = match found.kind() {
            PART => found.body().len() == 16,
            CHUNK => found.body().len() >= CURSOR_BYTES,
            _ => false,
        };
        long_enough.then_some(found)
    }

    fn kind(&self) -> u8 {
        self.bytes[FRAME_BYTES - 1]
    }

    fn body(&self) -> &[u8] {
        &self.bytes[FRAME_BYTES..]
    }

    fn word(&self, at: usize) -> i64 {
        let word = self.body().get(at..).and_then(<[u8]>::first_chunk);
        word.map_or(0, |word| i64::from_le_bytes(*word))
    }

    pub(super) fn part(&self) -> Option<Part> {
        (self.kind() == PART).then(|| Part {
            swept: self.word(0),
            sweeping: self.word(8),
        })
    }

    /// Of a chunk: the first row behind it.
    pub(super) fn cursor(&self) -> Cursor {
        let sub = self.body().get(8..).and_then(<[u8]>::first_chunk);
        (self.word(0), sub.map_or(0, |sub| u32::from_le_bytes(*sub)))
    }

    /// The encoded rows, if it is a chunk.
    pub(super) fn into_rows(mut self) -> Option<Result<Vec<u8>, Error>> {
        if self.kind() != CHUNK {
            return None;
        }
        self.bytes.drain(..FRAME_BYTES + CURSOR_BYTES);
        Some(Ok(self.bytes))
    }
}

/// Reads frames up to an offset.
#[derive(Debug)]
pub(super) struct Frames<'a> {
    file: &'a Arc<dyn DiskFile>,
    path: &'a Path,
    offset: u64,
    end: u64,
}

impl<'a> Frames<'a> {
    pub(super) fn new(file: &'a Arc<dyn DiskFile>, path: &'a Path, end: u64) -> Self {
        Self {
            file,
            path,
            offset: HEADER.len() as u64,
            end,
        }
    }

    /// Whether this is a spool at all.
    pub(super) fn has_header(&self) -> Result<bool, Error> {
        let header = self.read(0, HEADER.len())?;
        Ok(header.is_some_and(|header| header == HEADER))
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next frame, `None` where there is no whole one.
    pub(super) fn next_whole(&mut self) -> Result<Option<Found>, Error> {
        let Some(length) = self.read(self.offset, 4)? else {
            return Ok(None);
        };
        let length = length.first_chunk().map_or(0, |b| u32::from_le_bytes(*b)) as usize;
        if length > MAX_BODY_BYTES {
            return Ok(None);
        }
        let Some(bytes) = self.read(self.offset, FRAME_BYTES + length)? else {
            return Ok(None);
        };
        let size = bytes.len() as u64;
        let found = Found::new(bytes);
        if found.is_some() {
            self.offset += size;
        }
        Ok(found)
    }

    fn read(&self, offset: u64, bytes: usize) -> Result<Option<Vec<u8>>, Error> {
        let len = self.file.len().map_err(Error::io("read", self.path))?;
        if offset + bytes as u64 > len.min(self.end) {
            return Ok(None);
        }
        let mut buffer = vec![0; bytes];
        self.file
            .read_at(&mut buffer, offset)
            .map_err(Error::io("read", self.path))?;
        Ok(Some(buffer))
    }
}

impl Iterator for Frames<'_> {
    type Item = Result<Found, Error>;

    /// Unlike [`Frames::next_whole`], takes a frame that is not whole before the end for damage.
    fn next(&mut self) -> Option<Self::Item> {
        if self.offset >= self.end {
            return None;
        }
        let next = match self.next_whole() {
            Ok(Some(found)) => return Some(Ok(found)),
            Ok(None) => Error::corrupt(self.path, self.offset, "a frame is damaged"),
            Err(error) => error,
        };
        self.offset = self.end;
        Some(Err(next))
    }
}
