//! One two-way stream to one endpoint: being opened, live, or over.
//!
//! Owns the life of such a stream. Knows nothing of what is said on it, nor of opening another.

use std::{future::Future, sync::Arc};

use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status, Streaming, transport::Channel};

use crate::{
    ErrorKind,
    call::{demand_leader, note, punishes},
    error::classify::{Failure, Fate},
    pool::{Link, Pool, Wait, Waiting},
};

/// What a stream's requests are read from.
pub(crate) type Requests<T> = UnboundedReceiverStream<T>;

/// A stream of `Req` out and `Resp` in. Requests may be sent before it is open.
pub(crate) struct Duplex<Req, Resp> {
    pool: Arc<Pool>,
    index: usize,
    requests: mpsc::UnboundedSender<Req>,
    state: State<Resp>,
}

type Opened<Resp> = Result<Live<Resp>, Failure>;

/// An open stream.
struct Live<Resp> {
    link: Link,
    replies: Box<Streaming<Resp>>,
    _waiting: Option<Waiting>,
}

enum State<Resp> {
    Opening(BoxFuture<'static, Opened<Resp>>),
    Live(Live<Resp>),
    Over,
}

impl<Req: Send + 'static, Resp: Send + 'static> Duplex<Req, Resp> {
    /// Begins to open a stream to endpoint `index`; `start` makes the call.
    pub(crate) fn open<F, Fut>(
        pool: &Arc<Pool>,
        index: usize,
        require_leader: bool,
        start: F,
    ) -> Self
    where
        F: FnOnce(Channel, Request<Requests<Req>>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Response<Streaming<Resp>>, Status>> + Send,
    {
        let (requests, receiver) = mpsc::unbounded_channel();
        let own_pool = Arc::clone(pool);
        let opening = async move {
            let link = own_pool.link(index).await?;
            let mut request = Request::new(UnboundedReceiverStream::new(receiver));
            if require_leader {
                demand_leader(&mut request);
            }
            let opening = own_pool.wait(&link, Wait::Call);
            // A Go server sends its headers with the first reply, so this waits for one.
            let started = start(link.channel.clone(), request).await;
            drop(opening);
            match started {
                Ok(response) => Ok(Live {
                    _waiting: own_pool.wait(&link, Wait::Stream),
                    link,
                    replies: Box::new(response.into_inner()),
                }),
                Err(status) => {
                    let failure = Failure::read(&status);
                    note(&own_pool, &link, &failure);
                    Err(failure)
                }
            }
        };
        let state = State::Opening(Box::pin(opening));
        Self {
            pool: Arc::clone(pool),
            index,
            requests,
            state,
        }
    }

    /// The endpoint's number in the pool.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Queues `request`; what is queued when the stream fails is lost.
    pub(crate) fn send(&self, request: Req) {
        // A closed queue means a failed stream, and that is told by `next`.
        let _ = self.requests.send(request);
    }

    /// The next reply, or why there will be none. After a failure it waits for ever. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Resp, Failure> {
        loop {
            match &mut self.state {
                State::Opening(opening) => match opening.await {
                    Ok(live) => self.state = State::Live(live),
                    Err(failure) => return Err(self.fail(failure)),
                },
                State::Live(live) => {
                    let failure = match live.replies.message().await {
                        Ok(Some(message)) => return Ok(message),
                        Ok(None) => ended(),
                        Err(status) => Failure::read(&status),
                    };
                    note(&self.pool, &live.link, &failure);
                    return Err(self.fail(failure));
                }
                State::Over => std::future::pending().await,
            }
        }
    }

    /// Gives the stream up as silent; with its connection, unless there are other endpoints.
    pub(crate) fn abandon(mut self) {
        if let State::Live(live) = &self.state
            && self.pool.len() == 1
        {
            self.pool.discard(&live.link);
        }
        self.state = State::Over;
        self.pool.failed(self.index, &silent());
    }

    fn fail(&mut self, failure: Failure) -> Failure {
        self.state = State::Over;
        if punishes(failure.kind) {
            self.pool.failed(self.index, &failure);
        }
        failure
    }
}

fn silent() -> Failure {
    Failure {
        kind: ErrorKind::Timeout,
        fate: Fate::Unknown,
        code: None,
        message: "it is silent".to_owned(),
    }
}

fn ended() -> Failure {
    Failure {
        kind: ErrorKind::Unavailable,
        fate: Fate::Unknown,
        code: Some(tonic::Code::Unavailable),
        message: "the server ended the stream".to_owned(),
    }
}

/// Whether opening the stream again, anywhere, would fail the same way.
pub(crate) fn is_final(failure: &Failure) -> bool {
    matches!(
        failure.kind,
        ErrorKind::PermissionDenied | ErrorKind::Unauthenticated | ErrorKind::Unimplemented
    )
}
