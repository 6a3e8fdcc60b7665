//! The search for an order: every operation at one moment between its request and its answer, so
//! that a store that does them one by one gives just these answers.
//!
//! Owns the search (Wing and Gong's, with Lowe's memory of what was tried). What is forced is done
//! at once: a read at its revision, the write whose answer names the next one. A choice is left
//! only where operations are in doubt, leases end, or revisions were not noted.

use std::collections::{BTreeSet, HashSet};

use super::{
    chain::Chain,
    known::{Fact, Known},
    ops::{Ops, returned},
};
use crate::{
    answer,
    history::{Event, EventKind, Get, KeyRange, Kv, Outcome, Request, Response},
    store::{Applied, Store, fingerprint},
};

/// One thing that happened to the store.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// The operation, an index into [`Ops::all`]; `None` for a lease's end or an unseen writer.
    pub(crate) op: Option<usize>,
    /// The revision after it.
    pub(crate) revision: i64,
    /// What it changed.
    pub(crate) events: Vec<Event>,
}

/// Why it goes no further.
#[derive(Clone, Debug)]
pub(crate) enum Reason {
    /// The answer is another than this one.
    Mismatch { op: usize, due: Response },
    /// `op` must come now, but `by`, over before `op` began, is not in the order yet.
    Blocked { op: usize, by: usize },
    /// Nobody can have made this revision.
    NoWriter { revision: i64 },
    /// It must have come, or gone, before this revision.
    Missed { op: usize },
}

/// The longest order that was found, where none is whole.
#[derive(Clone, Debug)]
pub(crate) struct Stuck {
    pub(crate) reason: Reason,
    pub(crate) steps: Vec<Step>,
    pub(crate) revision: i64,
}

/// How a search ended.
#[derive(Debug)]
pub(crate) enum Verdict {
    Ordered(Vec<Step>),
    Stuck(Box<Stuck>),
    Exhausted,
}

#[derive(Clone, Debug)]
enum Choice {
    Op(usize),
    Expire(i64),
    Take(Vec<Event>),
}

#[derive(Debug)]
struct Frame {
    trail: usize,
    /// Best last.
    choices: Vec<Choice>,
}

enum Flow {
    Done,
    Dead(Reason),
    Choose(Vec<Choice>),
}

/// A search under way.
pub(crate) struct Search<'a> {
    ops: &'a Ops<'a>,
    known: &'a Known<'a>,
    store: Store,
    unrecorded: &'a [KeyRange],
    is_done: Vec<bool>,
    /// Positions of [`Ops::by_return`].
    waiting: Chain,
    /// Where an operation stands in [`Ops::by_return`].
    place: Vec<usize>,
    left: usize,
    trail: Vec<(Step, usize)>,
    frames: Vec<Frame>,
    tried: HashSet<u128>,
    print: u128,
    budget: u64,
    best: Option<(usize, Stuck)>,
    /// How much was done.
    pub(crate) spent: u64,
}

impl<'a> Search<'a> {
    pub(crate) fn new(
        ops: &'a Ops<'a>,
        known: &'a Known<'a>,
        store: Store,
        unrecorded: &'a [KeyRange],
        budget: u64,
    ) -> Self {
        let mut place = vec![0; ops.all.len()];
        for (position, op) in ops.by_return.iter().enumerate() {
            place[*op] = position;
        }
        Self {
            ops,
            known,
            store,
            unrecorded,
            is_done: vec![false; ops.all.len()],
            waiting: Chain::new(ops.by_return.len()),
            place,
            left: ops.by_return.len(),
            trail: Vec::new(),
            frames: Vec::new(),
            tried: HashSet::new(),
            print: 0,
            budget,
            best: None,
            spent: 0,
        }
    }

    /// Searches to the end or to the limit.
    pub(crate) fn run(&mut self) -> Verdict {
        loop {
            if self.spent > self.budget {
                return Verdict::Exhausted;
            }
            let reason = match self.go_on() {
                Flow::Done => {
                    let trail = std::mem::take(&mut self.trail);
                    return Verdict::Ordered(trail.into_iter().map(|(step, _)| step).collect());
                }
                Flow::Dead(reason) => Some(reason),
                Flow::Choose(choices) if choices.is_empty() => Some(self.nobody()),
                Flow::Choose(choices) => {
                    let print = self.print ^ self.store.print();
                    let is_new = choices.len() == 1 || self.tried.insert(print);
                    if is_new {
                        let trail = self.trail.len();
                        self.frames.push(Frame { trail, choices });
                    }
                    None
                }
            };
            if let Some(reason) = reason {
                self.note(reason);
            }
            if !self.choose() {
                let stuck = self.best.take().map(|(_, stuck)| Box::new(stuck));
                // Without a note nothing was ever wrong, and the search ended before.
                return stuck.map_or(Verdict::Exhausted, Verdict::Stuck);
            }
        }
    }

    fn nobody(&self) -> Reason {
        let revision = self.store.revision() + 1;
        Reason::NoWriter { revision }
    }

