//! How queues and services spell their keys.
//!
//! Owns telling from one pair what it is, for whoever does not know their names. It must not know
//! what is made of it.

use bytes::Bytes;
use handfast_core::KeyValue;
use serde_json::Value;

use super::Instance;

/// What a key of a queue is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum QueuePart {
    Item,
    /// What is written of an item beside it.
    Ticket,
    /// A claim on this item.
    Claim(Bytes),
    Worker,
    Dead,
    Done,
    Control(&'static str),
    /// What all items wait for, in words.
    Condition(String),
    /// Gates, and what opens them.
    Other,
}

/// What the middle of a key says, as in `img/items/17`.
const FOLDERS: [&[u8]; 8] = [
    b"/items/",
    b"/tickets/",
    b"/claims/",
    b"/workers/",
    b"/dead/",
    b"/done/",
    b"/gate/",
    b"/open/",
];

/// The queue's name and the part, if the pair is spelled like a queue's.
pub(super) fn queue_part(pair: &KeyValue) -> Option<(Bytes, QueuePart)> {
    let key = &pair.key;
    if let Some(name) = key.strip_suffix(b"/control") {
        let words = ["run", "pause", "drain"];
        let word = words
            .into_iter()
            .find(|word| pair.value == word.as_bytes())?;
        return Some((key.slice(..name.len()), QueuePart::Control(word)));
    }
    if let Some(name) = key.strip_suffix(b"/condition") {
        let part = QueuePart::Condition(condition(&pair.value)?);
        return Some((key.slice(..name.len()), part));
    }
    // The first of them, for ids may have slashes.
    let found = FOLDERS.into_iter().filter_map(|folder| {
        let at = key.windows(folder.len()).position(|part| part == folder)?;
        Some((at, folder))
    });
    let (at, folder) = found.min_by_key(|(at, _)| *at)?;
    let id = key.slice(at + folder.len()..);
    let part = part(folder, id, pair)?;
    (at > 0).then(|| (key.slice(..at), part))
}

fn part(folder: &[u8], id: Bytes, pair: &KeyValue) -> Option<QueuePart> {
    let is_record = pair.value.first() == Some(&b'{');
    match folder {
        b"/items/" => Some(QueuePart::Item),
        b"/tickets/" => is_record.then_some(QueuePart::Ticket),
        b"/claims/" => (pair.lease != 0).then_some(QueuePart::Claim(id)),
        b"/workers/" => (pair.lease != 0).then_some(QueuePart::Worker),
        b"/dead/" => Some(QueuePart::Dead),
        b"/done/" => is_record.then_some(QueuePart::Done),
        _ => Some(QueuePart::Other),
    }
}

/// What a queue's rule says, such as `{"condition":{"count":3},"epoch":"..."}`.
fn condition(rule: &[u8]) -> Option<String> {
    let rule: Value = serde_json::from_slice(rule).ok()?;
    match rule.get("condition")? {
        Value::String(word) => Some(word.clone()),
        Value::Object(one) => {
            let (word, what) = one.iter().next()?;
            let what = what
                .as_str()
                .map_or_else(|| what.to_string(), str::to_owned);
            Some(format!("{word} {what}"))
        }
        _ => None,
    }
}

/// The service's name and the instance, if the pair is one.
pub(super) fn instance(pair: &KeyValue) -> Option<(Bytes, Instance)> {
    let slash = pair.key.iter().rposition(|byte| *byte == b'/')?;
    if pair.value.first() != Some(&b'{') {
        return None;
    }
    let entry = handfast::Entry::parse(&pair.value)?;
    let instance = Instance {
        id: pair.key.slice(slash + 1..),
        address: entry.addr,
        status: entry.status.code().to_owned(),
        lease: pair.lease,
    };
    Some((pair.key.slice(..slash), instance))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overview::tests::pair;

    fn part_of(key: &str, value: &str, lease: i64) -> Option<QueuePart> {
        queue_part(&pair(key, value, lease, 1)).map(|(_, part)| part)
    }

    #[test]
    fn the_parts_of_a_queue_are_told_apart() {
        assert_eq!(
            part_of("q/items/a/control", "x", 0),
            None,
            "not a word of control"
        );
        assert_eq!(part_of("q/items/a/items/b", "x", 0), Some(QueuePart::Item));
        assert_eq!(
            part_of("q/claims/a", "", 7),
            Some(QueuePart::Claim("a".into()))
        );
        assert_eq!(part_of("q/claims/a", "", 0), None);
        assert_eq!(
            part_of("q/control", "drain", 0),
            Some(QueuePart::Control("drain"))
        );
        assert_eq!(part_of("q/control", "volume", 0), None);
        assert_eq!(part_of("/items/a", "", 0), None, "a queue has a name");
        let rule = r#"{"condition":{"count":3},"epoch":"e"}"#;
        let words = QueuePart::Condition("count 3".to_owned());
        assert_eq!(part_of("q/condition", rule, 0), Some(words));
    }

    #[test]
    fn instances_are_what_other_resolvers_read() {
        let read = |value| instance(&pair("api/eu/n1", value, 7, 1));
        let (service, n1) = read(r#"{"Op":0,"Addr":"10.0.0.5:80"}"#).unwrap();
        assert_eq!((&service[..], &n1.id[..]), (&b"api/eu"[..], &b"n1"[..]));
        assert_eq!((&*n1.address, &*n1.status), ("10.0.0.5:80", "up"));
        assert_eq!(read(r#"{"name":"n1"}"#), None);
        assert_eq!(read("10.0.0.5:80"), None);
    }
}
