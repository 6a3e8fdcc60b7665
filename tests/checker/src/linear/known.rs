//! What is known of single revisions: from the log for certain, from answers and events in part.
//!
//! Owns that knowledge and the question whether changes may be those of a revision. It only
//! narrows the search; what it holds is never taken for the truth of an answer.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::{
    history::{Delivery, Event, EventKind, Kv, Outcome, Response, Run},
    log::LogIndex,
};

/// What somebody saw of a key at a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    Put(Kv),
    Deleted,
}

/// All that is known of revisions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known<'a> {
    log: Option<&'a LogIndex>,
    facts: BTreeMap<i64, BTreeMap<Bytes, Fact>>,
    /// The last revision that is known to exist.
    pub(crate) goal: i64,
    /// Whether the log tells every change of the run.
    pub(crate) is_complete: bool,
}

impl<'a> Known<'a> {
    /// Nothing but that the store is at a revision.
    pub(crate) fn nothing(revision: i64) -> Self {
        Self {
            goal: revision,
            ..Self::default()
        }
    }

    /// Gathers what a run tells.
    pub(crate) fn gather(run: &Run, log: Option<&'a LogIndex>) -> Self {
        let mut known = Self {
            log,
            goal: run.initial.revision,
            ..Self::default()
        };
        for operation in &run.operations {
            if let Outcome::Ok { revision, response } = &operation.outcome {
                known.goal = known.goal.max(*revision);
                known.see_answer(response);
            }
        }
        for watch in &run.watches {
            for note in &watch.notes {
                if let Delivery::Events { events, .. } = &note.delivery {
                    events.iter().for_each(|event| known.see_event(event));
                }
            }
        }
        for state in run.finals.iter().map(|one| &one.state) {
            known.goal = known.goal.max(state.revision);
            state.kvs.iter().for_each(|kv| known.see_pair(kv));
        }
        let last_seen = known.goal;
        if let Some(log) = log {
            known.goal = known.goal.max(log.to);
            known.is_complete = log.is_whole && log.to >= last_seen;
        }
        known
    }

    /// The changes of a revision, if the log tells.
    pub(crate) fn exact(&self, revision: i64) -> Option<&'a [Event]> {
        let log = self.log?;
        (log.from..=log.to)
            .contains(&revision)
            .then(|| log.events(revision))
    }

    /// What was seen of a revision.
    pub(crate) fn facts(&self, revision: i64) -> Option<&BTreeMap<Bytes, Fact>> {
        self.facts.get(&revision)
    }

    /// The keys known to have changed at a revision.
    pub(crate) fn keys(&self, revision: i64) -> BTreeSet<Bytes> {
        let seen = self.facts(revision).into_iter().flat_map(BTreeMap::keys);
        let told = self.exact(revision).unwrap_or_default();
        let told = told.iter().map(|event| &event.kv.key);
        seen.chain(told).cloned().collect()
    }

    /// Whether these may be the changes of that revision.
    pub(crate) fn fits(&self, revision: i64, events: &[Event]) -> bool {
        if let Some(exact) = self.exact(revision) {
            let same = |(one, two): (&Event, &Event)| one.kind == two.kind && one.kv == two.kv;
            return exact.len() == events.len() && exact.iter().zip(events).all(same);
        }
        let facts = self.facts(revision).into_iter().flatten();
        facts.into_iter().all(|(key, fact)| {
            let event = events.iter().find(|event| event.kv.key == *key);
            event.is_some_and(|event| match fact {
                Fact::Put(kv) => event.kind == EventKind::Put && event.kv == *kv,
                Fact::Deleted => event.kind == EventKind::Delete,
            })
        })
    }

    fn see_answer(&mut self, response: &Response) {
        match response {
            Response::Get { kvs, .. } => kvs.iter().for_each(|kv| self.see_pair(kv)),
            Response::Put { prev_kv } => prev_kv.iter().for_each(|kv| self.see_pair(kv)),
            Response::Delete { prev_kvs, .. } => prev_kvs.iter().for_each(|kv| self.see_pair(kv)),
            Response::Txn { responses, .. } => {
                responses.iter().for_each(|one| self.see_answer(one));
            }
            Response::Revoke => {}
        }
    }

    fn see_event(&mut self, event: &Event) {
        match event.kind {
            EventKind::Put => self.see_pair(&event.kv),
            EventKind::Delete => self.see(event.revision(), &event.kv.key, Fact::Deleted),
        }
        event.prev_kv.iter().for_each(|kv| self.see_pair(kv));
    }

    fn see_pair(&mut self, kv: &Kv) {
        if kv.mod_revision != 0 {
            self.see(kv.mod_revision, &kv.key, Fact::Put(kv.clone()));
        }
    }

    fn see(&mut self, revision: i64, key: &Bytes, fact: Fact) {
        self.goal = self.goal.max(revision);
        let keys = self.facts.entry(revision).or_default();
        keys.entry(key.clone()).or_insert(fact);
    }
}
