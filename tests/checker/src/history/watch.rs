//! What a watch was asked for and what it delivered.
//!
//! Owns the form of the record. What it must deliver is the validators' business.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{KeyRange, Kv, Nanos};
use crate::text::Shown;

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// It was created or changed.
    Put,
    /// It was deleted, or its lease ended.
    Delete,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The pair after it; of a delete only key and `mod_revision` are set.
    pub kv: Kv,
    /// The pair before it, if it was asked for and delivered.
    #[serde(default)]
    pub prev_kv: Option<Kv>,
}

impl Event {
    /// The revision it belongs to.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.kv.mod_revision
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            EventKind::Put => write!(f, "put {}", self.kv),
            EventKind::Delete => {
                write!(f, "delete {} at {}", Shown(&self.kv.key), self.revision())
            }
        }
    }
}

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchRequest {
    /// The keys.
    pub range: KeyRange,
    /// The first revision; 0 for what comes after the creation.
    #[serde(default)]
    pub start_revision: i64,
    /// Whether events must hold the pair before.
    #[serde(default)]
    pub prev_kv: bool,
    /// Whether puts are left out.
    #[serde(default)]
    pub no_put: bool,
    /// Whether deletes are left out.
    #[serde(default)]
    pub no_delete: bool,
}

impl WatchRequest {
    /// Whether the watch asks for such an event, whatever the revision.
    #[must_use]
    pub fn wants(&self, event: &Event) -> bool {
        let is_left_out = match event.kind {
            EventKind::Put => self.no_put,
            EventKind::Delete => self.no_delete,
        };
        !is_left_out && self.range.contains(&event.kv.key)
    }
}

/// One message to a watcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// The watch is in place (again).
    Created {
        /// The store's revision at that moment.
        revision: i64,
    },
    /// Changes.
    Events {
        /// The header's revision; 0 if not noted.
        revision: i64,
        /// The changes.
        events: Vec<Event>,
        /// Whether the rest of this response is in the next message.
        #[serde(default)]
        fragment: bool,
    },
    /// A promise that nothing up to the revision is still to come.
    Progress {
        /// The header's revision.
        revision: i64,
    },
    /// The watch was cut off, and asked again (on another stream, perhaps at another member).
    Resumed {
        /// The start revision it asked with.
        from: i64,
    },
    /// The revisions to be delivered next are compacted away.
    Compacted {
        /// The oldest revision that can be watched from.
        compact_revision: i64,
    },
    /// The server ended the watch for another reason.
    Cancelled {
        /// What it said.
        why: String,
    },
}

/// A message with its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When it came.
    pub at: Nanos,
    /// What came.
    pub delivery: Delivery,
}

/// All that one watch delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchRecord {
    /// A name for messages.
    pub name: String,
    /// What was asked for.
    pub request: WatchRequest,
    /// The messages in the order they came.
    pub notes: Vec<Note>,
    /// Set if the harness waited until everything up to this revision must have come.
    #[serde(default)]
    pub drained_to: Option<i64>,
}
