//! The operations of a transaction.
//!
//! Owns the options a read, put or delete can carry, also for the calls in [`crate::kv`]. Knows
//! nothing of how they are sent.

use bytes::Bytes;
use handfast_proto::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, request_op::Request,
};

use crate::{Compare, Error, IntoBytes};

/// The options of a read, as methods of a type with `with_range`.
macro_rules! range_options {
    () => {
        /// At most `limit` pairs; 0 means all.
        pub fn limit(self, limit: i64) -> Self {
            self.with_range("limit", |range| range.limit = limit)
        }

        /// The state at `revision` instead of now.
        pub fn revision(self, revision: i64) -> Self {
            self.with_range("revision", |range| range.revision = revision)
        }

        /// Reads what the asked member has; needs no leader. It may be old, and older than what
        /// this client read or wrote before through another member: the answer's header tells
        /// the revision.
        pub fn serializable(self) -> Self {
            self.with_range("serializable", |range| range.serializable = true)
        }

        /// Leaves out the values.
        pub fn keys_only(self) -> Self {
            self.with_range("keys_only", |range| range.keys_only = true)
        }

        /// Only counts.
        pub fn count_only(self) -> Self {
            self.with_range("count_only", |range| range.count_only = true)
        }

        /// Sorts by `target`; the limit is applied after sorting.
        pub fn sort_by(self, target: crate::SortTarget, order: crate::SortOrder) -> Self {
            self.with_range("sort_by", |range| {
                range.set_sort_target(target);
                range.set_sort_order(order);
            })
        }

        /// Only pairs last changed at `revision` or later.
        pub fn min_mod_revision(self, revision: i64) -> Self {
            self.with_range("min_mod_revision", |range| {
                range.min_mod_revision = revision
            })
        }

        /// Only pairs last changed at `revision` or earlier.
        pub fn max_mod_revision(self, revision: i64) -> Self {
            self.with_range("max_mod_revision", |range| {
                range.max_mod_revision = revision
            })
        }

        /// Only pairs created at `revision` or later.
        pub fn min_create_revision(self, revision: i64) -> Self {
            self.with_range("min_create_revision", |range| {
                range.min_create_revision = revision
            })
        }

        /// Only pairs created at `revision` or earlier.
        pub fn max_create_revision(self, revision: i64) -> Self {
            self.with_range("max_create_revision", |range| {
                range.max_create_revision = revision
            })
        }
    };
}

/// The options that say which keys are meant, as methods of a type with `with_span`.
macro_rules! span_options {
    () => {
        /// All keys that start with the key; the empty key then means every key.
        pub fn prefix(self) -> Self {
            self.with_span("prefix", |key, end| {
                (*key, *end) = crate::span::prefix_span(std::mem::take(key));
            })
        }

        /// All keys from the key up to `end`, without `end`.
        pub fn range_end(self, end: impl IntoBytes) -> Self {
            self.with_span("range_end", |_, range_end| *range_end = end.into_bytes())
        }

        /// All keys from the key on.
        pub fn from_key(self) -> Self {
            self.with_span("from_key", |key, end| {
                if key.is_empty() {
                    *key = Bytes::from_static(crate::span::OPEN_END);
                }
                *end = Bytes::from_static(crate::span::OPEN_END);
            })
        }
    };
}

/// The options of a put, as methods of a type with `with_put`.
macro_rules! put_options {
    () => {
        /// Attaches the key to lease `id`; without it (or with 0) the key leaves its lease.
        pub fn lease(self, id: i64) -> Self {
            self.with_put("lease", |put| put.lease = id)
        }

        /// Keeps the key's value; the key must exist and the given value be empty.
        pub fn ignore_value(self) -> Self {
            self.with_put("ignore_value", |put| put.ignore_value = true)
        }

        /// Keeps the key's lease; the key must exist.
        pub fn ignore_lease(self) -> Self {
            self.with_put("ignore_lease", |put| put.ignore_lease = true)
        }
    };
}

pub(crate) use {put_options, range_options, span_options};

/// One operation of a transaction.
///
/// An option that does not belong to the operation (a lease on a read) makes the transaction fail
/// before it is sent.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "an operation does nothing until it is given to a transaction"]
pub struct Op {
    pub(crate) request: Request,
    pub(crate) misuse: Option<&'static str>,
}

