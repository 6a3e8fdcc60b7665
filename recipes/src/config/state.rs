//! What the handles of one configuration and the tasks behind them share.
//!
//! Owns which value is in force, and the step from one to the next. Knows nothing of how the
//! store is followed.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use handfast_core::{
    Mirror,
    mirror::{Changes, View},
};
use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};

use super::{
    decode::{Read, Reader},
    event::{ConfigEvent, ConfigProblem, ConfigSource, ConfigValue},
    set::{ConfigSet, Scope},
    snapshot::Snapshot,
};

/// How many events a slow listener may be behind before it gets the last value only.
const EVENTS_KEPT: usize = 256;
/// How many problems are kept to be looked at.
const PROBLEMS_KEPT: usize = 32;

/// What is in force.
pub(super) struct Current<T> {
    pub(super) value: Arc<ConfigValue<T>>,
    /// Why what is published now is not.
    pub(super) refused: Option<Arc<ConfigProblem>>,
}

pub(super) struct State<T> {
    pub(super) scope: Scope,
    pub(super) mirror: Mirror,
    pub(super) reader: Reader<T>,
    pub(super) current: watch::Sender<Current<T>>,
    /// Everything up to this revision was applied or refused.
    pub(super) taken: watch::Sender<i64>,
    pub(super) events: broadcast::Sender<ConfigEvent<T>>,
    pub(super) problems: Problems,
    /// What is to be on disk; `None` until something of a server's was good.
    pub(super) to_save: watch::Sender<Option<ToSave>>,
    /// The step of the value whose snapshot is there.
    pub(super) saved: watch::Sender<u64>,
}

/// A snapshot of the value of a step.
#[derive(Clone)]
pub(super) struct ToSave {
    pub(super) step: u64,
    pub(super) snapshot: Arc<Snapshot>,
}

/// The latest problems.
#[derive(Clone, Default)]
pub(super) struct Problems(Arc<Mutex<VecDeque<Arc<ConfigProblem>>>>);

impl Problems {
    pub(super) fn add(&self, problem: ConfigProblem) -> Arc<ConfigProblem> {
        let problem = Arc::new(problem);
        let mut kept = self.0.lock();
        if kept.len() == PROBLEMS_KEPT {
            kept.pop_front();
        }
        kept.push_back(Arc::clone(&problem));
        problem
    }

    pub(super) fn all(&self) -> Vec<Arc<ConfigProblem>> {
        self.0.lock().iter().cloned().collect()
    }
}

/// The first value with where it comes from.
pub(super) struct First<T> {
    pub(super) value: Arc<T>,
    pub(super) set: ConfigSet,
    pub(super) source: ConfigSource,
    pub(super) refused: Option<Arc<ConfigProblem>>,
}

/// Reads `set`, that is on `source` unless a default stands for it.
pub(super) fn read<T>(
    reader: &Reader<T>,
    set: &ConfigSet,
    source: ConfigSource,
) -> Result<(Arc<T>, ConfigSource), ConfigProblem> {
    Ok(match reader.read(set)? {
        Read::Decoded(value) => (value, source),
        Read::Default(value) => (value, ConfigSource::Default),
    })
}

impl<T> State<T> {
    pub(super) fn new(
        scope: Scope,
        mirror: Mirror,
        reader: Reader<T>,
        problems: Problems,
        first: First<T>,
    ) -> Self {
        let value = ConfigValue {
            value: first.value,
            set: first.set,
            source: first.source,
            step: 1,
        };
        let current = Current {
            value: Arc::new(value),
            refused: first.refused,
        };
        Self {
            scope,
            mirror,
            reader,
            current: watch::Sender::new(current),
            taken: watch::Sender::new(0),
            events: broadcast::Sender::new(EVENTS_KEPT),
            problems,
            to_save: watch::Sender::new(None),
            saved: watch::Sender::new(0),
        }
    }

    /// Has the value in force kept on disk.
    pub(super) fn keep(&self) {
        let (step, set) = {
            let current = self.current.borrow();
            (current.value.step, current.value.set.clone())
        };
        let cluster = self.mirror.progress().borrow().cluster;
        let snapshot = Arc::new(Snapshot { cluster, set });
        self.to_save.send_replace(Some(ToSave { step, snapshot }));
    }

    /// The data of another history: a backup's, or another cluster's.
    pub(super) fn reset(&self, revision: i64) {
        tracing::warn!(
            target: "handfast::config",
            scope = %self.scope.shown(),
            revision,
            "the server's data was replaced; reading it anew"
        );
        self.taken.send_replace(0);
        self.tell(ConfigEvent::Reset { revision });
    }

    /// One step of the copy.
    pub(super) fn step(&self, view: &View, changes: &Changes) {
        if changes.reset {
            self.reset(changes.revision);
        }
        let set = ConfigSet::of(&self.scope, view);
        let name = |key: &Bytes| key.slice(self.scope.key.len().min(key.len())..);
        let mut names: Vec<Bytes> = changes
            .changes
            .iter()
            .map(|change| name(change.key()))
            .collect();
        names.sort();
        names.dedup();
        self.take(set, names);
    }

    /// Takes over what was read first, after a start without servers.
    pub(super) fn catch_up(&self, view: &View) {
        let set = ConfigSet::of(&self.scope, view);
        let before = self.current.borrow().value.set.clone();
        let was = |name: &Bytes| before.get(name);
        let mut names: Vec<Bytes> = set
            .iter()
            .filter(|(name, pair)| was(name) != Some(&pair.value))
            .map(|(name, _)| name.clone())
            .collect();
        let gone = before.iter().filter(|(name, _)| set.get(name).is_none());
        names.extend(gone.map(|(name, _)| name.clone()));
        names.sort();
        self.take(set, names);
    }

    fn take(&self, set: ConfigSet, names: Vec<Bytes>) {
        let revision = set.revision();
        match read(&self.reader, &set, ConfigSource::Server) {
            Ok((value, source)) => self.apply(value, set, source, names),
            Err(problem) => self.refuse(problem),
        }
        self.taken.send_replace(revision);
    }

    fn apply(&self, value: Arc<T>, set: ConfigSet, source: ConfigSource, names: Vec<Bytes>) {
        let value = Arc::new(ConfigValue {
            value,
            set,
            source,
            step: self.current.borrow().value.step + 1,
        });
        self.current.send_replace(Current {
            value: Arc::clone(&value),
            refused: None,
        });
        self.tell(ConfigEvent::Applied { value, names });
        self.keep();
    }

    fn refuse(&self, problem: ConfigProblem) {
        tracing::warn!(
            target: "handfast::config",
            scope = %self.scope.shown(),
            %problem,
            "what is published is refused; the last good value stays"
        );
        let problem = self.problems.add(problem);
        self.current.send_modify(|current| {
            current.refused = Some(Arc::clone(&problem));
        });
        self.tell(ConfigEvent::Problem(problem));
    }

    pub(super) fn tell(&self, event: ConfigEvent<T>) {
        // No listener is no error.
        let _ = self.events.send(event);
    }
}
