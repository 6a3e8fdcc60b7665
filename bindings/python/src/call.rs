//! Something to be done, which Python either waits for or awaits.
//!
//! Owns the choice between the two, so that nothing else has to know of it.

use std::sync::{Mutex, PoisonError};

use futures::future::BoxFuture;
use pyo3::{exceptions::PyRuntimeError, prelude::*};

use crate::{
    bridge,
    convert::{Convert, ToPython},
    errors::Failure,
    rt::Local,
};

/// The value of a call, to be made a Python object once the interpreter is attached.
struct Reply(Convert);

impl ToPython for Reply {
    fn to_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        (self.0)(py)
    }
}

type Work = BoxFuture<'static, Result<Reply, Failure>>;

/// Something to be done. Nothing happens before one of its methods is called, once.
#[pyclass(frozen, module = "handfast._native")]
pub(crate) struct Call {
    work: Local<Mutex<Option<Work>>>,
    shielded: bool,
}

impl Call {
    /// A call that ends when the caller is cancelled.
    pub(crate) fn new<T: ToPython>(
        future: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Self {
        Self::made(future, false)
    }

    /// A call that runs to its end even when the caller is cancelled.
    pub(crate) fn shielded<T: ToPython>(
        future: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Self {
        Self::made(future, true)
    }

    fn made<T: ToPython>(
        future: impl Future<Output = Result<T, Failure>> + Send + 'static,
        shielded: bool,
    ) -> Self {
        // Boxed before another is put around it, which would hold it twice and move it to begin.
        let future = Box::pin(future);
        let work: Work = Box::pin(async move {
            let value = future.await?;
            Ok(Reply(Box::new(move |py| value.to_python(py))))
        });
        Self {
            work: Local::new(Mutex::new(Some(work))),
            shielded,
        }
    }

    fn take(&self) -> PyResult<Work> {
        let taken = self
            .work
            .get()?
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        taken.ok_or_else(|| PyRuntimeError::new_err("this call was started before"))
    }
}

#[pymethods]
impl Call {
    /// Does it, and gives the interpreter up meanwhile. Ctrl-C ends it.
    fn wait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let work = self.take()?;
        bridge::blocking(py, work)?.to_python(py)
    }

    /// Starts it and returns an asyncio future of the running loop.
    fn start<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let work = self.take()?;
        bridge::awaitable(py, work, self.shielded)
    }
}

/// A call that panics, for the tests of this package; not in release builds.
#[cfg(debug_assertions)]
#[pyfunction]
#[pyo3(name = "_panicking")]
pub(crate) fn panicking() -> Call {
    Call::new::<()>(async {
        // Unlike the macro it prints nothing.
        std::panic::resume_unwind(Box::new("as the test wanted"))
    })
}
