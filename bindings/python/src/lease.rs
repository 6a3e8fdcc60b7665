//! A lease that is kept alive.
//!
//! Owns the task that renews it, and the news that it ended.

use futures::StreamExt;
use handfast::core::{Client, LeaseGrant};
use pyo3::prelude::*;
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinHandle},
};

use crate::{bridge, call::Call, convert::ToPython, errors::Failure, rt::Local};

/// A granted lease, and its renewal.
pub(crate) struct Kept {
    client: Client,
    id: i64,
    ttl: i64,
    ended: watch::Receiver<bool>,
    renewal: Option<AbortHandle>,
}

impl Kept {
    /// Starts renewing, if that is wanted. Must be called within the runtime.
    pub(crate) fn begin(client: Client, grant: &LeaseGrant, keep: bool) -> Self {
        let (id, ttl) = (grant.id, grant.ttl);
        let (over, ended) = watch::channel(false);
        let renewal = keep.then(|| {
            let renewals = client.keep_aliver().keep(id, ttl);
            let task: JoinHandle<()> = tokio::spawn(async move {
                // The last item is the error that says that the lease is gone.
                renewals.for_each(|_| std::future::ready(())).await;
                over.send_replace(true);
            });
            task.abort_handle()
        });
        Self {
            client,
            id,
            ttl,
            ended,
            renewal,
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(renewal) = &self.renewal {
            renewal.abort();
        }
    }
}

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
        Ok(self.0.get()?.id)
    }

    #[getter]
    fn ttl(&self) -> PyResult<i64> {
        Ok(self.0.get()?.ttl)
    }

    /// Stops the renewal; the lease then ends after its TTL.
    fn stop(&self) -> PyResult<()> {
        if let Some(renewal) = &self.0.get()?.renewal {
            renewal.abort();
        }
        Ok(())
    }

    /// Ends the lease and deletes its keys.
    fn revoke(&self) -> PyResult<Call> {
        self.stop()?;
        let kept = self.0.get()?;
        let (client, id) = (kept.client.clone(), kept.id);
        Ok(Call::shielded(async move {
            client.lease_revoke(id).await?;
            Ok::<(), Failure>(())
        }))
    }

    /// (seconds left, seconds granted, keys).
    fn time_to_live(&self) -> PyResult<Call> {
        let kept = self.0.get()?;
        let (client, id) = (kept.client.clone(), kept.id);
        Ok(Call::new(async move {
            Ok(client.lease_time_to_live(id, true).await?)
        }))
    }

    /// Calls `callback` with `None`, on a thread of the module, when the renewal found the lease
    /// gone. Never when it was stopped.
    fn on_lost(&self, callback: Py<PyAny>) -> PyResult<()> {
        let mut ended = self.0.get()?.ended.clone();
        bridge::notify(callback, async move {
            if ended.wait_for(|ended| *ended).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}
