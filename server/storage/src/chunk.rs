//! Rows on their way from one member to another: how a chunk of them becomes bytes and back. Must
//! not know what rows mean or who sends them.
//!
//! A chunk is `crc32c u32 | count u32`, then for each row its key, the length of the rest as `u32`,
//! and the rest as the state file has it. The checksum covers everything behind it.

use bytes::{BufMut, Bytes, BytesMut};

use crate::Error;
use crate::state::Row;
use crate::state::tables::{KEY_BYTES, decode_row, encode_row, row_key};

const HEADER_BYTES: usize = 8;
const LENGTH_BYTES: usize = 4;

/// Collects rows into a chunk.
#[derive(Debug)]
pub struct ChunkBuilder {
    bytes: BytesMut,
    row: Vec<u8>,
    count: u32,
}

impl Default for ChunkBuilder {
    fn default() -> Self {
        let mut bytes = BytesMut::with_capacity(4096);
        bytes.put_bytes(0, HEADER_BYTES);
        Self {
            bytes,
            row: Vec::new(),
            count: 0,
        }
    }
}

impl ChunkBuilder {
    /// Adds a row.
    pub fn push(&mut self, row: &Row) {
        self.row.clear();
        encode_row(row, &mut self.row);
        self.bytes.put_slice(&row_key(row.main, row.sub));
        let length = u32::try_from(self.row.len()).expect("a row is far smaller than 4 GiB");
        self.bytes.put_u32_le(length);
        self.bytes.put_slice(&self.row);
        self.count += 1;
    }

    /// Size of the chunk so far, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no row yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The chunk, with its checksum.
    #[must_use]
    pub fn finish(mut self) -> Bytes {
        self.bytes[4..HEADER_BYTES].copy_from_slice(&self.count.to_le_bytes());
        let checksum = crc32c::crc32c(&self.bytes[4..]);
        self.bytes[..4].copy_from_slice(&checksum.to_le_bytes());
        self.bytes.freeze()
    }
}

/// Encodes rows as one chunk; keep it to about a MiB.
#[must_use]
pub fn encode_rows(rows: &[Row]) -> Bytes {
    let mut chunk = ChunkBuilder::default();
    rows.iter().for_each(|row| chunk.push(row));
    chunk.finish()
}

/// Reads what [`encode_rows`] wrote.
///
/// # Errors
/// [`Error::BadChunk`] for anything else.
pub fn decode_rows(chunk: &[u8]) -> Result<Vec<Row>, Error> {
    let bad = |detail: &str| Error::BadChunk {
        detail: detail.to_owned(),
    };
    let (checksum, rest) = chunk
        .split_first_chunk::<4>()
        .ok_or_else(|| bad("it is too short"))?;
    if crc32c::crc32c(rest) != u32::from_le_bytes(*checksum) {
        return Err(bad("its checksum does not match"));
    }
    let (count, mut rest) = rest
        .split_first_chunk::<4>()
        .ok_or_else(|| bad("it is too short"))?;
    let mut rows = Vec::new();
    for _ in 0..u32::from_le_bytes(*count) {
        let row = take_row(&mut rest).ok_or_else(|| bad("a row is malformed"))?;
        rows.push(row);
    }
    if rest.is_empty() {
        Ok(rows)
    } else {
        Err(bad("bytes follow its last row"))
    }
}

fn take_row(bytes: &mut &[u8]) -> Option<Row> {
    let (key, rest) = bytes.split_first_chunk::<KEY_BYTES>()?;
    let (length, rest) = rest.split_first_chunk::<LENGTH_BYTES>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (row, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    decode_row(key, row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let row = |main: i64| Row {
            main,
            sub: main as u32 % 3,
            tombstone: main % 5 == 0,
            key: format!("key {main}").into(),
            create_revision: main - 1,
            version: 2,
            lease: -main,
            value: vec![7; main as usize].into(),
        };
        (1..40).map(row).collect()
    }

    #[test]
    fn rows_survive_and_damage_is_noticed() {
        let chunk = encode_rows(&rows());
        assert_eq!(decode_rows(&chunk).unwrap(), rows());
        assert_eq!(decode_rows(&encode_rows(&[])).unwrap(), []);
        for bit in 0..chunk.len() * 8 {
            let mut flipped = chunk.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_rows(&flipped).is_err(), "bit {bit}");
        }
        for cut in 0..chunk.len() {
            assert!(decode_rows(&chunk[..cut]).is_err());
        }
    }

    #[test]
    fn a_well_summed_lie_is_refused() {
        let with_count = |count: u32| {
            let mut chunk = encode_rows(&rows()).to_vec();
            chunk[4..8].copy_from_slice(&count.to_le_bytes());
            let checksum = crc32c::crc32c(&chunk[4..]);
            chunk[..4].copy_from_slice(&checksum.to_le_bytes());
            decode_rows(&chunk)
        };
        assert!(with_count(u32::MAX).is_err() && with_count(1).is_err());
    }
}
