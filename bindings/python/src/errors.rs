//! Errors on their way to Python.
//!
//! Owns what is known of a failure while no interpreter is attached, and the codes that only this
//! layer adds. The exception classes are Python's (`handfast/errors.py`).

use std::time::Duration;

use handfast::core::ErrorKind;
use pyo3::{IntoPyObjectExt, prelude::*, types::PyDict};

use crate::convert;

/// One thing an error's message speaks of, for programs.
#[derive(Debug)]
pub(crate) enum Detail {
    Text(String),
    Number(i64),
    Seconds(f64),
    Flag(bool),
    Holder(Box<handfast::Member>),
}

/// An error that is not a Python exception yet.
#[derive(Debug)]
pub(crate) struct Failure {
    code: &'static str,
    message: String,
    retryable: bool,
    details: Vec<(&'static str, Detail)>,
}

impl Failure {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retryable: false,
            details: Vec::new(),
        }
    }

    pub(crate) fn closed(what: &str) -> Self {
        Self::new("CLOSED", format!("the {what} is closed"))
    }

    pub(crate) fn invalid(argument: &'static str, problem: impl std::fmt::Display) -> Self {
        Self::new("INVALID_ARGUMENT", format!("{argument}: {problem}"))
            .with("argument", Detail::Text(argument.to_owned()))
    }

    /// The time a caller allowed has passed; nothing went wrong.
    pub(crate) fn timeout(what: &str, after: Duration) -> Self {
        let mut failure = Self::new("TIMEOUT", format!("{what} within {after:?}"))
            .with("after", Detail::Seconds(after.as_secs_f64()));
        failure.retryable = true;
        failure
    }

    pub(crate) fn compacted(compact_revision: i64) -> Self {
        let message = format!(
            "the changes asked for are compacted away (oldest revision left: {compact_revision}); \
             read the state anew and watch from there"
        );
        Self::new("COMPACTED", message).with("compact_revision", Detail::Number(compact_revision))
    }

    pub(crate) fn with(mut self, name: &'static str, detail: Detail) -> Self {
        self.details.push((name, detail));
        self
    }

    /// The Python exception.
    pub(crate) fn into_exception(self, py: Python<'_>) -> PyErr {
        self.try_into_exception(py).unwrap_or_else(|error| error)
    }

    fn try_into_exception(self, py: Python<'_>) -> PyResult<PyErr> {
        let details = PyDict::new(py);
        for (name, detail) in self.details {
            let value = match detail {
                Detail::Text(text) => text.into_py_any(py)?,
                Detail::Number(number) => number.into_py_any(py)?,
                Detail::Seconds(seconds) => seconds.into_py_any(py)?,
                Detail::Flag(flag) => flag.into_py_any(py)?,
                Detail::Holder(member) => convert::member(py, &member)?,
            };
            details.set_item(name, value)?;
        }
        let make = py.import("handfast.errors")?.getattr("from_native")?;
        let exception = make.call1((self.code, self.message, self.retryable, details))?;
        Ok(PyErr::from_value(exception))
    }
}

impl From<handfast::core::Error> for Failure {
    fn from(error: handfast::core::Error) -> Self {
        handfast::Error::from(error).into()
    }
}

impl From<handfast::Error> for Failure {
    fn from(error: handfast::Error) -> Self {
        use handfast::Error;
        let mut failure = Failure::new(error.code(), error.to_string());
        failure.retryable = error.is_retryable();
        match error {
            Error::Timeout {
                kind,
                name,
                waited,
                holder,
                position,
            } => {
                failure = failure.about(kind, name);
                failure = failure.with("after", Detail::Seconds(waited.as_secs_f64()));
                if let Some(holder) = holder {
                    failure = failure.with("holder", Detail::Holder(holder));
                }
                if let Some(position) = position.and_then(|position| position.try_into().ok()) {
                    failure = failure.with("position", Detail::Number(position));
                }
                failure
            }
            Error::Lost { kind, name, reason } | Error::SessionLost { kind, name, reason } => {
                failure
                    .about(kind, name)
                    .with("reason", Detail::Text(reason.code().to_owned()))
            }
            Error::KindConflict {
                name,
                wanted,
                found,
            } => failure
                .about(wanted, name)
                .with("found", Detail::Text(found.to_string())),
            Error::InvalidArgument { argument, .. } => {
                failure.with("argument", Detail::Text(argument.to_owned()))
            }
            Error::Client(error) => failure.of_call(&error),
            _ => failure,
        }
    }
}

impl Failure {
    fn about(self, kind: handfast::Kind, name: String) -> Self {
        self.with("recipe", Detail::Text(kind.to_string()))
            .with("name", Detail::Text(name))
    }

    fn of_call(mut self, error: &handfast::core::Error) -> Self {
        if error.kind() == ErrorKind::Compacted {
            self.code = "COMPACTED";
        }
        if let Some(endpoint) = error.endpoint() {
            self = self.with("endpoint", Detail::Text(endpoint.to_owned()));
        }
        self.with("operation", Detail::Text(error.operation().to_owned()))
            .with(
                "kind",
                Detail::Text(snake_case(&format!("{:?}", error.kind()))),
            )
            .with("in_doubt", Detail::Flag(error.in_doubt()))
    }
}

impl From<handfast_server::Error> for Failure {
    fn from(error: handfast_server::Error) -> Self {
        use handfast_server::Error;
        let code = match error {
            Error::Config(_) | Error::Address { .. } => "INVALID_ARGUMENT",
            _ => "INTERNAL",
        };
        Self::new(code, error.to_string())
    }
}

fn snake_case(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// A time span given in seconds, as Python programs do.
pub(crate) fn duration(argument: &'static str, seconds: f64) -> Result<Duration, Failure> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| Failure::invalid(argument, format!("{seconds} is not a number of seconds")))
}
