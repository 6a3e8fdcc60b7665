//! The copy itself: pairs at one revision, what changes it, and how two copies differ.
//!
//! Owns these as plain data. Knows nothing of servers.

use std::{
    collections::{BTreeMap, btree_map},
    sync::Arc,
};

use bytes::Bytes;

use crate::{Event, EventKind, KeyValue};

/// All pairs under a prefix at one revision.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    revision: i64,
    /// Counts the steps that changed something, so that each is reported once.
    step: u64,
    pairs: BTreeMap<Bytes, Arc<KeyValue>>,
}

/// One key's change.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// The key has a new value, or is new.
    Put {
        /// The pair now.
        pair: Arc<KeyValue>,
        /// The pair before, if there was one.
        previous: Option<Arc<KeyValue>>,
    },
    /// The key is gone.
    Delete {
        /// The pair before.
        previous: Arc<KeyValue>,
    },
}

impl Change {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put { pair, .. } => &pair.key,
            Self::Delete { previous } => &previous.key,
        }
    }
}

/// One step of the copy.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Changes {
    /// The copy is exact at this revision after the step.
    pub revision: i64,
    /// The server's data was replaced by other data: revisions may have gone back.
    pub reset: bool,
    /// The changes, in order.
    pub changes: Vec<Change>,
    pub(super) step: u64,
}

impl View {
    pub(super) fn new(revision: i64, pairs: BTreeMap<Bytes, Arc<KeyValue>>) -> Self {
        Self {
            revision,
            step: 0,
            pairs,
        }
    }

    pub(super) fn step(&self) -> u64 {
        self.step
    }

    pub(super) fn set_step(&mut self, step: u64) {
        self.step = step;
    }

    /// The revision this is exact at.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The pair at `key`.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&Arc<KeyValue>> {
        self.pairs.get(key)
    }

    /// All pairs in key order.
    pub fn iter(&self) -> btree_map::Values<'_, Bytes, Arc<KeyValue>> {
        self.pairs.values()
    }

    /// How many pairs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is no pair.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    pub(super) fn advance(&mut self, revision: i64) {
        self.revision = self.revision.max(revision);
    }

    /// Takes in events up to `revision`; returns what really changed.
    pub(super) fn take_in(&mut self, revision: i64, events: Vec<Event>) -> Changes {
        let mut changes = Vec::with_capacity(events.len());
        for event in events {
            // An event may come again, or after a comparison that found its effect undone.
            if event.kv.mod_revision <= self.revision {
                continue;
            }
            match event.kind {
                EventKind::Put => {
                    let pair = Arc::new(event.kv);
                    let previous = self.pairs.insert(pair.key.clone(), Arc::clone(&pair));
                    changes.push(Change::Put { pair, previous });
                }
                EventKind::Delete => {
                    if let Some(previous) = self.pairs.remove(&event.kv.key) {
                        changes.push(Change::Delete { previous });
                    }
                }
            }
        }
        self.advance(revision);
        self.step += u64::from(!changes.is_empty());
        Changes {
            revision: self.revision,
            reset: false,
            changes,
            step: self.step,
        }
    }

    /// Repeats a step another view has made.
    pub(super) fn apply(&mut self, step: &Changes) {
        for change in &step.changes {
            match change {
                Change::Put { pair, .. } => {
                    self.pairs.insert(pair.key.clone(), Arc::clone(pair));
                }
                Change::Delete { previous } => {
                    self.pairs.remove(&previous.key);
                }
            }
        }
        self.revision = step.revision;
        self.step = step.step;
    }

    /// What turns this view into `newer`: each key at most once, and none that is the same.
    pub(super) fn difference(&self, newer: &Self, reset: bool) -> Changes {
        let mut changes = Vec::new();
        for (key, previous) in &self.pairs {
            if !newer.pairs.contains_key(key) {
                changes.push(Change::Delete {
                    previous: Arc::clone(previous),
                });
            }
        }
        for (key, pair) in &newer.pairs {
            let previous = self.pairs.get(key);
            if previous.is_none_or(|previous| **previous != **pair) {
                let (pair, previous) = (Arc::clone(pair), previous.cloned());
                changes.push(Change::Put { pair, previous });
            }
        }
        Changes {
            revision: newer.revision,
            reset,
            changes,
            step: newer.step,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair(key: u8, revision: i64) -> KeyValue {
        KeyValue {
            key: vec![key].into(),
            mod_revision: revision,
            create_revision: revision,
            version: 1,
            ..Default::default()
        }
    }

    fn event(key: u8, put: bool, revision: i64) -> Event {
        let kind = if put {
            EventKind::Put
        } else {
            EventKind::Delete
        };
        Event {
            kind,
            kv: pair(key, revision),
            prev_kv: None,
        }
    }

    fn view_of(events: &[(u8, bool)]) -> View {
        let mut view = View::default();
        for (revision, (key, put)) in (1..).zip(events) {
            view.take_in(revision, vec![event(*key, *put, revision)]);
        }
        view
    }

    proptest! {
        #[test]
        fn a_difference_turns_one_view_into_the_other(
            events in prop::collection::vec((0u8..8, any::<bool>()), 0..60),
            cut in 0usize..60,
        ) {
            let old = view_of(&events[..cut.min(events.len())]);
            let new = view_of(&events);
            let step = old.difference(&new, false);
            let mut healed = old.clone();
            healed.apply(&step);
            prop_assert_eq!(&healed, &new);
            for change in &step.changes {
                let (before, after) = (old.get(change.key()), new.get(change.key()));
                prop_assert!(before != after, "a change that changes nothing");
            }
        }

        #[test]
        fn events_that_come_twice_or_late_change_nothing(
            events in prop::collection::vec((0u8..4, any::<bool>()), 1..40),
            again in 0usize..40,
        ) {
            let mut view = view_of(&events);
            let before = view.clone();
            let again = again.min(events.len() - 1);
            let (key, put) = events[again];
            let revision = again as i64 + 1;
            let step = view.take_in(revision, vec![event(key, put, revision)]);
            prop_assert!(step.changes.is_empty());
            prop_assert_eq!(view, before);
        }
    }
}
