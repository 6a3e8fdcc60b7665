//! Requests of clients, their answers, and what is known of them.
//!
//! Owns the form of an operation. What it does to a store is the model's business.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{KeyRange, Kv, Nanos};
use crate::text;

/// A read, sorted by key. Other orders, filters, and answers without values are not modelled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Get {
    /// The keys.
    pub range: KeyRange,
    /// At most so many pairs, in the order of their keys; 0 for all.
    #[serde(default)]
    pub limit: i64,
    /// The revision that was asked for; 0 for the present. Not in a transaction.
    #[serde(default)]
    pub revision: i64,
    /// Whether it may be answered from the past. Not in a transaction.
    #[serde(default)]
    pub serializable: bool,
}

/// A write of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Put {
    /// The key.
    #[serde(with = "text")]
    pub key: Bytes,
    /// The value. A checker tells writes apart by it, so make each value different.
    #[serde(with = "text")]
    pub value: Bytes,
    /// The lease to hang it on; 0 for none.
    #[serde(default)]
    pub lease: i64,
    /// Whether the answer must hold the pair before.
    #[serde(default)]
    pub prev_kv: bool,
}

/// A removal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Delete {
    /// The keys.
    pub range: KeyRange,
    /// Whether the answer must hold the pairs before.
    #[serde(default)]
    pub prev_kv: bool,
}

/// A transaction: one of two lists of operations, all at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Txn {
    /// All must hold for `then` to run.
    pub compares: Vec<Compare>,
    /// What to do if they hold.
    pub then: Vec<TxnOp>,
    /// What to do if not.
    #[serde(default)]
    pub otherwise: Vec<TxnOp>,
}

/// An operation in a transaction. Transactions in transactions are not modelled.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TxnOp {
    /// A read.
    Get(Get),
    /// A write.
    Put(Put),
    /// A removal.
    Delete(Delete),
}

/// A condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Compare {
    /// The keys; each there is must fulfil it.
    pub range: KeyRange,
    /// What the pair's side of the comparison must be.
    pub result: CompareResult,
    /// What is compared, with what.
    pub target: Target,
}

/// How the stored side must stand to the given one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum CompareResult {
    Equal,
    NotEqual,
    Greater,
    Less,
}

/// What of a pair is compared, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Target {
    Version(i64),
    CreateRevision(i64),
    ModRevision(i64),
    Lease(i64),
    Value(#[serde(with = "text")] Bytes),
}

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// A read.
    Get(Get),
    /// A write.
    Put(Put),
    /// A removal.
    Delete(Delete),
    /// A transaction.
    Txn(Txn),
    /// The end of a lease, with all keys that hang on it.
    Revoke {
        /// The lease.
        lease: i64,
    },
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// To a read.
    Get {
        /// The pairs, in the order of their keys.
        kvs: Vec<Kv>,
        /// How many keys there are, whatever the limit; `None` if not noted.
        #[serde(default)]
        count: Option<i64>,
    },
    /// To a write.
    Put {
        /// The pair before, if it was asked for.
        #[serde(default)]
        prev_kv: Option<Kv>,
    },
    /// To a removal.
    Delete {
        /// How many keys there were.
        deleted: i64,
        /// The pairs before, if they were asked for.
        #[serde(default)]
        prev_kvs: Vec<Kv>,
    },
    /// To a transaction.
    Txn {
        /// Whether the compares held.
        succeeded: bool,
        /// One for each operation of the list that ran.
        responses: Vec<Response>,
    },
    /// To the end of a lease.
    Revoke,
}

/// What the client knows of its request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was answered.
    Ok {
        /// The revision in the answer's header; 0 if not noted.
        revision: i64,
        /// The answer.
        response: Response,
    },
    /// It was refused for certain: it had no effect and never will.
    Failed {
        /// The error.
        why: String,
    },
    /// Nobody told. It may have taken effect, may do so later, or never; but not twice.
    Unknown {
        /// The error, such as a time-out.
        why: String,
    },
}

/// A request with what became of it. Two operations of which one returned at the very moment at
/// which the other was invoked count as simultaneous; a [`crate::Recorder`] has no such moments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Who asked. Only for messages: a client may have many requests under way.
    pub client: u32,
    /// When the request was made: no effect before.
    pub invoked: Nanos,
    /// When the answer was had: an effect it confirms was not later. `None`: never.
    #[serde(default)]
    pub returned: Option<Nanos>,
    /// What was asked.
    pub request: Request,
    /// What became of it.
    pub outcome: Outcome,
}

impl Request {
    /// A linearizable read of one key.
    pub fn get(key: impl Into<Bytes>) -> Self {
        Self::Get(Get {
            range: KeyRange::key(key),
            ..Get::default()
        })
    }

    /// A write without a lease.
    pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self::Put(Put::new(key, value))
    }

    /// A removal of one key.
    pub fn delete(key: impl Into<Bytes>) -> Self {
        Self::Delete(Delete {
            range: KeyRange::key(key),
            prev_kv: false,
        })
    }

    /// Whether it can only read, whatever the state.
    #[must_use]
    pub fn is_read(&self) -> bool {
        match self {
            Self::Get(_) => true,
            Self::Txn(txn) => {
                let ops = txn.then.iter().chain(&txn.otherwise);
                ops.into_iter().all(|op| matches!(op, TxnOp::Get(_)))
            }
            Self::Put(_) | Self::Delete(_) | Self::Revoke { .. } => false,
        }
    }

    /// All keys it reads, compares or writes; of a revocation nobody knows.
    #[must_use]
    pub fn ranges(&self) -> Vec<KeyRange> {
        match self {
            Self::Get(get) => vec![get.range.clone()],
            Self::Put(put) => vec![KeyRange::key(put.key.clone())],
            Self::Delete(delete) => vec![delete.range.clone()],
            Self::Txn(txn) => {
                let compares = txn.compares.iter().map(|compare| compare.range.clone());
                let ops = txn.then.iter().chain(&txn.otherwise).map(TxnOp::range);
                compares.chain(ops).collect()
            }
            Self::Revoke { .. } => Vec::new(),
        }
    }
}

impl Put {
    /// A write without a lease.
    pub fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            ..Self::default()
        }
    }
}

impl TxnOp {
    /// The keys it touches.
    #[must_use]
    pub fn range(&self) -> KeyRange {
        match self {
            Self::Get(get) => get.range.clone(),
            Self::Put(put) => KeyRange::key(put.key.clone()),
            Self::Delete(delete) => delete.range.clone(),
        }
    }
}

impl Response {
    /// Whether it says that something was written, which makes a new revision.
    #[must_use]
    pub fn has_written(&self) -> Option<bool> {
        match self {
            Self::Get { .. } => Some(false),
            Self::Put { .. } => Some(true),
            Self::Delete { deleted, .. } => Some(*deleted > 0),
            Self::Txn { responses, .. } => {
                Some(responses.iter().any(|one| one.has_written() == Some(true)))
            }
            Self::Revoke => None,
        }
    }
}
