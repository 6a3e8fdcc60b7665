//! What watching needs of the store: revisions that are older than the ring.
//!
//! Owns the trait only; the store implements it and tests use a model.

use handfast_proto::mvccpb::KeyValue;

use crate::recent::Event;

/// Why history cannot be read.
#[derive(Debug)]
pub enum HistoryError {
    /// The first revision asked for is below the compaction revision.
    Compacted {
        /// The compaction revision at the time of the read.
        compacted: i64,
    },
    /// The state file cannot be read; the text says why.
    Storage(String),
}

/// The store, as a watch stream sees it.
pub trait History {
    /// The revision that readers see. Never above what was pushed into the ring.
    fn revision(&self) -> i64;

    /// The compaction revision, below 0 if there never was one.
    fn compact_revision(&self) -> i64;

    /// Visits every event of the revisions `from..=through`, ascending by revision and place.
    ///
    /// Ends early when `visit` returns false. Only called for revisions that have left the ring,
    /// so all of them are on disk. Must compare `from` to the compaction revision *after* the
    /// rows were read, for a sweep may run at the same time. The compaction revision itself must
    /// still be complete, deletions included.
    ///
    /// # Errors
    /// [`HistoryError::Compacted`] if `from` is below the compaction revision; then what was
    /// visited may have gaps and is not used.
    fn events(
        &self,
        from: i64,
        through: i64,
        visit: &mut dyn FnMut(Event) -> bool,
    ) -> Result<(), HistoryError>;

    /// The pair that `event` replaced or deleted, `None` when it is compacted.
    ///
    /// Never called for an event that created its key. Who asked for it is canceled on an error.
    ///
    /// # Errors
    /// [`HistoryError::Storage`] if the state file cannot be read.
    fn previous(&self, event: &Event) -> Result<Option<KeyValue>, HistoryError>;
}
