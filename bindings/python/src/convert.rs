//! Rust values as plain Python values: tuples, bytes, numbers.
//!
//! Owns the shapes; `handfast/_types.py` makes the public classes of them, and must agree.

use handfast::{
    Leader, LockLine, LostReason, Member, Waiting,
    core::{
        DeleteResponse, EventKind, KeyValue, LeaseInfo, OpResponse, PutResponse, RangeResponse,
        TxnResponse,
    },
};
use handfast_bindings::feed::Changes;
use pyo3::{
    IntoPyObjectExt,
    prelude::*,
    types::{PyBytes, PyList},
};

/// Makes the Python value of a result; runs on the settling thread, with the interpreter attached.
pub(crate) trait ToPython: Send + 'static {
    fn to_python(self, py: Python<'_>) -> PyResult<Py<PyAny>>;
}

/// Makes the Python value later.
pub(crate) type Convert = Box<dyn for<'py> FnOnce(Python<'py>) -> PyResult<Py<PyAny>> + Send>;

/// Something told, which may be that there is nothing.
pub(crate) struct Told<T>(pub(crate) T);

type Made = PyResult<Py<PyAny>>;

impl ToPython for () {
    fn to_python(self, py: Python<'_>) -> Made {
        Ok(py.None())
    }
}

impl ToPython for i64 {
    fn to_python(self, py: Python<'_>) -> Made {
        self.into_py_any(py)
    }
}

impl<T: ToPython> ToPython for Option<T> {
    fn to_python(self, py: Python<'_>) -> Made {
        match self {
            Some(value) => value.to_python(py),
            None => Ok(py.None()),
        }
    }
}

impl ToPython for RangeResponse {
    fn to_python(self, py: Python<'_>) -> Made {
        range(py, &self)
    }
}

impl ToPython for PutResponse {
    fn to_python(self, py: Python<'_>) -> Made {
        put(py, &self)
    }
}

impl ToPython for DeleteResponse {
    fn to_python(self, py: Python<'_>) -> Made {
        delete(py, &self)
    }
}

impl ToPython for TxnResponse {
    fn to_python(self, py: Python<'_>) -> Made {
        txn(py, &self)
    }
}

impl ToPython for LockLine {
    fn to_python(self, py: Python<'_>) -> Made {
        let members = list(py, &self.members, member)?;
        (members, self.revision).into_py_any(py)
    }
}

impl ToPython for Member {
    fn to_python(self, py: Python<'_>) -> Made {
        member(py, &self)
    }
}

impl ToPython for Waiting {
    fn to_python(self, py: Python<'_>) -> Made {
        let holder = match &self.holder {
            Some(holder) => member(py, holder)?,
            None => py.None(),
        };
        (PyBytes::new(py, &self.name), self.position, holder).into_py_any(py)
    }
}

impl ToPython for Leader {
    fn to_python(self, py: Python<'_>) -> Made {
        let Leader {
            key,
            lease,
            value,
            token,
            revision,
            ..
        } = self;
        let (key, value) = (PyBytes::new(py, &key), PyBytes::new(py, &value));
        (key, value, token, lease, revision).into_py_any(py)
    }
}

impl ToPython for LostReason {
    fn to_python(self, py: Python<'_>) -> Made {
        (self.code(), self.to_string()).into_py_any(py)
    }
}

impl ToPython for LeaseInfo {
    fn to_python(self, py: Python<'_>) -> Made {
        let keys = list(py, &self.keys, |py, key| {
            PyBytes::new(py, key).into_py_any(py)
        })?;
        (self.ttl, self.granted_ttl, keys).into_py_any(py)
    }
}

impl ToPython for Changes {
    fn to_python(self, py: Python<'_>) -> Made {
        let events = list(py, &self.events, |py, event| {
            let created = event.kind == EventKind::Put;
            let before = optional_pair(py, event.prev_kv.as_ref())?;
            (created, pair(py, &event.kv)?, before).into_py_any(py)
        })?;
        (self.revision, events).into_py_any(py)
    }
}

pub(crate) fn list<T>(
    py: Python<'_>,
    items: &[T],
    make: impl Fn(Python<'_>, &T) -> Made,
) -> PyResult<Py<PyList>> {
    let made = items
        .iter()
        .map(|item| make(py, item))
        .collect::<PyResult<Vec<_>>>()?;
    Ok(PyList::new(py, made)?.unbind())
}

pub(crate) fn pair(py: Python<'_>, pair: &KeyValue) -> Made {
    let KeyValue {
        key,
        value,
        create_revision,
        mod_revision,
        version,
        lease,
    } = pair;
    let (key, value) = (PyBytes::new(py, key), PyBytes::new(py, value));
    (
        key,
        value,
        *create_revision,
        *mod_revision,
        *version,
        *lease,
    )
        .into_py_any(py)
}

fn optional_pair(py: Python<'_>, found: Option<&KeyValue>) -> Made {
    found.map_or_else(|| Ok(py.None()), |found| pair(py, found))
}

fn range(py: Python<'_>, answer: &RangeResponse) -> Made {
    let pairs = list(py, &answer.kvs, pair)?;
    (pairs, answer.count, answer.more, answer.header.revision).into_py_any(py)
}

fn put(py: Python<'_>, answer: &PutResponse) -> Made {
    let before = optional_pair(py, answer.prev_kv.as_ref())?;
    (answer.header.revision, before).into_py_any(py)
}

fn delete(py: Python<'_>, answer: &DeleteResponse) -> Made {
    let before = list(py, &answer.prev_kvs, pair)?;
    (answer.deleted, answer.header.revision, before).into_py_any(py)
}

fn txn(py: Python<'_>, answer: &TxnResponse) -> Made {
    let answers = list(py, &answer.responses, |py, answer| match answer {
        OpResponse::Range(answer) => ("get", range(py, answer)?).into_py_any(py),
        OpResponse::Put(answer) => ("put", put(py, answer)?).into_py_any(py),
        OpResponse::Delete(answer) => ("delete", delete(py, answer)?).into_py_any(py),
        OpResponse::Txn(answer) => ("txn", txn(py, answer)?).into_py_any(py),
        _ => Ok(py.None()),
    })?;
    (answer.succeeded, answer.header.revision, answers).into_py_any(py)
}

pub(crate) fn member(py: Python<'_>, member: &Member) -> Made {
    let session = match &member.session {
        None => py.None(),
        Some(record) => {
            let shown = (&record.app, &record.host, record.pid, record.since_unix_ms);
            shown.into_py_any(py)?
        }
    };
    (
        PyBytes::new(py, &member.key),
        PyBytes::new(py, &member.value),
        member.token,
        member.lease,
        member.position,
        member.immortal,
        session,
    )
        .into_py_any(py)
}
