//! Checks of a request that need no state.
//!
//! Owns what etcd refuses before it proposes, in the order in which it looks. Must not know the
//! store: the checks that depend on keys, leases and revisions are made when an entry is applied.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use bytes::Bytes;
use handfast_proto::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
    range_request::{SortOrder, SortTarget},
    request_op::Request,
};

use crate::{Error, KeyRange};

/// Checks a range.
///
/// # Errors
/// [`Error::EmptyKey`], [`Error::InvalidSortOption`].
pub fn range(request: &RangeRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    if SortOrder::try_from(request.sort_order).is_err()
        || SortTarget::try_from(request.sort_target).is_err()
    {
        return Err(Error::InvalidSortOption);
    }
    Ok(())
}

/// Checks a put.
///
/// # Errors
/// [`Error::EmptyKey`], [`Error::ValueProvided`], [`Error::LeaseProvided`].
pub fn put(request: &PutRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(Error::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Error::LeaseProvided);
    }
    Ok(())
}

/// Checks a delete.
///
/// # Errors
/// [`Error::EmptyKey`].
pub fn delete_range(request: &DeleteRangeRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        Err(Error::EmptyKey)
    } else {
        Ok(())
    }
}

/// Checks a transaction: its size (a nested one gets what its parent leaves of `max_ops`), then
/// every compare and operation of both branches, then that no branch changes a key twice.
///
/// # Errors
/// [`Error::TooManyOps`], [`Error::DuplicateKey`], and those of the operations; an operation
/// that names nothing is [`Error::KeyNotFound`].
pub fn txn(request: &TxnRequest, max_ops: usize) -> Result<(), Error> {
    level(request, max_ops)?;
    Changes::of_branch(&request.success)?;
    Changes::of_branch(&request.failure)?;
    Ok(())
}

/// Whether both branches hold nothing but ranges, so that the transaction need not be proposed.
#[must_use]
pub fn txn_is_read_only(request: &TxnRequest) -> bool {
    ops(request).all(|op| matches!(op.request, Some(Request::RequestRange(_))))
}

/// Whether a read-only transaction may be answered from local state: all its ranges say so.
#[must_use]
pub fn txn_is_serializable(request: &TxnRequest) -> bool {
    ops(request).all(|op| match &op.request {
        Some(Request::RequestRange(range)) => range.serializable,
        _ => false,
    })
}

fn ops(request: &TxnRequest) -> impl Iterator<Item = &RequestOp> {
    request.success.iter().chain(&request.failure)
}

fn level(request: &TxnRequest, limit: usize) -> Result<(), Error> {
    let widest = request
        .compare
        .len()
        .max(request.success.len())
        .max(request.failure.len());
    let Some(left) = limit.checked_sub(widest) else {
        return Err(Error::TooManyOps { limit });
    };
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Error::EmptyKey);
    }
    ops(request).try_for_each(|op| match &op.request {
        Some(Request::RequestRange(request)) => range(request),
        Some(Request::RequestPut(request)) => put(request),
        Some(Request::RequestDeleteRange(request)) => delete_range(request),
        Some(Request::RequestTxn(request)) => level(request, left),
        None => Err(Error::KeyNotFound),
    })
}

/// What one branch, with all that is nested in it, may change.
#[derive(Default)]
struct Changes {
    puts: BTreeSet<Bytes>,
    /// Deletes as start -> end, merged where they overlap; `None` is open.
    deletes: BTreeMap<Bytes, Option<Bytes>>,
}

impl Changes {
    fn of_branch(branch: &[RequestOp]) -> Result<Self, Error> {
        let mut changes = Self::default();
        for op in branch {
            match &op.request {
                Some(Request::RequestPut(request)) => {
                    if !changes.puts.insert(request.key.clone()) {
                        return Err(Error::DuplicateKey);
                    }
                }
                Some(Request::RequestDeleteRange(request)) => {
                    changes.delete(&KeyRange::parse(&request.key, &request.range_end));
                }
                Some(Request::RequestTxn(_) | Request::RequestRange(_)) | None => {}
            }
        }
        if changes.puts.iter().any(|key| changes.deletes(key)) {
            return Err(Error::DuplicateKey);
        }
        for op in branch {
            if let Some(Request::RequestTxn(request)) = &op.request {
                changes.absorb(Self::of_nested(request)?)?;
            }
        }
        Ok(changes)
    }

    /// Only one branch of a nested transaction runs, so they cannot be in each other's way.
    fn of_nested(request: &TxnRequest) -> Result<Self, Error> {
        let mut changes = Self::of_branch(&request.success)?;
        let other = Self::of_branch(&request.failure)?;
        changes.puts.extend(other.puts);
        for (start, end) in other.deletes {
            changes.delete_span(start, end);
        }
        Ok(changes)
    }

    fn absorb(&mut self, nested: Self) -> Result<(), Error> {
        let put_here_deleted_there = nested.deletes.iter().any(|(start, end)| {
            let high = end.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            self.puts
                .range::<Bytes, _>((Bound::Included(start), high))
                .next()
                .is_some()
        });
        if put_here_deleted_there || nested.puts.iter().any(|key| self.deletes(key)) {
            return Err(Error::DuplicateKey);
        }
        for key in nested.puts {
            if !self.puts.insert(key) {
                return Err(Error::DuplicateKey);
            }
        }
        for (start, end) in nested.deletes {
            self.delete_span(start, end);
        }
        Ok(())
    }

    fn delete(&mut self, range: &KeyRange) {
        match range {
            KeyRange::One(key) => self.delete_span(key.clone(), Some(successor(key))),
            KeyRange::From(start) => self.delete_span(start.clone(), None),
            KeyRange::Span { start, end } => self.delete_span(start.clone(), Some(end.clone())),
            KeyRange::All => self.delete_span(Bytes::new(), None),
            KeyRange::Empty => {}
        }
    }

    fn delete_span(&mut self, start: Bytes, end: Option<Bytes>) {
        let (mut start, mut end) = (start, end);
        loop {
            let next = self
                .deletes
                .range(..=end.clone().unwrap_or_default())
                .next_back();
            let overlapping = match &end {
                Some(_) => next,
                None => self.deletes.iter().next_back(),
            };
            let Some((other_start, other_end)) = overlapping else {
                break;
            };
            if other_end
                .as_ref()
                .is_some_and(|other_end| *other_end < start)
            {
                break;
            }
            let key = other_start.clone();
            start = start.min(key.clone());
            end = match (end, other_end.clone()) {
                (Some(a), Some(b)) => Some(a.max(b)),
                _ => None,
            };
            self.deletes.remove(&key);
        }
        self.deletes.insert(start, end);
    }

    fn deletes(&self, key: &Bytes) -> bool {
        let below = self.deletes.range::<Bytes, _>(..=key).next_back();
        below.is_some_and(|(_, end)| end.as_ref().is_none_or(|end| key < end))
    }
}

fn successor(key: &Bytes) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into()
}

#[cfg(test)]
mod tests;
