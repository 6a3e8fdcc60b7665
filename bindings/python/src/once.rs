//! Work that is done once, by Python code.
//!
//! Owns the way of the work from the runtime to whoever called, and of its result back: the code
//! runs where it was asked for, in the caller's thread or event loop.

use std::sync::Mutex;

use handfast::{Once, OnceError, OnceResult, Tenure};
use pyo3::{IntoPyObjectExt, prelude::*, types::PyBytes};
use tokio::sync::oneshot;

use crate::{
    call::Call,
    convert::ToPython,
    errors::{Failure, raise},
    holding::Holding,
    rt::Local,
    task::Task,
};

type Made = PyResult<Py<PyAny>>;

/// The caller gave the work up.
#[derive(Debug)]
struct GivenUp;

type Outcome = Task<Result<OnceResult, OnceError<GivenUp>>>;

/// What a call for the result comes to.
pub(crate) enum Step {
    /// There is one.
    Done(OnceResult),
    /// The caller is to do the work.
    Work(Tenure, Work),
}

/// Work that the caller does.
pub(crate) struct Work {
    result: oneshot::Sender<Vec<u8>>,
    outcome: Outcome,
}

/// Waits for the result, or for the right to do the work.
pub(crate) async fn begin(once: Once) -> Result<Step, Failure> {
    let (granted, grant) = oneshot::channel();
    let (result, done) = oneshot::channel::<Vec<u8>>();
    let mut outcome = Task::spawn(async move {
        let work = |tenure: Tenure| async move {
            granted.send(tenure).map_err(|_| GivenUp)?;
            done.await.map_err(|_| GivenUp)
        };
        once.get_or_run(work).await
    });
    tokio::select! {
        biased;
        Ok(tenure) = grant => Ok(Step::Work(tenure, Work { result, outcome })),
        ended = &mut outcome => Ok(Step::Done(read(ended?)?)),
    }
}

fn read(outcome: Result<OnceResult, OnceError<GivenUp>>) -> Result<OnceResult, Failure> {
    outcome.map_err(|error| match error {
        OnceError::Work(GivenUp) => Failure::closed("work"),
        OnceError::Recipe(error) => error.into(),
        other => Failure::new("INTERNAL", format!("{other:?}")),
    })
}

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
        Ok(Call::shielded(async move {
            // When nobody takes it, the outcome tells why.
            let _ = work.result.send(value);
            read(work.outcome.await?)
        }))
    }

    /// Leaves the work to others.
    fn abandon(&self) -> PyResult<()> {
        drop(Local::new(self.take()?));
        Ok(())
    }
}
