//! The queue under one name: what locks and elections have in common.
//!
//! Owns the keys of the queue, in the layout of Go's `concurrency` package, and the metadata
//! beside it. [`entry`] gets a place in the queue and waits, [`tenure`] is holding it, [`leave`]
//! gives it up, [`txns`] are the transactions of all three. Knows nothing of what is protected.

pub(crate) mod breaking;
pub(crate) mod entry;
pub(crate) mod leave;
pub(crate) mod look;
pub(crate) mod place;
mod refusal;
pub(crate) mod tenure;
pub(crate) mod txns;

use bytes::Bytes;
use handfast_core::{
    KeyValue,
    session::{lease_hex, parse_lease_hex},
};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Kind, Member,
    way::{Goal, shown},
};

const NAME_LIMIT: usize = 4096;

/// `_handfast/own/<name>`: who was granted the name last and has not given it back.
///
/// Without a lease, so that it outlives a holder that dies: that is how the next one knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    pub(crate) kind: Kind,
    /// The holder's key without the name.
    pub(crate) own: String,
    #[serde(default)]
    pub(crate) since_unix_ms: u64,
    /// The revision at which it was found written; 0 in one that is to be written. Names of keys
    /// are used again: a key that is younger than the record is not the one that it is of.
    #[serde(skip)]
    pub(crate) written: i64,
}

/// The keys of one name.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) kind: Kind,
    pub(crate) name: Bytes,
    /// The name and a slash: what all keys of the queue start with.
    pub(crate) prefix: Bytes,
    pub(crate) grant_key: Bytes,
    metadata: Bytes,
}

impl Line {
    pub(crate) fn new(kind: Kind, name: Bytes, metadata: &Bytes) -> Result<Self, Error> {
        if name.is_empty() {
            return Err(Error::invalid("name", "it is empty"));
        }
        if name.len() > NAME_LIMIT {
            let problem = format!("{} bytes; at most {NAME_LIMIT} are allowed", name.len());
            return Err(Error::invalid("name", problem));
        }
        if name.starts_with(metadata) {
            let reserved = String::from_utf8_lossy(metadata);
            return Err(Error::invalid(
                "name",
                format!("{reserved} is for sessions and recipes"),
            ));
        }
        let prefix = joined(&[&name, b"/"]);
        let grant_key = joined(&[metadata, b"own/", &name]);
        Ok(Self {
            kind,
            name,
            prefix,
            grant_key,
            metadata: metadata.clone(),
        })
    }

    pub(crate) fn key(&self, own: &str) -> Bytes {
        joined(&[&self.prefix, own.as_bytes()])
    }

    /// A key that, once there, keeps late copies of a request from putting `own`.
    pub(crate) fn bar_key(&self, own: &str) -> Bytes {
        joined(&[&self.metadata, b"gone/", &self.prefix, own.as_bytes()])
    }

    pub(crate) fn note_key(&self, key: &[u8]) -> Bytes {
        handfast_core::held::note_key(&self.metadata, key)
    }

    /// Whether `pair` is somebody's place in this queue.
    ///
    /// Nested names, and keys that are there for another reason, are not. A key with a name like
    /// a lease's counts if it is on that lease, or if it was put more than once: a careless put
    /// takes a holder's key off its lease, and its holder still holds.
    pub(crate) fn is_place(&self, pair: &KeyValue) -> bool {
        let Some(lease) = pair.key.strip_prefix(&*self.prefix).and_then(lease_of) else {
            return false;
        };
        pair.lease == lease || pair.version > 1
    }

    /// What is shown of a place, the `position`th of this queue.
    pub(crate) fn member(&self, pair: &KeyValue, position: usize) -> Member {
        let own = pair.key.strip_prefix(&*self.prefix).and_then(lease_of);
        Member {
            key: pair.key.clone(),
            lease: own.unwrap_or(pair.lease),
            token: pair.create_revision,
            position,
            value: pair.value.clone(),
            immortal: pair.lease == 0,
            session: None,
        }
    }

    /// The members among `pairs`, which are sorted by age.
    pub(crate) fn members(&self, pairs: &[KeyValue]) -> Vec<Member> {
        pairs
            .iter()
            .filter(|pair| self.is_place(pair))
            .zip(1..)
            .map(|(pair, position)| self.member(pair, position))
            .collect()
    }

    pub(crate) fn lost(&self, reason: handfast_core::session::LostReason) -> Error {
        Error::Lost {
            kind: self.kind,
            name: self.shown(),
            reason,
        }
    }

