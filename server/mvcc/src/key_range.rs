//! Which keys a request means.
//!
//! Owns the reading of `(key, range_end)`: the sentinels of the protocol end here. Must not know
//! what the keys are wanted for.

use std::ops::Bound;

use bytes::Bytes;

/// The `range_end` that means "and all keys after".
const OPEN_END: &[u8] = b"\0";

/// A set of adjacent keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRange {
    /// Exactly this key.
    One(Bytes),
    /// All keys from this one on.
    From(Bytes),
    /// The keys from `start` up to, but not including, `end`; `start < end`.
    Span {
        /// The first key.
        start: Bytes,
        /// The first key that is out.
        end: Bytes,
    },
    /// Every key.
    All,
    /// No key: the end does not lie above the start.
    Empty,
}

impl KeyRange {
    /// Reads a request's pair. Keeps slices of the arguments, so it is as short-lived as they are.
    #[must_use]
    pub fn parse(key: &Bytes, range_end: &Bytes) -> Self {
        if range_end.is_empty() {
            Self::One(key.clone())
        } else if range_end == OPEN_END {
            if key.is_empty() || key == OPEN_END {
                Self::All
            } else {
                Self::From(key.clone())
            }
        } else if range_end > key {
            Self::Span {
                start: key.clone(),
                end: range_end.clone(),
            }
        } else {
            Self::Empty
        }
    }

    /// Whether no key can be in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Whether `key` is in it.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::One(one) => key == one,
            Self::From(start) => key >= &start[..],
            Self::Span { start, end } => key >= &start[..] && key < &end[..],
            Self::All => true,
            Self::Empty => false,
        }
    }

    /// The same keys as a pair of bounds, for ordered maps; `start <= end` always.
    #[must_use]
    pub fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        match self {
            Self::One(one) => (Bound::Included(one), Bound::Included(one)),
            Self::From(start) => (Bound::Included(start), Bound::Unbounded),
            Self::Span { start, end } => (Bound::Included(start), Bound::Excluded(end)),
            Self::All => (Bound::Unbounded, Bound::Unbounded),
            Self::Empty => (Bound::Included(&[]), Bound::Excluded(&[])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(key: &'static [u8], end: &'static [u8]) -> KeyRange {
        KeyRange::parse(&Bytes::from_static(key), &Bytes::from_static(end))
    }

    #[test]
    fn sentinels_become_variants() {
        assert_eq!(parse(b"a", b""), KeyRange::One(Bytes::from_static(b"a")));
        assert_eq!(parse(b"a", b"\0"), KeyRange::From(Bytes::from_static(b"a")));
        assert_eq!(parse(b"\0", b"\0"), KeyRange::All);
        assert_eq!(parse(b"", b"\0"), KeyRange::All);
        assert_eq!(parse(b"b", b"a"), KeyRange::Empty);
        assert_eq!(parse(b"a", b"a"), KeyRange::Empty);
    }

    #[test]
    fn contains_agrees_with_the_bounds() {
        let ranges = [
            parse(b"b", b""),
            parse(b"b", b"\0"),
            parse(b"b", b"d"),
            parse(b"\0", b"\0"),
            parse(b"d", b"b"),
        ];
        for range in &ranges {
            for key in [&b"\0"[..], b"a", b"b", b"b\0", b"c", b"d", b"\xff"] {
                let (low, high) = range.bounds();
                let above = match low {
                    Bound::Included(low) => key >= low,
                    Bound::Excluded(low) => key > low,
                    Bound::Unbounded => true,
                };
                let below = match high {
                    Bound::Included(high) => key <= high,
                    Bound::Excluded(high) => key < high,
                    Bound::Unbounded => true,
                };
                assert_eq!(range.contains(key), above && below, "{range:?} {key:?}");
            }
        }
    }
}
