//! The last good set as bytes for a disk, and back.
//!
//! Owns the format and the proof that nothing of it was lost. Knows nothing of files.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use handfast_core::KeyValue;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::set::{ConfigSet, Scope};

const FORMAT: u32 = 1;

/// A set with where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Snapshot {
    pub(super) cluster: u64,
    pub(super) set: ConfigSet,
}

/// A JSON document, so that a person can look into it.
#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    scope: Text,
    prefix: bool,
    /// In hexadecimal: JSON numbers do not hold it.
    cluster: String,
    revision: i64,
    pairs: Vec<Pair>,
    /// Over everything else.
    sha256: String,
}

#[derive(Serialize, Deserialize)]
struct Pair {
    name: Text,
    value: Text,
    create_revision: i64,
    mod_revision: i64,
}

/// Bytes: as they are if they are text.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Text {
    Text(String),
    Hex(String),
}

impl Text {
    fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Hex(hex(bytes)),
        }
    }

    fn bytes(&self) -> Option<Bytes> {
        match self {
            Self::Text(text) => Some(Bytes::copy_from_slice(text.as_bytes())),
            Self::Hex(digits) => unhex(digits),
        }
    }
}

impl Snapshot {
    pub(super) fn to_bytes(&self, scope: &Scope) -> Bytes {
        let pairs = self.set.iter().map(|(name, pair)| Pair {
            name: Text::of(name),
            value: Text::of(&pair.value),
            create_revision: pair.create_revision,
            mod_revision: pair.mod_revision,
        });
        let document = Document {
            format: FORMAT,
            scope: Text::of(&scope.key),
            prefix: scope.prefix,
            cluster: format!("{:x}", self.cluster),
            revision: self.set.revision(),
            pairs: pairs.collect(),
            sha256: self.digest(scope),
        };
        let mut text =
            serde_json::to_vec_pretty(&document).expect("no map with keys that are no text");
        text.push(b'\n');
        text.into()
    }

    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(bytes: &[u8], scope: &Scope) -> Result<Self, String> {
        let document: Document =
            serde_json::from_slice(bytes).map_err(|error| format!("it is damaged: {error}"))?;
        if document.format != FORMAT {
            return Err(format!("its format {} is not known", document.format));
        }
        let of = document.scope.bytes().ok_or("it is damaged")?;
        if of != scope.key || document.prefix != scope.prefix {
            return Err(format!(
                "it is of {}, not of {}",
                String::from_utf8_lossy(&of),
                scope.shown()
            ));
        }
        let snapshot = Self::read(&document).ok_or("it is damaged")?;
        if snapshot.digest(scope) != document.sha256 {
            return Err("it is damaged: its digest does not match".to_owned());
        }
        Ok(snapshot)
    }

    fn read(document: &Document) -> Option<Self> {
        let mut pairs = BTreeMap::new();
        let scope = document.scope.bytes()?;
        for pair in &document.pairs {
            let name = pair.name.bytes()?;
            let value = KeyValue {
                key: [&scope[..], &name[..]].concat().into(),
                value: pair.value.bytes()?,
                create_revision: pair.create_revision,
                mod_revision: pair.mod_revision,
                ..Default::default()
            };
            pairs.insert(name, Arc::new(value));
        }
        Some(Self {
            cluster: u64::from_str_radix(&document.cluster, 16).ok()?,
            set: ConfigSet::new(document.revision, document.prefix, pairs),
        })
    }

    fn digest(&self, scope: &Scope) -> String {
        let mut digest = Sha256::new();
        let number = |digest: &mut Sha256, number: u64| digest.update(number.to_be_bytes());
        let bytes = |digest: &mut Sha256, bytes: &[u8]| {
            number(digest, bytes.len() as u64);
            digest.update(bytes);
        };
        bytes(&mut digest, &scope.key);
        for (name, pair) in self.set.iter() {
            bytes(&mut digest, name);
            bytes(&mut digest, &pair.value);
            digest.update(pair.create_revision.to_be_bytes());
            digest.update(pair.mod_revision.to_be_bytes());
        }
        digest.update([u8::from(scope.prefix)]);
        digest.update(self.cluster.to_be_bytes());
        digest.update(self.set.revision().to_be_bytes());
        hex(&digest.finalize())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Option<Bytes> {
    let digit = |byte: u8| {
        (byte as char)
            .to_digit(16)
            .and_then(|it| u8::try_from(it).ok())
    };
    let pairs = digits.as_bytes().chunks(2).map(|pair| match *pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    });
    pairs.collect::<Option<Vec<u8>>>().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(prefix: bool) -> Scope {
        Scope {
            key: Bytes::from_static(b"app/"),
            prefix,
        }
    }

    fn snapshot() -> Snapshot {
        let pair = |name: &'static [u8], value: &'static [u8]| {
            let pair = KeyValue {
                key: [b"app/", name].concat().into(),
                value: value.into(),
                create_revision: 4,
                mod_revision: 9,
                ..Default::default()
            };
            (Bytes::from_static(name), Arc::new(pair))
        };
        let pairs = [pair(b"a", b"{\"x\": 1}"), pair(b"\xff", b"\x00\xfe")];
        Snapshot {
            cluster: u64::MAX,
            set: ConfigSet::new(12, true, pairs.into_iter().collect()),
        }
    }

    #[test]
    fn a_snapshot_survives_the_disk() {
        let bytes = snapshot().to_bytes(&scope(true));
        assert_eq!(Snapshot::parse(&bytes, &scope(true)), Ok(snapshot()));
    }

    #[test]
    fn no_damage_goes_unnoticed() {
        let bytes = snapshot().to_bytes(&scope(true));
        for at in 0..bytes.len() {
            assert!(Snapshot::parse(&bytes[..at], &scope(true)).is_err() || at + 1 == bytes.len());
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1;
            let parsed = Snapshot::parse(&damaged, &scope(true));
            // Space between the fields means nothing.
            assert!(
                parsed.is_err() || parsed == Ok(snapshot()),
                "at {at}: {parsed:?}"
            );
        }
    }

    #[test]
    fn a_snapshot_of_something_else_is_not_taken() {
        let bytes = snapshot().to_bytes(&scope(true));
        let error = Snapshot::parse(&bytes, &scope(false)).unwrap_err();
        assert!(error.contains("it is of app/"), "{error}");
        let other = Scope {
            key: Bytes::from_static(b"other/"),
            prefix: true,
        };
        assert!(Snapshot::parse(&bytes, &other).is_err());
    }
}
