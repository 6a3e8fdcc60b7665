//! What is written of an instance, in the form that grpc-go's etcd resolver reads.
//!
//! Owns the form and its bounds. Knows nothing of sessions, and nothing of who reads it.

use std::{collections::BTreeMap, fmt, ops::Deref};

use bytes::Bytes;
use handfast_core::KeyValue;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::Error;

/// Fields of the metadata that have a meaning here.
const RESERVED: [&str; 4] = ["status", "version", "weight", "zone"];
const WEIGHT_LIMIT: u32 = 1_000_000;
/// Well below what a server takes as one value.
const SIZE_LIMIT: usize = 256 << 10;

/// Whether an instance takes calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// It is getting ready: picked only when nothing else is there.
    Warming,
    /// It takes calls.
    #[default]
    Up,
    /// It finishes what it has: not picked.
    Draining,
}

impl Status {
    /// A short stable word for programs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Warming => "warming",
            Self::Up => "up",
            Self::Draining => "draining",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "warming" => Self::Warming,
            "draining" => Self::Draining,
            // An unknown word of a newer program: it is there, so it is up.
            _ => Self::Up,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// What an instance says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Where it is reached: `host:port`, or `unix:/path`.
    pub addr: String,
    /// Its share of calls, beside the others' (default 1).
    pub weight: u32,
    /// Where it runs; empty if it does not say.
    pub zone: String,
    /// What it runs; empty if it does not say.
    pub version: String,
    /// Whether it takes calls.
    pub status: Status,
    /// Whatever else it says.
    pub metadata: BTreeMap<String, String>,
}

impl Entry {
    /// The entry of an instance that is up at `addr`.
    #[must_use]
    pub fn new(addr: impl Into<String>) -> Self {
        Self {
            addr: addr.into(),
            weight: 1,
            zone: String::new(),
            version: String::new(),
            status: Status::Up,
            metadata: BTreeMap::new(),
        }
    }

    /// The entry as it is stored.
    #[must_use]
    pub fn to_value(&self) -> Bytes {
        let mut metadata: Map<String, Value> = self
            .metadata
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        metadata.insert("status".to_owned(), json!(self.status.code()));
        metadata.insert("weight".to_owned(), json!(self.weight));
        for (name, value) in [("zone", &self.zone), ("version", &self.version)] {
            if !value.is_empty() {
                metadata.insert(name.to_owned(), json!(value));
            }
        }
        let stored = json!({ "Op": 0, "Addr": self.addr, "Metadata": metadata });
        Bytes::from(stored.to_string())
    }

    /// The entry in `value`, if it is one, also of a program that knows of no weights and zones.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Stored {
            #[serde(default)]
            op: u8,
            addr: String,
            #[serde(default)]
            metadata: Value,
        }
        let stored: Stored = serde_json::from_slice(value).ok()?;
        if stored.op != 0 || stored.addr.is_empty() {
            return None;
        }
        let mut entry = Self::new(stored.addr);
        let Value::Object(metadata) = stored.metadata else {
            return Some(entry);
        };
        for (name, value) in metadata {
            match name.as_str() {
                "weight" => entry.weight = weight(&value),
                "status" => entry.status = Status::parse(&text(value)),
                "zone" => entry.zone = text(value),
                "version" => entry.version = text(value),
                _ => {
                    entry.metadata.insert(name, text(value));
                }
            }
        }
        Some(entry)
    }

    /// Refuses what could not be read back, or used.
    pub(super) fn check(&self) -> Result<(), Error> {
        check_addr(&self.addr)?;
        if self.weight == 0 || self.weight > WEIGHT_LIMIT {
            let problem = format!(
                "{} is not between 1 and {WEIGHT_LIMIT}; to take no calls, set the status to \
                 draining",
                self.weight
            );
            return Err(Error::invalid("weight", problem));
        }
        if let Some(name) = RESERVED
            .iter()
            .find(|name| self.metadata.contains_key(**name))
        {
            let problem = format!("{name} has a setting of its own; choose another name");
            return Err(Error::invalid("metadata", problem));
        }
        let size = self.to_value().len();
        if size > SIZE_LIMIT {
            let problem = format!("{size} bytes with all metadata; {SIZE_LIMIT} are allowed");
            return Err(Error::invalid("metadata", problem));
        }
        Ok(())
    }
}

