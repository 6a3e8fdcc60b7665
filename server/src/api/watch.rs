//! The Watch service: one gRPC stream, any number of watchers.
//!
//! Owns the pull: the transport asks for the next response when the client has room for it, and
//! only then are requests taken and events looked up. A client that does not read therefore costs
//! its cursors and nothing else; no task, no channel and no queue stands between store and stream.
//! What a watcher sees is decided in the store's watch hub.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use handfast_mvcc::watch::WatchStream;
use handfast_proto::etcdserverpb::{
    ResponseHeader, WatchRequest, WatchResponse, watch_request::RequestUnion, watch_server::Watch,
};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tonic::{Code, Request, Response, Status, Streaming};

use super::streams::{Guarded, Ticket};
use super::{Node, requires_leader};
use crate::metrics::{Method, WatchingShare};
use crate::{error, limits};

/// The watch handler; a stream outlives its call and so needs the node shared.
pub(crate) struct Watches(pub(crate) Arc<Node>);

#[tonic::async_trait]
impl Watch for Watches {
    type WatchStream = Guarded<Session<Streaming<WatchRequest>>>;

    async fn watch(
        &self,
        request: Request<Streaming<WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let mut call = self.0.begin(Method::Watch);
        call.check(self.0.admit(request.metadata()))?;
        let requires_leader = requires_leader(request.metadata());
        let ticket = self.0.streams.enter(requires_leader, call);
        let session = Session::new(Arc::clone(&self.0), request.into_inner(), &ticket);
        Ok(Response::new(Guarded::new(session, ticket)))
    }
}

/// One open watch stream.
pub(crate) struct Session<R> {
    node: Arc<Node>,
    /// `None` once the client has closed its side; its watchers go on.
    requests: Option<R>,
    watchers: WatchStream,
    /// Responses of the last look at the store, sent up to `sent`; the space is used again.
    ready: Vec<WatchResponse>,
    sent: usize,
    /// Runs from the first watcher on that asked for progress notices.
    progress: Option<Interval>,
    /// What this stream adds to the metrics.
    share: WatchingShare,
}

impl<R> Session<R> {
    fn new(node: Arc<Node>, requests: R, ticket: &Ticket) -> Session<R> {
        let signal = Arc::clone(ticket.signal());
        let watchers = node
            .store
            .watch()
            .open_stream(Arc::new(move || signal.wake()));
        Session {
            node,
            requests: Some(requests),
            watchers,
            ready: Vec::new(),
            sent: 0,
            progress: None,
            share: WatchingShare::default(),
        }
    }

    /// The next response of the last look, with its header completed.
    fn next_ready(&mut self) -> Option<WatchResponse> {
        let response = self.ready.get_mut(self.sent).map(std::mem::take);
        self.sent += 1;
        if response.is_none() {
            self.ready.clear();
            self.sent = 0;
        }
        response
    }

    /// Looks for events once; whether there is more to be had at once.
    fn look(&mut self) -> bool {
        let Session {
            node,
            watchers,
            ready,
            share,
            ..
        } = self;
        let more = watchers.poll(node.store.as_ref(), ready, limits::WATCH_POLL_BYTES);
        let watching = &node.metrics.watching;
        watching.update(share, watchers.watchers(), watchers.catching_up());
        if !ready.is_empty() {
            watching.sent(ready.iter().map(|response| response.events.len()).sum());
            let header = node.header(0);
            for response in ready {
                let revision = response.header.map_or(0, |header| header.revision);
                response.header = Some(ResponseHeader { revision, ..header });
            }
        }
        more
    }

    fn handle(&mut self, request: WatchRequest) {
        if let Some(RequestUnion::CreateRequest(create)) = &request.request_union
            && create.progress_notify
            && self.progress.is_none()
        {
            self.progress = Some(self.node.progress_ticks());
        }
        self.watchers.handle(request);
    }

    fn tick(&mut self, cx: &mut Context<'_>) {
        let Some(progress) = &mut self.progress else {
            return;
        };
        let mut ticked = false;
        while progress.poll_tick(cx).is_ready() {
            ticked = true;
        }
        if ticked {
            self.watchers.progress_tick();
        }
    }
}

impl<R: Stream<Item = Result<WatchRequest, Status>> + Unpin> Session<R> {
    /// Takes the requests that have arrived; the status when the client broke the stream.
    ///
    /// Whether it stopped at its limit, so that there may be more.
    fn take_requests(&mut self, cx: &mut Context<'_>) -> Result<bool, Status> {
        for _ in 0..limits::WATCH_REQUESTS_PER_POLL {
            let Some(requests) = &mut self.requests else {
                return Ok(false);
            };
            match Pin::new(requests).poll_next(cx) {
                Poll::Ready(Some(Ok(request))) => self.handle(request),
                Poll::Ready(Some(Err(status))) => return Err(broken(status)),
                Poll::Ready(None) => self.requests = None,
                Poll::Pending => return Ok(false),
            }
        }
        Ok(true)
    }
}

impl<R: Stream<Item = Result<WatchRequest, Status>> + Unpin> Stream for Session<R> {
    type Item = Result<WatchResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let session = self.get_mut();
        if let Some(response) = session.next_ready() {
            return Poll::Ready(Some(Ok(response)));
        }
        let more_requests = match session.take_requests(cx) {
            Ok(more) => more,
            Err(status) => return Poll::Ready(Some(Err(status))),
        };
        session.tick(cx);
        let more_events = session.look();
        if let Some(response) = session.next_ready() {
            return Poll::Ready(Some(Ok(response)));
        }
        if more_requests || more_events {
            // Others on this thread get their turn before the next look.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Node {
    /// Ticks at the period of progress notices, lengthened by chance so that streams opened
    /// together do not all tick together.
    fn progress_ticks(&self) -> Interval {
        let period = self.settings.progress_interval;
        let share = period / limits::PROGRESS_JITTER_DIVISOR;
        let jitter = share.mul_f64(self.ids.draw() as f64 / u64::MAX as f64);
        let period = (period + jitter).max(Duration::from_millis(1));
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }
}

impl<R> Drop for Session<R> {
    fn drop(&mut self) {
        self.node.metrics.watching.update(&mut self.share, 0, 0);
    }
}

/// How the stream ends when its client has gone or has sent what cannot be read.
fn broken(status: Status) -> Status {
    if status.code() == Code::Cancelled {
        return error::WATCH_CANCELED.into();
    }
    error::oversized(&status).unwrap_or(status)
}
