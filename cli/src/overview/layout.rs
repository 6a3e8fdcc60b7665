//! How queues and services spell their keys.
//!
//! Owns telling from one pair what it is. It must not know what is made of it.

use bytes::Bytes;
use handfast_core::KeyValue;
use serde_json::Value;

use super::Instance;

/// What a key of a queue is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum QueuePart {
    Item,
    /// A claim on this item.
    Claim(Bytes),
    Dead,
    Delayed,
    Done,
    Control,
    /// Gates, rules and what opens them.
    Other,
}

/// What the middle of a key says, as in `img/items/17`.
const FOLDERS: [(&[u8], fn(Bytes) -> QueuePart); 7] = [
    (b"/items/", |_| QueuePart::Item),
    (b"/claims/", QueuePart::Claim),
    (b"/dead/", |_| QueuePart::Dead),
    (b"/delay/", |_| QueuePart::Delayed),
    (b"/done/", |_| QueuePart::Done),
    (b"/gate/", |_| QueuePart::Other),
    (b"/open/", |_| QueuePart::Other),
];

/// The queue's name and the part, if the pair is spelled like a queue's.
pub(super) fn queue_part(pair: &KeyValue) -> Option<(Bytes, QueuePart)> {
    let key = &pair.key;
    let ends: [(&[u8], QueuePart); 2] = [
        (b"/control", QueuePart::Control),
        (b"/condition", QueuePart::Other),
    ];
    for (end, part) in ends {
        if let Some(name) = key.strip_suffix(end).filter(|name| !name.is_empty()) {
            return Some((key.slice(..name.len()), part));
        }
    }
    let found = FOLDERS.iter().filter_map(|(folder, part)| {
        let at = key.windows(folder.len()).position(|part| part == *folder)?;
        let id = key.slice(at + folder.len()..);
        (at > 0 && !id.is_empty()).then(|| (at, part(id)))
    });
    let (at, part) = found.min_by_key(|(at, _)| *at)?;
    // A claim that is on no lease is none.
    let is_real = !matches!(part, QueuePart::Claim(_)) || pair.lease != 0;
    is_real.then(|| (key.slice(..at), part))
}

/// The service's name and the instance, if the pair is one: the form that gRPC's resolver for
/// etcd reads, too.
pub(super) fn instance(pair: &KeyValue) -> Option<(Bytes, Instance)> {
    let slash = pair.key.iter().rposition(|byte| *byte == b'/')?;
    if pair.value.first() != Some(&b'{') {
        return None;
    }
    let value: Value = serde_json::from_slice(&pair.value).ok()?;
    let address = value.get("Addr")?.as_str()?;
    let status = value.pointer("/Metadata/status").and_then(Value::as_str);
    let instance = Instance {
        id: pair.key.slice(slash + 1..),
        address: address.to_owned(),
        status: status.unwrap_or_default().to_owned(),
        lease: pair.lease,
    };
    Some((pair.key.slice(..slash), instance))
}
