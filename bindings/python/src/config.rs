//! Configurations, whose values are made and checked by Python code.
//!
//! Owns the crossing of values, events and publications. What a value is made of the published
//! bytes is decided in `handfast/_config.py`.

use std::{path::PathBuf, sync::Arc, time::Duration};

use handfast::{
    ConfigChanges, ConfigEvent, ConfigProblem, ConfigProblemKind, ConfigSet, ConfigSource,
    ConfigValue, Handfast, Publication, Publish, Published,
};
use pyo3::{
    IntoPyObjectExt,
    prelude::*,
    pybacked::PyBackedBytes,
    types::{PyBool, PyBytes},
};

use crate::{
    call::Call,
    callback,
    convert::{ToPython, list},
    errors::{Failure, Given, duration},
    rt::Local,
    task::Task,
};

type Made = PyResult<Py<PyAny>>;

/// What Python made of the published bytes.
pub(crate) struct Value(Py<PyAny>);

/// Decodes: `(list of (name, bytes)) -> value`; raises when it cannot be done.
fn decode(with: &Py<PyAny>, set: &ConfigSet) -> Result<Value, String> {
    callback::ask(|py| {
        let pairs: Vec<_> = set
            .iter()
            .map(|(name, pair)| (PyBytes::new(py, name), PyBytes::new(py, &pair.value)))
            .collect();
        Ok(Value(with.call1(py, (pairs,))?))
    })
}

/// Whether the program accepts it: a check that raises or returns `False` does not.
fn check(with: &Py<PyAny>, value: &Value) -> Result<(), String> {
    let refuses = callback::ask(|py| {
        let answer = with.call1(py, (&value.0,))?;
        Ok(answer.bind(py).is(PyBool::new(py, false)))
    });
    match refuses {
        Ok(false) => Ok(()),
        Ok(true) => Err("validate() returned False".to_owned()),
        Err(error) => Err(format!("validate() raised {error}")),
    }
}

/// How a configuration is opened; by its names in Python.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Options {
    prefix: bool,
    decode: Py<PyAny>,
    check: Option<Py<PyAny>>,
    /// Without items: none; else the default.
    default: Vec<Py<PyAny>>,
    snapshot: Option<PathBuf>,
    patience: Given,
}

impl Options {
    pub(crate) fn patience(&self, py: Python<'_>) -> PyResult<Duration> {
        duration(py, "patience", &self.patience)
    }
}

/// Opens a configuration. In a task: Python code is called from the runtime's threads only.
pub(crate) async fn open(
    handfast: Handfast,
    key: Vec<u8>,
    options: Options,
    patience: Duration,
) -> Result<handfast::Config<Value>, Failure> {
    let with = options.decode;
    let mut builder = handfast.config_with(key, move |set: &ConfigSet| decode(&with, set));
    if options.prefix {
        builder = builder.prefix();
    }
    if let Some(with) = options.check {
        builder = builder.validate(move |value| check(&with, value));
    }
    if let Some(default) = options.default.into_iter().next() {
        builder = builder.default_value(Value(default));
    }
    if let Some(snapshot) = options.snapshot {
        builder = builder.snapshot_file(snapshot);
    }
    builder = builder.patience(patience);
    Ok(Task::spawn(builder.open()).await??)
}

/// A configuration that follows what is published, until it is closed or collected.
#[pyclass(frozen, module = "handfast._native")]
pub(crate) struct Config {
    config: Local<parking_lot::Mutex<Option<handfast::Config<Value>>>>,
}

impl ToPython for handfast::Config<Value> {
    fn to_python(self, py: Python<'_>) -> Made {
        let config = Local::new(parking_lot::Mutex::new(Some(self)));
        Ok(Py::new(py, Config { config })?.into_any())
    }
}

impl Config {
    fn open(&self, py: Python<'_>) -> PyResult<handfast::Config<Value>> {
        let config = self.config.get()?.lock().clone();
        crate::errors::raise(py, config.ok_or_else(|| Failure::closed("configuration")))
    }
}

#[pymethods]
impl Config {
    /// (value, revision, source).
    fn current(&self, py: Python<'_>) -> Made {
        value(py, &self.open(py)?.current())
    }

    fn stale_for(&self, py: Python<'_>) -> PyResult<f64> {
        Ok(self.open(py)?.stale_for().as_secs_f64())
    }

