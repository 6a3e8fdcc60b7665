//! Python code that Rust needs an answer from, on a thread of the runtime.
//!
//! Owns the gate that keeps such calls away from an interpreter that ends. Knows nothing of what
//! is called.

use std::time::Duration;

use parking_lot::RwLock;
use pyo3::prelude::*;

/// How long the end of the interpreter waits for a call that is under way.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the interpreter has ended, or is about to.
static ENDED: RwLock<bool> = RwLock::new(false);

/// Calls into Python from a task; the other tasks of this thread go on elsewhere meanwhile.
///
/// An exception becomes its text.
pub(crate) fn ask<T>(call: impl for<'py> FnOnce(Python<'py>) -> PyResult<T>) -> Result<T, String> {
    tokio::task::block_in_place(|| {
        let ended = ENDED.read();
        if *ended {
            return Err("the interpreter is ending".to_owned());
        }
        Python::attach(|py| call(py).map_err(|error| told(py, &error)))
    })
}

/// The exception as a line of a traceback shows it.
fn told(py: Python<'_>, error: &PyErr) -> String {
    let kind = error.get_type(py);
    let name = kind
        .name()
        .map_or_else(|_| "error".to_owned(), |name| name.to_string());
    format!("{name}: {}", error.value(py))
}

/// Lets no call into Python begin any more, and waits for one that is under way.
pub(crate) fn stop(py: Python<'_>) {
    py.detach(|| {
        // In a child of a process that forked during a call, that call never ends.
        if let Some(mut ended) = ENDED.try_write_for(PATIENCE) {
            *ended = true;
        }
    });
}
