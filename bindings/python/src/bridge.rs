//! From Rust futures to Python: awaitables for asyncio, and blocking calls that Ctrl-C can end.
//!
//! Owns the one thread that settles asyncio futures, in batches, so that no tokio worker ever waits
//! for the interpreter. Knows nothing of what is awaited.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    process,
    sync::{
        Arc,
        atomic::{AtomicPtr, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use futures::FutureExt;
use pyo3::{exceptions::PyRuntimeError, prelude::*, types::PyList};
use tokio::task::AbortHandle;

use crate::{
    callback,
    convert::{Convert, ToPython},
    errors::{Failure, IntoException},
    logs, rt,
};

/// Futures settled under one attachment of the interpreter at the most.
const BATCH: usize = 512;
/// How often a blocking call looks for Ctrl-C.
const SIGNAL_CHECK: Duration = Duration::from_millis(50);

struct Completion {
    event_loop: Py<PyAny>,
    future: Py<PyAny>,
    convert: Convert,
}

type Notice = Box<dyn for<'py> FnOnce(Python<'py>) -> PyResult<()> + Send>;

enum Message {
    Settle(Completion),
    Notify(Notice),
    Stop,
}

struct Lane {
    pid: u32,
    sender: mpsc::Sender<Message>,
    thread: std::sync::Mutex<Option<JoinHandle<()>>>,
}

// Leaked and keyed by process, as the runtime is.
static LANE: AtomicPtr<Lane> = AtomicPtr::new(std::ptr::null_mut());

/// Runs `future` on the runtime and returns an asyncio future for its result.
///
/// Cancelling the asyncio future drops `future`, unless it is `shielded`: then it runs to its end.
pub(crate) fn awaitable<'py, T: ToPython>(
    py: Python<'py>,
    future: impl Future<Output = Result<T, Failure>> + Send + 'static,
    shielded: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let event_loop = py.import("asyncio")?.call_method0("get_running_loop")?;
    let settled = event_loop.call_method0("create_future")?;
    let (event_loop, target) = (event_loop.unbind(), settled.clone().unbind());
    let sender = lane()?.sender.clone();
    let task = rt::handle()?.spawn(async move {
        let outcome = AssertUnwindSafe(future).catch_unwind().await;
        let convert: Convert = match outcome {
            Ok(Ok(value)) => Box::new(move |py| value.to_python(py)),
            Ok(Err(failure)) => Box::new(move |py| Err(failure.into_exception(py))),
            Err(_) => Box::new(|_| Err(panicked())),
        };
        // The other end is gone only when the interpreter is ending.
        drop(sender.send(Message::Settle(Completion {
            event_loop,
            future: target,
            convert,
        })));
    });
    if !shielded {
        let abort = AbortOnCancel {
            task: task.abort_handle(),
        };
        settled.call_method1("add_done_callback", (Py::new(py, abort)?,))?;
    }
    Ok(settled)
}

/// Runs `future` while the calling thread waits with the interpreter given up.
///
/// Ctrl-C raises within 50 ms and drops `future`.
pub(crate) fn blocking<T: Send>(
    py: Python<'_>,
    future: impl Future<Output = Result<T, Failure>> + Send,
) -> PyResult<T> {
    let runtime = rt::handle()?;
    // What an interrupted call leaves behind is cleaned up by tasks.
    let _inside = runtime.enter();
    let mut future = Box::pin(AssertUnwindSafe(future).catch_unwind());
    loop {
        let turn = py.detach(|| {
            runtime.block_on(async { tokio::time::timeout(SIGNAL_CHECK, &mut future).await })
        });
        match turn {
            Ok(Ok(Ok(value))) => return Ok(value),
            Ok(Ok(Err(failure))) => return Err(failure.into_exception(py)),
            Ok(Err(_)) => return Err(panicked()),
            Err(_elapsed) => py.check_signals()?,
        }
    }
}

/// Runs `future`, then calls `callback` with its value on the settling thread.
///
/// The callback must be quick: everything else that is to be settled waits for it.
pub(crate) fn notify<T: ToPython>(
    callback: Py<PyAny>,
    future: impl Future<Output = T> + Send + 'static,
) -> PyResult<()> {
    let tell = teller(callback)?;
    rt::handle()?.spawn(async move { tell(future.await) });
    Ok(())
}

/// Calls `callback` with each value that is told, as [`notify`] does.
pub(crate) fn teller<T: ToPython>(
    callback: Py<PyAny>,
) -> PyResult<impl Fn(T) + Send + Sync + 'static> {
    let (sender, callback) = (lane()?.sender.clone(), Arc::new(callback));
    Ok(move |value: T| {
        let callback = Arc::clone(&callback);
        let notice: Notice = Box::new(move |py| {
            let value = value.to_python(py)?;
            callback.call1(py, (value,)).map(drop)
        });
        // The other end is gone only when the interpreter is ending.
        drop(sender.send(Message::Notify(notice)));
    })
}

