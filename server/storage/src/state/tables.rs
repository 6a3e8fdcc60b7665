//! The schema of the state file: tables, reserved meta names and how a row becomes bytes. The
//! only place that knows them; must not know transactions.

use bytes::Bytes;
use redb::TableDefinition;

use super::Row;
use crate::LogPosition;

/// Version of everything in this file; a state file of another version is refused.
pub(super) const SCHEMA_VERSION: u32 = 1;

/// Revision (main big endian, sub big endian) to row. Only ever appended to and swept.
pub(super) const REV: TableDefinition<'static, &[u8; KEY_BYTES], &[u8]> =
    TableDefinition::new("rev");
/// Small named values; callers' names are stored behind [`META_PREFIX`].
pub(super) const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta");
/// Lease id to granted TTL in seconds.
pub(super) const LEASE: TableDefinition<'static, i64, i64> = TableDefinition::new("lease");

pub(super) const META_PREFIX: &str = "m.";
pub(super) const META_SCHEMA: &str = "schema";
pub(super) const META_APPLIED: &str = "applied";
pub(super) const META_MEMBERSHIP: &str = "membership";
pub(super) const META_ROW_BYTES: &str = "row_bytes";

pub(crate) const KEY_BYTES: usize = 12;
const TOMBSTONE: u8 = 1;

/// Key of a row. Negative parts never occur, so the bytes sort as the numbers do.
pub(crate) fn row_key(main: i64, sub: u32) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    key[..8].copy_from_slice(&main.to_be_bytes());
    key[8..].copy_from_slice(&sub.to_be_bytes());
    key
}

/// Appends the stored form of a row: flags, varints, key, value.
pub(crate) fn encode_row(row: &Row, out: &mut Vec<u8>) {
    out.push(if row.tombstone { TOMBSTONE } else { 0 });
    // Most rows create their key, so the distance to the own revision is usually one byte.
    put_varint(row.main.wrapping_sub(row.create_revision) as u64, out);
    put_varint(row.version as u64, out);
    put_varint(row.lease as u64, out);
    put_varint(row.key.len() as u64, out);
    out.extend_from_slice(&row.key);
    out.extend_from_slice(&row.value);
}

/// Reads a row back; `None` when the bytes are none of [`encode_row`]'s.
pub(crate) fn decode_row(key: &[u8; KEY_BYTES], bytes: &[u8]) -> Option<Row> {
    let (main, sub) = key.split_first_chunk::<8>()?;
    let main = i64::from_be_bytes(*main);
    let sub = u32::from_be_bytes(*sub.first_chunk()?);
    let (flags, mut rest) = bytes.split_first()?;
    let created = take_varint(&mut rest)?;
    let version = take_varint(&mut rest)?;
    let lease = take_varint(&mut rest)?;
    let key_len = usize::try_from(take_varint(&mut rest)?).ok()?;
    if key_len > rest.len() || *flags > TOMBSTONE {
        return None;
    }
    // One allocation for both: a cached value keeps no database page alive.
    let mut value = Bytes::copy_from_slice(rest);
    let key = value.split_to(key_len);
    Some(Row {
        main,
        sub,
        tombstone: *flags == TOMBSTONE,
        key,
        create_revision: main.wrapping_sub(created as i64),
        version: version as i64,
        lease: lease as i64,
        value,
    })
}

pub(super) fn encode_position(position: LogPosition) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&position.term.to_le_bytes());
    bytes[8..].copy_from_slice(&position.index.to_le_bytes());
    bytes
}

pub(super) fn decode_position(bytes: &[u8]) -> Option<LogPosition> {
    let (term, index) = bytes.split_first_chunk::<8>()?;
    let index = <[u8; 8]>::try_from(index).ok()?;
    Some(LogPosition {
        term: u64::from_le_bytes(*term),
        index: u64::from_le_bytes(index),
    })
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_survive_encoding(
            main in 1..i64::MAX,
            sub: u32,
            tombstone: bool,
            key in proptest::collection::vec(any::<u8>(), 0..40),
            create_revision in 0..i64::MAX,
            version in 0..i64::MAX,
            lease: i64,
            value in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let row = Row {
                main, sub, tombstone, key: key.into(), create_revision, version, lease,
                value: value.into(),
            };
            let mut bytes = Vec::new();
            encode_row(&row, &mut bytes);
            prop_assert_eq!(decode_row(&row_key(main, sub), &bytes), Some(row));
        }

        #[test]
        fn foreign_bytes_do_not_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let _ = decode_row(&row_key(1, 0), &bytes);
        }

        #[test]
        fn keys_sort_as_revisions(a in 0..i64::MAX, b in 0..i64::MAX, x: u32, y: u32) {
            prop_assert_eq!(row_key(a, x).cmp(&row_key(b, y)), (a, x).cmp(&(b, y)));
        }
    }
}
