//! The tokio runtime of the extension, one for each process.
//!
//! Owns the runtime and knows which process it belongs to: threads do not survive a fork, so a
//! child gets a runtime of its own, and objects made by the parent refuse to work there.

use std::{
    mem::ManuallyDrop,
    process,
    sync::atomic::{AtomicPtr, Ordering},
};

use pyo3::{PyResult, exceptions::PyRuntimeError};
use tokio::runtime::{Builder, Handle, Runtime};

struct Owned {
    pid: u32,
    runtime: Runtime,
}

// A pointer and no mutex: a lock that is held at the moment of a fork stays held in the child.
static CURRENT: AtomicPtr<Owned> = AtomicPtr::new(std::ptr::null_mut());

/// The runtime of this process, made at the first call.
pub(crate) fn handle() -> PyResult<Handle> {
    let current = CURRENT.load(Ordering::Acquire);
    // SAFETY: what is stored here was leaked from a box and is never freed.
    if let Some(owned) = unsafe { current.as_ref() }
        && owned.pid == process::id()
    {
        return Ok(owned.runtime.handle().clone());
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("handfast-rt")
        .enable_all()
        .build()
        .map_err(|error| PyRuntimeError::new_err(format!("no threads for handfast: {error}")))?;
    let made = Box::into_raw(Box::new(Owned {
        pid: process::id(),
        runtime,
    }));
    match CURRENT.compare_exchange(current, made, Ordering::AcqRel, Ordering::Acquire) {
        // SAFETY: `made` was leaked just now.
        Ok(_) => Ok(unsafe { &*made }.runtime.handle().clone()),
        Err(_) => {
            // SAFETY: `made` was not published, so this is its only owner.
            drop(unsafe { Box::from_raw(made) });
            handle()
        }
    }
}

/// The process an object was made in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(u32);

impl Process {
    pub(crate) fn this() -> Self {
        Self(process::id())
    }

    /// Refuses to go on in a child of the process that made the object.
    pub(crate) fn check(self) -> PyResult<()> {
        if self.0 == process::id() {
            return Ok(());
        }
        Err(PyRuntimeError::new_err(
            "this handfast object was made before a fork; connect again in the child process",
        ))
    }
}

/// Something that lives on the runtime of the process that made it.
///
/// In a forked child it can neither be used nor dropped: it belongs to threads that are not there.
#[derive(Debug)]
pub(crate) struct Local<T> {
    process: Process,
    value: ManuallyDrop<T>,
}

impl<T> Local<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            process: Process::this(),
            value: ManuallyDrop::new(value),
        }
    }

    pub(crate) fn get(&self) -> PyResult<&T> {
        self.process.check()?;
        Ok(&self.value)
    }
}

impl<T> Drop for Local<T> {
    fn drop(&mut self) {
        if self.process.check().is_err() {
            return;
        }
        // Guards and streams start tasks that clean up after them.
        let runtime = handle();
        let _inside = runtime.as_ref().map(Handle::enter);
        // SAFETY: this is the only place that drops the value, and `self` is not used afterwards.
        unsafe { ManuallyDrop::drop(&mut self.value) }
    }
}
