//! A whole run: everything that the checks look at.
//!
//! Owns the collection and its form as a file. Knows nothing of what is right or wrong.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    Delivery, Event, KeyRange, Kv, LeaseRecord, Observation, Operation, Tenure, WatchRecord,
};

/// A store at one revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The revision.
    pub revision: i64,
    /// The pairs.
    pub kvs: Vec<Kv>,
}

/// An empty store, which begins at revision 1.
impl Default for Snapshot {
    fn default() -> Self {
        Self {
            revision: 1,
            kvs: Vec::new(),
        }
    }
}

/// All changes of all keys between two revisions, such as a watch of everything delivers at the
/// end of a run: after the last answer, so that no acknowledged revision lies behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLog {
    /// The first revision it covers.
    pub from: i64,
    /// The last one.
    pub to: i64,
    /// The changes in the order they were made.
    pub events: Vec<Event>,
}

impl EventLog {
    /// The log as a watch of all keys delivered it, from `from` to `to`. What came again after an
    /// interruption is taken once; what the watch left out is missed in the log, too.
    #[must_use]
    pub fn of(watch: &WatchRecord, from: i64, to: i64) -> Self {
        let mut seen = BTreeSet::new();
        let delivered = watch.notes.iter().flat_map(|note| match &note.delivery {
            Delivery::Events { events, .. } => events.as_slice(),
            _ => &[],
        });
        let is_new = |event: &&Event| {
            let revision = event.revision();
            (from..=to).contains(&revision) && seen.insert((revision, event.kv.key.clone()))
        };
        Self {
            from,
            to,
            events: delivered.filter(is_new).cloned().collect(),
        }
    }
}

/// What a member held at the end, after everything was over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Final {
    /// The member that was read.
    pub member: String,
    /// What it held: all keys.
    pub state: Snapshot,
}

/// Everything that was seen of one run of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    /// What it was, for messages: the seed, the faults.
    pub title: String,
    /// The store before the first operation.
    pub initial: Snapshot,
    /// The keys that others write, whose operations are not among `operations`: those of locks and
    /// elections, for instance. Nothing else may write without an operation, but leases that end.
    pub unrecorded: Vec<KeyRange>,
    /// What clients asked and were answered, in any order.
    pub operations: Vec<Operation>,
    /// What watches delivered.
    pub watches: Vec<WatchRecord>,
    /// The reference for the watches, and a help for operations in doubt. Give it whenever it can
    /// be had, as without it the watches' completeness cannot be judged.
    pub log: Option<EventLog>,
    /// What each member held at the end.
    pub finals: Vec<Final>,
    /// The highest revision somebody asked to compact at; 0 for none.
    pub compacted: i64,
    /// Locks held.
    pub locks: Vec<Tenure>,
    /// Leaderships.
    pub leaderships: Vec<Tenure>,
    /// Leaders as observers saw them.
    pub observations: Vec<Observation>,
    /// Leases.
    pub leases: Vec<LeaseRecord>,
    /// How wrong the servers' clocks may go, in millionths, where time to live is judged.
    pub clock_error_ppm: u32,
}

impl Run {
    /// Whether a key is written by others than `operations`.
    #[must_use]
    pub fn is_unrecorded(&self, key: &[u8]) -> bool {
        self.unrecorded.iter().any(|range| range.contains(key))
    }

    /// The run as a file.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which no run does.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// Reads what [`Run::to_json`] wrote.
    ///
    /// # Errors
    /// When it is no such file.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{EventKind, Note};

    #[test]
    fn a_log_takes_each_event_of_a_watch_once() {
        let event = |revision| Event {
            kind: EventKind::Put,
            kv: Kv {
                mod_revision: revision,
                ..Kv::seen("a", "v")
            },
            prev_kv: None,
        };
        let note = |revisions: &[i64]| Note {
            at: 1,
            delivery: Delivery::Events {
                revision: 0,
                events: revisions.iter().map(|revision| event(*revision)).collect(),
                fragment: false,
            },
        };
        let watch = WatchRecord {
            notes: vec![note(&[2, 3]), note(&[3, 4]), note(&[5])],
            ..WatchRecord::default()
        };
        let log = EventLog::of(&watch, 3, 4);
        let revisions: Vec<i64> = log.events.iter().map(Event::revision).collect();
        assert_eq!((log.from, log.to, revisions), (3, 4, vec![3, 4]));
    }
}
