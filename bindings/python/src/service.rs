//! Services: registrations, discoveries and picks.
//!
//! Owns the crossing of entries and instances. How long a call took is Python's to say, or this
//! layer's clock's.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use handfast::{
    Discovery as Found, Entry, Handfast, Instance, Pick, RegistrationState, ServiceChange,
    ServiceChanges, Status,
};
use parking_lot::Mutex;
use pyo3::{IntoPyObjectExt, prelude::*, types::PyBytes};

use crate::{
    call::Call,
    convert::{ToPython, list},
    errors::{Failure, Given, duration, optional_duration, raise},
    rt::Local,
};

type Made = PyResult<Py<PyAny>>;

/// What an instance says of itself, or changes of it; by its names in Python.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Said {
    addr: Option<String>,
    weight: Option<u32>,
    zone: Option<String>,
    version: Option<String>,
    status: Option<String>,
    metadata: Option<Vec<(String, String)>>,
}

pub(crate) fn status(word: &str) -> Result<Status, Failure> {
    let known = [Status::Warming, Status::Up, Status::Draining];
    let found = known.into_iter().find(|status| status.code() == word);
    found.ok_or_else(|| {
        Failure::invalid(
            "status",
            format!("{word:?} is none of warming, up, draining"),
        )
    })
}

impl Said {
    /// Makes an entry say this, too.
    fn changes(self) -> Result<impl Fn(&mut Entry) + Send + Sync + 'static, Failure> {
        let status = self.status.as_deref().map(status).transpose()?;
        Ok(move |entry: &mut Entry| {
            entry.status = status.unwrap_or(entry.status);
            entry.weight = self.weight.unwrap_or(entry.weight);
            for (ours, theirs) in [
                (&self.addr, &mut entry.addr),
                (&self.zone, &mut entry.zone),
                (&self.version, &mut entry.version),
            ] {
                if let Some(ours) = ours {
                    theirs.clone_from(ours);
                }
            }
            if let Some(metadata) = &self.metadata {
                entry.metadata = metadata.iter().cloned().collect();
            }
        })
    }
}

/// Lists an instance, for as long as what this returns lives.
pub(crate) async fn register(
    handfast: Handfast,
    service: String,
    id: String,
    said: Said,
    wait: Duration,
) -> Result<handfast::Registration, Failure> {
    let mut entry = Entry::new("");
    said.changes()?(&mut entry);
    let Entry {
        addr,
        weight,
        zone,
        version,
        status,
        metadata,
        ..
    } = entry;
    let mut register = handfast.service(service).instance(id, addr);
    register = register.weight(weight).zone(zone).version(version);
    for (name, value) in metadata {
        register = register.metadata(name, value);
    }
    let register = register.status(status).wait(wait);
    Ok(register.register().await?)
}

/// An instance that is kept listed.
#[pyclass(frozen, module = "handfast._native")]
pub(crate) struct Registration(Local<handfast::Registration>);

impl ToPython for handfast::Registration {
    fn to_python(self, py: Python<'_>) -> Made {
        Ok(Py::new(py, Registration(Local::new(self)))?.into_any())
    }
}

#[pymethods]
impl Registration {
    #[getter]
    fn id(&self) -> PyResult<&str> {
        Ok(self.0.get()?.id())
    }

    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, self.0.get()?.key()))
    }

    /// (state, revision or lease, reason).
    fn state(&self, py: Python<'_>) -> Made {
        match self.0.get()?.state() {
            RegistrationState::Pending => ("pending", 0, "").into_py_any(py),
            RegistrationState::Listed { revision } => ("listed", revision, "").into_py_any(py),
            RegistrationState::Duplicate { lease } => ("duplicate", lease, "").into_py_any(py),
            RegistrationState::Ended(reason) => ("ended", 0, reason.code()).into_py_any(py),
            // One that this layer does not know yet.
            _ => ("pending", 0, "").into_py_any(py),
        }
    }

    fn update(&self, py: Python<'_>, said: Said) -> PyResult<Call> {
        let registration = self.0.get()?.clone();
        let change = raise(py, said.changes())?;
        Ok(Call::new(
            async move { Ok(registration.update(change).await?) },
        ))
    }

    fn unregister(&self) -> PyResult<Call> {
        let registration = self.0.get()?.clone();
        Ok(Call::shielded(async move {
            registration.unregister().await;
            Ok::<(), Failure>(())
        }))
    }
}

fn instance(py: Python<'_>, instance: &Instance) -> Made {
    let entry = &instance.entry;
    let metadata: Vec<_> = entry.metadata.iter().collect();
    let said = (
        &entry.addr,
        entry.weight,
        &entry.zone,
        &entry.version,
        entry.status.code(),
        metadata,
    );
    let known = (instance.lease, instance.token, instance.revision);
    (&instance.id, said, known, instance.suspect).into_py_any(py)
}

impl ToPython for Vec<Instance> {
    fn to_python(self, py: Python<'_>) -> Made {
        list(py, &self, instance)?.into_py_any(py)
    }
}

