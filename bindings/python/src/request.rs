//! Conditions and operations of transactions, as Python gives them.
//!
//! Owns the shapes, which `handfast/_txn.py` makes and must agree with.

use bytes::Bytes;
use handfast::core::{Compare, Op};
use handfast_bindings::request;
use pyo3::{prelude::*, pybacked::PyBackedBytes};

use crate::errors::Failure;

/// What a condition compares with.
#[derive(FromPyObject)]
pub(crate) enum Operand {
    Number(i64),
    Value(PyBackedBytes),
}

/// Target, key, operator, operand, whether the key is a prefix.
pub(crate) type RawCompare = (String, PyBackedBytes, String, Operand, bool);

/// Kind, key, value, lease, whether the key is a prefix, whether to give the pair as it was
/// before, limit.
pub(crate) type RawOp = (String, PyBackedBytes, PyBackedBytes, i64, bool, bool, i64);

/// A transaction's three lists.
pub(crate) struct Request {
    pub(crate) when: Vec<Compare>,
    pub(crate) then: Vec<Op>,
    pub(crate) otherwise: Vec<Op>,
}

impl Request {
    pub(crate) fn read(
        when: Vec<RawCompare>,
        then: Vec<RawOp>,
        otherwise: Vec<RawOp>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            when: when.into_iter().map(compare).collect::<Result<_, _>>()?,
            then: ops(then)?,
            otherwise: ops(otherwise)?,
        })
    }
}

fn compare(raw: RawCompare) -> Result<Compare, Failure> {
    let (target, key, operator, operand, prefix) = raw;
    let bytes = |given: &PyBackedBytes| Bytes::copy_from_slice(given);
    let operand = match operand {
        Operand::Number(number) => request::Operand::Number(number),
        Operand::Value(value) => request::Operand::Value(bytes(&value)),
    };
    request::compare(&target, bytes(&key), prefix, &operator, operand)
}

/// Operations that stand alone.
pub(crate) fn ops(raw: Vec<RawOp>) -> Result<Vec<Op>, Failure> {
    raw.into_iter().map(op).collect()
}

fn op(raw: RawOp) -> Result<Op, Failure> {
    let (kind, key, value, lease, prefix, prev_kv, limit) = raw;
    let mut op = match kind.as_str() {
        "get" => Op::get(&key[..]).limit(limit),
        "put" => Op::put(&key[..], &value[..]).lease(lease),
        "delete" => Op::delete(&key[..]),
        _ => {
            return Err(Failure::invalid(
                "operation",
                format!("{kind:?} is not known"),
            ));
        }
    };
    if prefix {
        op = op.prefix();
    }
    if prev_kv {
        op = op.prev_kv();
    }
    Ok(op)
}
