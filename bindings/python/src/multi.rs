//! Several locks that are acquired together.
//!
//! Owns the crossing. What is held is a [`Holding`](crate::holding::Holding) with its names.

use bytes::Bytes;
use handfast::{MultiGuard, TryMulti};
use handfast_bindings::holding::Guard;
use pyo3::{IntoPyObjectExt, prelude::*, types::PyBytes};

use crate::{
    convert::{self, ToPython, list},
    holding::Holding,
};

type Made = PyResult<Py<PyAny>>;

fn names(py: Python<'_>, names: &[Bytes]) -> Made {
    list(py, names, |py, name| PyBytes::new(py, name).into_py_any(py))?.into_py_any(py)
}

/// (holding, names, names whose holder died, None, None).
impl ToPython for MultiGuard {
    fn to_python(self, py: Python<'_>) -> Made {
        let (all, died) = (names(py, self.names())?, names(py, self.died())?);
        let holding = Py::new(py, Holding::held_by(Guard::Multi(self)))?;
        (holding, all, died, py.None(), py.None()).into_py_any(py)
    }
}

/// The same, or (None, None, None, holder, name).
impl ToPython for TryMulti {
    fn to_python(self, py: Python<'_>) -> Made {
        match self {
            Self::Acquired(guard) => guard.to_python(py),
            Self::Held { name, holder } => {
                let holder = convert::member(py, &holder)?;
                let name = PyBytes::new(py, &name);
                (py.None(), py.None(), py.None(), holder, name).into_py_any(py)
            }
        }
    }
}
