//! The keys a request covers, as etcd's `(key, range_end)` pairs.
//!
//! Owns prefixes and the open end. Knows nothing of requests.

use bytes::{BufMut, Bytes, BytesMut};

/// The range end that means "every key from the start on".
pub(crate) const OPEN_END: &[u8] = b"\0";

/// The range end that, with `prefix` as key, covers the keys starting with `prefix`.
///
/// A prefix of only `0xff` bytes has no successor: its end is the open one (`\0`), as is that of
/// the empty prefix.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Bytes {
    match prefix.iter().rposition(|byte| *byte != 0xff) {
        None => Bytes::from_static(OPEN_END),
        Some(last) => {
            let mut end = BytesMut::from(&prefix[..=last]);
            end[last] += 1;
            end.freeze()
        }
    }
}

/// Key and range end for all keys that start with `prefix`; the empty prefix covers everything.
pub(crate) fn prefix_span(prefix: Bytes) -> (Bytes, Bytes) {
    let end = prefix_end(&prefix);
    if prefix.is_empty() {
        return (Bytes::from_static(OPEN_END), end);
    }
    (prefix, end)
}

/// `prefix` and then `tail`, in one buffer.
pub(crate) fn join(prefix: &[u8], tail: &[u8]) -> Bytes {
    let mut joined = BytesMut::with_capacity(prefix.len() + tail.len());
    joined.put_slice(prefix);
    joined.put_slice(tail);
    joined.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn covers(key: &[u8], start: &[u8], end: &[u8]) -> bool {
        key >= start && (end == OPEN_END || key < end)
    }

    proptest! {
        #[test]
        fn a_prefix_span_covers_exactly_the_keys_with_that_prefix(
            prefix in prop::collection::vec(prop_oneof![Just(0xffu8), any::<u8>()], 0..4),
            key in prop::collection::vec(prop_oneof![Just(0xffu8), any::<u8>()], 1..6),
        ) {
            let (start, end) = prefix_span(Bytes::from(prefix.clone()));
            prop_assert_eq!(covers(&key, &start, &end), key.starts_with(&prefix));
        }
    }
}
