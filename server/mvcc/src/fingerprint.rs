//! A running fingerprint of everything that was applied.
//!
//! Owns the chain over the log's entries and what they did, and the points at which members compare
//! it. Depends on the log and on what it did only: not on batches, flushes, sweeps or restarts. It
//! finds members that differ by accident; it is no defence against somebody who wants a collision.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use handfast_storage::LogPosition;

use crate::{Applied, Error, Outcome, codec, recent::Event};

/// A point lies at every log index divisible by this.
const STRIDE: u64 = if cfg!(test) { 4 } else { 64 };
/// Points that are kept.
const POINTS: usize = 64;

const START: u64 = 0x9e37_79b9_7f4a_7c15;
const FACTOR: u64 = 0xd6e8_feb8_6659_fd93;
const OFFSET: u64 = 0xa076_1d64_78bd_642f;

/// The fingerprint of the state once one log entry was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashPoint {
    /// Index of the entry.
    pub index: u64,
    /// Equal on all members that applied the same log up to there.
    pub hash: u64,
}

/// The chain and its newest points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// `None` when the state was begun by a version that did not keep one: then it cannot be
    /// compared with that of members that replayed the whole log.
    chain: Option<u64>,
    points: VecDeque<HashPoint>,
}

impl Default for Fingerprint {
    fn default() -> Self {
        Self {
            chain: Some(START),
            points: VecDeque::new(),
        }
    }
}

impl Fingerprint {
    /// For a state of which it is not known how it came about.
    pub(crate) fn unknown() -> Self {
        Self {
            chain: None,
            points: VecDeque::new(),
        }
    }

    /// The newest points, ascending by index.
    pub(crate) fn points(&self) -> Vec<HashPoint> {
        self.points.iter().copied().collect()
    }

    /// Takes in an entry: where the log has it, the digest of its command, what became of it, and
    /// what it changed.
    pub(crate) fn note<'e>(
        &mut self,
        position: LogPosition,
        digest: u64,
        answer: &Applied,
        compacted: i64,
        events: impl Iterator<Item = &'e Event>,
    ) {
        let Some(chain) = &mut self.chain else {
            return;
        };
        let mut hash = Hash(*chain);
        hash.pair(position.term, position.index);
        hash.pair(digest, outcome(answer));
        hash.pair(answer.revision.cast_unsigned(), compacted.cast_unsigned());
        for event in events {
            hash.event(event);
        }
        *chain = hash.0;
        if position.index.is_multiple_of(STRIDE) {
            let hash = hash.0;
            self.point(position.index, hash);
        }
    }

    /// Takes in a change that is not in the log.
    pub(crate) fn note_number(&mut self, number: i64) {
        if let Some(chain) = &mut self.chain {
            let mut hash = Hash(*chain);
            hash.pair(number.cast_unsigned(), START);
            *chain = hash.0;
        }
    }

    /// The commands of one proposal share their index: the last one counts.
    fn point(&mut self, index: u64, hash: u64) {
        if let Some(last) = self.points.back_mut()
            && last.index == index
        {
            last.hash = hash;
            return;
        }
        if self.points.len() == POINTS {
            self.points.pop_front();
        }
        self.points.push_back(HashPoint { index, hash });
    }

    pub(crate) fn put(&self, out: &mut BytesMut) {
        out.put_u8(u8::from(self.chain.is_some()));
        out.put_u64_le(self.chain.unwrap_or(0));
        codec::put_len(self.points.len(), out);
        for point in &self.points {
            out.put_u64_le(point.index);
            out.put_u64_le(point.hash);
        }
    }

    pub(crate) fn take(bytes: &mut &[u8]) -> Result<Self, Error> {
        let is_known = bytes.try_get_u8().map_err(codec::cut_off)? != 0;
        let chain = bytes.try_get_u64_le().map_err(codec::cut_off)?;
        let mut points = VecDeque::new();
        for _ in 0..codec::take_len(bytes)? {
            points.push_back(HashPoint {
                index: bytes.try_get_u64_le().map_err(codec::cut_off)?,
                hash: bytes.try_get_u64_le().map_err(codec::cut_off)?,
            });
        }
        Ok(Self {
            chain: is_known.then_some(chain),
            points,
        })
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(16 + 16 * self.points.len());
        self.put(&mut out);
        out.freeze()
    }
}

