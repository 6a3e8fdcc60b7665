//! Errors on their way to Python.
//!
//! Owns the step from a failure, which needs no interpreter, to an exception. The exception
//! classes are Python's (`handfast/errors.py`).

use std::time::Duration;

pub(crate) use handfast_bindings::{Detail, Failure};
use pyo3::{
    IntoPyObjectExt,
    exceptions::PyTypeError,
    prelude::*,
    types::{PyBool, PyDict},
};

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

/// What a program gave for an argument; it is looked at where the argument's name is known.
pub(crate) type Given = Py<PyAny>;

/// A time span in seconds, as Python programs give it.
pub(crate) fn duration(
    py: Python<'_>,
    argument: &'static str,
    given: &Given,
) -> PyResult<Duration> {
    let (given, expected) = (given.bind(py), "seconds as int or float");
    let seconds: f64 = number(argument, given, expected, |it| it.extract())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| out_of_range(argument, given))
}

/// The same, if one was given.
pub(crate) fn optional_duration(
    py: Python<'_>,
    argument: &'static str,
    given: Option<&Given>,
) -> PyResult<Option<Duration>> {
    given.map(|it| duration(py, argument, it)).transpose()
}

/// A time span in whole seconds, as servers count it.
pub(crate) fn whole_seconds(
    py: Python<'_>,
    argument: &'static str,
    given: &Given,
) -> PyResult<i64> {
    let (given, expected) = (given.bind(py), "whole seconds as int");
    match number(argument, given, expected, |it| it.extract())? {
        seconds @ 0.. => Ok(seconds),
        _ => Err(out_of_range(argument, given)),
    }
}

fn number<'py, T>(
    argument: &'static str,
    given: &Bound<'py, PyAny>,
    expected: &str,
    extract: impl FnOnce(&Bound<'py, PyAny>) -> PyResult<T>,
) -> PyResult<T> {
    let py = given.py();
    let wrong = || {
        let kind = given.get_type().name()?;
        let problem = format!("{argument} is {expected}, not {kind}: {given:?}");
        Err(PyTypeError::new_err(problem))
    };
    // To Python it is a number, but nobody means it as one.
    if given.is_instance_of::<PyBool>() {
        return wrong();
    }
    extract(given).or_else(|error| match error.is_instance_of::<PyTypeError>(py) {
        true => wrong(),
        false => Err(Failure::invalid(argument, error.value(py)).into_exception(py)),
    })
}

fn out_of_range(argument: &'static str, given: &Bound<'_, PyAny>) -> PyErr {
    let problem = format!("{given:?} is not a number of seconds from 0 on");
    Failure::invalid(argument, problem).into_exception(given.py())
}
