//! Servers inside the interpreter's process, with faults and without, and the command line.
//!
//! Owns the handles that stop them. Knows nothing of what a server does.

use std::{
    ffi::OsString,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use handfast::Handfast;
use handfast_bindings::testing::TestServer;
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

impl ToPython for TestServer {
    fn to_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(Py::new(py, FaultyServer(Local::new(self)))?.into_any())
    }
}

/// A running server whose faults can be asked for. Ends in the background when collected.
#[pyclass(frozen, module = "handfast._native")]
pub(crate) struct FaultyServer(Local<TestServer>);

#[pymethods]
impl FaultyServer {
    /// Starts one.
    #[staticmethod]
    fn start() -> Call {
        Call::new(async move { TestServer::start().await })
    }

    #[getter]
    fn endpoint(&self) -> PyResult<&str> {
        Ok(self.0.get()?.endpoint())
    }

    #[getter]
    fn data_dir(&self) -> PyResult<&std::path::Path> {
        Ok(self.0.get()?.data_dir())
    }

    /// Stops it; clients are refused until it is started again.
    fn stop(&self) -> PyResult<Call> {
        let server = self.0.get()?.clone();
        Ok(Call::shielded(async move { server.stop().await }))
    }

    /// Stops it for good, and deletes its data.
    fn close(&self) -> PyResult<Call> {
        let server = self.0.get()?.clone();
        Ok(Call::shielded(async move { server.close().await }))
    }

    /// Starts it again with the data it had, after a stop if it runs.
    fn restart(&self) -> PyResult<Call> {
        let server = self.0.get()?.clone();
        Ok(Call::shielded(async move { server.restart().await }))
    }

    /// Lets connections stay, but nothing pass.
    fn pause(&self) -> PyResult<()> {
        self.0.get()?.pause();
        Ok(())
    }

    /// Lets pass what waited.
    fn resume(&self) -> PyResult<()> {
        self.0.get()?.resume();
        Ok(())
    }

    /// Breaks every connection.
    fn disconnect(&self) -> PyResult<()> {
        self.0.get()?.disconnect();
        Ok(())
    }

    /// Ends the sessions of the programs called `app`, or all: how many.
    fn expire(&self, app: Option<String>) -> PyResult<Call> {
        let server = self.0.get()?.clone();
        Ok(Call::shielded(async move { expire(&server, app).await }))
    }
}

async fn expire(server: &TestServer, app: Option<String>) -> Result<i64, Failure> {
    let Some(app) = app else {
        return Ok(server.expire_sessions().await?.into());
    };
    let mut ended = 0;
    let client = Handfast::connect(server.endpoint()).await?;
    for (lease, record) in client.sessions().await? {
        if record.app == app {
            ended += i64::from(server.expire(lease).await?);
        }
    }
    Ok(ended)
}

/// Runs the `handfast` command line and returns its exit code.
#[pyfunction]
pub(crate) fn cli_main(py: Python<'_>, args: Vec<OsString>) -> i32 {
    py.detach(|| handfast_cli::cli_main(args))
}