/// The digest of a command as the log has it.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    let mut hash = Hash(START);
    hash.bytes(bytes);
    hash.0
}

/// What an answer tells beyond the events: a number of its own for each way it can go.
fn outcome(answer: &Applied) -> u64 {
    match &answer.result {
        Ok(Outcome::LeaseExpire { revoked }) => 16 + *revoked as u64,
        Ok(Outcome::Alarm(alarms)) => 4 + alarms.len() as u64,
        Ok(Outcome::Txn(response)) if response.succeeded => 3,
        Ok(_) => 2,
        Err(_) => 1,
    }
}

struct Hash(u64);

impl Hash {
    /// One multiplication for two numbers, both halves of the product folded.
    #[inline]
    fn pair(&mut self, a: u64, b: u64) {
        let product = u128::from(a ^ self.0 ^ OFFSET) * u128::from(b.rotate_left(32) ^ FACTOR);
        #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
        let (low, high) = (product as u64, (product >> 64) as u64);
        self.0 = low ^ high ^ self.0.rotate_left(23);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let (chunks, rest) = bytes.as_chunks::<16>();
        for chunk in chunks {
            self.chunk(chunk);
        }
        let mut last = [0; 16];
        last[..rest.len()].copy_from_slice(rest);
        self.chunk(&last);
        self.pair(bytes.len() as u64, START);
    }

    #[inline]
    fn chunk(&mut self, chunk: &[u8; 16]) {
        let (mut a, mut b) = ([0; 8], [0; 8]);
        a.copy_from_slice(&chunk[..8]);
        b.copy_from_slice(&chunk[8..]);
        self.pair(u64::from_le_bytes(a), u64::from_le_bytes(b));
    }

    fn event(&mut self, event: &Event) {
        let kv = &event.kv;
        let place = u64::from(event.sub) << 1 | u64::from(event.tombstone);
        self.pair(place, kv.lease.cast_unsigned());
        self.pair(
            kv.create_revision.cast_unsigned(),
            kv.version.cast_unsigned(),
        );
        self.bytes(&kv.key);
        self.bytes(&kv.value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_and_every_length_counts() {
        let sample: Vec<u8> = (1..54).collect();
        let mut seen = std::collections::HashSet::from([digest(&sample)]);
        for at in 0..sample.len() {
            for bit in 0..8 {
                let mut other = sample.clone();
                other[at] ^= 1 << bit;
                assert!(seen.insert(digest(&other)), "bit {bit} of byte {at}");
            }
            assert!(seen.insert(digest(&sample[..at])));
        }
        for zeros in 1..40 {
            assert!(seen.insert(digest(&vec![0; zeros])));
        }
    }

    #[test]
    fn points_are_bounded_and_survive_encoding() {
        let mut print = Fingerprint::default();
        let answer = Applied {
            revision: 1,
            result: Ok(Outcome::Blank),
        };
        for index in 0..10_000 {
            let position = LogPosition { term: 1, index };
            print.note(position, 0, &answer, -1, std::iter::empty());
        }
        let points = print.points();
        assert_eq!((points.len(), points[63].index), (POINTS, 9996));
        let encoded = print.encode();
        let mut rest = &encoded[..];
        assert_eq!(Fingerprint::take(&mut rest).unwrap(), print);
        assert!(rest.is_empty());
        for cut in 0..encoded.len() {
            assert!(Fingerprint::take(&mut &encoded[..cut]).is_err());
        }
    }

    #[test]
    fn an_unknown_beginning_gives_no_points() {
        let mut print = Fingerprint::unknown();
        let answer = Applied {
            revision: 1,
            result: Ok(Outcome::Blank),
        };
        let position = LogPosition { term: 1, index: 64 };
        print.note(position, 0, &answer, -1, std::iter::empty());
        assert_eq!(print.points(), []);
        let encoded = print.encode();
        assert_eq!(Fingerprint::take(&mut &encoded[..]).unwrap(), print);
    }
}
