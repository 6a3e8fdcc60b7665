//! How log records become bytes and back. Must not do IO.
//!
//! A record is `len u32 | crc u32 | batch u32 | kind u8 | 0 0 0 | body`, little endian, padded to
//! eight bytes. `batch` is the offset at which the write containing the record starts: a valid
//! record of a later batch proves that everything before that batch had been synced. The checksum
//! is seeded with the segment's generation, so bytes left from a recycled file never validate.

use super::{Vote, WalState};
use crate::LogPosition;

/// Bytes before a record's body.
pub(super) const HEADER_BYTES: usize = 16;
/// Records start at multiples of this.
pub(super) const ALIGN: usize = 8;
/// Longest body accepted; far above any request limit.
pub(super) const MAX_BODY_BYTES: usize = 1 << 30;

const ENTRY: u8 = 1;
const VOTE: u8 = 2;
const COMMITTED: u8 = 3;
const TRUNCATE: u8 = 4;
const PURGE: u8 = 5;
const BEGIN: u8 = 6;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    Entry {
        position: LogPosition,
        payload: &'a [u8],
    },
    Vote(Vote),
    Committed(LogPosition),
    /// The log now ends at this position.
    Truncate {
        last: Option<LogPosition>,
    },
    Purge(LogPosition),
    /// First record of every segment.
    Begin(Begin),
}

/// Ties a segment to the one before it and repeats what must survive that one's removal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Begin {
    /// Offset behind the last record of the previous segment.
    pub(super) previous_end: u64,
    /// Checksum of that record.
    pub(super) previous_crc: u32,
    pub(super) state: WalState,
}

/// The fixed part of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) body_bytes: usize,
    pub(super) crc: u32,
    pub(super) batch: u64,
    kind: u8,
}

impl Header {
    /// Whether these bytes may start a record at `offset`; cheap, before any checksum.
    pub(super) fn parse(bytes: &[u8], offset: u64) -> Option<Self> {
        let bytes = bytes.first_chunk::<HEADER_BYTES>()?;
        let [
            l0,
            l1,
            l2,
            l3,
            c0,
            c1,
            c2,
            c3,
            b0,
            b1,
            b2,
            b3,
            kind,
            0,
            0,
            0,
        ] = *bytes
        else {
            return None;
        };
        let header = Self {
            body_bytes: u32::from_le_bytes([l0, l1, l2, l3]) as usize,
            crc: u32::from_le_bytes([c0, c1, c2, c3]),
            batch: u64::from(u32::from_le_bytes([b0, b1, b2, b3])),
            kind,
        };
        let plausible = (ENTRY..=BEGIN).contains(&kind)
            && header.body_bytes <= MAX_BODY_BYTES
            && header.batch <= offset;
        plausible.then_some(header)
    }

    /// Bytes the record takes, padding included.
    pub(super) fn record_bytes(&self) -> usize {
        record_bytes(self.body_bytes)
    }
}

/// Bytes a record with such a body takes, padding included.
pub(super) fn record_bytes(body_bytes: usize) -> usize {
    (HEADER_BYTES + body_bytes).next_multiple_of(ALIGN)
}

/// Bytes the record of an entry takes.
pub(super) fn entry_bytes(payload_bytes: usize) -> usize {
    record_bytes(16 + payload_bytes)
}

/// The checksum's seed for a segment.
pub(super) fn seed(generation: u64) -> u32 {
    crc32c::crc32c(&generation.to_le_bytes())
}

fn checksum(seed: u32, record: &[u8]) -> u32 {
    let (len, rest) = record.split_at(4);
    let (_, rest) = rest.split_at(4);
    crc32c::crc32c_append(crc32c::crc32c_append(seed, len), rest)
}

