//! What goes into `apply` and what comes out.
//!
//! Owns the vocabulary between the log and the store. Must not know how either works.

use bytes::Bytes;
use handfast_proto::etcdserverpb::{DeleteRangeResponse, PutResponse, TxnResponse};
use handfast_storage::LogPosition;

use crate::{Alarm, Error};

/// One committed log entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Where the log has it. Positions never go back; the commands of one proposal share theirs.
    /// The commands of one proposal share a position and come in one call of `apply`: they become
    /// durable together, so a flush never falls between them.
    pub position: LogPosition,
    /// What it says.
    pub payload: Payload,
}

/// The content of a log entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Nothing: a new leader's first entry.
    Blank,
    /// An encoded [`Command`](handfast_proto::command::Command).
    Command(Bytes),
    /// A new membership, opaque to the store, kept with the state it belongs to.
    Membership(Bytes),
}

/// What an applied entry did.
///
/// Headers inside carry the revision only: the rest is for those who know the member.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// A blank or membership entry: nothing a client asked for.
    Blank,
    /// A key was put.
    Put(PutResponse),
    /// A range was deleted, possibly an empty one.
    DeleteRange(DeleteRangeResponse),
    /// A transaction ran one of its branches.
    Txn(TxnResponse),
    /// The compaction mark moved; the space is reclaimed later.
    Compact,
    /// A lease now exists.
    LeaseGrant {
        /// The lease.
        id: i64,
        /// Its time to live in seconds.
        ttl_seconds: i64,
    },
    /// A lease and the keys attached to it are gone.
    LeaseRevoke,
    /// Those of the named leases that still existed are gone.
    LeaseExpire {
        /// How many that were.
        revoked: usize,
    },
    /// The alarm the command is about, raised now or before; or the one it cleared. Empty when it
    /// names none, or one to clear that was not raised.
    Alarm(Vec<Alarm>),
}

/// The answer to one entry.
#[derive(Debug)]
pub struct Applied {
    /// The store's revision after the entry.
    pub revision: i64,
    /// What the entry did, or why it changed nothing.
    pub result: Result<Outcome, Error>,
}
