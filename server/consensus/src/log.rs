//! The raft log: openraft's log storage on the write-ahead log.
//!
//! Owns nothing but the translation; durability and reading belong to `handfast_storage::wal`.

use std::{
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::Arc,
};

use handfast_storage::wal::{self, Wal};
use openraft::{
    OptionalSend, RaftLogReader,
    storage::{IOFlushed, LogState, RaftLogStorage},
};
use tokio::sync::oneshot;

use crate::types::{
    LogId, RaftEntry, RaftVote, TypeConfig, from_wal_entry, from_wal_vote, log_id, position,
    to_wal_entry, to_wal_vote,
};

/// Bytes that one read hands to replication or apply at the most.
const READ_BYTES: usize = 4 << 20;

/// Openraft's view of the write-ahead log. Clones share the log.
#[derive(Clone)]
pub(crate) struct LogStore {
    wal: Arc<Wal>,
}

impl LogStore {
    pub(crate) fn new(wal: Arc<Wal>) -> Self {
        Self { wal }
    }

    fn read(&self, start: u64, end: u64, max_bytes: usize) -> io::Result<Vec<RaftEntry>> {
        if start >= end {
            return Ok(Vec::new());
        }
        self.wal
            .read(start..end, max_bytes)?
            .into_iter()
            .map(from_wal_entry)
            .collect()
    }

    /// Runs one WAL operation and waits until it is durable.
    async fn durable(&self, operation: impl FnOnce(&Wal, wal::Done)) -> io::Result<()> {
        let (done, durable) = oneshot::channel();
        operation(&self.wal, Box::new(move |result| drop(done.send(result))));
        durable
            .await
            .unwrap_or_else(|_| Err(io::Error::other("the log was closed")))
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<RaftEntry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = half_open(&range);
        self.read(start, end, usize::MAX)
    }

    async fn read_vote(&mut self) -> io::Result<Option<RaftVote>> {
        Ok(self.wal.state().vote.map(from_wal_vote))
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> io::Result<Vec<RaftEntry>> {
        self.read(start, end, READ_BYTES)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let state = self.wal.state();
        let last_purged_log_id = state.purged.map(log_id);
        let last_log_id = state.last.map(log_id).or(last_purged_log_id);
        Ok(LogState {
            last_purged_log_id,
            last_log_id,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> io::Result<()> {
        let vote = to_wal_vote(vote);
        self.durable(|wal, done| wal.save_vote(vote, done)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        if let Some(committed) = committed {
            self.wal.save_committed(position(&committed));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.wal.state().committed.map(log_id))
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().map(to_wal_entry).collect();
        self.wal.append(
            entries,
            Box::new(move |result| flushed.io_completed(result)),
        );
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let index = last_log_id.map(|id| id.index);
        self.durable(|wal, done| wal.truncate_after(index, done))
            .await
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        self.wal.purge(position(&log_id));
        Ok(())
    }
}

fn half_open(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(&index) => index,
        Bound::Excluded(&index) => index + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&index) => index.saturating_add(1),
        Bound::Excluded(&index) => index,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}
