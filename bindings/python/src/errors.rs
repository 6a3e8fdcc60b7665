//! Errors on their way to Python.
//!
//! Owns the step from a failure, which needs no interpreter, to an exception. The exception
//! classes are Python's (`handfast/errors.py`).

use std::time::Duration;

pub(crate) use handfast_bindings::{Detail, Failure};
use pyo3::{IntoPyObjectExt, prelude::*, types::PyDict};

use crate::convert;

/// Makes the Python exception.
pub(crate) trait IntoException {
    fn into_exception(self, py: Python<'_>) -> PyErr;
}

impl IntoException for Failure {
    fn into_exception(self, py: Python<'_>) -> PyErr {
        exception(py, self).unwrap_or_else(|error| error)
    }
}

fn exception(py: Python<'_>, failure: Failure) -> PyResult<PyErr> {
    let (code, message, retryable, known) = failure.into_parts();
    let details = PyDict::new(py);
    for (name, detail) in known {
        let value = match detail {
            Detail::Text(text) => text.into_py_any(py)?,
            Detail::Number(number) => number.into_py_any(py)?,
            Detail::Span(span) => span.as_secs_f64().into_py_any(py)?,
            Detail::Flag(flag) => flag.into_py_any(py)?,
            Detail::Holder(member) => convert::member(py, &member)?,
            // One that this layer does not know yet is still in the message.
            _ => continue,
        };
        details.set_item(name, value)?;
    }
    let make = py.import("handfast.errors")?.getattr("from_native")?;
    let exception = make.call1((code, message, retryable, details))?;
    Ok(PyErr::from_value(exception))
}

/// Turns the result of a Rust call into what a Python method returns.
pub(crate) fn raise<T>(py: Python<'_>, result: Result<T, impl Into<Failure>>) -> PyResult<T> {
    result.map_err(|error| error.into().into_exception(py))
}

/// A time span given in seconds, as Python programs do.
pub(crate) fn duration(argument: &'static str, seconds: f64) -> Result<Duration, Failure> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| Failure::invalid(argument, format!("{seconds} is not a number of seconds")))
}

/// The same, if one was given.
pub(crate) fn optional_duration(
    argument: &'static str,
    seconds: Option<f64>,
) -> Result<Option<Duration>, Failure> {
    seconds
        .map(|seconds| duration(argument, seconds))
        .transpose()
}
