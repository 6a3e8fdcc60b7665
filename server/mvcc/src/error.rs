//! Why the store refuses.
//!
//! Owns the reasons and their evidence. Must not know how a protocol words or numbers them.

/// Why a request was refused or an entry changed nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The requested revision lies below the compaction mark.
    #[error("revision {requested} was compacted: read at {compacted} or later")]
    Compacted {
        /// What was asked for.
        requested: i64,
        /// The oldest revision that can still be read.
        compacted: i64,
    },
    /// The members' data differ; until somebody has looked at it nothing may be changed.
    #[error("the members differ: find the odd one, replace it, and disarm the alarm")]
    Corrupt,
    /// A transaction changes one key twice.
    #[error("the transaction changes a key twice: split it")]
    DuplicateKey,
    /// A key is required and was empty.
    #[error("the key is empty: name one")]
    EmptyKey,
    /// The requested revision does not exist yet.
    #[error("revision {requested} is in the future: the store is at {current}")]
    FutureRevision {
        /// What was asked for.
        requested: i64,
        /// The newest revision.
        current: i64,
    },
    /// The store met an error it cannot apply around; it must be reopened.
    #[error("the store has stopped ({0}): restart it to replay the log")]
    Halted(String),
    /// A sort order or target outside the enumeration.
    #[error("unknown sort order or target: use one of the enumeration")]
    InvalidSortOption,
    /// The key must exist, or an operation names nothing to do.
    #[error("the key does not exist: put it with a value and lease first")]
    KeyNotFound,
    /// A put that keeps the key's lease also names one.
    #[error("a lease is given together with ignore_lease: give one of them")]
    LeaseProvided,
    /// A lease of this id exists.
    #[error("lease {0} exists: choose another id")]
    LeaseExists(i64),
    /// No lease of this id exists.
    #[error("lease {0} does not exist: it expired or was revoked")]
    LeaseNotFound(i64),
    /// A time to live beyond what a lease may have.
    #[error("a time to live of {0} s is too large for a lease")]
    LeaseTtlTooLarge(i64),
    /// A log entry or a state file that makes no sense.
    #[error("malformed data: {0}")]
    Malformed(String),
    /// The storage quota is used up.
    #[error("the storage quota is used up: compact, then disarm the alarm")]
    NoSpace,
    /// The state file failed.
    #[error(transparent)]
    Storage(#[from] handfast_storage::Error),
    /// More operations than a transaction may have.
    #[error("the transaction has more than {limit} operations at one level: split it")]
    TooManyOps {
        /// How many this level may have.
        limit: usize,
    },
    /// A put that keeps the key's value also carries one.
    #[error("a value is given together with ignore_value: give one of them")]
    ValueProvided,
}
