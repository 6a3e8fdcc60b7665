//! Conditions and operations of transactions, as Python gives them.
//!
//! Owns the shapes, which `handfast/_txn.py` makes and must agree with.

use handfast::core::{Compare, Op};
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

fn compare((target, key, operator, operand, prefix): RawCompare) -> Result<Compare, Failure> {
    let key = &key[..];
    macro_rules! finish {
        ($target:expr, $operand:expr) => {{
            let target = if prefix { $target.prefix() } else { $target };
            Ok(match operator.as_str() {
                "==" => target.eq($operand),
                "!=" => target.ne($operand),
                ">" => target.gt($operand),
                "<" => target.lt($operand),
                _ => {
                    let problem = format!("{operator:?} is none of ==, !=, <, >");
                    return Err(Failure::invalid("operator", problem));
                }
            })
        }};
    }
    match (target.as_str(), operand) {
        ("create_revision", Operand::Number(to)) => finish!(Compare::create_revision(key), to),
        ("mod_revision", Operand::Number(to)) => finish!(Compare::mod_revision(key), to),
        ("version", Operand::Number(to)) => finish!(Compare::version(key), to),
        ("lease", Operand::Number(to)) => finish!(Compare::lease(key), to),
        ("value", Operand::Value(to)) => finish!(Compare::value(key), &to[..]),
        _ => {
            let problem = format!("a comparison of {target} with a value of this type");
            Err(Failure::invalid("when", problem))
        }
    }
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