    /// Why what is published is not in force: (kind, revision, text).
    fn refused(&self, py: Python<'_>) -> Made {
        match self.open(py)?.refused() {
            Some(refused) => problem(py, &refused),
            None => Ok(py.None()),
        }
    }

    fn problems(&self, py: Python<'_>) -> Made {
        let all = self.open(py)?.problems();
        list(py, &all, |py, one| problem(py, one))?.into_py_any(py)
    }

    fn at_least(&self, py: Python<'_>, revision: i64) -> PyResult<Call> {
        let config = self.open(py)?;
        Ok(Call::new(async move {
            config.at_least(revision).await;
            Ok::<(), Failure>(())
        }))
    }

    fn saved(&self, py: Python<'_>) -> PyResult<Call> {
        let config = self.open(py)?;
        Ok(Call::new(async move {
            config.saved().await;
            Ok::<(), Failure>(())
        }))
    }

    /// Everything that happens, beginning with the value in force.
    fn changes(&self, py: Python<'_>) -> PyResult<Changes> {
        Ok(Changes::new(self.open(py)?.changes()))
    }

    /// Publishes on top of what is in force here.
    fn publish(&self, py: Python<'_>, entries: Vec<Entry>, note: String) -> PyResult<Call> {
        let publish = filled(self.open(py)?.publish(), entries, note);
        Ok(Call::new(async move { Ok(publish.send().await?) }))
    }

    /// Follows no more.
    fn close(&self) -> PyResult<()> {
        drop(Local::new(self.config.get()?.lock().take()));
        Ok(())
    }
}

/// A name, and its value or that it is to be deleted.
pub(crate) type Entry = (PyBackedBytes, Option<PyBackedBytes>);

/// A publication of these entries.
pub(crate) fn filled(publish: Publish, entries: Vec<Entry>, note: String) -> Publish {
    let publish = publish.note(note);
    entries
        .into_iter()
        .fold(publish, |publish, (name, value)| match value {
            Some(value) => publish.put(&name[..], &value[..]),
            None => publish.delete(&name[..]),
        })
}

impl ToPython for Published {
    fn to_python(self, py: Python<'_>) -> Made {
        self.revision.into_py_any(py)
    }
}

impl ToPython for Publication {
    fn to_python(self, py: Python<'_>) -> Made {
        (self.by, self.note, self.unix_ms, self.revision).into_py_any(py)
    }
}

impl ToPython for ConfigEvent<Value> {
    fn to_python(self, py: Python<'_>) -> Made {
        match self {
            Self::Applied {
                value: applied,
                names,
            } => {
                let names = list(py, &names, |py, name| {
                    PyBytes::new(py, name).into_py_any(py)
                })?;
                ("applied", value(py, &applied)?, names).into_py_any(py)
            }
            Self::Problem(found) => ("problem", problem(py, &found)?).into_py_any(py),
            Self::Reset { revision } => ("reset", revision).into_py_any(py),
            Self::Disconnected => ("disconnected",).into_py_any(py),
            Self::Connected => ("connected",).into_py_any(py),
            // One that this layer does not know yet.
            _ => ("other",).into_py_any(py),
        }
    }
}

fn value(py: Python<'_>, value: &Arc<ConfigValue<Value>>) -> Made {
    let source = match value.source {
        ConfigSource::Server => "server",
        ConfigSource::Snapshot => "snapshot",
        ConfigSource::Default => "default",
        _ => "other",
    };
    (value.value.0.clone_ref(py), value.revision(), source).into_py_any(py)
}

fn problem(py: Python<'_>, problem: &ConfigProblem) -> Made {
    let kind = match problem.kind {
        ConfigProblemKind::Missing => "missing",
        ConfigProblemKind::Undecodable => "undecodable",
        ConfigProblemKind::Invalid => "invalid",
        ConfigProblemKind::Panicked => "panicked",
        ConfigProblemKind::SnapshotIgnored => "snapshot_ignored",
        ConfigProblemKind::SnapshotNotWritten => "snapshot_not_written",
        _ => "other",
    };
    (kind, problem.revision, &problem.text).into_py_any(py)
}

crate::stream::feed_class!(
    Changes,
    ConfigChanges<Value>,
    |event| event,
    "What happens to a configuration, in order."
);
