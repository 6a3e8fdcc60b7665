//! The reference log: what changed at every revision, and what was there before.
//!
//! Owns the index over it and the check that the log is whole and fits together. Knows nothing of
//! watches or operations.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    history::{Event, EventKind, EventLog, Kv, Run, Snapshot},
    report::{Promise, Violation},
};

/// At most so many findings of one kind, as the first say enough.
const MOST: usize = 5;

/// What is known of a key before a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// This pair, or none.
    Known(Option<Kv>),
    /// The log begins too late to tell.
    Unknown,
}

/// The log by revision.
#[derive(Clone, Debug)]
pub(crate) struct LogIndex {
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// Whether it goes on right after the run's initial state.
    pub(crate) is_whole: bool,
    initial: Snapshot,
    revisions: BTreeMap<i64, Vec<Event>>,
    before: BTreeMap<(i64, Bytes), Before>,
}

impl LogIndex {
    /// Reads the log of a run, and says what is wrong with it.
    pub(crate) fn read(run: &Run) -> Option<(Self, Vec<Violation>)> {
        let log = run.log.as_ref()?;
        let is_whole = log.from <= run.initial.revision + 1;
        let mut index = Self {
            from: log.from,
            to: log.to,
            is_whole,
            initial: run.initial.clone(),
            revisions: BTreeMap::new(),
            before: BTreeMap::new(),
        };
        let mut wrong = Vec::new();
        index.sort_in(log, &mut wrong);
        index.replay(&mut wrong);
        index.find_gaps(&mut wrong);
        let found = wrong
            .into_iter()
            .map(|evidence| Violation::new(Promise::LogWhole, evidence))
            .collect();
        Some((index, found))
    }

    /// The changes of a revision, in their order.
    pub(crate) fn events(&self, revision: i64) -> &[Event] {
        self.revisions.get(&revision).map_or(&[], Vec::as_slice)
    }

    /// All revisions from `from` to `to`, both included, with their changes.
    pub(crate) fn between(&self, from: i64, to: i64) -> impl Iterator<Item = (i64, &[Event])> {
        let range = (from <= to).then(|| self.revisions.range(from..=to));
        let revisions = range.into_iter().flatten();
        revisions.map(|(revision, events)| (*revision, events.as_slice()))
    }

    /// What was there before a change.
    pub(crate) fn before(&self, revision: i64, key: &Bytes) -> Before {
        let found = self.before.get(&(revision, key.clone()));
        found.cloned().unwrap_or(Before::Unknown)
    }

    /// The whole store at a revision, if the log can tell.
    pub(crate) fn state_at(&self, revision: i64) -> Option<BTreeMap<Bytes, Kv>> {
        if !self.is_whole || revision > self.to || revision < self.initial.revision {
            return None;
        }
        let mut state = pairs(&self.initial);
        for (_, events) in self.between(self.initial.revision + 1, revision) {
            for event in events {
                change(&mut state, event);
            }
        }
        Some(state)
    }

    fn sort_in(&mut self, log: &EventLog, wrong: &mut Vec<String>) {
        let mut last = log.from;
        for event in &log.events {
            let revision = event.revision();
            if revision < last && wrong.len() < MOST {
                wrong.push(format!("the log has {event} after revision {last}"));
            }
            if revision > log.to && wrong.len() < MOST {
                let to = log.to;
                wrong.push(format!(
                    "the log has {event}, though it ends at revision {to}"
                ));
            }
            last = last.max(revision);
            self.revisions
                .entry(revision)
                .or_default()
                .push(event.clone());
        }
    }

    fn find_gaps(&self, wrong: &mut Vec<String>) {
        let first = self.from.max(self.initial.revision + 1);
        let missing = |revision: &i64| !self.revisions.contains_key(revision);
        let gaps: Vec<i64> = (first..=self.to).filter(missing).take(MOST).collect();
        if !gaps.is_empty() {
            wrong.push(format!(
                "the log has no change for the revisions {gaps:?} (at most {MOST} are listed)"
            ));
        }
    }

