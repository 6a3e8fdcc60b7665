//! What a mirror's handles and the task that follows the store share.
//!
//! Owns the copy and the channels that tell of its steps. Knows nothing of how it is kept.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::{broadcast, watch};

use super::view::{Changes, View};
use crate::{Client, Error};

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
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) prefix: Bytes,
    pub(super) view: RwLock<View>,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) changes: broadcast::Sender<Arc<Changes>>,
    pub(super) nudge: tokio::sync::Notify,
    pub(super) failure: watch::Sender<Option<Error>>,
}
