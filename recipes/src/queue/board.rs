//! A queue as one sees it at one revision.
//!
//! Owns what is kept in order as keys change, so that finding the next item costs the same
//! however long the queue is. Plain data: knows nothing of servers and of who looks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use handfast_core::{KeyValue, mirror::Change};

use super::{
    keys::{Keys, Part},
    record::{self, Condition, Control, Rule, Ticket},
};

/// How many old marks are looked at in search of those that may go.
const GLANCE: usize = 64;

type Pair = Arc<KeyValue>;
type Ids = BTreeSet<String>;

/// The queue at one revision.
#[derive(Debug, Default)]
pub(super) struct Board {
    pub(super) revision: i64,
    pub(super) items: BTreeMap<String, Pair>,
    pub(super) claims: BTreeMap<String, Pair>,
    pub(super) dead: BTreeMap<String, Pair>,
    pub(super) done: BTreeMap<String, Pair>,
    /// Each worker that may be idle, with the revision since which it is.
    pub(super) workers: BTreeMap<String, i64>,
    /// The items that nothing of their own keeps back, oldest first.
    pub(super) free: BTreeSet<(i64, String)>,
    pub(super) control: Option<(Control, i64)>,
    rule: Option<(Rule, i64)>,
    tickets: BTreeMap<String, (i64, Ticket)>,
    done_by_age: BTreeSet<(i64, String)>,
    gates: Ids,
    opened: Ids,
    /// The items that wait for one, or did.
    followers: BTreeMap<String, Ids>,
    gated: BTreeMap<String, Ids>,
    openers: BTreeMap<String, Ids>,
}

/// What keeps all items of a queue back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Closed {
    Paused,
    NotStarted,
    Count { wanted: u32, epoch: String },
    Gate(String),
}

/// What keeps one item back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Block {
    After(String),
    Gate(String),
}

