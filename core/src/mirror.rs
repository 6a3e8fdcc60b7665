//! A local copy of all keys under a prefix, exact at one revision.
//!
//! Owns reading, watching and healing the copy. Knows nothing of what the keys mean.

mod follow;
mod shared;
mod view;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use shared::Shared;

pub use shared::Progress;
pub use view::{Change, Changes, View};

use crate::{Backoff, Client, Error, IntoBytes};

/// How many batches of changes a slow [`Subscription`] may be behind.
const BATCHES_KEPT: usize = 1024;

/// A local copy of all keys under a prefix that follows the store.
///
/// At any time it is exactly what the store had under the prefix at [`revision`](Self::revision).
/// Lost connections and compaction are healed; after a compaction the copy is read anew and only
/// real differences are reported. Cheap to clone; the last clone stops it.
#[derive(Debug, Clone)]
pub struct Mirror {
    shared: Arc<Shared>,
    _stop: Arc<DropGuard>,
}

impl Mirror {
    /// Starts a copy of all keys under `prefix` and waits for its first read.
    ///
    /// # Errors
    /// What the first read meets that does not pass by itself, or that no endpoint answered
    /// within the client's timeout.
    pub async fn open(client: &Client, prefix: impl IntoBytes) -> Result<Self, Error> {
        let mirror = Self::start(client, prefix);
        mirror.ready().await?;
        Ok(mirror)
    }

    /// Starts a copy without waiting: it is empty at revision 0 until the first read is done,
    /// which is tried until it succeeds.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(client: &Client, prefix: impl IntoBytes) -> Self {
        Self::start_with(client, prefix.into_bytes(), false)
    }

    /// [`start`](Self::start) for the one key `key`, which then is the [`prefix`](Self::prefix).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start_key(client: &Client, key: impl IntoBytes) -> Self {
        Self::start_with(client, key.into_bytes(), true)
    }

    fn start_with(client: &Client, prefix: Bytes, exact: bool) -> Self {
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            client: client.clone(),
            prefix,
            exact,
            view: RwLock::new(View::default()),
            progress: watch::Sender::new(Progress {
                revision: 0,
                resets: 0,
                ready: false,
                cluster: 0,
                stale_since: Some(client.clock().now()),
            }),
            changes: broadcast::Sender::new(BATCHES_KEPT),
            nudge: tokio::sync::Notify::new(),
            failure: watch::Sender::new(None),
        });
        tokio::spawn(follow::run(Arc::clone(&shared), stop.clone()));
        Self {
            shared,
            _stop: Arc::new(stop.drop_guard()),
        }
    }

    /// Waits for the first read. Cancel safe.
    ///
    /// # Errors
    /// Why the last try of it failed; it is tried again nevertheless.
    pub async fn ready(&self) -> Result<(), Error> {
        let mut failure = self.shared.failure.subscribe();
        let mut progress = self.shared.progress.subscribe();
        tokio::select! {
            biased;
            _ = progress.wait_for(|progress| progress.ready) => {}
            failed = failure.wait_for(Option::is_some) => {
                if let Ok(Some(error)) = failed.as_deref() {
                    return Err(error.clone());
                }
            }
        }
        Ok(())
    }

    /// The prefix copied.
    #[must_use]
    pub fn prefix(&self) -> &Bytes {
        &self.shared.prefix
    }

    /// Looks at the copy, which stands still meanwhile: `look` must be quick.
    pub fn read<T>(&self, look: impl FnOnce(&View) -> T) -> T {
        look(&self.shared.view.read())
    }

    /// The copy as it is now; costs a pointer per key.
    #[must_use]
    pub fn snapshot(&self) -> View {
        self.shared.view.read().clone()
    }

    /// The revision the copy is exact at; 0 before the first read.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.shared.view.read().revision()
    }

    /// Waits until the copy is exact at `revision` or later: after a write, pass the write's
    /// revision to read what was written. Cancel safe. Waits for as long as no server answers.
    pub async fn at_least(&self, revision: i64) {
        let mut progress = self.shared.progress.subscribe();
        let reached = |progress: &Progress| progress.ready && progress.revision >= revision;
        let mut wait = Backoff::new(Duration::from_millis(20), Duration::from_secs(1))
            .drawn_by(self.shared.client.chance());
        while !reached(&progress.borrow_and_update()) {
            tokio::select! {
                biased;
                changed = progress.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                // No event may come for this prefix, so the store is asked.
                () = tokio::time::sleep(wait.next()) => self.shared.nudge.notify_one(),
            }
        }
    }

    /// For how long the store may have been ahead unseen, since no server answers or the copy is
    /// still catching up; zero while it follows. A server that falls silent is noticed after some
    /// 4 s, and after some 15 s when no other endpoint is known.
    #[must_use]
    pub fn stale_for(&self) -> Duration {
        let since = self.shared.progress.borrow().stale_since;
        let now = self.shared.client.clock().now();
        since.map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }

    /// Each step of the copy, the latest only: wake up and look.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.shared.progress.subscribe()
    }

    /// The copy as it is now, and every change from there on.
    #[must_use]
    pub fn subscribe(&self) -> (View, Subscription) {
        // Changes are sent with the view locked, so none falls between the two.
        let view = self.shared.view.read();
        let subscription = Subscription {
            mirror: self.clone(),
            receiver: self.shared.changes.subscribe(),
            last: view.clone(),
        };
        (view.clone(), subscription)
    }

    /// As [`subscribe`](Self::subscribe), for one who keeps what it needs of the copy by itself.
    #[must_use]
    pub fn follow(&self) -> (View, Follower) {
        // Changes are sent with the view locked, so none falls between the two.
        let view = self.shared.view.read();
        let follower = Follower {
            mirror: self.clone(),
            receiver: self.shared.changes.subscribe(),
            step: view.step(),
        };
        (view.clone(), follower)
    }

    /// The error of the last read or watch, while the copy cannot follow.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        self.shared.failure.borrow().clone()
    }
}

