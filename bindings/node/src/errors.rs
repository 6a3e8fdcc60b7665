//! Errors as values, of which TypeScript makes its classes (`lib/errors.ts`).
//!
//! Owns their shape.

use handfast_bindings::{Detail, Failure};
use napi::bindgen_prelude::Either4;
use napi_derive::napi;

use crate::values::NativeMember;

/// One thing the message speaks of. Time spans are in milliseconds.
#[napi(object)]
pub struct NativeDetail {
    pub name: String,
    pub value: Either4<String, f64, bool, NativeMember>,
}

/// Why a call failed.
#[napi(object)]
pub struct NativeError {
    /// Tells it from a value.
    pub is_handfast_failure: bool,
    pub code: String,
    pub message: String,
    pub retryable: bool,
    pub details: Vec<NativeDetail>,
}

impl From<Failure> for NativeError {
    fn from(failure: Failure) -> Self {
        let (code, message, retryable, details) = failure.into_parts();
        Self {
            is_handfast_failure: true,
            code: code.to_owned(),
            message,
            retryable,
            details: details.into_iter().filter_map(detail).collect(),
        }
    }
}

fn detail((name, detail): (&'static str, Detail)) -> Option<NativeDetail> {
    let value = match detail {
        Detail::Text(text) => Either4::A(text),
        // Revisions and positions are below 2^53.
        Detail::Number(number) => Either4::B(number as f64),
        Detail::Span(span) => Either4::B(span.as_secs_f64() * 1000.0),
        Detail::Flag(flag) => Either4::C(flag),
        Detail::Holder(member) => Either4::D(NativeMember::from(*member)),
        _ => return None,
    };
    Some(NativeDetail {
        name: name.to_owned(),
        value,
    })
}