impl Board {
    /// The board with all of `pairs` on it.
    pub(super) fn of<'a>(
        keys: &Keys,
        revision: i64,
        pairs: impl Iterator<Item = &'a Pair>,
    ) -> Self {
        let mut board = Self::default();
        for pair in pairs {
            board.put(keys, pair);
        }
        board.revision = revision;
        board
    }

    pub(super) fn apply(&mut self, keys: &Keys, change: &Change) {
        match change {
            Change::Put { pair, .. } => self.put(keys, pair),
            Change::Delete { previous } => self.delete(keys, &previous.key),
            _ => {}
        }
    }

    fn put(&mut self, keys: &Keys, pair: &Pair) {
        match keys.parse(&pair.key) {
            Some(Part::Item(id)) => {
                if let Some(old) = self.items.insert(id.to_owned(), Arc::clone(pair)) {
                    self.free.remove(&(old.create_revision, id.to_owned()));
                }
                self.refresh(id);
            }
            Some(Part::Claim(id)) => {
                self.claims.insert(id.to_owned(), Arc::clone(pair));
                self.refresh(id);
            }
            Some(Part::Ticket(id)) => {
                let ticket = record::parse(&pair.value);
                self.set_ticket(id, Some((pair.mod_revision, ticket)));
                self.refresh(id);
            }
            Some(Part::Done(id)) => {
                self.forget_done(id);
                self.done_by_age
                    .insert((pair.create_revision, id.to_owned()));
                self.done.insert(id.to_owned(), Arc::clone(pair));
                self.refresh_all(self.followers.get(id).cloned());
            }
            Some(Part::Dead(id)) => {
                self.dead.insert(id.to_owned(), Arc::clone(pair));
            }
            Some(Part::Gate(gate)) => {
                self.gates.insert(gate.to_owned());
                self.refresh_all(self.gated.get(gate).cloned());
            }
            Some(Part::Worker(own)) => {
                self.workers.insert(own.to_owned(), pair.mod_revision);
            }
            Some(Part::Open(epoch)) => {
                self.opened.insert(epoch.to_owned());
            }
            Some(Part::Control) => {
                self.control = Some((Control::parse(&pair.value), pair.mod_revision));
            }
            Some(Part::Condition) => {
                self.rule = Some((record::parse(&pair.value), pair.mod_revision));
            }
            None => {}
        }
    }

    fn delete(&mut self, keys: &Keys, key: &[u8]) {
        match keys.parse(key) {
            Some(Part::Item(id)) => {
                if let Some(old) = self.items.remove(id) {
                    self.free.remove(&(old.create_revision, id.to_owned()));
                }
            }
            Some(Part::Claim(id)) => {
                self.claims.remove(id);
                self.refresh(id);
            }
            Some(Part::Ticket(id)) => {
                self.set_ticket(id, None);
                self.refresh(id);
            }
            Some(Part::Done(id)) => {
                self.forget_done(id);
                self.refresh_all(self.followers.get(id).cloned());
            }
            Some(Part::Dead(id)) => {
                self.dead.remove(id);
            }
            Some(Part::Gate(gate)) => {
                self.gates.remove(gate);
                self.refresh_all(self.gated.get(gate).cloned());
            }
            Some(Part::Worker(own)) => {
                self.workers.remove(own);
            }
            Some(Part::Open(epoch)) => {
                self.opened.remove(epoch);
            }
            Some(Part::Control) => self.control = None,
            Some(Part::Condition) => self.rule = None,
            None => {}
        }
    }

    fn forget_done(&mut self, id: &str) {
        if let Some(old) = self.done.remove(id) {
            self.done_by_age
                .remove(&(old.create_revision, id.to_owned()));
        }
    }

    fn set_ticket(&mut self, id: &str, ticket: Option<(i64, Ticket)>) {
        if let Some((_, old)) = self.tickets.remove(id) {
            for first in &old.after {
                unlink(&mut self.followers, first, id);
            }
            for (index, gate) in [
                (&mut self.gated, &old.gate),
                (&mut self.openers, &old.opens),
            ] {
                if let Some(gate) = gate {
                    unlink(index, gate, id);
                }
            }
        }
        let Some((revision, ticket)) = ticket else {
            return;
        };
        for first in &ticket.after {
            link(&mut self.followers, first, id);
        }
        let gates = [
            (&mut self.gated, &ticket.gate),
            (&mut self.openers, &ticket.opens),
        ];
        for (index, gate) in gates {
            if let Some(gate) = gate {
                link(index, gate, id);
            }
        }
        self.tickets.insert(id.to_owned(), (revision, ticket));
    }

    fn refresh_all(&mut self, ids: Option<Ids>) {
        for id in ids.into_iter().flatten() {
            self.refresh(&id);
        }
    }

    fn refresh(&mut self, id: &str) {
        let Some(item) = self.items.get(id) else {
            return;
        };
        let place = (item.create_revision, id.to_owned());
        if self.claims.contains_key(id) || self.blocks(id).next().is_some() {
            self.free.remove(&place);
        } else {
            self.free.insert(place);
        }
    }

    /// What keeps `id` back, of its own.
    pub(super) fn blocks(&self, id: &str) -> impl Iterator<Item = Block> {
        let ticket = self.tickets.get(id).map(|(_, ticket)| ticket);
        let first = ticket.into_iter().flat_map(|ticket| &ticket.after);
        let missing = first.filter(|first| !self.done.contains_key(*first));
        let gate = ticket.and_then(|ticket| ticket.gate.as_ref());
        let shut = gate.filter(|gate| !self.gates.contains(*gate));
        missing
            .map(|first| Block::After(first.clone()))
            .chain(shut.map(|gate| Block::Gate(gate.clone())))
    }

    /// What keeps all items back.
    pub(super) fn closed(&self) -> Option<Closed> {
        let control = self.control.map(|(control, _)| control);
        if control == Some(Control::Pause) {
            return Some(Closed::Paused);
        }
        let (rule, _) = self.rule.as_ref()?;
        match &rule.condition {
            Condition::None => None,
            Condition::Count(wanted) => (!self.opened.contains(&rule.epoch)).then(|| {
                let epoch = rule.epoch.clone();
                Closed::Count {
                    wanted: *wanted,
                    epoch,
                }
            }),
            Condition::Gate(gate) => {
                (!self.gates.contains(gate)).then(|| Closed::Gate(gate.clone()))
            }
            Condition::Start => (control.is_none()).then_some(Closed::NotStarted),
        }
    }

    /// The items that may be claimed now, oldest first.
    pub(super) fn claimable(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match self.closed() {
            None => Box::new(self.free.iter().map(|(_, id)| &**id)),
            Some(Closed::Gate(gate)) => {
                let openers = self.openers.get(&gate);
                let free = openers.into_iter().flatten().filter_map(|id| {
                    let item = self.items.get(id)?;
                    self.free
                        .get(&(item.create_revision, id.clone()))
                        .map(|(_, id)| &**id)
                });
                Box::new(free)
            }
            Some(_) => Box::new(std::iter::empty()),
        }
    }

    pub(super) fn ticket(&self, id: &str) -> Option<&Ticket> {
        self.tickets.get(id).map(|(_, ticket)| ticket)
    }

    /// The revision of the last change of an item's ticket; 0 if it has none.
    pub(super) fn ticket_revision(&self, id: &str) -> i64 {
        self.tickets.get(id).map_or(0, |(revision, _)| *revision)
    }

    /// The queue's condition, with the revision it was set at; 0 if there is none.
    pub(super) fn rule(&self) -> (Rule, i64) {
        self.rule.clone().unwrap_or_default()
    }

    /// The oldest marks of acknowledged items beyond the newest `kept` that no item waits for.
    pub(super) fn outdated(&self, kept: usize, at_most: usize) -> Vec<String> {
        let beyond = self.done_by_age.len().saturating_sub(kept);
        // Few of the oldest are still waited for.
        let oldest = self.done_by_age.iter().take(beyond.min(GLANCE));
        let unneeded = oldest.filter(|(_, id)| !self.followers.contains_key(id));
        unneeded.take(at_most).map(|(_, id)| id.clone()).collect()
    }

    /// The way from one of `from` to `id` along what items wait for, if there is one.
    pub(super) fn way(&self, from: &[String], id: &str) -> Option<Vec<String>> {
        let mut came_from: BTreeMap<&str, Option<&str>> = BTreeMap::new();
        let mut next: Vec<&str> = Vec::new();
        for first in from {
            came_from.insert(first, None);
            next.push(first);
        }
        while let Some(here) = next.pop() {
            if here == id {
                let mut way = vec![here.to_owned()];
                let mut at = here;
                while let Some(Some(before)) = came_from.get(at) {
                    way.push((*before).to_owned());
                    at = before;
                }
                way.reverse();
                return Some(way);
            }
            if self.done.contains_key(here) {
                continue;
            }
            for first in self
                .ticket(here)
                .into_iter()
                .flat_map(|ticket| &ticket.after)
            {
                if !came_from.contains_key(&**first) {
                    came_from.insert(first, Some(here));
                    next.push(first);
                }
            }
        }
        None
    }
}

fn link(index: &mut BTreeMap<String, Ids>, at: &str, id: &str) {
    index
        .entry(at.to_owned())
        .or_default()
        .insert(id.to_owned());
}

fn unlink(index: &mut BTreeMap<String, Ids>, at: &str, id: &str) {
    if let Some(ids) = index.get_mut(at) {
        ids.remove(id);
        if ids.is_empty() {
            index.remove(at);
        }
    }
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