    /// Takes the next choice of the newest frame that has one left.
    fn choose(&mut self) -> bool {
        while let Some(frame) = self.frames.last_mut() {
            let trail = frame.trail;
            let choice = frame.choices.pop();
            while self.trail.len() > trail {
                self.step_back();
            }
            match choice {
                None => {
                    self.frames.pop();
                }
                Some(Choice::Op(op)) => {
                    self.step(op);
                    return true;
                }
                Some(Choice::Expire(lease)) => {
                    let mark = self.store.mark();
                    let events = self.store.expire(lease);
                    self.push(None, events, mark);
                    return true;
                }
                Some(Choice::Take(events)) => {
                    let mark = self.store.mark();
                    self.store.take(&events);
                    self.push(None, events, mark);
                    return true;
                }
            }
        }
        false
    }

    /// Does everything that is forced.
    fn go_on(&mut self) -> Flow {
        loop {
            if let Err(reason) = self.read_past().and_then(|()| self.read_all()) {
                return Flow::Dead(reason);
            }
            let revision = self.store.revision();
            if self.left == 0 && revision >= self.known.goal {
                return Flow::Done;
            }
            if let Some(reason) = self.left_behind() {
                return Flow::Dead(reason);
            }
            let slot = self.ops.slots.get(&(revision + 1));
            let Some(op) = slot.and_then(|slot| slot.write) else {
                return Flow::Choose(self.choices());
            };
            if self.is_done[op] {
                return Flow::Dead(Reason::Missed { op });
            }
            if let Some(by) = self.blocker(op) {
                return Flow::Dead(Reason::Blocked { op, by });
            }
            if let Some(due) = self.try_step(op) {
                return Flow::Dead(Reason::Mismatch { op, due });
            }
        }
    }

    /// Compares the reads that show this revision, whenever they were made.
    fn read_past(&self) -> Result<(), Reason> {
        let ops = self.ops.past.get(&self.store.revision());
        for &op in ops.into_iter().flatten() {
            let operation = self.ops.all[op];
            let (Request::Get(get), Outcome::Ok { response, .. }) =
                (&operation.request, &operation.outcome)
            else {
                continue;
            };
            let due = self.store.read(get);
            let is_known = |get: &Get| !self.store.is_blind(&get.range);
            if !answer::reads(get, &due, response, &is_known) {
                return Err(Reason::Mismatch { op, due });
            }
        }
        Ok(())
    }

    /// Places all reads that fit here. It can never be wrong to place one as early as it fits.
    fn read_all(&mut self) -> Result<(), Reason> {
        loop {
            let before = self.left;
            if let Some(slot) = self.ops.slots.get(&self.store.revision()) {
                for &op in slot.reads.iter().chain(&slot.either) {
                    if self.is_done[op] {
                        continue;
                    }
                    let applied = self.look(op);
                    if !applied.events.is_empty() {
                        continue;
                    }
                    if !self.is_right(op, &applied.response) {
                        let due = applied.response;
                        return Err(Reason::Mismatch { op, due });
                    }
                    if self.blocker(op).is_none() {
                        self.step(op);
                    }
                }
            }
            for &op in &self.ops.loose {
                if self.is_done[op] {
                    continue;
                }
                if self.blocker(op).is_some() {
                    break;
                }
                let applied = self.look(op);
                if applied.events.is_empty() && self.is_right(op, &applied.response) {
                    self.step(op);
                }
            }
            if self.left == before {
                return Ok(());
            }
        }
    }

    /// An operation of this revision that did not find its place, though it ends now.
    fn left_behind(&self) -> Option<Reason> {
        let slot = self.ops.slots.get(&self.store.revision())?;
        let mut ops = slot.reads.iter().chain(&slot.either);
        let op = *ops.find(|op| !self.is_done[**op])?;
        Some(match self.blocker(op) {
            Some(by) => Reason::Blocked { op, by },
            None => Reason::Missed { op },
        })
    }

    /// What may have made the next revision, best last.
    fn choices(&mut self) -> Vec<Choice> {
        let next = self.store.revision() + 1;
        let mut choices = Vec::new();
        if let Some(exact) = self.known.exact(next)
            && !exact.is_empty()
            && exact.iter().all(|event| self.is_unrecorded(&event.kv.key))
        {
            return vec![Choice::Take(exact.to_vec())];
        }
        self.add_leases(next, &mut choices);
        let first = choices.len();
        self.add_ops(next, &mut choices);
        choices[first..].reverse();
        let is_blank = self.known.exact(next).is_none() && next <= self.known.goal;
        if is_blank && !self.known.is_complete && !self.unrecorded.is_empty() {
            let keys = self.known.keys(next);
            if keys.iter().all(|key| self.is_unrecorded(key)) {
                choices.push(Choice::Take(self.seen_unrecorded(next)));
            }
        }
        choices
    }

    fn is_unrecorded(&self, key: &[u8]) -> bool {
        self.unrecorded.iter().any(|range| range.contains(key))
    }

