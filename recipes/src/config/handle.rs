//! What a program holds of a configuration.
//!
//! Owns asking for the value and waiting for the next. How the value gets here is behind it.

use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::{broadcast, watch};
use tokio_util::sync::DropGuard;

use super::{
    event::{ConfigEvent, ConfigProblem, ConfigValue},
    publish::Publish,
    state::{Current, State},
};
use crate::Handfast;

/// A configuration that follows what is published.
///
/// There is a value at any time: the latest one that was published and that the program accepts.
/// Lost connections keep it. Cheap to clone; the last clone, with its
/// [`changes`](Self::changes), ends the following.
pub struct Config<T> {
    handfast: Handfast,
    state: Arc<State<T>>,
    seen: watch::Receiver<Current<T>>,
    told: u64,
    keeps_snapshot: bool,
    stop: Arc<DropGuard>,
}

impl<T> Clone for Config<T> {
    fn clone(&self) -> Self {
        Self {
            handfast: self.handfast.clone(),
            state: Arc::clone(&self.state),
            seen: self.seen.clone(),
            told: self.told,
            keeps_snapshot: self.keeps_snapshot,
            stop: Arc::clone(&self.stop),
        }
    }
}

impl<T> fmt::Debug for Config<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("scope", &self.state.scope)
            .field("revision", &self.revision())
            .finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static> Config<T> {
    pub(super) fn new(
        handfast: Handfast,
        state: Arc<State<T>>,
        keeps_snapshot: bool,
        stop: DropGuard,
    ) -> Self {
        let seen = state.current.subscribe();
        let told = seen.borrow().value.step;
        Self {
            handfast,
            state,
            seen,
            told,
            keeps_snapshot,
            stop: Arc::new(stop),
        }
    }
}

impl<T> Config<T> {
    /// The value in force. No input or output.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.seen.borrow().value.value)
    }

    /// The value in force with its revision and its source.
    #[must_use]
    pub fn current(&self) -> Arc<ConfigValue<T>> {
        Arc::clone(&self.seen.borrow().value)
    }

    /// The revision of the value in force; see [`ConfigSet::revision`](crate::ConfigSet::revision).
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.seen.borrow().value.revision()
    }

    /// For how long something newer may be published unseen: no server answers, or the changes
    /// of an outage are still coming. Zero while the store is followed; a silent server is noticed
    /// after some 4 s. Before the first answer it counts from the start.
    #[must_use]
    pub fn stale_for(&self) -> Duration {
        self.state.mirror.stale_for()
    }

    /// Why what is published now is not in force; `None` if it is.
    #[must_use]
    pub fn refused(&self) -> Option<Arc<ConfigProblem>> {
        self.seen.borrow().refused.clone()
    }

    /// The latest problems, oldest first, also those that are over; at most 32.
    #[must_use]
    pub fn problems(&self) -> Vec<Arc<ConfigProblem>> {
        self.state.problems.all()
    }

    /// Waits for a value that this handle has not returned from here yet; the first call waits
    /// for a change since it was opened (or cloned). Values in between are left out. Cancel safe.
    pub async fn changed(&mut self) -> Arc<T> {
        let told = self.told;
        let newer = self.seen.wait_for(|now| now.value.step > told).await;
        // What is borrowed must not be held over an await, or the future could not be spawned.
        let newer = newer.ok().map(|now| Arc::clone(&now.value));
        let Some(value) = newer else {
            // This handle keeps the sender.
            return std::future::pending().await;
        };
        self.told = value.step;
        Arc::clone(&value.value)
    }

    /// Everything that happens, beginning with the value in force.
    #[must_use]
    pub fn changes(&self) -> ConfigChanges<T> {
        ConfigChanges {
            receiver: self.state.events.subscribe(),
            config: self.clone(),
            told: 0,
        }
    }

    /// Waits until everything that was published up to `revision` is in force or refused: after
    /// publishing, pass the revision of that. Cancel safe. Waits for as long as no server answers.
    pub async fn at_least(&self, revision: i64) {
        self.state.mirror.at_least(revision).await;
        let mut taken = self.state.taken.subscribe();
        // This handle keeps the sender.
        let _ = taken.wait_for(|taken| *taken >= revision).await;
    }

    /// Waits until the snapshot is that of the value in force; returns at once if there is no
    /// snapshot to keep, or nothing from a server to keep there. Cancel safe.
    pub async fn saved(&self) {
        if !self.keeps_snapshot {
            return;
        }
        let Some(wanted) = self
            .state
            .to_save
            .borrow()
            .as_ref()
            .map(|latest| latest.step)
        else {
            return;
        };
        let mut saved = self.state.saved.subscribe();
        // This handle keeps the sender.
        let _ = saved.wait_for(|saved| *saved >= wanted).await;
    }

    /// A publication that is refused if what is published is not what is in force here.
    pub fn publish(&self) -> Publish {
        let publish = Publish::new(self.handfast.clone(), self.state.scope.clone());
        publish.since_set(&self.current().set)
    }
}

/// What happens to a configuration, in order. Keeps it followed.
pub struct ConfigChanges<T> {
    receiver: broadcast::Receiver<ConfigEvent<T>>,
    config: Config<T>,
    /// The step of the last value told.
    told: u64,
}

impl<T> fmt::Debug for ConfigChanges<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigChanges")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl<T> ConfigChanges<T> {
    /// The next event; the first is the value in force. Never ends. Cancel safe.
    ///
    /// A listener that is far behind is told the latest value only.
    pub async fn next(&mut self) -> ConfigEvent<T> {
        if self.told == 0 {
            return self.latest();
        }
        loop {
            match self.receiver.recv().await {
                Ok(ConfigEvent::Applied { value, .. }) if value.step <= self.told => {}
                Ok(ConfigEvent::Applied { value, names }) => {
                    self.told = value.step;
                    return ConfigEvent::Applied { value, names };
                }
                Ok(event) => return event,
                // The configuration holds a sender, so the channel cannot be closed.
                Err(_) => {
                    self.receiver = self.config.state.events.subscribe();
                    return self.latest();
                }
            }
        }
    }

    fn latest(&mut self) -> ConfigEvent<T> {
        let value = self.config.current();
        self.told = value.step;
        let names = value.set.iter().map(|(name, _)| name.clone()).collect();
        ConfigEvent::Applied { value, names }
    }
}
