//! Reads records from a segment in order, and searches for records behind damage. Must not
//! interpret them.

use std::io;

use super::record::{self, ALIGN, HEADER_BYTES, Header, Record};
use super::segment::Segment;

/// A record and where it was found.
#[derive(Debug)]
pub(super) struct Located<'a> {
    pub(super) offset: u64,
    pub(super) crc: u32,
    pub(super) record: Record<'a>,
}

/// Walks over the records of a segment.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    segment: &'a Segment,
    seed: u32,
    end: u64,
    offset: u64,
    /// Start of the write that the last record belongs to, once known.
    batch: Option<u64>,
    window: Window,
    chunk: usize,
}

impl<'a> Reader<'a> {
    /// Reads `chunk` bytes at a time, beginning with the record at `offset`.
    pub(super) fn new(segment: &'a Segment, offset: u64, chunk: usize) -> io::Result<Self> {
        Ok(Self {
            segment,
            seed: record::seed(segment.number),
            end: segment.file.len()?,
            offset,
            batch: None,
            window: Window::default(),
            chunk,
        })
    }

    /// Where the next record is expected.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next record; `None` where the bytes are none.
    pub(super) fn next_record(&mut self) -> io::Result<Option<Located<'_>>> {
        let offset = self.offset;
        let Some(header) = self.header(offset)? else {
            return Ok(None);
        };
        let starts_batch = header.batch == offset;
        let continues_batch = self.batch.is_none_or(|batch| batch == header.batch);
        if !starts_batch && !continues_batch {
            return Ok(None);
        }
        self.fill(offset, HEADER_BYTES + header.body_bytes)?;
        let bytes = self.window.at(offset);
        let Some(record) = record::decode(header, bytes, self.seed) else {
            return Ok(None);
        };
        self.offset = offset + header.record_bytes() as u64;
        self.batch = Some(header.batch);
        Ok(Some(Located {
            offset,
            crc: header.crc,
            record,
        }))
    }

    /// Looks behind the place where [`Reader::next`] found nothing for valid records of this
    /// segment, and returns the start of the latest write found there.
    pub(super) fn latest_batch_behind(&mut self) -> io::Result<Option<u64>> {
        let mut latest = None;
        let mut offset = self.offset + ALIGN as u64;
        while offset + HEADER_BYTES as u64 <= self.end {
            // Most of a fresh file is zeros: step over them without parsing.
            self.fill(offset, HEADER_BYTES)?;
            let zeros = self.window.zeros_from(offset) / ALIGN * ALIGN;
            if zeros > HEADER_BYTES {
                offset += (zeros - HEADER_BYTES) as u64;
                continue;
            }
            match self.header(offset)? {
                Some(header) if self.is_valid(header, offset)? => {
                    latest = latest.max(Some(header.batch));
                    offset += header.record_bytes() as u64;
                }
                _ => offset += ALIGN as u64,
            }
        }
        Ok(latest)
    }

    fn is_valid(&mut self, header: Header, offset: u64) -> io::Result<bool> {
        self.fill(offset, HEADER_BYTES + header.body_bytes)?;
        Ok(record::decode(header, self.window.at(offset), self.seed).is_some())
    }

    /// The header at an offset, when it is plausible and its record ends within the file.
    fn header(&mut self, offset: u64) -> io::Result<Option<Header>> {
        if offset + HEADER_BYTES as u64 > self.end {
            return Ok(None);
        }
        self.fill(offset, HEADER_BYTES)?;
        let header = Header::parse(self.window.at(offset), offset);
        let room = self.end - offset - HEADER_BYTES as u64;
        Ok(header.filter(|header| header.body_bytes as u64 <= room))
    }

    /// Makes `bytes` bytes from `offset` on present; they must lie within the file.
    fn fill(&mut self, offset: u64, bytes: usize) -> io::Result<()> {
        if self.window.has(offset, bytes) {
            return Ok(());
        }
        let rest = usize::try_from(self.end - offset).unwrap_or(usize::MAX);
        let wanted = bytes.max(self.chunk).min(rest);
        self.window.bytes.resize(wanted, 0);
        self.window.start = offset;
        let read = self.segment.file.read_at(&mut self.window.bytes, offset);
        if read.is_err() {
            self.window.bytes.clear();
        }
        read
    }
}

#[derive(Debug, Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    fn has(&self, offset: u64, bytes: usize) -> bool {
        offset >= self.start && offset + bytes as u64 <= self.start + self.bytes.len() as u64
    }

    fn at(&self, offset: u64) -> &[u8] {
        let at = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        self.bytes.get(at..).unwrap_or_default()
    }

    fn zeros_from(&self, offset: u64) -> usize {
        let bytes = self.at(offset);
        bytes
            .iter()
            .position(|&byte| byte != 0)
            .unwrap_or(bytes.len())
    }
}
