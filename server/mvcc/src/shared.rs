//! What readers and the writer of a store share.
//!
//! Owns the list of what changes together, under one lock. Must not know who takes the lock.

use std::mem;

use bytes::Bytes;
use handfast_storage::LogPosition;

use crate::{apply::LeaseChanges, cluster::Cluster, fingerprint::Fingerprint, keyspace::Keyspace};

/// What the lock guards.
pub(crate) struct Shared {
    pub(crate) keyspace: Keyspace,
    pub(crate) applied: Option<LogPosition>,
    /// The part of `applied` that the state file has.
    pub(crate) durable: Option<LogPosition>,
    pub(crate) membership: Option<Bytes>,
    pub(crate) membership_changed: bool,
    pub(crate) lease_changes: LeaseChanges,
    pub(crate) cluster: Cluster,
    pub(crate) fingerprint: Fingerprint,
}

impl Shared {
    /// Takes what a flush has to write of the leases.
    pub(crate) fn take_lease_changes(&mut self) -> LeaseChanges {
        mem::take(&mut self.lease_changes)
    }
}
