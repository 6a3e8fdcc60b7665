//! Why a proposal or a linearizable read was refused.

/// Why a command was not applied, or why that is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// No leader was found within the request's time; nothing was proposed.
    #[error("no leader accepted the proposal in time; it was not applied")]
    NoLeader,
    /// The time ran out after the proposal was accepted: it may still be applied.
    #[error("the proposal was not applied in time; it may still be applied later")]
    Timeout,
    /// The member is shutting down.
    #[error("the member is stopping")]
    Stopped,
    /// The queue of proposals is full; nothing was proposed.
    #[error("too many proposals are waiting; try again later")]
    TooManyRequests,
    /// The encoded command is over the limit; nothing was proposed.
    #[error("the request has {size} bytes, the limit is {limit}")]
    TooLarge {
        /// Bytes of the encoded command.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Raft has stopped for good, by a failed disk for one.
    #[error("the member has failed: {0}")]
    Fatal(String),
}

/// Why a linearizable read could not be confirmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// No leader is known.
    #[error("no leader is known")]
    NoLeader,
    /// Leadership was not confirmed in time.
    #[error("leadership was not confirmed in time")]
    Timeout,
    /// The member is shutting down.
    #[error("the member is stopping")]
    Stopped,
    /// Raft has stopped for good, by a failed disk for one.
    #[error("the member has failed: {0}")]
    Fatal(String),
}

/// Why a member could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A raft setting contradicts another one.
    #[error("the raft settings do not fit together: {0}")]
    Config(String),
    /// The log and the state cannot be brought together.
    #[error("raft cannot start from this data directory: {0}")]
    Recovery(String),
    /// The log is gone, or belongs to other data.
    #[error(
        "the state holds log entry {applied}, but the log ends at {last}: the log was deleted or \
         is not this member's; put the right one back, or restore the data from a backup"
    )]
    LogMissing {
        /// Index of the last entry that the state holds.
        applied: u64,
        /// Index of the last entry in the log.
        last: u64,
    },
    /// The log is empty, and nothing says what else to begin with.
    #[error("there is no log to go on with: say whether to found a cluster or to join one")]
    NothingToResume,
    /// The member did not become the leader of its own cluster in time.
    #[error("the member did not become leader within {0:?}; is the disk stuck?")]
    NotLeading(std::time::Duration),
}
