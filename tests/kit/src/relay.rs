//! A relay between client and server that knows calls: it can lose, double and hold back each one
//! by itself, and lose single messages of a watch.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use handfast_proto::{Message, etcdserverpb::WatchResponse};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response,
    body::{Body, Frame, Incoming},
    client::conn::http2::SendRequest,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
};

type AnyBody = UnsyncBoxBody<Bytes, io::Error>;

/// What becomes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is served.
    Pass,
    /// It never arrives.
    LoseRequest,
    /// It is carried out, its answer is lost.
    LoseAnswer,
    /// It is carried out twice; the second answer comes back.
    Double,
    /// It seems lost, and is carried out at [`Relay::deliver_late`].
    Late,
    /// It waits for [`Relay::let_go`] before it is carried out.
    HoldRequest,
    /// It is carried out, and its answer waits for [`Relay::let_go`].
    HoldAnswer,
}

/// Decides on the n-th call since the last [`Relay::plan`].
type Plan = Box<dyn Fn(usize) -> Fate + Send>;

struct State {
    server: SocketAddr,
    plan: Mutex<Plan>,
    calls: AtomicUsize,
    log: Mutex<Vec<String>>,
    late: Mutex<VecDeque<(String, Bytes)>>,
    held: Notify,
    go: Notify,
    lose_events: AtomicBool,
    lost_events: AtomicUsize,
}

/// Passes calls on. Those on keys, and on leases but the stream of keepalives, are counted and
/// have a [`Fate`].
pub struct Relay {
    /// Where clients find it.
    pub endpoint: String,
    state: Arc<State>,
}

impl Relay {
    /// A relay in front of the server.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            server,
            plan: Mutex::new(Box::new(|_| Fate::Pass)),
            calls: AtomicUsize::new(0),
            log: Mutex::default(),
            late: Mutex::default(),
            held: Notify::new(),
            go: Notify::new(),
            lose_events: AtomicBool::new(false),
            lost_events: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let upstream = Upstream::to(server);
                let state = Arc::clone(&shared);
                let service =
                    service_fn(move |request| serve(Arc::clone(&state), upstream.clone(), request));
                let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(client), service);
                tokio::spawn(connection);
            }
        });
        Self { endpoint, state }
    }

    /// Decides on the calls from now on.
    pub fn plan(&self, plan: impl Fn(usize) -> Fate + Send + 'static) {
        let mut current = self.state.plan.lock().unwrap();
        self.state.calls.store(0, Ordering::SeqCst);
        *current = Box::new(plan);
    }

    /// How many calls there were since the last plan.
    pub fn calls(&self) -> usize {
        self.state.calls.load(Ordering::SeqCst)
    }

    /// The names of the calls since this was asked last, such as `Txn`.
    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut *self.state.log.lock().unwrap())
    }

    /// Waits until a call is held back.
    pub async fn held(&self) {
        self.state.held.notified().await;
    }

    /// Lets the call go that is held back.
    pub fn let_go(&self) {
        self.state.go.notify_one();
    }

    /// Carries out what was put off; how many calls that was.
    pub async fn deliver_late(&self) -> usize {
        let late = std::mem::take(&mut *self.state.late.lock().unwrap());
        let upstream = Upstream::to(self.state.server);
        for (path, body) in &late {
            upstream.call(path, body.clone()).await.unwrap();
        }
        late.len()
    }

    /// Loses, or passes on, every watch message with changes.
    pub fn lose_events(&self, lose: bool) {
        self.state.lose_events.store(lose, Ordering::SeqCst);
    }

    /// How many watch messages were lost.
    pub fn lost_events(&self) -> usize {
        self.state.lost_events.load(Ordering::SeqCst)
    }
}

/// A connection to the server that is made anew when it broke.
#[derive(Clone)]
struct Upstream {
    server: SocketAddr,
    sender: Arc<tokio::sync::Mutex<Option<SendRequest<AnyBody>>>>,
}

impl Upstream {
    fn to(server: SocketAddr) -> Self {
        Self {
            server,
            sender: Arc::default(),
        }
    }

    async fn send(&self, request: Request<AnyBody>) -> io::Result<Response<Incoming>> {
        let mut sender = {
            let mut kept = self.sender.lock().await;
            match kept.as_ref().filter(|sender| !sender.is_closed()) {
                Some(sender) => sender.clone(),
                None => {
                    let stream = TcpStream::connect(self.server).await?;
                    let io = TokioIo::new(stream);
                    let (sender, connection) =
                        hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                            .await
                            .map_err(io::Error::other)?;
                    tokio::spawn(connection);
                    kept.insert(sender).clone()
                }
            }
        };
        sender.send_request(request).await.map_err(io::Error::other)
    }

