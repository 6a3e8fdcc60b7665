//! What holders of locks, leaders and owners of leases were told, and when.
//!
//! Owns the form of these records. All times are the harness's own, not a client's skewed clock.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Nanos;
use crate::text;

/// Why a tenure was over for its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The holder was told that it lost it.
    Lost,
    /// The holder began to give it back: its work was over by then.
    Released,
    /// The holder's process was gone.
    Crashed,
}

/// The end of a tenure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenureEnd {
    /// The last moment at which the holder could believe to hold it.
    pub at: Nanos,
    /// Why it was over.
    pub how: Ending,
}

/// A lock held, or a leadership: from when the holder was told to when it no longer believed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenure {
    /// The name of the lock or election; its keys are `<name>/…`.
    #[serde(with = "text")]
    pub name: Bytes,
    /// Who held it, for messages.
    pub holder: String,
    /// The fencing token: the create revision of the holder's key.
    pub token: i64,
    /// When the holder was told.
    pub granted: Nanos,
    /// `None`: it held it to the end of the run.
    #[serde(default)]
    pub ended: Option<TenureEnd>,
}

/// A leader that an observer of an election was shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The election; its keys are `<name>/…`.
    #[serde(with = "text")]
    pub name: Bytes,
    /// Who watched. Its observations stand in the list in the order it had them.
    pub observer: String,
    /// When.
    pub at: Nanos,
    /// The leader's token (create revision); 0: there is no leader.
    pub token: i64,
    /// What the leader proclaims.
    #[serde(with = "text", default)]
    pub value: Bytes,
    /// The revision the observer looked at; 0 if not noted.
    #[serde(default)]
    pub revision: i64,
}

/// A keepalive that was answered with a time to live above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    /// When it was sent.
    pub sent: Nanos,
    /// When the answer came.
    pub acknowledged: Nanos,
}

/// A lease from its grant to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// The lease.
    pub id: i64,
    /// The time to live that was granted, in nanoseconds of the client's clock.
    pub ttl: Nanos,
    /// When the grant was sent and answered.
    pub granted: Renewal,
    /// Answered keepalives.
    #[serde(default)]
    pub renewals: Vec<Renewal>,
    /// When somebody first asked to revoke it; nothing is promised from then on.
    #[serde(default)]
    pub revoke_sent: Option<Nanos>,
    /// When it, or a key that hung on it and that no client deleted, was first seen gone.
    #[serde(default)]
    pub gone: Option<Nanos>,
}