/// Checks and reads a record; `bytes` starts at its header and may go on behind it.
pub(super) fn decode<'a>(header: Header, bytes: &'a [u8], seed: u32) -> Option<Record<'a>> {
    let record = bytes.get(..HEADER_BYTES + header.body_bytes)?;
    if checksum(seed, record) != header.crc {
        return None;
    }
    let mut body = Body(&record[HEADER_BYTES..]);
    let record = match header.kind {
        ENTRY => Record::Entry {
            position: body.position()?,
            payload: body.rest(),
        },
        VOTE => Record::Vote(body.vote()?),
        COMMITTED => Record::Committed(body.position()?),
        TRUNCATE => Record::Truncate {
            last: body.optional(Body::position)?,
        },
        PURGE => Record::Purge(body.position()?),
        BEGIN => Record::Begin(Begin {
            previous_end: body.u64()?,
            previous_crc: u32::try_from(body.u64()?).ok()?,
            state: WalState {
                vote: body.optional(Body::vote)?,
                committed: body.optional(Body::position)?,
                purged: body.optional(Body::position)?,
                last: body.optional(Body::position)?,
            },
        }),
        _ => return None,
    };
    body.0.is_empty().then_some(record)
}

struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn u8(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn u64(&mut self) -> Option<u64> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*bytes))
    }

    fn position(&mut self) -> Option<LogPosition> {
        Some(LogPosition {
            term: self.u64()?,
            index: self.u64()?,
        })
    }

    fn vote(&mut self) -> Option<Vote> {
        let (term, node_id) = (self.u64()?, self.u64()?);
        Some(Vote {
            term,
            node_id,
            committed: self.u8()? != 0,
        })
    }

    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.u8()? == 0 {
            Some(None)
        } else {
            read(self).map(Some)
        }
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

/// Collects the records of one write.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    bytes: Vec<u8>,
    seed: u32,
    /// Offset of the write in its segment.
    start: u64,
    last_crc: u32,
}

impl Encoder {
    /// Starts a write at `start` of the segment with that seed.
    pub(super) fn restart(&mut self, seed: u32, start: u64) {
        self.bytes.clear();
        // One huge batch must not hold its memory for ever.
        self.bytes.shrink_to(4 << 20);
        self.seed = seed;
        self.start = start;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Offset in the segment at which the next record will start.
    pub(super) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Checksum of the last record; only meaningful when there is one.
    pub(super) fn last_crc(&self) -> u32 {
        self.last_crc
    }

    /// The bytes to write, with zeros behind them up to the end of the page where the file has
    /// it: a write of whole pages never has to read one first.
    pub(super) fn finish(&mut self, page: u64, file_bytes: u64) -> &[u8] {
        let padded = self
            .end()
            .next_multiple_of(page)
            .min(file_bytes.max(self.end()));
        self.bytes.resize((padded - self.start) as usize, 0);
        &self.bytes
    }

    pub(super) fn entry(&mut self, position: LogPosition, payload: &[u8]) {
        self.record(ENTRY, |out| {
            put_position(position, out);
            out.extend_from_slice(payload);
        });
    }

    pub(super) fn vote(&mut self, vote: Vote) {
        self.record(VOTE, |out| put_vote(vote, out));
    }

    pub(super) fn committed(&mut self, position: LogPosition) {
        self.record(COMMITTED, |out| put_position(position, out));
    }

    pub(super) fn truncate(&mut self, last: Option<LogPosition>) {
        self.record(TRUNCATE, |out| put_optional(last, out, put_position));
    }

    pub(super) fn purge(&mut self, upto: LogPosition) {
        self.record(PURGE, |out| put_position(upto, out));
    }

    pub(super) fn begin(&mut self, begin: Begin) {
        self.record(BEGIN, |out| {
            out.extend_from_slice(&begin.previous_end.to_le_bytes());
            out.extend_from_slice(&u64::from(begin.previous_crc).to_le_bytes());
            put_optional(begin.state.vote, out, put_vote);
            put_optional(begin.state.committed, out, put_position);
            put_optional(begin.state.purged, out, put_position);
            put_optional(begin.state.last, out, put_position);
        });
    }

    fn record(&mut self, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 8]);
        self.bytes
            .extend_from_slice(&(self.start as u32).to_le_bytes());
        self.bytes.extend_from_slice(&[kind, 0, 0, 0]);
        body(&mut self.bytes);
        let body_bytes = (self.bytes.len() - at - HEADER_BYTES) as u32;
        self.bytes[at..at + 4].copy_from_slice(&body_bytes.to_le_bytes());
        self.last_crc = checksum(self.seed, &self.bytes[at..]);
        self.bytes[at + 4..at + 8].copy_from_slice(&self.last_crc.to_le_bytes());
        let padded = self.bytes.len().next_multiple_of(ALIGN);
        self.bytes.resize(padded, 0);
    }
}

