//! Conditions and operations of transactions, as TypeScript gives them.
//!
//! Owns the shapes, which `lib/txn.ts` makes and must agree with.

use handfast::core::{Compare, Op};
use handfast_bindings::{
    Failure,
    request::{Operand, compare},
};
use napi::bindgen_prelude::{Buffer, Either};
use napi_derive::napi;

use crate::options;

#[napi(object)]
pub struct NativeCompare {
    pub target: String,
    pub key: Buffer,
    pub operator: String,
    pub operand: Either<f64, Buffer>,
    pub prefix: bool,
}

#[napi(object)]
pub struct NativeOp {
    pub kind: String,
    pub key: Buffer,
    pub value: Option<Buffer>,
    pub lease: Option<String>,
    pub prefix: Option<bool>,
    pub previous: Option<bool>,
    pub limit: Option<i64>,
}

#[napi(object)]
pub struct NativeRequest {
    pub when: Vec<NativeCompare>,
    pub then: Vec<NativeOp>,
    pub otherwise: Vec<NativeOp>,
}

/// A transaction's three lists.
pub(crate) struct Request {
    pub(crate) when: Vec<Compare>,
    pub(crate) then: Vec<Op>,
    pub(crate) otherwise: Vec<Op>,
}

impl NativeRequest {
    pub(crate) fn read(self) -> Result<Request, Failure> {
        Ok(Request {
            when: self.when.iter().map(condition).collect::<Result<_, _>>()?,
            then: self.then.iter().map(op).collect::<Result<_, _>>()?,
            otherwise: self.otherwise.iter().map(op).collect::<Result<_, _>>()?,
        })
    }
}

fn condition(raw: &NativeCompare) -> Result<Compare, Failure> {
    let operand = match &raw.operand {
        Either::A(number) => Operand::Number(integer(*number)?),
        Either::B(text) if raw.target == "lease" => {
            let text = std::str::from_utf8(text).unwrap_or("?");
            Operand::Number(options::lease(text)?)
        }
        Either::B(value) => Operand::Value(options::bytes(value)),
    };
    let key = options::bytes(&raw.key);
    compare(&raw.target, key, raw.prefix, &raw.operator, operand)
}

fn integer(number: f64) -> Result<i64, Failure> {
    const LIMIT: f64 = 9_007_199_254_740_992.0;
    if number.fract() != 0.0 || number.abs() >= LIMIT {
        return Err(Failure::invalid(
            "when",
            format!("{number} is not a whole number"),
        ));
    }
    Ok(number as i64)
}

pub(crate) fn op(raw: &NativeOp) -> Result<Op, Failure> {
    let key = options::bytes(&raw.key);
    let mut op = match raw.kind.as_str() {
        "get" => Op::get(key).limit(raw.limit.unwrap_or(0)),
        "put" => {
            let value = raw.value.as_ref().map(options::bytes).unwrap_or_default();
            let lease = options::lease(raw.lease.as_deref().unwrap_or_default())?;
            Op::put(key, value).lease(lease)
        }
        "delete" => Op::delete(key),
        kind => {
            let problem = format!("{kind:?} is not known");
            return Err(Failure::invalid("operation", problem));
        }
    };
    if raw.prefix == Some(true) {
        op = op.prefix();
    }
    if raw.previous == Some(true) {
        op = op.prev_kv();
    }
    Ok(op)
}
