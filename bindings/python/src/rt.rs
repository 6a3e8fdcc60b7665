//! The runtime and what belongs to it, with the errors that Python sees.
//!
//! Owns nothing but the translation: the runtime is `handfast_bindings`'.

use handfast_bindings::runtime::{self, Forked};
use pyo3::{PyErr, PyResult, exceptions::PyRuntimeError};
use tokio::runtime::Handle;

/// The runtime of this process, made at the first call.
pub(crate) fn handle() -> PyResult<Handle> {
    runtime::handle()
        .map_err(|error| PyRuntimeError::new_err(format!("no threads for handfast: {error}")))
}

/// Something that lives on the runtime of the process that made it.
///
/// In a forked child it can neither be used nor dropped: it belongs to threads that are not there.
#[derive(Debug)]
pub(crate) struct Local<T>(runtime::Local<T>);

impl<T> Local<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(runtime::Local::new(value))
    }

    pub(crate) fn get(&self) -> PyResult<&T> {
        self.0.get().map_err(refused)
    }
}

fn refused(forked: Forked) -> PyErr {
    PyRuntimeError::new_err(forked.to_string())
}