/// Ends what uses the interpreter from other threads; called when it exits.
#[pyfunction]
pub(crate) fn shutdown(py: Python<'_>) {
    callback::stop(py);
    logs::stop(py);
    // SAFETY: what is stored here was leaked from a box and is never freed.
    let Some(lane) = (unsafe { LANE.load(Ordering::Acquire).as_ref() }) else {
        return;
    };
    if lane.pid != process::id() {
        return;
    }
    drop(lane.sender.send(Message::Stop));
    let thread = lane.thread.lock().ok().and_then(|mut thread| thread.take());
    if let Some(thread) = thread {
        py.detach(|| drop(thread.join()));
    }
}

/// Aborts the Rust side when the asyncio future was cancelled.
#[pyclass]
struct AbortOnCancel {
    task: AbortHandle,
}

#[pymethods]
impl AbortOnCancel {
    fn __call__(&self, future: &Bound<'_, PyAny>) -> PyResult<()> {
        if future.call_method0("cancelled")?.is_truthy()? {
            self.task.abort();
        }
        Ok(())
    }
}

fn panicked() -> PyErr {
    PyRuntimeError::new_err("handfast has a bug: an internal task panicked; please report it")
}

fn lane() -> PyResult<&'static Lane> {
    let current = LANE.load(Ordering::Acquire);
    // SAFETY: what is stored here was leaked from a box and is never freed.
    if let Some(lane) = unsafe { current.as_ref() }
        && lane.pid == process::id()
    {
        return Ok(lane);
    }
    let (sender, receiver) = mpsc::channel();
    let thread = thread::Builder::new()
        .name("handfast-py".to_owned())
        .spawn(move || settle_all(&receiver))
        .map_err(|error| PyRuntimeError::new_err(format!("no thread for handfast: {error}")))?;
    let lane = Lane {
        pid: process::id(),
        sender,
        thread: Some(thread).into(),
    };
    let made = Box::into_raw(Box::new(lane));
    match LANE.compare_exchange(current, made, Ordering::AcqRel, Ordering::Acquire) {
        // SAFETY: `made` was leaked just now.
        Ok(_) => Ok(unsafe { &*made }),
        Err(winner) => {
            // SAFETY: `made` was not published; its thread ends as its sender is dropped.
            drop(unsafe { Box::from_raw(made) });
            // SAFETY: whatever won the race was leaked as well.
            Ok(unsafe { &*winner })
        }
    }
}

fn settle_all(receiver: &mpsc::Receiver<Message>) {
    while let Ok(first) = receiver.recv() {
        let mut messages = vec![first];
        while messages.len() < BATCH
            && let Ok(message) = receiver.try_recv()
        {
            messages.push(message);
        }
        if !Python::attach(|py| handle(py, messages)) {
            return;
        }
    }
}

/// Does what the messages say; `false` when one of them says to stop.
fn handle(py: Python<'_>, messages: Vec<Message>) -> bool {
    let mut batch = Vec::new();
    let mut go_on = true;
    for message in messages {
        match message {
            Message::Settle(completion) => batch.push(completion),
            Message::Notify(notice) => report(py, notice(py)),
            Message::Stop => go_on = false,
        }
    }
    report(py, settle(py, batch));
    go_on
}

fn report(py: Python<'_>, result: PyResult<()>) {
    if let Err(error) = result {
        error.write_unraisable(py, None);
    }
}

/// Hands a batch to its event loops, with one call for each loop.
fn settle(py: Python<'_>, batch: Vec<Completion>) -> PyResult<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let settle = py.import("handfast._bridge")?.getattr("settle")?;
    let mut loops: Vec<(Py<PyAny>, Bound<'_, PyList>)> = Vec::new();
    for Completion {
        event_loop,
        future,
        convert,
    } in batch
    {
        let (value, error) = match convert(py) {
            Ok(value) => (value, py.None()),
            Err(error) => (py.None(), error.into_value(py).into_any()),
        };
        let item = (future, value, error);
        match loops.iter().find(|(known, _)| known.is(&event_loop)) {
            Some((_, items)) => items.append(item)?,
            None => loops.push((event_loop, PyList::new(py, [item])?)),
        }
    }
    for (event_loop, items) in loops {
        // A loop that was closed meanwhile has nobody left who waits.
        drop(event_loop.call_method1(py, "call_soon_threadsafe", (&settle, items)));
    }
    Ok(())
}
