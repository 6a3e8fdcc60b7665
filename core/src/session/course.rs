//! Where a session is in its course.
//!
//! Owns what the handles of a session and the task that keeps its lease share. Knows nothing of
//! what moves a session on.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    beat::Beats,
    declared::Declarations,
    epoch::Core,
    options::SessionOptions,
    state::{LostReason, State},
};
use crate::{Client, Error, clock::Clock};

/// Where the session is in its course.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    /// No lease yet, or none any more and a new one is asked for.
    Granting {
        last_error: Option<Error>,
    },
    Live(Arc<Core>),
    /// Lost for good: the options say that no new lease shall follow.
    Over(LostReason),
    /// Closed; the revoke's error, if no server confirmed it.
    Closed(Option<Error>),
}

/// What the handles and the task that keeps the lease share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: Arc<SessionOptions>,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) states: watch::Sender<State>,
    pub(super) beats: Arc<Beats>,
    pub(super) close: CancellationToken,
    pub(super) pid: u32,
    pub(super) declared: Declarations,
}
