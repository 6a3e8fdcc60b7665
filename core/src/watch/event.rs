//! What a watch reports.
//!
//! Owns the reports and reading a change off the wire. Knows nothing of how they are got.

use handfast_proto::mvccpb;

use crate::KeyValue;

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It was created or changed.
    Put,
    /// It was deleted, or its lease ended.
    Delete,
}

/// A change of one key.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The pair after the change; of a delete only key and `mod_revision` are set.
    pub kv: KeyValue,
    /// The pair before the change, if asked for, there was one and it is not compacted.
    pub prev_kv: Option<KeyValue>,
}

impl Event {
    /// Whether the put created the key.
    #[must_use]
    pub fn is_create(&self) -> bool {
        self.kind == EventKind::Put && self.kv.create_revision == self.kv.mod_revision
    }

    pub(super) fn read(event: mvccpb::Event) -> Option<Self> {
        let kind = match event.r#type() {
            mvccpb::event::EventType::Put => EventKind::Put,
            mvccpb::event::EventType::Delete => EventKind::Delete,
        };
        Some(Self {
            kind,
            kv: event.kv?,
            prev_kv: event.prev_kv,
        })
    }
}

/// What a watch reports.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum WatchEvent {
    /// The watch is in place; always the first item. Changes after `revision` will be seen, and
    /// those from the start revision on, if one was given.
    Created {
        /// The store's revision when the watch was made.
        revision: i64,
    },
    /// Changes, in order, whole revisions only.
    Events {
        /// The revision of the last one: no change up to it is still to come.
        revision: i64,
        /// The changes; never empty.
        events: Vec<Event>,
    },
    /// Nothing happened.
    Progress {
        /// No change up to this revision is still to come.
        revision: i64,
    },
    /// The watch is cut off: what comes next comes late. Only if
    /// [asked for](crate::WatchOptions::tell_interruptions), and then once until it is in place
    /// again; before the first [`Created`](Self::Created), too.
    Interrupted,
    /// The watch was cut off and is in place again; nothing was missed.
    Resumed {
        /// The revision it goes on from.
        revision: i64,
    },
    /// The changes to be reported next are compacted away; always the last item. Read the state
    /// anew and watch from there.
    Compacted {
        /// The oldest revision that can still be watched from; 0 if the server does not say.
        compact_revision: i64,
    },
}
