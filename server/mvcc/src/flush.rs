//! Carrying what was applied into the state file.
//!
//! Owns what a flush contains. Must not know what rows mean; the ring keeps everything until it is
//! written, so a failed flush loses nothing.

use std::sync::Arc;

use bytes::Bytes;
use handfast_storage::{
    LogPosition,
    state::{FlushBatch, LeaseRow, Row},
};

use crate::{
    Error, FlushSignal, Store,
    apply::LeaseChanges,
    meta::{META_CLUSTER, META_COMPACTED, META_FINGERPRINT, META_REVISION, encode},
    recent::Commit,
};

/// What is to be written, up to one log position.
struct Due {
    applied: LogPosition,
    revision: i64,
    compacted: i64,
    membership: Option<Bytes>,
    lease_changes: LeaseChanges,
    cluster: Option<Bytes>,
    fingerprint: Bytes,
}

impl Store {
    /// What the flush driver parks on: signalled when there is much to flush.
    #[must_use]
    pub fn wants_flush(&self) -> &FlushSignal {
        &self.signal
    }

    /// Writes what was applied since the last flush in one transaction; whether there was anything.
    /// Blocks for the disk.
    ///
    /// # Errors
    /// [`Error::Storage`]; everything is kept and written by the next flush that succeeds.
    pub fn flush(&self) -> Result<bool, Error> {
        let _flushing = self.flushing.lock();
        let Some(due) = self.take_due()? else {
            return Ok(false);
        };
        let commits = self.recent.unflushed(usize::MAX);
        let written = self.write(&due, &commits);
        let view = match written.and_then(|()| Ok(self.state.view()?)) {
            Ok(view) => view,
            Err(error) => {
                self.put_back(due);
                return Err(error);
            }
        };
        let old_view = {
            let mut shared = self.shared.write();
            shared.durable = Some(due.applied);
            std::mem::replace(&mut shared.keyspace.view, view)
        };
        // Only now may the ring forget: whoever misses a row there finds it in the new view.
        self.recent.set_flushed(due.revision);
        drop(old_view);
        Ok(true)
    }

    fn take_due(&self) -> Result<Option<Due>, Error> {
        let mut shared = self.shared.write();
        if let Some(reason) = &shared.keyspace.halted {
            return Err(Error::Halted(reason.clone()));
        }
        let Some(applied) = shared.applied.filter(|_| shared.applied != shared.durable) else {
            return Ok(None);
        };
        let membership = shared
            .membership
            .clone()
            .filter(|_| shared.membership_changed);
        shared.membership_changed = false;
        let cluster_changed = std::mem::take(&mut shared.cluster.changed);
        Ok(Some(Due {
            applied,
            revision: shared.keyspace.revision,
            compacted: shared.keyspace.compacted,
            membership,
            lease_changes: shared.take_lease_changes(),
            cluster: cluster_changed.then(|| shared.cluster.encode()),
            fingerprint: shared.fingerprint.encode(),
        }))
    }

    fn write(&self, due: &Due, commits: &[Arc<Commit>]) -> Result<(), Error> {
        let due_commits = commits
            .iter()
            .take_while(|commit| commit.main() <= due.revision);
        let mut batch = FlushBatch {
            rows: due_commits.flat_map(|commit| rows(commit)).collect(),
            applied: due.applied,
            membership: due.membership.clone(),
            meta: vec![
                (META_REVISION, encode(due.revision)),
                (META_COMPACTED, encode(due.compacted)),
                (META_FINGERPRINT, due.fingerprint.clone()),
            ],
            ..FlushBatch::default()
        };
        let cluster = due.cluster.clone();
        batch
            .meta
            .extend(cluster.map(|cluster| (META_CLUSTER, cluster)));
        for (&id, change) in &due.lease_changes {
            match *change {
                Some(ttl_seconds) => batch.lease_puts.push(LeaseRow { id, ttl_seconds }),
                None => batch.lease_deletes.push(id),
            }
        }
        Ok(self.state.flush(batch, self.options.sync)?)
    }

    /// Leaves what could not be written to the next flush; newer changes prevail.
    fn put_back(&self, due: Due) {
        let mut shared = self.shared.write();
        shared.membership_changed |= due.membership.is_some();
        shared.cluster.changed |= due.cluster.is_some();
        for (id, change) in due.lease_changes {
            shared.lease_changes.entry(id).or_insert(change);
        }
    }
}

fn rows(commit: &Commit) -> impl Iterator<Item = Row> + '_ {
    commit.events().iter().map(|event| Row {
        main: event.main(),
        sub: event.sub,
        tombstone: event.tombstone,
        key: event.kv.key.clone(),
        create_revision: event.kv.create_revision,
        version: event.kv.version,
        lease: event.kv.lease,
        value: event.kv.value.clone(),
    })
}
