//! What the server answers to reads, puts, deletes, compactions and transactions.
//!
//! Owns these types and reading them off the wire, out of the namespace. Knows nothing of requests.

use bytes::Bytes;
use handfast_proto::etcdserverpb::{self as pb, ResponseOp, response_op::Response};

use crate::{Error, Header, KeyValue, namespace};

/// The answer to a read.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct RangeResponse {
    /// Who answered, and the store's revision when it did.
    pub header: Header,
    /// The pairs.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit cut pairs off.
    pub more: bool,
    /// How many keys are in the range; ignores limit and revision filters.
    pub count: i64,
}

/// The answer to a put.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct PutResponse {
    /// Who answered, and the revision of the put.
    pub header: Header,
    /// The pair as it was before, if asked for and there was one.
    pub prev_kv: Option<KeyValue>,
}

/// The answer to a delete.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct DeleteResponse {
    /// Who answered, and the store's revision after the delete.
    pub header: Header,
    /// How many keys were deleted.
    pub deleted: i64,
    /// The deleted pairs, if asked for, in key order.
    pub prev_kvs: Vec<KeyValue>,
}

/// The answer to a compaction.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct CompactResponse {
    /// Who answered, and the store's revision.
    pub header: Header,
}

impl RangeResponse {
    pub(crate) fn read(message: pb::RangeResponse, namespace: &Bytes) -> Self {
        Self {
            header: message.header.unwrap_or_default(),
            kvs: namespace::leave_pairs(namespace, message.kvs),
            more: message.more,
            count: message.count,
        }
    }
}

impl PutResponse {
    pub(crate) fn read(message: pb::PutResponse, namespace: &Bytes) -> Self {
        Self {
            header: message.header.unwrap_or_default(),
            prev_kv: message
                .prev_kv
                .map(|pair| namespace::leave_pair(namespace, pair)),
        }
    }
}

impl DeleteResponse {
    pub(crate) fn read(message: pb::DeleteRangeResponse, namespace: &Bytes) -> Self {
        Self {
            header: message.header.unwrap_or_default(),
            deleted: message.deleted,
            prev_kvs: namespace::leave_pairs(namespace, message.prev_kvs),
        }
    }
}

/// The answer to a transaction.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct TxnResponse {
    /// Who answered, and the store's revision after the transaction.
    pub header: Header,
    /// Whether all compares held, so that the first branch ran.
    pub succeeded: bool,
    /// The answers to the operations of the branch that ran, in order.
    pub responses: Vec<OpResponse>,
    /// Whether an earlier attempt of the same call may have been carried out, so that this answer
    /// may be that of a repetition. Only for calls that were said to be repeatable.
    pub repeated_in_doubt: bool,
}

impl TxnResponse {
    pub(crate) fn read(message: pb::TxnResponse, namespace: &Bytes) -> Result<Self, Error> {
        Ok(Self {
            header: message.header.unwrap_or_default(),
            succeeded: message.succeeded,
            responses: message
                .responses
                .into_iter()
                .map(|op| OpResponse::read(op, namespace))
                .collect::<Result<_, _>>()?,
            repeated_in_doubt: false,
        })
    }

    /// The answer to the read that is operation `index` of the branch that ran.
    ///
    /// # Errors
    /// [`Protocol`](crate::ErrorKind::Protocol) when that operation is not a read or does not
    /// exist.
    pub fn range(&self, index: usize) -> Result<&RangeResponse, Error> {
        self.responses
            .get(index)
            .and_then(OpResponse::as_range)
            .ok_or_else(|| {
                Error::protocol("txn", format!("operation {index} has no answer of a read"))
            })
    }

    /// The answer to the nested transaction that is operation `index` of the branch that ran.
    ///
    /// # Errors
    /// [`Protocol`](crate::ErrorKind::Protocol) when that operation is not a transaction or does
    /// not exist.
    pub fn nested(&self, index: usize) -> Result<&TxnResponse, Error> {
        self.responses
            .get(index)
            .and_then(OpResponse::as_txn)
            .ok_or_else(|| {
                let message = format!("operation {index} has no answer of a transaction");
                Error::protocol("txn", message)
            })
    }
}

/// The answer to one operation of a transaction.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum OpResponse {
    /// Of a read.
    Range(RangeResponse),
    /// Of a put.
    Put(PutResponse),
    /// Of a delete.
    Delete(DeleteResponse),
    /// Of a nested transaction.
    Txn(TxnResponse),
}

impl OpResponse {
    pub(crate) fn read(op: ResponseOp, namespace: &Bytes) -> Result<Self, Error> {
        Ok(match op.response {
            Some(Response::ResponseRange(range)) => {
                Self::Range(RangeResponse::read(range, namespace))
            }
            Some(Response::ResponsePut(put)) => Self::Put(PutResponse::read(put, namespace)),
            Some(Response::ResponseDeleteRange(delete)) => {
                Self::Delete(DeleteResponse::read(delete, namespace))
            }
            Some(Response::ResponseTxn(txn)) => Self::Txn(TxnResponse::read(txn, namespace)?),
            None => return Err(Error::protocol("txn", "an operation was left unanswered")),
        })
    }

    /// The answer to a read; `None` if it was another operation.
    #[must_use]
    pub fn as_range(&self) -> Option<&RangeResponse> {
        match self {
            Self::Range(range) => Some(range),
            _ => None,
        }
    }

    /// The answer to a put; `None` if it was another operation.
    #[must_use]
    pub fn as_put(&self) -> Option<&PutResponse> {
        match self {
            Self::Put(put) => Some(put),
            _ => None,
        }
    }

    /// The answer to a delete; `None` if it was another operation.
    #[must_use]
    pub fn as_delete(&self) -> Option<&DeleteResponse> {
        match self {
            Self::Delete(delete) => Some(delete),
            _ => None,
        }
    }

    /// The answer to a nested transaction; `None` if it was another operation.
    #[must_use]
    pub fn as_txn(&self) -> Option<&TxnResponse> {
        match self {
            Self::Txn(txn) => Some(txn),
            _ => None,
        }
    }
}
