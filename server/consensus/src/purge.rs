//! Lets the log go behind the durable state.
//!
//! Raft purges only what a snapshot covers; the durable state is one at no cost, so taking a
//! "snapshot" merely tells raft how far the state has been flushed.

use std::{sync::Arc, time::Duration};

use handfast_mvcc::Store;
use tokio_util::sync::CancellationToken;

use crate::machine::RaftHandle;

/// How often to look how far the state has been flushed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Log entries that must have become durable before raft is told.
const WORTHWHILE_ENTRIES: u64 = 256;

/// Runs until `stop`.
pub(crate) async fn run(raft: RaftHandle, store: Arc<Store>, stop: CancellationToken) {
    let mut told = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let durable = store.durable_applied().map_or(0, |position| position.index);
        if durable < told + WORTHWHILE_ENTRIES {
            continue;
        }
        if raft.trigger().snapshot().await.is_err() {
            return;
        }
        told = durable;
    }
}
