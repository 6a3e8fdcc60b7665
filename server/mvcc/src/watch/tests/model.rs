//! A store that is nothing but a list of events, with the real ring and hub in front.
//!
//! Owns the truth the tests compare to. Its "disk" is only what was flushed, and compaction takes
//! rows from it, so code that reads what it must not gets gaps or a panic.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use handfast_proto::mvccpb::KeyValue;
use parking_lot::Mutex;

use crate::recent::{Commit, Event, Recent, Window};
use crate::watch::{History, HistoryError, WatchHub};

#[derive(Default)]
struct State {
    revision: i64,
    compacted: i64,
    flushed: i64,
    live: BTreeMap<Bytes, KeyValue>,
    /// Every event that ever was, never compacted.
    log: Vec<Event>,
    disk: BTreeMap<(i64, u32), Event>,
    broken: bool,
}

pub(super) struct Model {
    pub(super) recent: Arc<Recent>,
    pub(super) hub: Arc<WatchHub>,
    state: Mutex<State>,
}

/// One change.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Put(Bytes, Bytes),
    Delete(Bytes),
}

pub(super) fn put(key: &str, value: &str) -> Change {
    Change::Put(
        key.as_bytes().to_vec().into(),
        value.as_bytes().to_vec().into(),
    )
}

pub(super) fn delete(key: &str) -> Change {
    Change::Delete(key.as_bytes().to_vec().into())
}

impl Model {
    pub(super) fn new(window: Window) -> Arc<Model> {
        let recent = Arc::new(Recent::new(window, 1));
        let hub = WatchHub::new(Arc::clone(&recent));
        let state = State {
            revision: 1,
            compacted: -1,
            flushed: 1,
            ..State::default()
        };
        Arc::new(Model {
            recent,
            hub,
            state: Mutex::new(state),
        })
    }

    /// Commits each of the given transactions at its own revision, all in one batch.
    pub(super) fn commit(&self, batch: Vec<Vec<Change>>) {
        let mut state = self.state.lock();
        let commits: Vec<Arc<Commit>> = batch
            .into_iter()
            .filter_map(|changes| state.apply(changes))
            .collect();
        self.recent.push(&commits);
        self.hub.publish(&commits);
    }

    pub(super) fn put(&self, key: &str, value: &str) -> i64 {
        self.commit(vec![vec![put(key, value)]]);
        self.revision()
    }

    pub(super) fn delete(&self, key: &str) -> i64 {
        self.commit(vec![vec![delete(key)]]);
        self.revision()
    }

    /// Makes everything durable, so that the ring may drop it.
    pub(super) fn flush(&self) {
        let mut state = self.state.lock();
        state.flush();
        self.recent.set_flushed(state.flushed);
    }

    pub(super) fn compact(&self, revision: i64) {
        let mut state = self.state.lock();
        if revision > state.compacted && revision <= state.revision {
            state.compacted = revision;
            state.sweep(revision);
        }
    }

    /// As if a snapshot had been installed that is ahead by these transactions: nobody was told of
    /// them, and the ring is empty.
    pub(super) fn install(&self, ahead: Vec<Vec<Change>>) {
        let mut state = self.state.lock();
        for changes in ahead {
            state.apply(changes);
        }
        let revision = state.revision;
        state.flush();
        self.recent.reset(revision);
        self.hub.reset(revision);
    }

    /// Every event of `from..=through`, whether compacted or not.
    pub(super) fn truth(&self, from: i64, through: i64) -> Vec<Event> {
        let state = self.state.lock();
        let start = state.log.partition_point(|event| event.main() < from);
        let events = state.log[start..]
            .iter()
            .take_while(|event| event.main() <= through);
        events.cloned().collect()
    }
}

impl State {
    fn apply(&mut self, changes: Vec<Change>) -> Option<Arc<Commit>> {
        let main = self.revision + 1;
        let mut events = Vec::new();
        for change in changes {
            let sub = events.len() as u32;
            match change {
                Change::Put(key, value) => {
                    let before = self.live.get(&key);
                    let kv = KeyValue {
                        create_revision: before.map_or(main, |kv| kv.create_revision),
                        version: before.map_or(1, |kv| kv.version + 1),
                        mod_revision: main,
                        lease: 0,
                        key: key.clone(),
                        value,
                    };
                    self.live.insert(key, kv.clone());
                    events.push(Event {
                        sub,
                        tombstone: false,
                        kv,
                    });
                }
                Change::Delete(key) if self.live.remove(&key).is_some() => {
                    let kv = KeyValue {
                        key,
                        mod_revision: main,
                        ..KeyValue::default()
                    };
                    events.push(Event {
                        sub,
                        tombstone: true,
                        kv,
                    });
                }
                Change::Delete(_) => {}
            }
        }
        if events.is_empty() {
            return None;
        }
        self.revision = main;
        self.log.extend(events.iter().cloned());
        Some(Commit::new(main, events))
    }

    fn flush(&mut self) {
        let new = self
            .log
            .partition_point(|event| event.main() <= self.flushed);
        let rows = self.log[new..].iter();
        self.disk
            .extend(rows.map(|event| ((event.main(), event.sub), event.clone())));
        self.flushed = self.revision;
        self.sweep(self.compacted);
    }

    /// Drops the rows that a read at `compacted` or later cannot need.
    fn sweep(&mut self, compacted: i64) {
        let mut newest = BTreeMap::new();
        for ((main, _), event) in self.disk.range(..(compacted + 1, 0)) {
            newest.insert(event.kv.key.clone(), *main);
        }
        self.disk.retain(|(main, _), event| {
            *main >= compacted || (newest[&event.kv.key] == *main && !event.tombstone)
        });
    }
}

impl Model {
    /// Lets no pair be read any more.
    pub(super) fn break_disk(&self) {
        self.state.lock().broken = true;
    }
}

impl History for Model {
    fn revision(&self) -> i64 {
        self.state.lock().revision
    }

    fn compact_revision(&self) -> i64 {
        self.state.lock().compacted
    }

    fn events(
        &self,
        from: i64,
        through: i64,
        visit: &mut dyn FnMut(Event) -> bool,
    ) -> Result<(), HistoryError> {
        let state = self.state.lock();
        assert!(
            through <= state.flushed,
            "asked for rows that are not on disk"
        );
        for (_, event) in state.disk.range((from, 0)..(through + 1, 0)) {
            if !visit(event.clone()) {
                break;
            }
        }
        if from < state.compacted {
            return Err(HistoryError::Compacted {
                compacted: state.compacted,
            });
        }
        Ok(())
    }

    fn previous(&self, event: &Event) -> Result<Option<KeyValue>, HistoryError> {
        assert!(!event.is_creation());
        let state = self.state.lock();
        if state.broken {
            return Err(HistoryError::Storage("no such disk".to_owned()));
        }
        if event.main() - 1 < state.compacted {
            return Ok(None);
        }
        let older = state
            .log
            .iter()
            .rev()
            .filter(|older| older.main() < event.main());
        let previous = older.into_iter().find(|older| older.kv.key == event.kv.key);
        Ok(previous.map(|previous| previous.kv.clone()))
    }
}