fn put_position(position: LogPosition, out: &mut Vec<u8>) {
    out.extend_from_slice(&position.term.to_le_bytes());
    out.extend_from_slice(&position.index.to_le_bytes());
}

fn put_vote(vote: Vote, out: &mut Vec<u8>) {
    out.extend_from_slice(&vote.term.to_le_bytes());
    out.extend_from_slice(&vote.node_id.to_le_bytes());
    out.push(u8::from(vote.committed));
}

fn put_optional<T>(value: Option<T>, out: &mut Vec<u8>, put: impl FnOnce(T, &mut Vec<u8>)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(value, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(term: u64, index: u64) -> LogPosition {
        LogPosition { term, index }
    }

    fn sample(encoder: &mut Encoder) -> Vec<Record<'static>> {
        let vote = Vote {
            term: 3,
            node_id: 4,
            committed: true,
        };
        let begin = Begin {
            previous_end: 4711,
            previous_crc: 0xdead_beef,
            state: WalState {
                vote: Some(vote),
                committed: None,
                purged: Some(position(1, 2)),
                last: Some(position(2, 9)),
            },
        };
        encoder.begin(begin);
        encoder.entry(position(2, 10), b"payload");
        encoder.vote(vote);
        encoder.committed(position(2, 10));
        encoder.truncate(None);
        encoder.truncate(Some(position(1, 5)));
        encoder.purge(position(1, 5));
        vec![
            Record::Begin(begin),
            Record::Entry {
                position: position(2, 10),
                payload: b"payload",
            },
            Record::Vote(vote),
            Record::Committed(position(2, 10)),
            Record::Truncate { last: None },
            Record::Truncate {
                last: Some(position(1, 5)),
            },
            Record::Purge(position(1, 5)),
        ]
    }

    #[test]
    fn records_survive_encoding_only_in_their_generation() {
        let mut encoder = Encoder::default();
        encoder.restart(seed(7), 4096);
        let expected = sample(&mut encoder);
        let bytes = encoder.finish(4096, 1 << 20);
        assert_eq!(bytes.len(), 4096);
        let mut at = 0;
        for record in expected {
            let header = Header::parse(&bytes[at..], 4096 + at as u64).unwrap();
            assert_eq!(header.batch, 4096);
            assert_eq!(decode(header, &bytes[at..], seed(7)), Some(record));
            for other in [0, 1, 6, 8, 7 << 8, u64::from(u32::MAX)] {
                assert_eq!(decode(header, &bytes[at..], seed(other)), None);
            }
            at += header.record_bytes();
        }
        assert!(Header::parse(&bytes[at..], 4096 + at as u64).is_none());
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut encoder = Encoder::default();
        encoder.restart(seed(1), 0);
        encoder.entry(position(5, 6), b"some bytes");
        let good = encoder.finish(ALIGN as u64, 1 << 20).to_vec();
        let used = HEADER_BYTES + 16 + b"some bytes".len();
        for bit in 0..used * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let read = Header::parse(&bytes, 1 << 40).and_then(|h| decode(h, &bytes, seed(1)));
            assert_eq!(read, None, "bit {bit}");
        }
    }
}
