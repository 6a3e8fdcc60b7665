//! A server inside the interpreter's process, and the command line.
//!
//! Owns the handle that stops it. Knows nothing of what a server does.

use std::{
    ffi::OsString,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use pyo3::prelude::*;

use crate::{call::Call, convert::ToPython, errors::Failure, rt::Local};

impl ToPython for handfast_server::Server {
    fn to_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let server = Server {
            endpoint: self.endpoint(),
            data_dir: self.data_dir().to_owned(),
            running: Local::new(Mutex::new(Some(self))),
        };
        Ok(Py::new(py, server)?.into_any())
    }
}

/// A running server. Stops in the background when collected.
#[pyclass(frozen, module = "handfast._native")]
pub(crate) struct Server {
    endpoint: String,
    data_dir: PathBuf,
    running: Local<Mutex<Option<handfast_server::Server>>>,
}

#[pymethods]
impl Server {
    /// Starts one; without a folder its data goes away with it.
    #[staticmethod]
    fn start(data_dir: Option<PathBuf>, listen: String, name: Option<String>) -> Call {
        let mut builder = handfast_server::Server::builder();
        builder = match data_dir {
            Some(data_dir) => builder.data_dir(data_dir),
            None => builder.ephemeral(),
        };
        builder = builder.listen(listen);
        if let Some(name) = name {
            builder = builder.name(name);
        }
        Call::new(async move {
            // In a task: a start that is dropped half way would keep the folder locked.
            let started = tokio::spawn(builder.start()).await;
            let started = started.map_err(|error| {
                Failure::new("INTERNAL", format!("the server's start failed: {error}"))
            })?;
            Ok(started?)
        })
    }

    #[getter]
    fn endpoint(&self) -> &str {
        &self.endpoint
    }

    #[getter]
    fn data_dir(&self) -> &std::path::Path {
        &self.data_dir
    }

    /// Stops it in order; does nothing at the second time.
    fn stop(&self) -> PyResult<Call> {
        let running = self
            .running
            .get()?
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        Ok(Call::shielded(async move {
            match running {
                Some(server) => Ok(server.shutdown().await?),
                None => Ok(()),
            }
        }))
    }
}

/// Runs the `handfast` command line and returns its exit code.
#[pyfunction]
pub(crate) fn cli_main(py: Python<'_>, args: Vec<OsString>) -> i32 {
    py.detach(|| handfast_cli::cli_main(args))
}
