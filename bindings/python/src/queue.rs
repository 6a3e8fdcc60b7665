//! Queues: pushing, claiming and looking.
//!
//! Owns the crossing. A claim is a [`Holding`](crate::holding::Holding) with an item.

use handfast::{
    Claim, Condition, Control, DeadLetter, Pushed, QueueItem, QueueStatus, Reason, Why,
};
use handfast_bindings::{holding::Guard, queue};
use pyo3::{IntoPyObjectExt, prelude::*, pybacked::PyBackedBytes, types::PyBytes};

use crate::{
    call::Call,
    convert::{self, ToPython, list},
    errors::{Failure, Given, optional_duration, raise},
    holding::Holding,
    request::RawOp,
    rt::Local,
};

type Made = PyResult<Py<PyAny>>;

/// What an item is and what it waits for; by its names in Python.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct PushOptions {
    id: Option<String>,
    after: Vec<String>,
    gate: Option<String>,
    opens: Option<String>,
}

/// How items are taken; by its names in Python.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct WorkerOptions {
    max_attempts: Option<u32>,
    strict: bool,
    timeout: Option<Given>,
    /// For one item only.
    once: bool,
}

/// A queue by its name.
#[pyclass(frozen, module = "handfast._native")]
pub(crate) struct Queue(Local<handfast::Queue>);

impl Queue {
    pub(crate) fn new(queue: handfast::Queue) -> Self {
        Self(Local::new(queue))
    }

    fn queue(&self) -> PyResult<handfast::Queue> {
        Ok(self.0.get()?.clone())
    }
}

#[pymethods]
impl Queue {
    fn push(&self, payload: PyBackedBytes, options: PushOptions) -> PyResult<Call> {
        let mut push = self.queue()?.push(&payload[..]).after(options.after);
        if let Some(id) = options.id {
            push = push.id(id);
        }
        if let Some(gate) = options.gate {
            push = push.gate(gate);
        }
        if let Some(gate) = options.opens {
            push = push.opens(gate);
        }
        Ok(Call::new(async move { Ok(push.send().await?) }))
    }

    fn worker(&self, py: Python<'_>, options: WorkerOptions) -> PyResult<Worker> {
        let queue = self.queue()?;
        let mut worker = match options.once {
            true => queue.claim(),
            false => queue.worker(),
        };
        if let Some(attempts) = options.max_attempts {
            worker = worker.max_attempts(attempts);
        }
        if let Some(timeout) = optional_duration(py, "timeout", options.timeout.as_ref())? {
            worker = worker.timeout(timeout);
        }
        Ok(Worker(Local::new(worker.strict(options.strict).into())))
    }

    /// Lets the queue `run`, `pause` or `drain`.
    fn control(&self, py: Python<'_>, word: &str) -> PyResult<Call> {
        let control = match word {
            "run" => Ok(Control::Run),
            "pause" => Ok(Control::Pause),
            "drain" => Ok(Control::Drain),
            _ => Err(Failure::invalid(
                "control",
                format!("{word:?} is not known"),
            )),
        };
        let (queue, control) = (self.queue()?, raise(py, control)?);
        Ok(Call::new(async move { Ok(queue.control(control).await?) }))
    }

    /// What all items wait for: a count, a gate, a `start`, or nothing.
    fn condition(&self, count: Option<u32>, gate: Option<String>, start: bool) -> PyResult<Call> {
        let condition = match (count, gate, start) {
            (Some(count), _, _) => Condition::Count(count),
            (None, Some(gate), _) => Condition::Gate(gate),
            (None, None, true) => Condition::Start,
            (None, None, false) => Condition::None,
        };
        let queue = self.queue()?;
        Ok(Call::new(
            async move { Ok(queue.condition(condition).await?) },
        ))
    }

    /// Whether the gate was shut.
    fn open_gate(&self, gate: String) -> PyResult<Call> {
        let queue = self.queue()?;
        Ok(Call::new(async move { Ok(queue.open_gate(&gate).await?) }))
    }

    fn list(&self) -> PyResult<Call> {
        let queue = self.queue()?;
        Ok(Call::new(async move { Ok(queue.list().await?) }))
    }

