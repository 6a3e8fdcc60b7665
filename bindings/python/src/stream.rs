//! Watches and observers: values that keep coming.
//!
//! Owns taking one at a time, and ending a wait from another thread.

use std::sync::Arc;

use handfast::core::{WatchEvent, WatchStream};
use handfast::{Leader, Observer as Leaders};
use pyo3::prelude::*;
use tokio::sync::{Mutex, watch};

use crate::{
    call::Call,
    convert::{Changes, ToPython},
    errors::{Failure, optional_duration, raise},
    rt::Local,
};

/// Where values come from; `None` after the last one.
pub(crate) trait Source: Send + 'static {
    type Item: ToPython;
    fn take(&mut self) -> impl Future<Output = Result<Option<Self::Item>, Failure>> + Send;
}

impl Source for WatchStream {
    type Item = Changes;

    async fn take(&mut self) -> Result<Option<Changes>, Failure> {
        loop {
            return match self.next().await {
                None => Ok(None),
                Some(Err(error)) => Err(error.into()),
                Some(Ok(WatchEvent::Events { revision, events })) => {
                    Ok(Some(Changes { revision, events }))
                }
                Some(Ok(WatchEvent::Compacted { compact_revision })) => {
                    Err(Failure::compacted(compact_revision))
                }
                Some(Ok(_)) => continue,
            };
        }
    }
}

impl Source for Leaders {
    type Item = (Option<Leader>,);

    async fn take(&mut self) -> Result<Option<Self::Item>, Failure> {
        Ok(Some((self.next().await,)))
    }
}

impl ToPython for (Option<Leader>,) {
    fn to_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let leader = self.0.to_python(py)?;
        Ok((leader,).into_pyobject(py)?.into_any().unbind())
    }
}

/// A source that is closed once and for all, also while somebody waits for it.
pub(crate) struct Feed<S> {
    source: Arc<Mutex<Option<S>>>,
    closed: Arc<watch::Sender<bool>>,
}

impl<S: Source> Feed<S> {
    pub(crate) fn new(source: S) -> Self {
        Self {
            source: Arc::new(Mutex::new(Some(source))),
            closed: Arc::new(watch::Sender::new(false)),
        }
    }

    pub(crate) fn next(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Call> {
        let limit = raise(py, optional_duration("timeout", timeout))?;
        let source = Arc::clone(&self.source);
        let mut closed = self.closed.subscribe();
        Ok(Call::new(async move {
            let mut source = source.lock().await;
            let Some(open) = source.as_mut() else {
                return Ok(None);
            };
            let ended = async move {
                // The feed lives as long as somebody can call this.
                drop(closed.wait_for(|closed| *closed).await);
                Ok(None)
            };
            let taken = async {
                tokio::select! {
                    biased;
                    ended = ended => ended,
                    item = open.take() => item,
                }
            };
            match limit {
                None => taken.await,
                Some(limit) => match tokio::time::timeout(limit, taken).await {
                    Ok(taken) => taken,
                    Err(_) => Err(Failure::timeout("nothing came", limit)),
                },
            }
        }))
    }

    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
        // Else whoever waits lets go of it, and finds it closed at the next call.
        if let Ok(mut source) = self.source.try_lock() {
            drop(Local::new(source.take()));
        }
    }
}

macro_rules! feed_class {
    ($name:ident, $source:ty, $text:literal) => {
        #[doc = $text]
        #[pyclass(frozen, weakref, module = "handfast._native")]
        pub(crate) struct $name($crate::rt::Local<$crate::stream::Feed<$source>>);

        impl $crate::convert::ToPython for $source {
            fn to_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
                let feed = $name($crate::rt::Local::new($crate::stream::Feed::new(self)));
                Ok(Py::new(py, feed)?.into_any())
            }
        }

        #[pymethods]
        impl $name {
            /// The next one; `None` after the last, or when it was closed. Loses nothing when it
            /// is cancelled.
            #[pyo3(signature = (timeout = None))]
            fn next(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<$crate::call::Call> {
                self.0.get()?.next(py, timeout)
            }

            fn close(&self) -> PyResult<()> {
                self.0.get()?.close();
                Ok(())
            }
        }
    };
}

pub(crate) use feed_class;

feed_class!(Watch, WatchStream, "Changes of keys: (revision, events).");
feed_class!(
    Observer,
    Leaders,
    "Leaders of an election: (leader,) or (None,)."
);
