//! A lock that is held, a leadership, a claim on an item.
//!
//! Owns the class. Giving back what is held is `handfast_bindings`'.

use handfast::{AckTxn, Failed, LostReason, Tenure};
use handfast_bindings::holding::{self, Guard};
use pyo3::{prelude::*, types::PyBytes};

use crate::{
    bridge,
    call::Call,
    convert::ToPython,
    errors::{Failure, raise},
    request::{RawCompare, RawOp, Request, ops},
    rt::Local,
};

impl ToPython for Guard {
    fn to_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(Py::new(py, Holding::held_by(self))?.into_any())
    }
}

/// Something that is held until it is released, lost or collected.
#[pyclass(frozen, module = "handfast._native")]
pub(crate) struct Holding(Local<holding::Holding>);

impl Holding {
    /// Something that is held by `guard`.
    pub(crate) fn held_by(guard: Guard) -> Self {
        Self(Local::new(guard.into()))
    }

    /// Something that is held, and given back by somebody else.
    pub(crate) fn of(tenure: Tenure) -> Self {
        Self(Local::new(holding::Holding::of(tenure)))
    }

    fn tenure(&self) -> PyResult<&Tenure> {
        Ok(self.0.get()?.tenure())
    }

    /// The acknowledgement of the claimed item, which is not held by this any more.
    pub(crate) fn acknowledging(&self, py: Python<'_>, then: Vec<RawOp>) -> PyResult<AckTxn> {
        let then = raise(py, ops(then))?;
        let claim = raise(py, self.0.get()?.take_claim())?;
        Ok(claim.ack().then(then))
    }
}

#[pymethods]
impl Holding {
    /// Says that work relies on it, until it is released or abandoned.
    fn enter(&self) -> PyResult<()> {
        self.0.get()?.enter();
        Ok(())
    }

    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, self.tenure()?.key()))
    }

    #[getter]
    fn token(&self) -> PyResult<i64> {
        Ok(self.tenure()?.token())
    }

    #[getter]
    fn lease(&self) -> PyResult<i64> {
        Ok(self.tenure()?.lease())
    }

    #[getter]
    fn previous_died(&self) -> PyResult<bool> {
        Ok(self.tenure()?.previous_died())
    }

    /// Raises when it is lost. No input or output.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        raise(py, self.tenure()?.check())
    }

    /// Seconds it is held for certain if nothing more is heard.
    fn remaining(&self) -> PyResult<f64> {
        Ok(self.tenure()?.remaining().as_secs_f64())
    }

    /// Reports that the work goes on.
    fn beat(&self, py: Python<'_>) -> PyResult<()> {
        raise(py, self.tenure()?.beat())
    }

    /// Waits until it is lost or released: (code, text).
    fn lost(&self) -> PyResult<Call> {
        let tenure = self.tenure()?.clone();
        Ok(Call::new(async move {
            Ok::<LostReason, Failure>(tenure.lost().await)
        }))
    }

    /// Calls `callback` with (code, text), on a thread of the module, when lost or released.
    fn on_lost(&self, callback: Py<PyAny>) -> PyResult<()> {
        let tenure = self.tenure()?.clone();
        bridge::notify(callback, async move { tenure.lost().await })
    }

    /// Gives it back; does nothing at the second time.
    fn release(&self) -> PyResult<Call> {
        Ok(Call::shielded(self.0.get()?.release()))
    }

    /// Gives it back in the background.
    fn abandon(&self) -> PyResult<()> {
        self.0.get()?.abandon();
        Ok(())
    }

    /// Acknowledges the claimed item, and makes the writes with it: the revision.
    fn ack(&self, py: Python<'_>, then: Vec<RawOp>) -> PyResult<Call> {
        let ack = self.acknowledging(py, then)?;
        Ok(Call::shielded(
            async move { Ok(ack.commit().await?.revision) },
        ))
    }

    /// Gives the claimed item back as failed: whether it is a dead letter now.
    fn nack(&self, py: Python<'_>, why: String) -> PyResult<Call> {
        let claim = raise(py, self.0.get()?.take_claim())?;
        Ok(Call::shielded(async move {
            let failed = claim.nack(why).await?;
            Ok(matches!(failed, Failed::Dead))
        }))
    }

    /// Announces another value as the leader.
    fn proclaim(&self, value: &[u8]) -> PyResult<Call> {
        let tenure = self.tenure()?.clone();
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
        let txn = self.tenure()?.txn();
        let txn = txn
            .when(request.when)
            .then(request.then)
            .otherwise(request.otherwise);
        Ok(Call::new(async move { Ok(txn.commit().await?) }))
    }
}
