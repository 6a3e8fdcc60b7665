//! A lock that is held, or a leadership.
//!
//! Owns the guard, which is given back when released or collected.

use std::sync::{Mutex, PoisonError};

use handfast::{LockGuard, LostReason, Tenure};
use pyo3::{prelude::*, types::PyBytes};

use crate::{
    bridge,
    call::Call,
    convert::ToPython,
    errors::{Failure, raise},
    queue,
    request::{RawCompare, RawOp, Request},
    rt::Local,
};

/// What gives the key back.
pub(crate) enum Guard {
    Lock(LockGuard),
    Leadership(handfast::Leadership),
    Claim(Box<handfast::Claim>),
    Multi(handfast::MultiGuard),
}

impl Guard {
    fn tenure(&self) -> Tenure {
        match self {
            Self::Lock(guard) => guard.tenure(),
            Self::Leadership(guard) => guard.tenure(),
            Self::Claim(claim) => claim.tenure(),
            Self::Multi(guard) => guard.tenure(),
        }
    }

    async fn release(self) -> Result<(), handfast::Error> {
        match self {
            Self::Lock(guard) => guard.release().await,
            Self::Leadership(guard) => guard.resign().await,
            Self::Claim(claim) => claim.release().await,
            Self::Multi(guard) => guard.release().await,
        }
    }
}

impl ToPython for Guard {
    fn to_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(Py::new(py, Holding::held_by(self))?.into_any())
    }
}

/// A lock or leadership that is held until it is released, lost or collected.
#[pyclass(frozen, module = "handfast._native")]
pub(crate) struct Holding {
    tenure: Local<Tenure>,
    guard: Local<Mutex<Option<Guard>>>,
    scope: Local<Mutex<Option<Scope>>>,
}

type Scope = Box<dyn Send + Sync>;

impl Holding {
    fn new(tenure: Tenure, guard: Option<Guard>) -> Self {
        Self {
            tenure: Local::new(tenure),
            guard: Local::new(Mutex::new(guard)),
            scope: Local::new(Mutex::new(None)),
        }
    }

    /// Something that is held by `guard`.
    pub(crate) fn held_by(guard: Guard) -> Self {
        Self::new(guard.tenure(), Some(guard))
    }

    /// Something that is held, and given back by somebody else.
    pub(crate) fn of(tenure: Tenure) -> Self {
        Self::new(tenure, None)
    }

    fn take(&self) -> PyResult<Option<Guard>> {
        drop(self.set_scope(None)?);
        Ok(self
            .guard
            .get()?
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take())
    }
}

impl Holding {
    fn set_scope(&self, scope: Option<Scope>) -> PyResult<Option<Scope>> {
        let mut current = self
            .scope
            .get()?
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::replace(&mut *current, scope))
    }
}

#[pymethods]
impl Holding {
    /// Says that work relies on it, until it is released or abandoned.
    fn enter(&self) -> PyResult<()> {
        let scope: Scope = Box::new(self.tenure.get()?.enter());
        drop(self.set_scope(Some(scope))?);
        Ok(())
    }

    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, self.tenure.get()?.key()))
    }

    #[getter]
    fn token(&self) -> PyResult<i64> {
        Ok(self.tenure.get()?.token())
    }

    #[getter]
    fn lease(&self) -> PyResult<i64> {
        Ok(self.tenure.get()?.lease())
    }

    #[getter]
    fn previous_died(&self) -> PyResult<bool> {
        Ok(self.tenure.get()?.previous_died())
    }

    /// Raises when it is lost. No input or output.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        raise(py, self.tenure.get()?.check())
    }

    /// Seconds it is held for certain if nothing more is heard.
    fn remaining(&self) -> PyResult<f64> {
        Ok(self.tenure.get()?.remaining().as_secs_f64())
    }

    /// Reports that the work goes on.
    fn beat(&self, py: Python<'_>) -> PyResult<()> {
        raise(py, self.tenure.get()?.beat())
    }

    /// Waits until it is lost or released: (code, text).
    fn lost(&self) -> PyResult<Call> {
        let tenure = self.tenure.get()?.clone();
        Ok(Call::new(async move {
            Ok::<LostReason, Failure>(tenure.lost().await)
        }))
    }

    /// Calls `callback` with (code, text), on a thread of the module, when lost or released.
    fn on_lost(&self, callback: Py<PyAny>) -> PyResult<()> {
        let tenure = self.tenure.get()?.clone();
        bridge::notify(callback, async move { tenure.lost().await })
    }

    /// Gives it back; does nothing at the second time.
    fn release(&self) -> PyResult<Call> {
        let guard = self.take()?;
        Ok(Call::shielded(async move {
            match guard {
                Some(guard) => Ok(guard.release().await?),
                None => Ok(()),
            }
        }))
    }

    /// Gives it back in the background.
    fn abandon(&self) -> PyResult<()> {
        drop(Local::new(self.take()?));
        Ok(())
    }

    /// Acknowledges the claimed item, and makes the writes with it: the revision.
    fn ack(&self, py: Python<'_>, then: Vec<RawOp>) -> PyResult<Call> {
        let claim = raise(py, queue::claimed(self.take()?))?;
        raise(py, queue::ack(claim, then))
    }

    /// Gives the claimed item back as failed: whether it is a dead letter now.
    fn nack(&self, py: Python<'_>, why: String) -> PyResult<Call> {
        let claim = raise(py, queue::claimed(self.take()?))?;
        Ok(queue::nack(claim, why))
    }

    /// Announces another value as the leader.
    fn proclaim(&self, value: &[u8]) -> PyResult<Call> {
        let tenure = self.tenure.get()?.clone();
        let value = value.to_vec();
        Ok(Call::new(async move { Ok(tenure.proclaim(value).await?) }))
    }

    /// A transaction that is refused when this is not held any more.
    fn txn(
        &self,
        py: Python<'_>,
        when: Vec<RawCompare>,
        then: Vec<RawOp>,
        otherwise: Vec<RawOp>,
    ) -> PyResult<Call> {
        let request = raise(py, Request::read(when, then, otherwise))?;
        let txn = self.tenure.get()?.txn();
        let txn = txn
            .when(request.when)
            .then(request.then)
            .otherwise(request.otherwise);
        Ok(Call::new(async move { Ok(txn.commit().await?) }))
    }
}
