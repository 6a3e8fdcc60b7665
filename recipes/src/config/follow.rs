//! The tasks behind a configuration: one follows the store, one writes the disk.
//!
//! Owns in which order things are looked at. What they come to is decided in [`super::state`].

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use handfast_core::{Backoff, mirror::Subscription};
use tokio_util::sync::CancellationToken;

use super::{
    disk::SnapshotStore,
    event::{ConfigEvent, ConfigProblem, ConfigProblemKind},
    snapshot::Snapshot,
    state::{State, ToSave},
};

/// How the copy was begun.
pub(super) enum Begun {
    /// What it read is in force, or refused.
    Following(Subscription),
    /// A snapshot is in force; this is its origin.
    Offline(Arc<Snapshot>),
}

pub(super) async fn run<T>(state: Arc<State<T>>, begun: Begun, stop: CancellationToken) {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = follow(&state, begun) => {}
    }
}

async fn follow<T>(state: &State<T>, begun: Begun) {
    let mut progress = state.mirror.progress();
    let mut stale = matches!(begun, Begun::Offline(_));
    let mut subscription = match begun {
        Begun::Following(subscription) => subscription,
        Begun::Offline(snapshot) => {
            let Ok(cluster) = progress
                .wait_for(|progress| progress.ready)
                .await
                .map(|progress| progress.cluster)
            else {
                return;
            };
            let (view, subscription) = state.mirror.subscribe();
            if cluster != snapshot.cluster || view.revision() < snapshot.set.revision() {
                state.reset(view.revision());
            }
            state.catch_up(&view);
            subscription
        }
    };
    progress.mark_changed();
    loop {
        tokio::select! {
            biased;
            changes = subscription.next() => state.step(subscription.view(), &changes),
            changed = progress.changed() => {
                if changed.is_err() {
                    return;
                }
                let (revision, cut_off) = {
                    let progress = progress.borrow_and_update();
                    (progress.revision, progress.stale_since.is_some())
                };
                // Changes are sent before the progress they make.
                while let Some(changes) = subscription.next().now_or_never() {
                    state.step(subscription.view(), &changes);
                }
                state.taken.send_replace(revision);
                if cut_off != stale {
                    stale = cut_off;
                    state.tell(match stale {
                        true => ConfigEvent::Disconnected,
                        false => ConfigEvent::Connected,
                    });
                }
            }
        }
    }
}

/// Writes what is in force to the disk, the latest only, for as long as the handles live.
pub(super) async fn save<T>(
    state: Arc<State<T>>,
    store: Arc<dyn SnapshotStore>,
    mut backoff: Backoff,
    stop: CancellationToken,
) {
    let mut to_save = state.to_save.subscribe();
    to_save.mark_changed();
    let saving = async {
        while to_save.changed().await.is_ok() {
            let latest = to_save.borrow_and_update().clone();
            let Some(ToSave { step, snapshot }) = latest else {
                continue;
            };
            match store.save(snapshot.to_bytes(&state.scope)).await {
                Ok(()) => {
                    backoff.reset();
                    state.saved.send_replace(step);
                }
                Err(error) => {
                    let problem = ConfigProblem {
                        kind: ConfigProblemKind::SnapshotNotWritten,
                        revision: snapshot.set.revision(),
                        text: format!("the snapshot cannot be written: {error}"),
                    };
                    tracing::warn!(target: "handfast::config", %problem, "goes on without");
                    let problem = state.problems.add(problem);
                    state.tell(ConfigEvent::Problem(problem));
                    // Something newer, or another try.
                    let _ = tokio::time::timeout(backoff.next(), to_save.changed()).await;
                    to_save.mark_changed();
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = saving => {}
    }
}

/// How long to wait before the disk is tried again.
pub(super) fn disk_backoff() -> Backoff {
    Backoff::new(Duration::from_secs(1), Duration::from_secs(60))
}
