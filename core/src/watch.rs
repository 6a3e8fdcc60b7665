//! Watches: what a caller asks for and what it gets.
//!
//! Owns the options and the stream handed out. One task per client ([`driver`]) keeps all watches
//! on one gRPC stream; [`cursor`] knows how far a watch has come, [`queue`] holds what the caller
//! has not taken yet, and [`event`] is what it takes.

mod cursor;
mod driver;
mod event;
mod queue;

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::Stream;
use handfast_proto::etcdserverpb::{WatchCreateRequest, watch_create_request::FilterType};
use parking_lot::Mutex;

use driver::{Command, Hub, NewWatch};
pub use event::{Event, EventKind, WatchEvent};
use queue::Queue;

use crate::{Error, ErrorKind, IntoBytes, namespace, pool::Pool, span};

/// Bytes a watch holds for a caller that does not take them, unless told otherwise.
const DEFAULT_BUFFER_BYTES: usize = 4 << 20;

/// What to watch.
#[derive(Debug, Clone)]
#[must_use = "options do nothing until they are given to Client::watch"]
pub struct WatchOptions {
    request: WatchCreateRequest,
    buffer_bytes: usize,
    tell_interruptions: bool,
}

impl WatchOptions {
    /// The one key `key`.
    pub fn key(key: impl IntoBytes) -> Self {
        Self::span(key.into_bytes(), Bytes::new())
    }

    /// All keys that start with `prefix`; the empty prefix means every key.
    pub fn prefix(prefix: impl IntoBytes) -> Self {
        let (key, end) = span::prefix_span(prefix.into_bytes());
        Self::span(key, end)
    }

    /// All keys from `key` up to `end`, without `end`.
    pub fn range(key: impl IntoBytes, end: impl IntoBytes) -> Self {
        Self::span(key.into_bytes(), end.into_bytes())
    }

    /// All keys from `key` on.
    pub fn from_key(key: impl IntoBytes) -> Self {
        let mut key = key.into_bytes();
        if key.is_empty() {
            key = Bytes::from_static(span::OPEN_END);
        }
        Self::span(key, Bytes::from_static(span::OPEN_END))
    }

    fn span(key: Bytes, range_end: Bytes) -> Self {
        let request = WatchCreateRequest {
            key,
            range_end,
            fragment: true,
            ..Default::default()
        };
        Self {
            request,
            buffer_bytes: DEFAULT_BUFFER_BYTES,
            tell_interruptions: false,
        }
    }

    /// Starts with the changes of `revision`, as far as they are not compacted; 0 (the default)
    /// starts with the first change after the watch was made, by the state of the member that
    /// makes it, which may be behind what this client saw at another: to start after what was
    /// read, give the read's revision + 1.
    pub fn start_revision(mut self, revision: i64) -> Self {
        self.request.start_revision = revision;
        self
    }

    /// Gives with each change the pair as it was before, unless that is compacted.
    pub fn prev_kv(mut self) -> Self {
        self.request.prev_kv = true;
        self
    }

    /// Asks the server to report progress by itself when nothing happens (etcd: every 10 minutes).
    pub fn progress_notify(mut self) -> Self {
        self.request.progress_notify = true;
        self
    }

    /// Leaves out puts.
    pub fn no_put(mut self) -> Self {
        self.request.filters.push(FilterType::Noput as i32);
        self
    }

    /// Leaves out deletes.
    pub fn no_delete(mut self) -> Self {
        self.request.filters.push(FilterType::Nodelete as i32);
        self
    }

    /// Reports it at once when the watch is cut off, as
    /// [`Interrupted`](WatchEvent::Interrupted).
    pub fn tell_interruptions(mut self) -> Self {
        self.tell_interruptions = true;
        self
    }

    /// How many bytes of events may wait for the caller (default 4 MiB). When they are full, the
    /// server is told to stop this watch, and it goes on where it was once half of them is taken;
    /// other watches do not notice.
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.buffer_bytes = bytes;
        self
    }
}

