//! A lease that is kept alive.
//!
//! Owns the class. Renewing it is `handfast_bindings`'.

use handfast_bindings::lease::Kept;
use pyo3::prelude::*;

use crate::{bridge, call::Call, convert::ToPython, rt::Local};

impl ToPython for Kept {
    fn to_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(Py::new(py, Lease(Local::new(self)))?.into_any())
    }
}

/// A lease. It is renewed for as long as this object lives, if that was wanted.
#[pyclass(frozen, module = "handfast._native")]
pub(crate) struct Lease(Local<Kept>);

#[pymethods]
impl Lease {
    #[getter]
    fn id(&self) -> PyResult<i64> {
        Ok(self.0.get()?.id())
    }

    #[getter]
    fn ttl(&self) -> PyResult<i64> {
        Ok(self.0.get()?.ttl())
    }

    /// Stops the renewal; the lease then ends after its TTL.
    fn stop(&self) -> PyResult<()> {
        self.0.get()?.stop();
        Ok(())
    }

    /// Ends the lease and deletes its keys.
    fn revoke(&self) -> PyResult<Call> {
        Ok(Call::shielded(self.0.get()?.revoke()))
    }

    /// (seconds left, seconds granted, keys).
    fn time_to_live(&self) -> PyResult<Call> {
        Ok(Call::new(self.0.get()?.time_to_live()))
    }

    /// Calls `callback` with `None`, on a thread of the module, when the renewal found the lease
    /// gone. Never when it was stopped.
    fn on_lost(&self, callback: Py<PyAny>) -> PyResult<()> {
        bridge::notify(callback, self.0.get()?.lost())
    }
}