    pub(crate) fn session_lost(&self, reason: handfast_core::session::LostReason) -> Error {
        if reason == handfast_core::session::LostReason::Closed {
            // Nothing was lost: the program closed it itself.
            return Error::Closed;
        }
        Error::SessionLost {
            kind: self.kind,
            name: self.shown(),
            reason,
        }
    }
}

impl Goal for Line {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn shown(&self) -> String {
        shown(&self.name)
    }
}

/// A key of a queue, without the name: the lease, and a number from the second one on.
pub(crate) fn own_name(lease: i64, slot: u32) -> String {
    match slot {
        0 => lease_hex(lease),
        _ => format!("{}-{slot}", lease_hex(lease)),
    }
}

/// The lease in a key of a queue without its name; `None` if it is not such a key.
pub(crate) fn lease_of(own: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(own).ok()?;
    // A minus at the start is a negative lease's.
    let dash = text.get(1..)?.find('-').map(|at| at + 1);
    let (lease, slot) = match dash {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    if slot.is_some_and(|slot| slot.is_empty() || !slot.bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    // Lease 0 is none: a key `NAME/0` is nobody's place.
    parse_lease_hex(lease).filter(|lease| *lease != 0)
}

/// The name and the lease in a key that is spelled like a place in a queue, for whoever looks at
/// a store without knowing its names. Whether it is one depends on the pair, too: it is on that
/// lease, or it was.
#[must_use]
pub fn parse_place(key: &Bytes) -> Option<(Bytes, i64)> {
    let slash = key.iter().rposition(|byte| *byte == b'/')?;
    let lease = lease_of(&key[slash + 1..])?;
    (slash > 0).then(|| (key.slice(..slash), lease))
}

fn joined(parts: &[&[u8]]) -> Bytes {
    Bytes::from(parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        Line::new(Kind::Lock, "path".into(), &"_handfast/".into()).unwrap()
    }

    fn pair(key: &str, lease: i64, version: i64) -> KeyValue {
        KeyValue {
            key: key.to_owned().into(),
            lease,
            version,
            ..Default::default()
        }
    }

    #[test]
    fn keys_are_spelled_as_go_spells_them() {
        assert_eq!(own_name(0x694d, 0), "694d");
        assert_eq!(own_name(0x694d, 2), "694d-2");
        assert_eq!(own_name(-5, 1), "-5-1");
        for own in ["694d", "694d-2", "-5", "-5-1"] {
            assert!(lease_of(own.as_bytes()).is_some(), "{own}");
        }
        for other in [
            "", "-", "694d-", "694d-x", "694D", "x", "1/2", "read", "694d-1-1",
        ] {
            assert_eq!(lease_of(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_place_is_read_from_its_key() {
        let read = |key: &'static str| parse_place(&Bytes::from_static(key.as_bytes()));
        assert_eq!(read("jobs/a/1f-2"), Some(("jobs/a".into(), 0x1f)));
        assert_eq!(read("jobs/a/config"), None);
        assert_eq!((read("/1f"), read("1f")), (None, None));
    }

    #[test]
    fn trap_09_only_places_count() {
        let line = line();
        assert!(line.is_place(&pair("path/1f", 0x1f, 1)));
        assert!(line.is_place(&pair("path/1f-3", 0x1f, 1)));
        // Never on a lease, so never a lock's key.
        assert!(!line.is_place(&pair("path/1", 0, 1)));
        assert!(!line.is_place(&pair("path/0", 0, 1)));
        assert!(!line.is_place(&pair("path/a", 0x77, 1)));
        assert!(!line.is_place(&pair("path/sub/1f", 0x1f, 1)));
        assert!(!line.is_place(&pair("path/config", 0, 9)));
        assert!(!line.is_place(&pair("pathological/1f", 0x1f, 1)));
        // Taken off its lease by a careless put: its holder does not know.
        assert!(line.is_place(&pair("path/1f", 0, 2)));
    }

    #[test]
    fn names_are_checked_early() {
        let metadata = Bytes::from_static(b"_handfast/");
        let refused = |name: Bytes| Line::new(Kind::Lock, name, &metadata).unwrap_err().code();
        assert_eq!(refused(Bytes::new()), "INVALID_ARGUMENT");
        assert_eq!(
            refused(vec![b'a'; NAME_LIMIT + 1].into()),
            "INVALID_ARGUMENT"
        );
        assert_eq!(refused("_handfast/x".into()), "INVALID_ARGUMENT");
    }
}
