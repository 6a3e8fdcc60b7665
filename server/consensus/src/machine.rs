//! The state machine: hands committed entries to the store, batch by batch.
//!
//! Owns the order in which entries reach `Store::apply`, and the pseudo-snapshot that lets raft
//! purge its log. Knows neither what a command does nor who waits for its outcome.

use std::{io, sync::Arc};

use futures::{Stream, StreamExt};
use handfast_mvcc::{Error, LogEntry, Outcome, Payload, Store};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder,
    storage::{EntryResponder, RaftStateMachine, Snapshot, SnapshotMeta},
};
use tokio::sync::watch;

use crate::{
    pending::Pending,
    snapshot::{SnapshotSource, StateSnapshot},
    types::{
        LogId, RaftMembership, Replies, TypeConfig, decode_stored, encode_stored, log_id, position,
    },
};

/// Log entries that are applied under one lock of the store at the most.
const APPLY_ENTRIES: usize = 256;

/// Raft with this state machine.
pub(crate) type RaftHandle = openraft::Raft<TypeConfig, Machine>;

/// Openraft's view of the store.
#[derive(Clone)]
pub(crate) struct Machine {
    store: Arc<Store>,
    pending: Arc<Pending>,
    applied: watch::Sender<u64>,
    /// Whether the installation of a snapshot may have a thread of its own.
    blocking: bool,
}

impl Machine {
    pub(crate) fn new(store: Arc<Store>, pending: Arc<Pending>, blocking: bool) -> Self {
        let applied = store.applied().map_or(0, |position| position.index);
        Self {
            store,
            pending,
            applied: watch::Sender::new(applied),
            blocking,
        }
    }

    /// Index of the last applied entry, as it moves on.
    pub(crate) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Runs what may block, away from the thread of raft if there may be another.
    async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        match self.blocking {
            true => Ok(tokio::task::spawn_blocking(work).await?),
            false => Ok(work()),
        }
    }

    fn announce(&self) {
        let applied = self.store.applied().map_or(0, |position| position.index);
        self.applied.send_replace(applied);
    }

    fn membership(&self) -> io::Result<RaftMembership> {
        decode_stored(self.store.membership())
    }

    /// The durable prefix of the state: what a restart would begin with, so the log below may go.
    ///
    /// Making it durable takes a sync of the disk, and heartbeats must not wait for that.
    async fn durable(&self) -> io::Result<Option<StateSnapshot>> {
        let store = Arc::clone(&self.store);
        let snapshot = self.apart(move || store.snapshot()).await?;
        let snapshot = snapshot.map_err(|error| io::Error::other(error.to_string()))?;
        let Some(snapshot) = snapshot else {
            return Ok(None);
        };
        let meta = SnapshotMeta {
            last_log_id: Some(log_id(snapshot.header.applied)),
            last_membership: decode_stored(snapshot.header.membership.clone())?,
        };
        Ok(Some(Snapshot {
            meta,
            snapshot: SnapshotSource::Own(Arc::new(snapshot)),
        }))
    }

    fn apply_chunk(&self, chunk: Vec<io::Result<EntryResponder<TypeConfig>>>) -> io::Result<()> {
        let mut entries = Vec::with_capacity(chunk.len());
        let mut waiting = Vec::with_capacity(chunk.len());
        for item in chunk {
            let (entry, responder) = item?;
            let before = entries.len();
            let name = match &entry.payload {
                EntryPayload::Normal(proposal) => proposal.name(),
                _ => None,
            };
            expand(entry.log_id, entry.payload, &mut entries)?;
            waiting.push((entries.len() - before, name, responder));
        }
        let outcomes = self.store.apply(entries);
        if let Some(failure) = outcomes
            .iter()
            .find_map(|applied| store_failure(&applied.result))
        {
            // The entry is in the log but not in the state: only a restart, which replays it, may
            // go on from here. Whoever waits learns that the outcome is not known.
            return Err(io::Error::other(failure.to_string()));
        }
        let mut outcomes = outcomes.into_iter();
        self.announce();
        for (count, name, responder) in waiting {
            let mut ours = outcomes.by_ref().take(count);
            if let Some(name) = name {
                self.pending.applied(name, &mut ours);
            }
            ours.for_each(drop);
            if let Some(responder) = responder {
                responder.send(Replies);
            }
        }
        Ok(())
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = SnapshotSource;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, RaftMembership)> {
        Ok((self.store.applied().map(log_id), self.membership()?))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut chunks = entries.ready_chunks(APPLY_ENTRIES);
        while let Some(chunk) = chunks.next().await {
            self.apply_chunk(chunk)?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<
            openraft::type_config::alias::CommittedLeaderIdOf<TypeConfig>,
            u64,
            crate::types::Member,
        >,
        snapshot: SnapshotSource,
    ) -> io::Result<()> {
        let SnapshotSource::Received(received) = snapshot else {
            return Err(io::Error::other("this member was sent its own snapshot"));
        };
        tracing::info!(upto = ?meta.last_log_id, "replacing the state by a received snapshot");
        let store = Arc::clone(&self.store);
        let installed = self.apart(move || received.install(&store)).await?;
        installed.map_err(io::Error::other)?;
        self.announce();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<StateSnapshot>> {
        self.durable().await
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Machine {
    type SnapshotData = SnapshotSource;

    async fn build_snapshot(&mut self) -> io::Result<StateSnapshot> {
        self.durable()
            .await?
            .ok_or_else(|| io::Error::other("nothing has been flushed yet"))
    }
}

/// A failure of the store itself, in contrast to a command that was refused.
fn store_failure(result: &Result<Outcome, Error>) -> Option<&Error> {
    match result {
        Err(error @ (Error::Halted(_) | Error::Storage(_))) => Some(error),
        _ => None,
    }
}

/// Turns a log entry into the store's: all commands of a proposal share its position.
pub(crate) fn expand(
    id: LogId,
    payload: EntryPayload<crate::types::Proposal, u64, crate::types::Member>,
    entries: &mut Vec<LogEntry>,
) -> io::Result<()> {
    let at = position(&id);
    match payload {
        EntryPayload::Blank => entries.push(LogEntry {
            position: at,
            payload: Payload::Blank,
        }),
        EntryPayload::Membership(membership) => entries.push(LogEntry {
            position: at,
            payload: Payload::Membership(encode_stored(&id, &membership)),
        }),
        EntryPayload::Normal(proposal) => {
            let commands = proposal.commands()?;
            entries.extend(commands.into_iter().map(|command| LogEntry {
                position: at,
                payload: Payload::Command(command),
            }));
        }
    }
    Ok(())
}
