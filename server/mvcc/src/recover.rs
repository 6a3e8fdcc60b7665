//! Making a store the state of a cluster of its own, when the rest of its cluster is lost.
//!
//! Owns what changes in the state: membership, revision and what clients must not rely on any
//! more. Must not know logs, members or how the others were lost.

use bytes::Bytes;
use handfast_storage::{LogPosition, state::FlushBatch};

use crate::{
    Error, Store,
    cluster::Cluster,
    meta::{META_CLUSTER, META_COMPACTED, META_FINGERPRINT, META_RAISED, META_REVISION, encode},
};

impl Store {
    /// Gives the state another membership, raises its revision by `bump` and marks everything
    /// before that as compacted: whoever saw revisions that are lost with the other members learns
    /// that its watches and reads cannot go on. Alarms and the join secret go, for they are about
    /// members and tokens of the old cluster. Flushes; durable and complete when it returns, and
    /// returns the new revision. Nothing else may use the store meanwhile.
    ///
    /// `membership` gets the position of the last entry applied.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Halted`]; [`Error::Malformed`] when nothing was ever applied or
    /// `bump` is not above 0. In all cases nothing was changed on disk.
    pub fn recover(
        &self,
        membership: &dyn Fn(LogPosition) -> Bytes,
        bump: i64,
    ) -> Result<i64, Error> {
        self.flush()?;
        let _applying = self.applying.lock();
        let _sweeping = self.sweeping.lock();
        let _flushing = self.flushing.lock();
        let mut shared = self.shared.write();
        let applied = shared.applied.ok_or_else(|| {
            Error::Malformed("nothing was ever applied: there is nothing to recover".into())
        })?;
        let raised = shared.keyspace.revision.checked_add(bump);
        let raised = raised
            .filter(|_| bump > 0)
            .ok_or_else(|| Error::Malformed(format!("a revision cannot be raised by {bump}")))?;
        let mut fingerprint = shared.fingerprint.clone();
        fingerprint.note_number(raised);
        let membership = membership(applied);
        let cluster = Cluster::default();
        let batch = FlushBatch {
            applied,
            membership: Some(membership.clone()),
            meta: vec![
                (META_REVISION, encode(raised)),
                (META_COMPACTED, encode(raised)),
                (META_RAISED, encode(raised)),
                (META_CLUSTER, cluster.encode()),
                (META_FINGERPRINT, fingerprint.encode()),
            ],
            ..FlushBatch::default()
        };
        self.state.flush(batch, true)?;
        shared.keyspace.view = self.state.view()?;
        shared.keyspace.revision = raised;
        shared.keyspace.compacted = raised;
        shared.membership = Some(membership);
        shared.cluster = cluster;
        shared.fingerprint = fingerprint;
        self.alarm_kinds
            .store(0, std::sync::atomic::Ordering::Relaxed);
        self.recent.reset(raised);
        self.watch().reset(raised);
        Ok(raised)
    }
}