    /// Follows every key, notes what was before each change, and looks at how they fit.
    fn replay(&mut self, wrong: &mut Vec<String>) {
        let mut known: BTreeMap<Bytes, Option<Kv>> = pairs(&self.initial)
            .into_iter()
            .map(|(key, kv)| (key, Some(kv)))
            .collect();
        if !self.is_whole {
            known.clear();
        }
        for event in self.revisions.values().flatten() {
            let (key, revision) = (&event.kv.key, event.revision());
            let before = match known.get(key) {
                Some(kv) => Before::Known(kv.clone()),
                None if self.is_whole || is_create(event) => Before::Known(None),
                None => Before::Unknown,
            };
            if let Some(what) = misfit(event, &before)
                && wrong.len() < MOST
            {
                wrong.push(what);
            }
            let after = (event.kind == EventKind::Put).then(|| event.kv.clone());
            known.insert(key.clone(), after);
            let twice = self.before.insert((revision, key.clone()), before);
            if twice.is_some() && wrong.len() < MOST {
                wrong.push(format!("the log has two changes of one key: {event}"));
            }
        }
    }
}

/// The pairs of a state by key.
pub(crate) fn pairs(snapshot: &Snapshot) -> BTreeMap<Bytes, Kv> {
    let kvs = snapshot.kvs.iter();
    kvs.map(|kv| (kv.key.clone(), kv.clone())).collect()
}

/// Makes a change to a state.
pub(crate) fn change(state: &mut BTreeMap<Bytes, Kv>, event: &Event) {
    match event.kind {
        EventKind::Put => state.insert(event.kv.key.clone(), event.kv.clone()),
        EventKind::Delete => state.remove(&event.kv.key),
    };
}

fn is_create(event: &Event) -> bool {
    event.kind == EventKind::Put && event.kv.create_revision == event.kv.mod_revision
}

/// What does not fit between a change and what was before.
fn misfit(event: &Event, before: &Before) -> Option<String> {
    let (created, version) = match (event.kind, before) {
        (_, Before::Unknown) => return None,
        (EventKind::Delete, Before::Known(None)) => {
            return Some(format!("{event}, but the key was not there"));
        }
        (EventKind::Delete, Before::Known(Some(_))) => return None,
        (EventKind::Put, Before::Known(None)) => (event.revision(), 1),
        (EventKind::Put, Before::Known(Some(kv))) => (kv.create_revision, kv.version + 1),
    };
    let fits = event.kv.create_revision == created && event.kv.version == version;
    (!fits).then(|| format!("{event} must have been created at {created} with version {version}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &'static str, created: i64, revision: i64, version: i64) -> Event {
        Event {
            kind: EventKind::Put,
            kv: Kv {
                create_revision: created,
                mod_revision: revision,
                version,
                ..Kv::seen(key, "x")
            },
            prev_kv: None,
        }
    }

    fn wrong(from: i64, to: i64, events: Vec<Event>) -> Vec<Violation> {
        let run = Run {
            log: Some(EventLog { from, to, events }),
            ..Run::default()
        };
        LogIndex::read(&run).unwrap().1
    }

    #[test]
    fn a_whole_log_is_fine() {
        assert_eq!(wrong(2, 3, vec![put("a", 2, 2, 1), put("a", 2, 3, 2)]), []);
        assert_eq!(wrong(7, 7, vec![put("a", 3, 7, 4)]), []);
    }

    #[test]
    fn gaps_disorder_and_misfits_are_found() {
        assert_eq!(
            wrong(2, 4, vec![put("a", 2, 2, 1), put("b", 4, 4, 1)]).len(),
            1
        );
        assert_eq!(
            wrong(2, 3, vec![put("a", 3, 3, 1), put("b", 2, 2, 1)]).len(),
            1
        );
        assert_eq!(
            wrong(2, 3, vec![put("a", 2, 2, 1), put("a", 2, 3, 3)]).len(),
            1
        );
        assert_eq!(
            wrong(2, 2, vec![put("a", 2, 2, 1), put("a", 2, 2, 2)]).len(),
            1
        );
    }
}