    /// Makes a call and waits for its whole answer.
    async fn call(&self, path: &str, body: Bytes) -> io::Result<Response<AnyBody>> {
        let body = Full::new(body)
            .map_err(|never: Infallible| match never {})
            .boxed_unsync();
        let request = Request::post(format!("http://relay{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(body)
            .map_err(io::Error::other)?;
        let (parts, body) = self.send(request).await?.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?;
        let body = body
            .map_err(|never: Infallible| match never {})
            .boxed_unsync();
        Ok(Response::from_parts(parts, body))
    }
}

/// Whether the call has a [`Fate`]: one request, one answer, and of interest to recipes.
fn has_fate(path: &str) -> bool {
    let on_keys = path.starts_with("/etcdserverpb.KV/");
    on_keys || path.starts_with("/etcdserverpb.Lease/") && !path.ends_with("/LeaseKeepAlive")
}

async fn serve(
    state: Arc<State>,
    upstream: Upstream,
    request: Request<Incoming>,
) -> io::Result<Response<AnyBody>> {
    let path = request.uri().path().to_owned();
    if !has_fate(&path) {
        return pass(state, upstream, request, &path).await;
    }
    let body = request
        .into_body()
        .collect()
        .await
        .map_err(io::Error::other)?
        .to_bytes();
    let method = path.rsplit('/').next().unwrap_or_default().to_owned();
    state.log.lock().unwrap().push(method);
    let fate = {
        let plan = state.plan.lock().unwrap();
        plan(state.calls.fetch_add(1, Ordering::SeqCst))
    };
    let lost = || Err(io::Error::other("lost by the relay"));
    match fate {
        Fate::Pass => upstream.call(&path, body).await,
        Fate::LoseRequest => lost(),
        Fate::LoseAnswer => {
            upstream.call(&path, body).await?;
            lost()
        }
        Fate::Double => {
            upstream.call(&path, body.clone()).await?;
            upstream.call(&path, body).await
        }
        Fate::Late => {
            state.late.lock().unwrap().push_back((path, body));
            lost()
        }
        Fate::HoldRequest => {
            state.held.notify_one();
            state.go.notified().await;
            upstream.call(&path, body).await
        }
        Fate::HoldAnswer => {
            let answer = upstream.call(&path, body).await;
            state.held.notify_one();
            state.go.notified().await;
            answer
        }
    }
}

async fn pass(
    state: Arc<State>,
    upstream: Upstream,
    request: Request<Incoming>,
    path: &str,
) -> io::Result<Response<AnyBody>> {
    let (mut parts, body) = request.into_parts();
    parts.uri = format!("http://{}{path}", state.server)
        .parse()
        .map_err(io::Error::other)?;
    let body = body.map_err(io::Error::other).boxed_unsync();
    let sent = upstream.send(Request::from_parts(parts, body)).await?;
    let (parts, body) = sent.into_parts();
    let body = match path {
        "/etcdserverpb.Watch/Watch" => Sieve::new(body, state).boxed_unsync(),
        _ => body.map_err(io::Error::other).boxed_unsync(),
    };
    Ok(Response::from_parts(parts, body))
}

/// A watch's messages, without those to be lost.
struct Sieve {
    inner: Incoming,
    buffer: BytesMut,
    trailers: Option<Frame<Bytes>>,
    state: Arc<State>,
}

impl Sieve {
    fn new(inner: Incoming, state: Arc<State>) -> Self {
        Self {
            inner,
            buffer: BytesMut::new(),
            trailers: None,
            state,
        }
    }

    /// The next whole message, with its five bytes of header.
    fn message(&mut self) -> Option<Bytes> {
        let length = self.buffer.get(1..5)?;
        let length = 5 + u32::from_be_bytes(length.try_into().ok()?) as usize;
        (self.buffer.len() >= length).then(|| self.buffer.split_to(length).freeze())
    }

    fn is_lost(&self, message: &Bytes) -> bool {
        if !self.state.lose_events.load(Ordering::SeqCst) {
            return false;
        }
        let mut payload = message.clone();
        payload.advance(5);
        let lost = WatchResponse::decode(payload).is_ok_and(|watch| !watch.events.is_empty());
        self.state
            .lost_events
            .fetch_add(usize::from(lost), Ordering::SeqCst);
        lost
    }
}

impl Body for Sieve {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            while let Some(message) = self.message() {
                if !self.is_lost(&message) {
                    return Poll::Ready(Some(Ok(Frame::data(message))));
                }
            }
            if let Some(trailers) = self.trailers.take() {
                return Poll::Ready(Some(Ok(trailers)));
            }
            match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(io::Error::other(error)))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.buffer.extend_from_slice(&data),
                    Err(trailers) => self.trailers = Some(trailers),
                },
            }
        }
    }
}
