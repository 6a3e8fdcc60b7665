//! A whole run: everything that the checks look at.
//!
//! Owns the collection and its form as a file. Knows nothing of what is right or wrong.

use serde::{Deserialize, Serialize};

use super::{Event, KeyRange, Kv, LeaseRecord, Observation, Operation, Tenure, WatchRecord};

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
/// end of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLog {
    /// The first revision it covers.
    pub from: i64,
    /// The last one.
    pub to: i64,
    /// The changes in the order they were made.
    pub events: Vec<Event>,
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
