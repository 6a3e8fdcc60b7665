//! The operations of a search, sorted by what is known of their place.
//!
//! Owns the sorting; knows nothing of states.

use std::collections::BTreeMap;

use crate::history::{Nanos, Operation, Outcome, Request, Response};

/// What belongs to a revision by the headers of the answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot {
    /// Changed nothing: between this revision and the next.
    pub(crate) reads: Vec<usize>,
    /// Made this revision.
    pub(crate) write: Option<usize>,
    /// Made this revision or changed nothing, which their answers do not tell.
    pub(crate) either: Vec<usize>,
}

/// Operations by kind of place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ops<'a> {
    pub(crate) all: Vec<&'a Operation>,
    /// Answered, with a revision.
    pub(crate) slots: BTreeMap<i64, Slot>,
    /// Reads that show a revision of the past; serializable ones have no place in the order.
    pub(crate) past: BTreeMap<i64, Vec<usize>>,
    /// Answered, the revision was not noted; by time of request.
    pub(crate) loose: Vec<usize>,
    /// In doubt; by time of request.
    pub(crate) doubt: Vec<usize>,
    /// Equal requests in doubt have equal numbers.
    pub(crate) class: BTreeMap<usize, usize>,
    /// Answered; by time of answer.
    pub(crate) by_return: Vec<usize>,
    /// Two writes of one revision.
    pub(crate) clash: Option<(usize, usize)>,
}

impl<'a> Ops<'a> {
    /// Sorts operations. Left out are those without effect.
    pub(crate) fn sort(operations: impl Iterator<Item = &'a Operation>) -> Self {
        let mut ops = Self {
            all: operations.filter(|one| counts(one)).collect(),
            ..Self::default()
        };
        for (at, operation) in ops.all.clone().into_iter().enumerate() {
            match &operation.outcome {
                Outcome::Ok { revision, response } => {
                    if let Some(shown) = shows_past(&operation.request, *revision) {
                        ops.past.entry(shown).or_default().push(at);
                    }
                    if !is_serializable(operation) {
                        ops.by_return.push(at);
                        ops.place(at, *revision, response);
                    }
                }
                Outcome::Failed { .. } | Outcome::Unknown { .. } => ops.doubt.push(at),
            }
        }
        let all = &ops.all;
        let returned = |at: &usize| returned(all[*at]);
        ops.by_return.sort_by_key(returned);
        ops.loose.sort_by_key(|at| all[*at].invoked);
        ops.doubt.sort_by_key(|at| all[*at].invoked);
        for slot in ops.slots.values_mut() {
            slot.reads.sort_by_key(|at| all[*at].invoked);
        }
        for at in &ops.doubt {
            let same = |other: &&usize| all[**other].request == all[*at].request;
            let first = ops.doubt.iter().find(same).unwrap_or(at);
            ops.class.insert(*at, *first);
        }
        ops
    }

    fn place(&mut self, at: usize, revision: i64, response: &Response) {
        if revision == 0 {
            self.loose.push(at);
            return;
        }
        let slot = self.slots.entry(revision).or_default();
        match response.has_written() {
            Some(false) => slot.reads.push(at),
            None => slot.either.push(at),
            Some(true) => match slot.write {
                None => slot.write = Some(at),
                Some(other) => self.clash = self.clash.or(Some((other, at))),
            },
        }
    }
}

/// The moment by which an answered operation had its effect.
pub(crate) fn returned(operation: &Operation) -> Nanos {
    operation.returned.unwrap_or(Nanos::MAX)
}

/// Whether a read may show the past.
pub(crate) fn is_serializable(operation: &Operation) -> bool {
    matches!(&operation.request, Request::Get(get) if get.serializable)
}

/// The revision whose state a read shows, if it is not just the present.
fn shows_past(request: &Request, header: i64) -> Option<i64> {
    let Request::Get(get) = request else {
        return None;
    };
    let shown = if get.revision > 0 {
        get.revision
    } else {
        header
    };
    (shown > 0 && (get.serializable || get.revision > 0)).then_some(shown)
}

/// Whether an operation tells or does anything.
fn counts(operation: &Operation) -> bool {
    match (&operation.outcome, &operation.request) {
        (Outcome::Failed { .. }, _) => false,
        (Outcome::Ok { .. }, _) => true,
        // The same as the end of the lease by itself, which may happen at any time.
        (Outcome::Unknown { .. }, Request::Revoke { .. }) => false,
        (Outcome::Unknown { .. }, request) => !request.is_read(),
    }
}
