//! Watches, observers and other values that keep coming.
//!
//! Owns the classes. Taking one at a time, and ending a wait from another thread, is
//! `handfast_bindings`'.

use handfast::{Leader, Observer as Leaders, core::WatchStream};
use pyo3::prelude::*;

use crate::convert::{ToPython, Told};

impl ToPython for Told<Option<Leader>> {
    fn to_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let leader = self.0.to_python(py)?;
        Ok((leader,).into_pyobject(py)?.into_any().unbind())
    }
}

macro_rules! feed_class {
    ($name:ident, $source:ty, $told:expr, $text:literal) => {
        #[doc = $text]
        #[pyclass(frozen, weakref, module = "handfast._native")]
        pub(crate) struct $name($crate::rt::Local<handfast_bindings::feed::Feed<$source>>);

        impl $name {
            pub(crate) fn new(source: $source) -> Self {
                Self($crate::rt::Local::new(handfast_bindings::feed::Feed::new(
                    source,
                )))
            }
        }

        impl $crate::convert::ToPython for $source {
            fn to_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
                Ok(Py::new(py, $name::new(self))?.into_any())
            }
        }

        #[pymethods]
        impl $name {
            /// The next one; `None` after the last, or when it was closed. Loses nothing when it
            /// is cancelled.
            #[pyo3(signature = (timeout = None))]
            fn next(
                &self,
                py: Python<'_>,
                timeout: Option<$crate::errors::Given>,
            ) -> PyResult<$crate::call::Call> {
                let limit = $crate::errors::optional_duration(py, "timeout", timeout.as_ref())?;
                let next = self.0.get()?.next(limit);
                Ok($crate::call::Call::new(async move {
                    Ok(next.await?.map($told))
                }))
            }

            fn close(&self) -> PyResult<()> {
                self.0.get()?.close();
                Ok(())
            }
        }
    };
}

pub(crate) use feed_class;

feed_class!(
    Watch,
    WatchStream,
    |changes| changes,
    "Changes of keys: (revision, events)."
);
feed_class!(
    Observer,
    Leaders,
    Told,
    "Leaders of an election: (leader,) or (None,)."
);