    fn status(&self) -> PyResult<Call> {
        let queue = self.queue()?;
        Ok(Call::new(async move { Ok(queue.status().await?) }))
    }

    fn why(&self, id: String) -> PyResult<Call> {
        let queue = self.queue()?;
        Ok(Call::new(async move { Ok(queue.why(&id).await?) }))
    }

    fn dead(&self) -> PyResult<Call> {
        let queue = self.queue()?;
        Ok(Call::new(async move { Ok(queue.dead().await?) }))
    }

    /// Whether there was such a dead letter.
    fn retry(&self, id: String) -> PyResult<Call> {
        let queue = self.queue()?;
        Ok(Call::new(async move { Ok(queue.retry(&id).await?) }))
    }
}

/// Takes items one after the other.
#[pyclass(frozen, module = "handfast._native")]
pub(crate) struct Worker(Local<queue::Worker>);

#[pymethods]
impl Worker {
    /// (holding, id, payload, attempt); `None` when the queue is drained.
    fn next(&self) -> PyResult<Call> {
        let worker = self.0.get()?.clone();
        Ok(Call::new(async move { worker.next().await }))
    }

    /// Acknowledges the claimed item as [`Holding`] does, and claims the next one with it, without
    /// a wait.
    fn ack_and_next(&self, py: Python<'_>, holding: &Holding, then: Vec<RawOp>) -> PyResult<Call> {
        let worker = self.0.get()?.clone();
        let ack = holding.acknowledging(py, then)?;
        Ok(Call::shielded(async move {
            let (revision, next) = worker.ack_and_next(ack).await?;
            Ok(Onward { next, revision })
        }))
    }
}

/// An acknowledgement, and the item claimed with it.
struct Onward {
    next: Option<Claim>,
    revision: i64,
}

/// What is granted comes first: (claim, revision).
impl ToPython for Onward {
    fn to_python(self, py: Python<'_>) -> Made {
        (self.next.to_python(py)?, self.revision).into_py_any(py)
    }
}

impl ToPython for bool {
    fn to_python(self, py: Python<'_>) -> Made {
        self.into_py_any(py)
    }
}

impl ToPython for Claim {
    fn to_python(self, py: Python<'_>) -> Made {
        let id = self.id().to_owned();
        let payload = PyBytes::new(py, self.payload());
        let attempt = self.attempt();
        let holding = Holding::held_by(Guard::Claim(Box::new(self)));
        (Py::new(py, holding)?, id, payload, attempt).into_py_any(py)
    }
}

impl ToPython for Pushed {
    fn to_python(self, py: Python<'_>) -> Made {
        (self.id, self.revision, self.duplicate).into_py_any(py)
    }
}

impl ToPython for Vec<QueueItem> {
    fn to_python(self, py: Python<'_>) -> Made {
        let items = list(py, &self, |py, item| {
            let by = match &item.claimed_by {
                Some(member) => convert::member(py, member)?,
                None => py.None(),
            };
            let age = item.age.as_secs_f64();
            let counted = (item.attempts, &item.said, item.size, item.revision);
            (&item.id, item.state.code(), by, age, counted).into_py_any(py)
        })?;
        items.into_py_any(py)
    }
}

impl ToPython for QueueStatus {
    fn to_python(self, py: Python<'_>) -> Made {
        let control = match self.control {
            Control::Run => "run",
            Control::Pause => "pause",
            Control::Drain => "drain",
            _ => "other",
        };
        let counts = (self.ready, self.blocked, self.claimed, self.dead, self.done);
        (control, self.open, counts, self.workers, self.revision).into_py_any(py)
    }
}

impl ToPython for Vec<DeadLetter> {
    fn to_python(self, py: Python<'_>) -> Made {
        let letters = list(py, &self, |py, one| {
            let payload = PyBytes::new(py, &one.payload);
            (&one.id, payload, one.attempts, &one.said, one.revision).into_py_any(py)
        })?;
        letters.into_py_any(py)
    }
}

impl ToPython for Why {
    fn to_python(self, py: Python<'_>) -> Made {
        let reasons: Vec<_> = self
            .reasons
            .iter()
            .map(|reason: &Reason| (reason.code(), reason.to_string()))
            .collect();
        (self.id, self.state.code(), reasons).into_py_any(py)
    }
}
