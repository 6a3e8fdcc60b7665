//! Log records on their way to Python's `logging`.
//!
//! Owns the levels' numbers. The channel and its thread are `handfast_bindings`'; which logger
//! takes a record is decided in `handfast/_logs.py`.

use handfast_bindings::logs;
use pyo3::{exceptions::PyRuntimeError, prelude::*};
use tracing::Level;

use crate::errors::{Given, duration};

/// As Python counts them; 5 is less than DEBUG, which is 10.
fn level(number: i32) -> Option<Level> {
    match number {
        ..10 => Some(Level::TRACE),
        10..20 => Some(Level::DEBUG),
        20..30 => Some(Level::INFO),
        30..40 => Some(Level::WARN),
        40..=50 => Some(Level::ERROR),
        _ => None,
    }
}

fn number(level: Level) -> i32 {
    match level {
        Level::TRACE => 5,
        Level::DEBUG => 10,
        Level::INFO => 20,
        Level::WARN => 30,
        Level::ERROR => 40,
    }
}

/// Calls `sink` with (level, logger, text, seconds since 1970) of each record from now on, on a
/// thread of the module; `threshold` is Python's number of the least level.
#[pyfunction]
pub(crate) fn forward_logs(py: Python<'_>, threshold: i32, sink: Py<PyAny>) -> PyResult<()> {
    let Some(threshold) = level(threshold) else {
        // Waits for a record that is being handed over, which waits for the interpreter.
        py.detach(logs::remove);
        return Ok(());
    };
    let forward = move |record: logs::Record| {
        Python::attach(|py| {
            #[allow(clippy::cast_precision_loss, reason = "exact until the year 287396")]
            let seconds = record.unix_ms as f64 / 1000.0;
            let shown = (number(record.level), record.target, record.message, seconds);
            if let Err(error) = sink.call1(py, shown) {
                error.write_unraisable(py, None);
            }
        });
        true
    };
    py.detach(|| logs::install(threshold, Box::new(forward)))
        .map_err(|error| PyRuntimeError::new_err(format!("no thread for handfast: {error}")))?;
    Ok(())
}

/// Waits until the records made so far were handed over; whether they were, within `timeout`.
#[pyfunction]
pub(crate) fn flush_logs(py: Python<'_>, timeout: Given) -> PyResult<bool> {
    let limit = duration(py, "timeout", &timeout)?;
    Ok(py.detach(|| logs::flush(limit)))
}

/// Ends the forwarding; nothing of it uses the interpreter afterwards.
pub(crate) fn stop(py: Python<'_>) {
    py.detach(logs::remove);
}
