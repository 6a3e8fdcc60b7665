//! What a configuration tells its program.
//!
//! Owns the value with where it comes from, the events and the problems. Knows nothing of how
//! they come about.

use std::{fmt, ops::Deref, sync::Arc};

use bytes::Bytes;

use super::set::ConfigSet;

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigSource {
    /// A server.
    Server,
    /// The snapshot on disk: no server was heard yet, or what it has is refused.
    Snapshot,
    /// Nothing is published, and this is the default the program gave.
    Default,
}

/// A value that is, or was, in force.
#[derive(Debug)]
#[non_exhaustive]
pub struct ConfigValue<T> {
    /// The value.
    pub value: Arc<T>,
    /// What it was decoded from.
    pub set: ConfigSet,
    /// Where that comes from.
    pub source: ConfigSource,
    /// Counts the values of this handle and its clones.
    pub(super) step: u64,
}

impl<T> ConfigValue<T> {
    /// The store's revision at which this was published; see [`ConfigSet::revision`].
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.set.revision()
    }
}

impl<T> Deref for ConfigValue<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// What is wrong with something that was not taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigProblemKind {
    /// The key does not exist, and there is no default.
    Missing,
    /// It cannot be decoded.
    Undecodable,
    /// It is refused by the program's check.
    Invalid,
    /// Decoding or checking it panicked.
    Panicked,
    /// The snapshot on disk is damaged or of something else, and is ignored.
    SnapshotIgnored,
    /// The snapshot could not be written; it is tried again.
    SnapshotNotWritten,
}

/// Something that was not taken over, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigProblem {
    /// What is wrong.
    pub kind: ConfigProblemKind,
    /// The revision at which it was published; 0 when none is known.
    pub revision: i64,
    /// The same for people.
    pub text: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.revision {
            0 => f.write_str(&self.text),
            revision => write!(f, "revision {revision}: {}", self.text),
        }
    }
}

/// What happened to a configuration.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigEvent<T> {
    /// A value is in force from now on.
    Applied {
        /// The value.
        value: Arc<ConfigValue<T>>,
        /// The names of what changed, in order; the empty name is a single key's.
        names: Vec<Bytes>,
    },
    /// What was published is refused, and the value before it stays in force; or something is
    /// wrong with the snapshot.
    Problem(Arc<ConfigProblem>),
    /// The server's data was replaced, by a backup's or another cluster's: revisions may have gone
    /// back. What is published there follows as the next event.
    Reset {
        /// The revision from which it goes on.
        revision: i64,
    },
    /// No server is heard any more; the value stays in force.
    Disconnected,
    /// A server is heard, and everything published so far was told.
    Connected,
}

impl<T> Clone for ConfigEvent<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Applied { value, names } => Self::Applied {
                value: Arc::clone(value),
                names: names.clone(),
            },
            Self::Problem(problem) => Self::Problem(Arc::clone(problem)),
            Self::Reset { revision } => Self::Reset {
                revision: *revision,
            },
            Self::Disconnected => Self::Disconnected,
            Self::Connected => Self::Connected,
        }
    }
}