fn check_addr(addr: &str) -> Result<(), Error> {
    let port = addr.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let has_port = port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0));
    let is_socket = addr
        .strip_prefix("unix:")
        .is_some_and(|path| !path.is_empty());
    let is_plain = !addr.chars().any(|c| c.is_whitespace() || c.is_control());
    if is_plain && (has_port || is_socket) {
        return Ok(());
    }
    let problem = format!("{addr:?} is not an address others can call, such as 10.0.0.5:80");
    Err(Error::invalid("addr", problem))
}

/// A weight somebody wrote, brought into bounds.
fn weight(value: &Value) -> u32 {
    let number = match value {
        Value::String(text) => text.trim().parse().ok(),
        value => value.as_f64(),
    };
    // Casts of floats end at the bounds of the type.
    number.map_or(1, |number: f64| {
        (number.round() as u32).clamp(1, WEIGHT_LIMIT)
    })
}

fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        value => value.to_string(),
    }
}

/// `value` with another status, and all else as it was, whoever wrote it; `None` when it is no
/// entry.
pub(super) fn with_status(value: &[u8], status: Status) -> Option<Bytes> {
    Entry::parse(value)?;
    let mut stored: Value = serde_json::from_slice(value).ok()?;
    let metadata = stored
        .as_object_mut()?
        .entry("Metadata")
        .or_insert(Value::Null);
    if metadata.is_null() {
        *metadata = json!({});
    }
    metadata
        .as_object_mut()?
        .insert("status".to_owned(), json!(status.code()));
    Some(Bytes::from(stored.to_string()))
}

/// An instance that is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Instance {
    /// Its name within the service.
    pub id: String,
    /// What it says of itself.
    pub entry: Entry,
    /// The lease of the session that registered it; 0 for an entry that somebody wrote by hand,
    /// which does not go away by itself.
    pub lease: i64,
    /// The revision its key was created at: another one means that it registered anew.
    pub token: i64,
    /// The revision of the last change.
    pub revision: i64,
    /// Its lease ended together with many others': it is kept for a while, since more often the
    /// registry is ill than all instances at once.
    pub suspect: bool,
}

impl Deref for Instance {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.entry
    }
}

impl Instance {
    /// The instance in `pair`, a pair under the service's `prefix`; `None` for what is no entry,
    /// and for those of a service whose name begins with this one's.
    pub(super) fn read(prefix: &[u8], pair: &KeyValue) -> Option<Self> {
        let id = std::str::from_utf8(pair.key.strip_prefix(prefix)?).ok()?;
        if id.is_empty() || id.contains('/') {
            return None;
        }
        Some(Self {
            id: id.to_owned(),
            entry: Entry::parse(&pair.value)?,
            lease: pair.lease,
            token: pair.create_revision,
            revision: pair.mod_revision,
            suspect: false,
        })
    }
}

/// The prefix of a service's keys.
pub(super) fn prefix(service: &str) -> Result<Bytes, Error> {
    if service.is_empty() || service.ends_with('/') {
        let problem = format!("{service:?} is empty or ends with /; a good one is team/api");
        return Err(Error::invalid("service", problem));
    }
    Ok(Bytes::from(format!("{service}/")))
}

