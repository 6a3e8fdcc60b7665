//! The session that all that a client holds is held on.
//!
//! Owns the classes to look at it. What its states mean is said in the Python package.

use handfast::{Session as Kept, State};
use pyo3::{IntoPyObjectExt, prelude::*};
use tokio::sync::watch;

use crate::{
    convert::{ToPython, Told},
    rt::Local,
    stream::feed_class,
};

/// (word, seconds left, (code, text) of the loss).
impl ToPython for Told<State> {
    fn to_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let word = self.0.code();
        let (remaining, lost) = match self.0 {
            State::Suspended { remaining } | State::Expiring { remaining } => {
                (Some(remaining.as_secs_f64()), None)
            }
            State::Lost { reason } => (None, Some(reason)),
            _ => (None, None),
        };
        (word, remaining, lost.to_python(py)?).into_py_any(py)
    }
}

feed_class!(
    States,
    watch::Receiver<State>,
    Told,
    "States of a session, from now on; those that came and went unseen are left out."
);

/// One session, over all of its leases.
#[pyclass(frozen, module = "handfast._native")]
pub(crate) struct Session(Local<Kept>);

impl Session {
    pub(crate) fn new(session: Kept) -> Self {
        Self(Local::new(session))
    }
}

#[pymethods]
impl Session {
    /// As of this moment. No input or output.
    fn state(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Told(self.0.get()?.state()).to_python(py)
    }

    /// Seconds that what is held is held for certain if nothing more is heard.
    fn remaining(&self) -> PyResult<f64> {
        Ok(self.0.get()?.remaining().as_secs_f64())
    }

    #[getter]
    fn lease(&self) -> PyResult<Option<i64>> {
        Ok(self.0.get()?.lease())
    }

    fn states(&self) -> PyResult<States> {
        Ok(States::new(self.0.get()?.watch()))
    }
}
