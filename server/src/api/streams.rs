//! Ending long streams from outside: at shutdown, or when the leader is lost.
//!
//! Owns the list of open streams and one wake-up handle for each. It must not know what a stream
//! carries, and keeps no task and no timer per stream.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use futures::Stream;
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use tonic::{Code, Status};

use crate::error;
use crate::metrics::{Call, Calls};

const RUNNING: u8 = 0;
const LEADER_LOST: u8 = 1;
const STOPPED: u8 = 2;

/// All open streams of a server.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    stopped: bool,
    next: u64,
    /// In the order they came: the same run of a simulation ends them in the same order.
    signals: BTreeMap<u64, Arc<Signal>>,
}

/// How a stream is woken, and whether it has to end.
#[derive(Debug)]
pub(super) struct Signal {
    waker: AtomicWaker,
    end: AtomicU8,
    requires_leader: bool,
}

impl Signal {
    /// Has the stream polled again.
    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    fn end(&self, why: u8) {
        self.end.store(why, Ordering::Release);
        self.waker.wake();
    }
}

impl Streams {
    /// Enters the stream of a call into the list, until the ticket is dropped.
    pub(super) fn enter(self: &Arc<Self>, requires_leader: bool, call: Call<Arc<Calls>>) -> Ticket {
        let mut open = self.open.lock();
        let end = if open.stopped { STOPPED } else { RUNNING };
        let signal = Arc::new(Signal {
            waker: AtomicWaker::new(),
            end: AtomicU8::new(end),
            requires_leader,
        });
        let number = open.next;
        open.next += 1;
        open.signals.insert(number, Arc::clone(&signal));
        drop(open);
        Ticket {
            streams: Arc::clone(self),
            number,
            signal,
            call,
        }
    }

    /// Ends every stream, and each that is still to come.
    pub(crate) fn stop(&self) {
        let mut open = self.open.lock();
        open.stopped = true;
        open.signals.values().for_each(|signal| signal.end(STOPPED));
    }

    /// Ends the streams that asked for a leader.
    pub(crate) fn leader_lost(&self) {
        let open = self.open.lock();
        let asked = open
            .signals
            .values()
            .filter(|signal| signal.requires_leader);
        asked.for_each(|signal| signal.end(LEADER_LOST));
    }
}

/// A stream's place in the list.
#[derive(Debug)]
pub(super) struct Ticket {
    streams: Arc<Streams>,
    number: u64,
    signal: Arc<Signal>,
    call: Call<Arc<Calls>>,
}

impl Ticket {
    pub(super) fn signal(&self) -> &Arc<Signal> {
        &self.signal
    }

    /// The status to end with, if the stream has to; otherwise it is polled again when that
    /// changes, or when the signal is used.
    pub(super) fn poll_end(&self, cx: &Context<'_>) -> Option<Status> {
        self.signal.waker.register(cx.waker());
        match self.signal.end.load(Ordering::Acquire) {
            RUNNING => None,
            LEADER_LOST => Some(error::NO_LEADER.into()),
            _ => Some(error::STOPPED.into()),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.streams.open.lock().signals.remove(&self.number);
    }
}

/// A stream that ends when its ticket says so, with the fitting status.
pub(crate) struct Guarded<S> {
    inner: S,
    ticket: Option<Ticket>,
}

impl<S> Guarded<S> {
    pub(super) fn new(inner: S, ticket: Ticket) -> Guarded<S> {
        Guarded {
            inner,
            ticket: Some(ticket),
        }
    }
}

impl<T, S: Stream<Item = Result<T, Status>> + Unpin> Stream for Guarded<S> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Guarded {
            inner,
            ticket: place,
        } = &mut *self;
        let Some(ticket) = place else {
            return Poll::Ready(None);
        };
        if let Some(status) = ticket.poll_end(cx) {
            ticket.call.end(status.code());
            *place = None;
            return Poll::Ready(Some(Err(status)));
        }
        let item = Pin::new(inner).poll_next(cx);
        let end = match &item {
            Poll::Ready(None) => Code::Ok,
            Poll::Ready(Some(Err(status))) => status.code(),
            _ => return item,
        };
        ticket.call.end(end);
        *place = None;
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Method;
    use futures::StreamExt;

    type Item = Result<(), Status>;

    fn endless(streams: &Arc<Streams>, requires_leader: bool) -> impl Stream<Item = Item> + Unpin {
        Guarded::new(
            futures::stream::pending::<Item>(),
            streams.enter(requires_leader, Calls::begin(Arc::default(), Method::Watch)),
        )
    }

    fn is_running(stream: &mut (impl Stream<Item = Item> + Unpin)) -> bool {
        let mut cx = Context::from_waker(futures::task::noop_waker_ref());
        stream.poll_next_unpin(&mut cx).is_pending()
    }

    #[tokio::test]
    async fn a_lost_leader_ends_only_streams_that_asked_for_one() {
        let streams = Arc::new(Streams::default());
        let mut strict = endless(&streams, true);
        let mut patient = endless(&streams, false);
        assert!(is_running(&mut strict) && is_running(&mut patient));

        streams.leader_lost();
        let status = strict.next().await.unwrap().unwrap_err();
        assert_eq!(status.message(), "etcdserver: no leader");
        assert!(strict.next().await.is_none());
        assert!(is_running(&mut patient));
    }

    #[tokio::test]
    async fn stopping_ends_present_and_later_streams_and_dropping_forgets_them() {
        let streams = Arc::new(Streams::default());
        let mut before = endless(&streams, false);
        assert_eq!(streams.open.lock().signals.len(), 1);
        streams.stop();
        let mut after = endless(&streams, false);
        for stream in [&mut before, &mut after] {
            let status = stream.next().await.unwrap().unwrap_err();
            assert_eq!(status.message(), "etcdserver: server stopped");
            assert_eq!(status.code(), tonic::Code::Unavailable);
        }
        assert!(streams.open.lock().signals.is_empty());
    }
}