/// All watches of a client.
pub(crate) struct Watches {
    pool: Arc<Pool>,
    require_leader: bool,
    hub: Mutex<Option<Hub>>,
}

impl Watches {
    pub(crate) fn new(pool: Arc<Pool>, require_leader: bool) -> Self {
        Self {
            pool,
            require_leader,
            hub: Mutex::new(None),
        }
    }

    /// Makes a watch of keys under `prefix`, the namespace. Panics outside a tokio runtime.
    pub(crate) fn open(&self, prefix: &Bytes, options: WatchOptions) -> WatchStream {
        let WatchOptions {
            mut request,
            buffer_bytes,
            tell_interruptions,
        } = options;
        let queue = Arc::new(Queue::new(buffer_bytes));
        let next_revision = request.start_revision;
        if request.key.is_empty() {
            let message = "the key is empty; to watch every key use an empty prefix";
            queue.end(Err(Error::local(ErrorKind::EmptyKey, "watch", message)));
        } else if request.start_revision < 0 {
            let message = format!("{} is not a revision", request.start_revision);
            queue.end(Err(Error::invalid("watch", message)));
        }
        namespace::enter_span(prefix, &mut request.key, &mut request.range_end);
        let hub = self.hub();
        let id = hub.next_id();
        if !queue.is_ended() {
            hub.send(Command::Open(NewWatch {
                id,
                request,
                queue: Arc::clone(&queue),
                tell_interruptions,
            }));
        }
        WatchStream {
            id,
            hub,
            queue,
            namespace: prefix.clone(),
            next_revision,
        }
    }

    /// The way to the task, which is started if there is none or its runtime is gone.
    fn hub(&self) -> Hub {
        let mut slot = self.hub.lock();
        match &*slot {
            Some(hub) if !hub.is_closed() => hub.clone(),
            _ => {
                let hub = Hub::start(Arc::clone(&self.pool), self.require_leader);
                slot.insert(hub).clone()
            }
        }
    }
}

/// The reports of one watch. Dropping it cancels the watch.
#[must_use = "dropping the stream cancels the watch"]
pub struct WatchStream {
    id: u64,
    hub: Hub,
    queue: Arc<Queue>,
    namespace: Bytes,
    next_revision: i64,
}

impl WatchStream {
    /// The next report; `None` after the last. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<WatchEvent, Error>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// The revision another watch would have to start from to report what this one has not
    /// reported yet; 0 while that is not known.
    #[must_use]
    pub fn next_revision(&self) -> i64 {
        self.next_revision
    }

    /// Asks the server how far this client's watches have come; the answer is a
    /// [`Progress`](WatchEvent::Progress) on each. A server that is busy catching up gives none:
    /// ask again.
    pub fn request_progress(&self) {
        self.hub.send(Command::Progress);
    }

    /// Cancels the watch, as dropping it does.
    pub fn cancel(self) {}

    fn note(&mut self, event: &mut WatchEvent) {
        let seen = match event {
            WatchEvent::Created { revision } if self.next_revision == 0 => *revision,
            WatchEvent::Progress { revision } => *revision,
            WatchEvent::Events { revision, events } => {
                for event in events {
                    namespace::leave_key(&self.namespace, &mut event.kv.key);
                    if let Some(previous) = &mut event.prev_kv {
                        namespace::leave_key(&self.namespace, &mut previous.key);
                    }
                }
                *revision
            }
            _ => return,
        };
        self.next_revision = self.next_revision.max(seen + 1);
    }
}

impl Stream for WatchStream {
    type Item = Result<WatchEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let (polled, drained) = self.queue.poll_pop(context);
        if drained {
            self.hub.send(Command::Unpark(self.id));
        }
        match polled {
            Poll::Ready(Some(Ok(mut event))) => {
                self.note(&mut event);
                Poll::Ready(Some(Ok(event)))
            }
            other => other,
        }
    }
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        self.hub.send(Command::Cancel(self.id));
    }
}

impl fmt::Debug for WatchStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchStream")
            .field("id", &self.id)
            .field("next_revision", &self.next_revision)
            .finish_non_exhaustive()
    }
}
