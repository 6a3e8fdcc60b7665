//! The kinds of recipes a name can be used for.
//!
//! Owns the words for them, in messages and in records. Knows nothing of how they work.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a name is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// A mutual exclusion lock.
    Lock,
    /// An election.
    Election,
    /// A service that instances register for.
    Service,
    /// A queue of items; what is held is a claim.
    Queue,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lock => "lock",
            Self::Election => "election",
            Self::Service => "service",
            Self::Queue => "queue",
        })
    }
}
