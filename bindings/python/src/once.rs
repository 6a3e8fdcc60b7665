//! Work that is done once, by Python code.
//!
//! Owns the classes. The way of the work to whoever called, and of its result back, is
//! `handfast_bindings`'.

use std::sync::Mutex;

use handfast::OnceResult;
use handfast_bindings::once::{Step, Work};
use pyo3::{IntoPyObjectExt, prelude::*, types::PyBytes};

use crate::{
    call::Call,
    convert::ToPython,
    errors::{Failure, raise},
    holding::Holding,
    rt::Local,
};

type Made = PyResult<Py<PyAny>>;

impl ToPython for OnceResult {
    fn to_python(self, py: Python<'_>) -> Made {
        (PyBytes::new(py, &self.value), self.revision, self.ran).into_py_any(py)
    }
}

impl ToPython for Step {
    fn to_python(self, py: Python<'_>) -> Made {
        match self {
            Self::Done(result) => (result.to_python(py)?, py.None(), py.None()).into_py_any(py),
            Self::Work(tenure, work) => {
                let work = OnceWork(Local::new(Mutex::new(Some(work))));
                (
                    py.None(),
                    Py::new(py, Holding::of(tenure))?,
                    Py::new(py, work)?,
                )
                    .into_py_any(py)
            }
        }
    }
}

/// Work that the caller does; given up when collected.
#[pyclass(frozen, module = "handfast._native")]
pub(crate) struct OnceWork(Local<Mutex<Option<Work>>>);

impl OnceWork {
    fn take(&self) -> PyResult<Option<Work>> {
        let mut work = self
            .0
            .get()?
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(work.take())
    }
}

#[pymethods]
impl OnceWork {
    /// Puts the result.
    fn finish(&self, py: Python<'_>, value: Vec<u8>) -> PyResult<Call> {
        let work = raise(py, self.take()?.ok_or_else(|| Failure::closed("work")))?;
        Ok(Call::shielded(work.finish(value)))
    }

    /// Leaves the work to others.
    fn abandon(&self) -> PyResult<()> {
        drop(Local::new(self.take()?));
        Ok(())
    }
}
