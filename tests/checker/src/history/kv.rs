//! Keys, ranges of keys, and pairs.
//!
//! Owns what a pair is made of and which keys a range has. Knows nothing of requests.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::text::{self, Shown};

/// A key with its value and its revisions, as an answer or an event shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Kv {
    /// The key.
    #[serde(with = "text")]
    pub key: Bytes,
    /// The value; empty for the pair of a delete event.
    #[serde(with = "text", default)]
    pub value: Bytes,
    /// The revision that created the key.
    #[serde(default)]
    pub create_revision: i64,
    /// The revision of the last put (or of the delete). 0: the recorder did not see the revisions,
    /// and then the lease and the version do not count either.
    #[serde(default)]
    pub mod_revision: i64,
    /// The number of puts since the key was created.
    #[serde(default)]
    pub version: i64,
    /// The lease the key hangs on; 0 for none.
    #[serde(default)]
    pub lease: i64,
}

impl Kv {
    /// A pair of which only key and value were seen.
    pub fn seen(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            ..Self::default()
        }
    }

    /// Whether what was seen is the pair `self`.
    #[must_use]
    pub fn agrees(&self, seen: &Kv) -> bool {
        if seen.mod_revision == 0 {
            self.key == seen.key && self.value == seen.value
        } else {
            self == seen
        }
    }
}

impl fmt::Display for Kv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", Shown(&self.key), Shown(&self.value))?;
        if self.mod_revision != 0 {
            let (created, changed, version) =
                (self.create_revision, self.mod_revision, self.version);
            write!(
                f,
                " (created {created}, changed {changed}, version {version}"
            )?;
            if self.lease != 0 {
                write!(f, ", lease {:x}", self.lease)?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

/// Keys as a request names them: one key, a range, or everything from a key on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyRange {
    /// The key, or the first key.
    #[serde(with = "text")]
    pub key: Bytes,
    /// Empty: `key` alone; one zero byte: `key` and all above; else the first key not in it.
    #[serde(with = "text", default)]
    pub range_end: Bytes,
}

impl KeyRange {
    /// One key.
    pub fn key(key: impl Into<Bytes>) -> Self {
        Self {
            key: key.into(),
            range_end: Bytes::new(),
        }
    }

    /// All keys that begin with `prefix`; all there are if it is empty.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let key: Bytes = prefix.into();
        let mut end = key.to_vec();
        while end.last() == Some(&0xff) {
            end.pop();
        }
        let Some(last) = end.last_mut() else {
            let key = if key.is_empty() {
                Bytes::from_static(b"\0")
            } else {
                key
            };
            return Self {
                key,
                range_end: Bytes::from_static(b"\0"),
            };
        };
        *last += 1;
        Self {
            key,
            range_end: end.into(),
        }
    }

    /// All keys.
    #[must_use]
    pub fn all() -> Self {
        Self::prefix(Bytes::new())
    }

    /// Whether it is one key.
    #[must_use]
    pub fn is_key(&self) -> bool {
        self.range_end.is_empty()
    }

    /// Whether `key` is among them.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.range_end[..] {
            b"" => key == self.key,
            b"\0" => key >= &self.key[..],
            end => key >= &self.key[..] && key < end,
        }
    }

    /// Whether the two have a key in common.
    #[must_use]
    pub fn overlaps(&self, other: &KeyRange) -> bool {
        let below = |one: &KeyRange, two: &KeyRange| match &one.range_end[..] {
            b"" => one.key < two.key,
            b"\0" => false,
            end => end <= &two.key[..] || end <= &one.key[..],
        };
        !below(self, other) && !below(other, self)
    }
}

impl fmt::Display for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.range_end[..] {
            b"" => write!(f, "{}", Shown(&self.key)),
            b"\0" => write!(f, "[{}, …)", Shown(&self.key)),
            end => write!(f, "[{}, {})", Shown(&self.key), Shown(end)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_have_the_keys_of_the_wire_rules() {
        assert!(KeyRange::key("a").contains(b"a") && !KeyRange::key("a").contains(b"aa"));
        assert!(KeyRange::prefix("a/").contains(b"a/9") && !KeyRange::prefix("a/").contains(b"a0"));
        assert!(KeyRange::prefix(&b"\xff"[..]).contains(b"\xff\xff"));
        assert!(KeyRange::all().contains(b"\0") && KeyRange::all().contains(b"\xff"));
    }

    #[test]
    fn ranges_overlap_where_they_share_a_key() {
        let (a, b) = (KeyRange::prefix("a/"), KeyRange::key("a/1"));
        assert!(a.overlaps(&b) && b.overlaps(&a) && a.overlaps(&KeyRange::all()));
        let c = KeyRange::key("b");
        assert!(!a.overlaps(&c) && !c.overlaps(&a) && !c.overlaps(&KeyRange::key("c")));
    }

    #[test]
    fn a_pair_without_revisions_agrees_by_its_value() {
        let stored = Kv {
            create_revision: 2,
            mod_revision: 3,
            version: 2,
            ..Kv::seen("a", "1")
        };
        assert!(stored.agrees(&Kv::seen("a", "1")) && !stored.agrees(&Kv::seen("a", "2")));
        let mut other = stored.clone();
        other.version = 1;
        assert!(!stored.agrees(&other) && stored.agrees(&stored.clone()));
    }
}