/// A followed list of instances, until it is closed or collected.
#[pyclass(frozen, module = "handfast._native")]
pub(crate) struct Discovery(Local<Mutex<Option<Found>>>);

impl ToPython for Found {
    fn to_python(self, py: Python<'_>) -> Made {
        let discovery = Discovery(Local::new(Mutex::new(Some(self))));
        Ok(Py::new(py, discovery)?.into_any())
    }
}

impl Discovery {
    fn open(&self, py: Python<'_>) -> PyResult<Found> {
        let found = self.0.get()?.lock().clone();
        raise(py, found.ok_or_else(|| Failure::closed("discovery")))
    }
}

fn pick(way: &str, key: Option<Vec<u8>>) -> Result<Pick, Failure> {
    let key = key.map(Bytes::from);
    match (way, key) {
        ("p2c", None) => Ok(Pick::P2c),
        ("round_robin", None) => Ok(Pick::RoundRobin),
        ("weighted", None) => Ok(Pick::Weighted),
        ("random", None) => Ok(Pick::Random),
        ("hash", Some(key)) => Ok(Pick::Hash(key)),
        ("sticky", Some(key)) => Ok(Pick::Sticky(key)),
        ("hash" | "sticky", None) => Err(Failure::invalid("key", format!("{way} needs one"))),
        (_, Some(_)) => Err(Failure::invalid("key", "only hash and sticky take one")),
        _ => Err(Failure::invalid("pick", format!("{way:?} is not known"))),
    }
}

#[pymethods]
impl Discovery {
    /// (instances, revision, stale for).
    fn list(&self, py: Python<'_>) -> Made {
        let found = self.open(py)?.list();
        let instances = list(py, &found.instances, |py, one| instance(py, one))?;
        let stale_for = found.stale_for.as_secs_f64();
        (instances, found.revision, stale_for).into_py_any(py)
    }

    fn at_least(&self, py: Python<'_>, revision: i64) -> PyResult<Call> {
        let found = self.open(py)?;
        Ok(Call::new(async move {
            found.at_least(revision).await;
            Ok::<(), Failure>(())
        }))
    }

    fn changes(&self, py: Python<'_>) -> PyResult<ServiceFeed> {
        Ok(ServiceFeed::new(self.open(py)?.changes()))
    }

    fn pick(&self, py: Python<'_>, way: &str, key: Option<Vec<u8>>) -> PyResult<Picked> {
        let pick = raise(py, pick(way, key))?;
        let found = self.open(py)?;
        Ok(Picked::new(raise(py, found.pick(pick))?))
    }

    fn pick_when_ready(
        &self,
        py: Python<'_>,
        way: &str,
        key: Option<Vec<u8>>,
        timeout: Given,
    ) -> PyResult<Call> {
        let pick = raise(py, pick(way, key))?;
        let limit = duration(py, "timeout", &timeout)?;
        let found = self.open(py)?;
        Ok(Call::new(async move {
            let picked = tokio::time::timeout(limit, found.pick_when_ready(pick)).await;
            picked.map_err(|_| Failure::timeout("no instance could be picked", limit))
        }))
    }

    /// Follows no more.
    fn close(&self) -> PyResult<()> {
        drop(Local::new(self.0.get()?.lock().take()));
        Ok(())
    }
}

/// An instance chosen for one call.
#[pyclass(frozen, module = "handfast._native")]
pub(crate) struct Picked {
    picked: Local<Mutex<Option<handfast::Picked>>>,
    instance: Arc<Instance>,
}

impl Picked {
    fn new(picked: handfast::Picked) -> Self {
        Self {
            instance: Arc::clone(picked.instance()),
            picked: Local::new(Mutex::new(Some(picked))),
        }
    }
}

impl ToPython for handfast::Picked {
    fn to_python(self, py: Python<'_>) -> Made {
        Ok(Py::new(py, Picked::new(self))?.into_any())
    }
}

#[pymethods]
impl Picked {
    #[getter]
    fn instance(&self, py: Python<'_>) -> Made {
        instance(py, &self.instance)
    }

    /// Says how the call went; without a time, with that since the pick. Once.
    fn report(&self, py: Python<'_>, ok: bool, latency: Option<Given>) -> PyResult<()> {
        let latency = optional_duration(py, "latency", latency.as_ref())?;
        let Some(picked) = self.picked.get()?.lock().take() else {
            return Ok(());
        };
        match latency {
            Some(latency) => picked.report(ok, latency),
            None => picked.done(ok),
        }
        Ok(())
    }
}

impl ToPython for ServiceChange {
    fn to_python(self, py: Python<'_>) -> Made {
        let before = match &self {
            Self::Updated { before, .. } => instance(py, before)?,
            _ => py.None(),
        };
        (self.code(), instance(py, self.instance())?, before).into_py_any(py)
    }
}

crate::stream::feed_class!(
    ServiceFeed,
    ServiceChanges,
    |change| change,
    "Changes of a service's list."
);