impl Op {
    /// Reads `key`; more with [`prefix`](Self::prefix) and the like.
    pub fn range(key: impl IntoBytes) -> Self {
        let range = RangeRequest {
            key: key.into_bytes(),
            ..Default::default()
        };
        Self::new(Request::RequestRange(range))
    }

    /// Reads `key`: another name for [`range`](Self::range).
    pub fn get(key: impl IntoBytes) -> Self {
        Self::range(key)
    }

    /// Puts `value` at `key`.
    pub fn put(key: impl IntoBytes, value: impl IntoBytes) -> Self {
        Self::new(Request::RequestPut(PutRequest {
            key: key.into_bytes(),
            value: value.into_bytes(),
            ..Default::default()
        }))
    }

    /// Deletes `key`; more with [`prefix`](Self::prefix) and the like.
    pub fn delete(key: impl IntoBytes) -> Self {
        let delete = DeleteRangeRequest {
            key: key.into_bytes(),
            ..Default::default()
        };
        Self::new(Request::RequestDeleteRange(delete))
    }

    /// A transaction within the transaction. Its compares see the state before the outer one.
    pub fn txn(
        when: impl IntoIterator<Item = Compare>,
        then: impl IntoIterator<Item = Op>,
        otherwise: impl IntoIterator<Item = Op>,
    ) -> Self {
        let mut misuse = None;
        let mut requests = |ops: Vec<Op>| -> Vec<RequestOp> {
            ops.into_iter()
                .map(|op| {
                    misuse = misuse.or(op.misuse);
                    RequestOp {
                        request: Some(op.request),
                    }
                })
                .collect()
        };
        let request = TxnRequest {
            compare: when.into_iter().map(|Compare(compare)| compare).collect(),
            success: requests(then.into_iter().collect()),
            failure: requests(otherwise.into_iter().collect()),
        };
        Self {
            request: Request::RequestTxn(request),
            misuse,
        }
    }

    span_options!();
    range_options!();
    put_options!();

    /// Returns the pair, or the deleted pairs, as they were before (puts and deletes).
    pub fn prev_kv(mut self) -> Self {
        match &mut self.request {
            Request::RequestPut(put) => put.prev_kv = true,
            Request::RequestDeleteRange(delete) => delete.prev_kv = true,
            _ => self.misuse = Some("prev_kv"),
        }
        self
    }

    fn new(request: Request) -> Self {
        Self {
            request,
            misuse: None,
        }
    }

    fn with_span(mut self, option: &'static str, set: impl FnOnce(&mut Bytes, &mut Bytes)) -> Self {
        match &mut self.request {
            Request::RequestRange(range) => set(&mut range.key, &mut range.range_end),
            Request::RequestDeleteRange(delete) => set(&mut delete.key, &mut delete.range_end),
            _ => self.misuse = Some(option),
        }
        self
    }

    fn with_range(mut self, option: &'static str, set: impl FnOnce(&mut RangeRequest)) -> Self {
        match &mut self.request {
            Request::RequestRange(range) => set(range),
            _ => self.misuse = Some(option),
        }
        self
    }

    fn with_put(mut self, option: &'static str, set: impl FnOnce(&mut PutRequest)) -> Self {
        match &mut self.request {
            Request::RequestPut(put) => set(put),
            _ => self.misuse = Some(option),
        }
        self
    }
}

/// Refuses an empty key here: in a namespace the server would take it for the bare prefix.
pub(crate) fn check_key(operation: &'static str, key: &Bytes) -> Result<(), Error> {
    if key.is_empty() {
        let message = "the key is empty; for all keys use prefix() or from_key()";
        return Err(Error::local(crate::ErrorKind::EmptyKey, operation, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span;

    #[test]
    fn an_option_of_another_operation_is_noted() {
        assert_eq!(Op::get("k").lease(1).misuse, Some("lease"));
        assert_eq!(Op::put("k", "v").limit(1).misuse, Some("limit"));
        assert_eq!(Op::put("k", "v").prefix().misuse, Some("prefix"));
        assert_eq!(
            Op::txn([], [Op::delete("k").lease(1)], []).misuse,
            Some("lease")
        );
        assert_eq!(Op::delete("k").prefix().prev_kv().misuse, None);
    }

    #[test]
    fn the_empty_prefix_means_every_key() {
        let Request::RequestRange(range) = Op::range("").prefix().request else {
            panic!()
        };
        assert_eq!((&*range.key, &*range.range_end), (&b"\0"[..], &b"\0"[..]));
        assert_eq!(span::prefix_end(b"a"), &b"b"[..]);
    }
}
