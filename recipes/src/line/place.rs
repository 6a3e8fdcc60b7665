//! One place in a queue: a key of one epoch.
//!
//! Owns the key's identity and what is known of it. Knows nothing of waiting, holding and leaving.

use std::sync::Arc;

use bytes::Bytes;
use handfast_core::Epoch;

use super::{Grant, Line, own_name};

/// A key in the queue, or one that may be put.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) epoch: Epoch,
    pub(crate) line: Arc<Line>,
    pub(crate) own: String,
    pub(crate) key: Bytes,
    pub(crate) value: Bytes,
    /// The value of the grant's record while this place holds; says whose it is.
    pub(crate) grant: Bytes,
    /// The create revision: the fencing token. 0 while it is not known.
    pub(crate) revision: i64,
    /// A request that puts the key may still be under way.
    pub(crate) doubtful: bool,
    slot: u32,
}

impl Place {
    /// A place that has no key in the store yet.
    pub(crate) fn new(epoch: Epoch, line: Arc<Line>, value: Bytes) -> Self {
        let slot = epoch.take_slot(&line.name);
        let own = own_name(epoch.lease(), slot);
        let since = epoch.clock().unix_time();
        let grant = Grant {
            kind: line.kind,
            own: own.clone(),
            since_unix_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            written: 0,
        };
        Self {
            key: line.key(&own),
            // Plain strings and numbers always encode.
            grant: serde_json::to_vec(&grant)
                .map(Bytes::from)
                .unwrap_or_default(),
            epoch,
            line,
            own,
            value,
            revision: 0,
            doubtful: false,
            slot,
        }
    }

    /// Lets the key be used again: it is gone, and no request that would put it is under way.
    pub(crate) fn free_key(&self) {
        self.epoch.free_slot(&self.line.name, self.slot);
    }
}
