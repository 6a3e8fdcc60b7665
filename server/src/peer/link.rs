//! One place where a member can be reached, and the connection to it.
//!
//! Owns when a connection is made, how it is tuned, and how soon another try follows a failed one.
//! It must not know what is sent.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, Shared};
use handfast_consensus::peer::Unreachable;
use handfast_proto::peer::peer_client::PeerClient;
use http::Uri;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tonic::body::Body;

use crate::config::Url;
use crate::limits;

/// How long the way to another member may be silent before it is taken for gone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Time for a connection to come up.
    connect: Duration,
    /// Silence after which the other side is asked for a sign of life.
    ask_after: Duration,
    /// Time it has to answer.
    answer_within: Duration,
}

impl Pace {
    /// A path that swallows packets is noticed after about an election; a member that is only
    /// slow has as long to answer.
    pub(crate) fn of(election_timeout: Duration) -> Pace {
        Pace {
            connect: election_timeout,
            ask_after: (election_timeout / 2).max(Duration::from_millis(1)),
            answer_within: election_timeout,
        }
    }
}

/// A client on a connection that is up. Clones share the connection.
pub(super) type Client = PeerClient<Wire>;

type Attempt = Shared<BoxFuture<'static, Result<Client, Unreachable>>>;

/// The way to one place: a connection is made when one is needed, and then kept.
pub(super) struct Link {
    urls: Vec<String>,
    pace: Pace,
    /// Where connections live: the thread that consensus runs on, so that messages pass between
    /// them without waking another.
    home: Handle,
    state: Mutex<State>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("urls", &self.urls)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    /// The connection, and how to see whether it is still up.
    connected: Option<(Client, http2::SendRequest<Body>)>,
    attempt: Option<Attempt>,
    /// Failed attempts in a row.
    failures: u32,
    /// No attempt before this moment.
    not_before: Option<Instant>,
}

impl Link {
    pub(super) fn new(urls: Vec<String>, pace: Pace, home: Handle) -> Arc<Link> {
        Arc::new(Link {
            urls,
            pace,
            home,
            state: Mutex::default(),
        })
    }

    /// A client on the present connection, or on a new one. Everybody who asks while an attempt is
    /// under way gets its outcome. Cancel safe: the attempt goes on.
    pub(super) async fn client(self: &Arc<Self>) -> Result<Client, Unreachable> {
        let attempt = {
            let mut state = self.state.lock();
            match &state.connected {
                Some((client, sender)) if !sender.is_closed() => return Ok(client.clone()),
                _ => state.connected = None,
            }
            match &state.attempt {
                Some(attempt) => attempt.clone(),
                None => {
                    let attempt = self.attempt(state.not_before);
                    state.attempt = Some(attempt.clone());
                    attempt
                }
            }
        };
        attempt.await
    }

    fn attempt(self: &Arc<Self>, not_before: Option<Instant>) -> Attempt {
        let this = Arc::clone(self);
        let running = self.home.spawn(async move {
            if let Some(moment) = not_before {
                tokio::time::sleep_until(moment).await;
            }
            let connected = this.connect().await;
            this.settle(connected)
        });
        let outcome = async move {
            running.await.unwrap_or_else(|_| {
                Err(Unreachable {
                    detail: "this member is stopping".to_owned(),
                    certain: true,
                })
            })
        };
        outcome.boxed().shared()
    }

    /// Notes what came of an attempt.
    fn settle(
        &self,
        connected: Result<(Client, http2::SendRequest<Body>), String>,
    ) -> Result<Client, Unreachable> {
        let mut state = self.state.lock();
        state.attempt = None;
        match connected {
            Ok((client, sender)) => {
                state.failures = 0;
                // A place that accepts and hangs up at once must not keep this member busy.
                state.not_before = Some(Instant::now() + limits::PEER_RETRY_MIN);
                state.connected = Some((client.clone(), sender));
                Ok(client)
            }
            Err(detail) => {
                let doubled = limits::PEER_RETRY_MIN * 2u32.saturating_pow(state.failures.min(8));
                state.failures = state.failures.saturating_add(1);
                let pause = doubled.min(limits::PEER_RETRY_MAX);
                state.not_before = Some(Instant::now() + pause);
                Err(Unreachable {
                    detail,
                    certain: true,
                })
            }
        }
    }

    /// Tries one URL after the other.
    async fn connect(&self) -> Result<(Client, http2::SendRequest<Body>), String> {
        let mut problem = "no address is known".to_owned();
        for url in &self.urls {
            let connecting = self.connect_to(url);
            problem = match tokio::time::timeout(self.pace.connect, connecting).await {
                Ok(Ok(connected)) => return Ok(connected),
                Ok(Err(error)) => format!("{url}: {error}"),
                Err(_) => format!("{url}: no answer within {:?}", self.pace.connect),
            };
        }
        Err(problem)
    }

    async fn connect_to(&self, text: &str) -> io::Result<(Client, http2::SendRequest<Body>)> {
        let invalid = |problem: String| io::Error::new(io::ErrorKind::InvalidInput, problem);
        let url: Url = text.parse().map_err(invalid)?;
        if url.scheme().is_encrypted() {
            return Err(invalid("TLS is not offered yet".to_owned()));
        }
        if let Some(path) = url.socket_file() {
            let stream = UnixStream::connect(path).await?;
            return self
                .shake_hands(stream, Uri::from_static("http://localhost"))
                .await;
        }
        let origin = Uri::try_from(url.to_string()).map_err(|error| invalid(error.to_string()))?;
        let stream = TcpStream::connect((url.host(), url.port())).await?;
        stream.set_nodelay(true)?;
        self.shake_hands(stream, origin).await
    }

    async fn shake_hands<I>(
        &self,
        stream: I,
        origin: Uri,
    ) -> io::Result<(Client, http2::SendRequest<Body>)>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(limits::PEER_WINDOW_BYTES)
            .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
            .max_frame_size(limits::PEER_FRAME_BYTES)
            .max_send_buf_size(limits::PEER_WINDOW_BYTES as usize)
            .keep_alive_interval(self.pace.ask_after)
            .keep_alive_timeout(self.pace.answer_within)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        self.home.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to a member ended");
            }
        });
        let client = PeerClient::with_origin(Wire(sender.clone()), origin)
            .max_decoding_message_size(limits::PEER_RESPONSE_BYTES);
        Ok((client, sender))
    }
}

/// The sending half of a connection, as gRPC wants it: with no queue and no task between.
#[derive(Clone)]
pub(super) struct Wire(http2::SendRequest<Body>);

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub(super) struct Broken {
    error: hyper::Error,
    /// The connection had ended before the request could be put on it.
    pub(super) unsent: bool,
}

impl tower::Service<http::Request<Body>> for Wire {
    type Response = http::Response<Incoming>;
    type Error = Broken;
    type Future = BoxFuture<'static, Result<Self::Response, Broken>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        // Whether the connection is up shows when the request is sent.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let sent = self.0.send_request(request);
        Box::pin(async move {
            sent.await.map_err(|error| Broken {
                unsent: error.is_canceled(),
                error,
            })
        })
    }
}