/// The key of an instance.
pub(super) fn key(service: &str, id: &str) -> Result<Bytes, Error> {
    let prefix = prefix(service)?;
    if id.is_empty() || id.contains('/') {
        let problem = format!("{id:?} is empty or contains /; a good one is the host's name");
        return Err(Error::invalid("instance", problem));
    }
    Ok(Bytes::from([&prefix[..], id.as_bytes()].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Entry {
        let mut entry = Entry::new("10.0.0.5:80");
        entry.weight = 3;
        entry.zone = "a".into();
        entry.version = "1.2".into();
        entry.status = Status::Warming;
        entry.metadata.insert("team".into(), "blue \"x\"".into());
        entry
    }

    #[test]
    fn it_is_stored_as_a_go_resolver_reads_it() {
        let stored: Value = serde_json::from_slice(&full().to_value()).unwrap();
        let metadata = json!({ "status": "warming", "weight": 3, "zone": "a", "version": "1.2",
            "team": "blue \"x\"" });
        let expected = json!({ "Op": 0, "Addr": "10.0.0.5:80", "Metadata": metadata });
        assert_eq!(stored, expected);
        assert_eq!(Entry::parse(&full().to_value()), Some(full()));
    }

    #[test]
    fn entries_of_other_programs_are_read() {
        let go = Entry::parse(br#"{"Op":0,"Addr":"h:1","Metadata":null}"#).unwrap();
        assert_eq!(go, Entry::new("h:1"));
        assert_eq!(
            Entry::parse(br#"{"Addr":"h:1","Metadata":"x"}"#).unwrap(),
            go
        );
        let odd = br#"{"Addr":"h:1","Metadata":{"weight":"0","n":7,"status":"new"}}"#;
        let odd = Entry::parse(odd).unwrap();
        assert_eq!((odd.weight, odd.status), (1, Status::Up));
        assert_eq!(odd.metadata["n"], "7");
        for none in [&b"hello"[..], b"", b"{}", br#"{"Op":1,"Addr":"h:1"}"#] {
            assert_eq!(Entry::parse(none), None);
        }
    }

    #[test]
    fn another_status_leaves_all_else_as_it_was() {
        let value = br#"{"Op":0,"Addr":"h:1","Metadata":{"n":7,"status":"up"},"More":[1]}"#;
        let drained = with_status(value, Status::Draining).unwrap();
        let drained: Value = serde_json::from_slice(&drained).unwrap();
        let metadata = json!({ "n": 7, "status": "draining" });
        let expected = json!({ "Op": 0, "Addr": "h:1", "Metadata": metadata, "More": [1] });
        assert_eq!(drained, expected);
        let bare = with_status(br#"{"Addr":"h:1"}"#, Status::Up).unwrap();
        assert_eq!(Entry::parse(&bare), Some(Entry::new("h:1")));
        assert_eq!(with_status(b"{}", Status::Up), None);
    }

    #[test]
    fn trap_14_what_could_not_be_used_is_refused_early() {
        let refused = |change: &dyn Fn(&mut Entry)| {
            let mut entry = full();
            change(&mut entry);
            entry.check().unwrap_err().to_string()
        };
        assert!(full().check().is_ok());
        for addr in ["", "host", ":80", "h:0", "h:99999", "h :80", "unix:"] {
            let said = refused(&|entry| entry.addr = addr.into());
            assert!(said.contains("10.0.0.5:80"), "{said}");
        }
        assert!(refused(&|entry| entry.weight = 0).contains("draining"));
        let taken = |entry: &mut Entry| {
            entry.metadata.insert("zone".into(), "b".into());
        };
        assert!(refused(&taken).contains("zone"));
        let large = |entry: &mut Entry| {
            entry.metadata.insert("x".into(), "x".repeat(SIZE_LIMIT));
        };
        assert!(refused(&large).contains("262144"));
        assert!(Entry::new("unix:/run/x").check().is_ok());
        assert!(Entry::new("[::1]:80").check().is_ok());
        assert!(prefix("a/").is_err() && key("a", "b/c").is_err() && key("a", "").is_err());
    }

    #[test]
    fn trap_09_a_nested_name_is_another_service() {
        let pair = |key: &str| KeyValue {
            key: Bytes::from(key.to_owned()),
            value: full().to_value(),
            ..Default::default()
        };
        let read = |key| Instance::read(b"api/", &pair(key)).map(|instance| instance.id);
        assert_eq!(read("api/n1"), Some("n1".to_owned()));
        assert_eq!(read("api/v2/n1"), None);
        assert_eq!(read("api/"), None);
        assert_eq!(read("other/n1"), None);
    }
}