    /// What was seen of a revision that others made.
    fn seen_unrecorded(&self, revision: i64) -> Vec<Event> {
        let facts = self.known.facts(revision).into_iter().flatten();
        let event = |(key, fact): (&bytes::Bytes, &Fact)| match fact {
            Fact::Put(kv) => Event {
                kind: EventKind::Put,
                kv: kv.clone(),
                prev_kv: None,
            },
            Fact::Deleted => Event {
                kind: EventKind::Delete,
                kv: Kv {
                    key: key.clone(),
                    mod_revision: revision,
                    ..Kv::default()
                },
                prev_kv: None,
            },
        };
        facts.map(event).collect()
    }

    fn add_leases(&mut self, next: i64, choices: &mut Vec<Choice>) {
        let leases = match self.known.exact(next) {
            Some(exact) => {
                let pair = exact
                    .first()
                    .and_then(|event| self.store.get(&event.kv.key));
                pair.map(|kv| kv.lease).into_iter().collect()
            }
            None => self.store.leases(),
        };
        for lease in leases {
            let mark = self.store.mark();
            let events = self.store.expire(lease);
            self.store.rollback(mark);
            if !events.is_empty() && self.known.fits(next, &events) {
                choices.push(Choice::Expire(lease));
            }
        }
    }

    fn add_ops(&mut self, next: i64, choices: &mut Vec<Choice>) {
        let mut classes = BTreeSet::new();
        let ops = self.ops;
        let either = ops.slots.get(&next).map_or(&[][..], |slot| &slot.either);
        for &op in either.iter().chain(&ops.loose).chain(&ops.doubt) {
            if self.is_done[op] || self.blocker(op).is_some() {
                continue;
            }
            // Equal requests in doubt can stand for each other: one of them is enough.
            let class = ops.class.get(&op);
            if class.is_some_and(|class| !classes.insert(*class)) {
                continue;
            }
            let applied = self.look(op);
            let has_effect = !applied.events.is_empty() && self.known.fits(next, &applied.events);
            if has_effect && self.is_right(op, &applied.response) {
                choices.push(Choice::Op(op));
            }
        }
    }

    /// An operation that was over before `op` began and is not in the order yet.
    fn blocker(&self, op: usize) -> Option<usize> {
        let first = self.ops.by_return[self.waiting.first()?];
        (returned(self.ops.all[first]) < self.ops.all[op].invoked).then_some(first)
    }

    fn is_right(&self, op: usize, due: &Response) -> bool {
        let operation = self.ops.all[op];
        let Outcome::Ok { response, .. } = &operation.outcome else {
            return true;
        };
        let is_known = |get: &Get| get.revision == 0 && !self.store.is_blind(&get.range);
        answer::agrees(&operation.request, due, response, &is_known)
    }

    /// What an operation would do now.
    fn look(&mut self, op: usize) -> Applied {
        let mark = self.store.mark();
        let applied = self.apply(op);
        self.store.rollback(mark);
        applied
    }

    fn apply(&mut self, op: usize) -> Applied {
        self.spent += 1;
        let operation = self.ops.all[op];
        let told = match &operation.outcome {
            Outcome::Ok {
                response: Response::Txn { succeeded, .. },
                ..
            } => Some(*succeeded),
            _ => None,
        };
        self.store.apply(&operation.request, told)
    }

    fn step(&mut self, op: usize) {
        let mark = self.store.mark();
        let applied = self.apply(op);
        self.push(Some(op), applied.events, mark);
    }

    /// Makes the step of a write; if its answer is wrong, leaves all as it is and gives the right.
    fn try_step(&mut self, op: usize) -> Option<Response> {
        let mark = self.store.mark();
        let applied = self.apply(op);
        if applied.events.is_empty() || !self.is_right(op, &applied.response) {
            self.store.rollback(mark);
            return Some(applied.response);
        }
        self.push(Some(op), applied.events, mark);
        None
    }

    fn push(&mut self, op: Option<usize>, events: Vec<Event>, mark: usize) {
        if let Some(op) = op {
            self.is_done[op] = true;
            self.print ^= fingerprint(&("operation", op));
            if self.is_answered(op) {
                self.waiting.take(self.place[op]);
                self.left -= 1;
            }
        }
        let revision = self.store.revision();
        let step = Step {
            op,
            revision,
            events,
        };
        self.trail.push((step, mark));
    }

    fn step_back(&mut self) {
        let Some((step, mark)) = self.trail.pop() else {
            return;
        };
        self.store.rollback(mark);
        if let Some(op) = step.op {
            self.is_done[op] = false;
            self.print ^= fingerprint(&("operation", op));
            if self.is_answered(op) {
                self.waiting.put_back(self.place[op]);
                self.left += 1;
            }
        }
    }

    fn is_answered(&self, op: usize) -> bool {
        matches!(self.ops.all[op].outcome, Outcome::Ok { .. })
    }

    /// Keeps the longest order so far, as the evidence.
    fn note(&mut self, reason: Reason) {
        let length = self.ops.by_return.len() - self.left;
        if self.best.as_ref().is_some_and(|(best, _)| *best >= length) {
            return;
        }
        let stuck = Stuck {
            reason,
            steps: self.trail.iter().map(|(step, _)| step.clone()).collect(),
            revision: self.store.revision(),
        };
        self.best = Some((length, stuck));
    }
}
