//! What a mirror's handles and the task that follows the store share.
//!
//! Owns the copy and the channels that tell of its steps. Knows nothing of how it is kept.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::{broadcast, watch};

use super::view::{Changes, View};
use crate::{Client, Error, Range};

/// How far the copy is, and whether it follows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The copy is exactly the store's content under the prefix at this revision.
    pub revision: i64,
    /// Counts full re-reads after which revisions may have gone back (a restored backup).
    pub resets: u64,
    /// The first read is done.
    pub ready: bool,
    /// The id of the cluster the copy was read from; 0 before the first read.
    pub cluster: u64,
    /// Since when, by the client's clock, the store may be ahead unseen: no server answers, or
    /// the copy was cut off and has not caught up. `None` while it follows.
    pub stale_since: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) prefix: Bytes,
    /// Whether the prefix is the only key.
    pub(super) exact: bool,
    pub(super) view: RwLock<View>,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) changes: broadcast::Sender<Arc<Changes>>,
    pub(super) nudge: tokio::sync::Notify,
    pub(super) failure: watch::Sender<Option<Error>>,
}

impl Shared {
    /// A read of all that is copied.
    pub(super) fn range(&self) -> Range {
        let range = self.client.range(&self.prefix);
        if self.exact { range } else { range.prefix() }
    }

    /// Says that the store may be ahead unseen from now on.
    pub(super) fn cut_off(&self) {
        let now = self.client.clock().now();
        self.progress.send_if_modified(|progress| {
            let first = progress.stale_since.is_none();
            progress.stale_since.get_or_insert(now);
            first
        });
    }

    /// Says that the copy follows again.
    pub(super) fn caught_up(&self) {
        self.progress
            .send_if_modified(|progress| progress.stale_since.take().is_some());
    }
}