/// Changes of a [`Mirror`], which it keeps going.
#[derive(Debug)]
pub struct Subscription {
    mirror: Mirror,
    receiver: broadcast::Receiver<Arc<Changes>>,
    last: View,
}

impl Subscription {
    /// The copy after the changes returned last.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.last
    }

    /// The next changes, all of one step of the copy. Cancel safe.
    ///
    /// A step is a revision, or a read anew.
    /// A subscriber that is far behind gets the difference in one piece.
    pub async fn next(&mut self) -> Arc<Changes> {
        loop {
            match self.receiver.recv().await {
                Ok(changes) if changes.step <= self.last.step() => {}
                Ok(changes) => {
                    self.last.apply(&changes);
                    return changes;
                }
                // The mirror holds a sender, so the channel cannot be closed.
                Err(_) => {
                    let shared = &self.mirror.shared;
                    let view = shared.view.read();
                    self.receiver = shared.changes.subscribe();
                    let changes = Arc::new(self.last.difference(&view, false));
                    self.last = view.clone();
                    return changes;
                }
            }
        }
    }
}

/// Changes of a [`Mirror`], which it keeps going, without a second copy of it.
#[derive(Debug)]
pub struct Follower {
    mirror: Mirror,
    receiver: broadcast::Receiver<Arc<Changes>>,
    step: u64,
}

/// What a [`Follower`] is told.
#[derive(Debug, Clone)]
pub enum Step {
    /// The next step of the copy.
    Changes(Arc<Changes>),
    /// The whole copy, for one who is far behind.
    Anew(View),
}

impl Follower {
    /// What comes next, if it is there already.
    pub fn try_next(&mut self) -> Option<Step> {
        loop {
            match self.receiver.try_recv() {
                Ok(changes) if changes.step <= self.step => {}
                Ok(changes) => {
                    self.step = changes.step;
                    return Some(Step::Changes(changes));
                }
                Err(broadcast::error::TryRecvError::Lagged(_)) => {
                    let shared = &self.mirror.shared;
                    let view = shared.view.read();
                    self.receiver = shared.changes.subscribe();
                    self.step = view.step();
                    return Some(Step::Anew(view.clone()));
                }
                Err(_) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, EventKind, KeyValue};

    fn step(mirror: &Mirror, revision: i64) {
        let kv = KeyValue {
            key: "p/k".into(),
            mod_revision: revision,
            ..Default::default()
        };
        let event = Event {
            kind: EventKind::Put,
            kv,
            prev_kv: None,
        };
        let mut view = mirror.shared.view.write();
        let changes = view.take_in(revision, vec![event]);
        drop(mirror.shared.changes.send(Arc::new(changes)));
    }

    #[tokio::test]
    async fn a_follower_gets_each_step_once_or_the_whole_copy() {
        let client = Client::builder().endpoints(["127.0.0.1:1"]).build();
        let mirror = Mirror::start(&client.unwrap(), "p/");
        let (_, mut follower) = mirror.follow();
        assert!(follower.try_next().is_none());
        step(&mirror, 1);
        let Some(Step::Changes(changes)) = follower.try_next() else {
            panic!("a step is missing");
        };
        assert_eq!(changes.revision, 1);
        assert!(follower.try_next().is_none());
        let last = 2 + BATCHES_KEPT as i64;
        (2..=last).for_each(|revision| step(&mirror, revision));
        let Some(Step::Anew(view)) = follower.try_next() else {
            panic!("it is too far behind");
        };
        assert_eq!(view.revision(), last);
        assert!(follower.try_next().is_none());
        step(&mirror, last + 1);
        assert!(matches!(follower.try_next(), Some(Step::Changes(_))));
    }
}
