//! The way to another member, over real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use futures::{Stream, StreamExt};
use handfast_consensus::peer::{Transport, Unreachable};
use handfast_proto::command::MemberInfo;
use handfast_proto::peer::peer_server::{Peer, PeerServer};
use handfast_proto::peer::{Description, Request, Response, response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tonic::{Status, Streaming};

use super::{Pace, PeerTransport};

const PATIENCE: Duration = Duration::from_secs(30);

/// Answers every request with its sender's number.
struct Echo;

fn echo(request: &Request) -> Response {
    Response {
        body: Some(response::Body::Description(Description {
            member_id: request.from,
            ..Description::default()
        })),
    }
}

fn number(response: Response) -> u64 {
    match response.body {
        Some(response::Body::Description(description)) => description.member_id,
        other => panic!("not an echo: {other:?}"),
    }
}

#[tonic::async_trait]
impl Peer for Echo {
    async fn call(
        &self,
        request: tonic::Request<Request>,
    ) -> Result<tonic::Response<Response>, Status> {
        Ok(tonic::Response::new(echo(request.get_ref())))
    }

    type ReplicateStream = std::pin::Pin<Box<dyn Stream<Item = Result<Response, Status>> + Send>>;

    async fn replicate(
        &self,
        request: tonic::Request<Streaming<Request>>,
    ) -> Result<tonic::Response<Self::ReplicateStream>, Status> {
        let answers = request
            .into_inner()
            .map(|request| request.map(|request| echo(&request)));
        Ok(tonic::Response::new(Box::pin(answers)))
    }
}

/// A member that echoes until it is dropped.
struct Member {
    address: SocketAddr,
    tasks: JoinSet<()>,
}

impl Member {
    async fn start(address: SocketAddr) -> Member {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(async move {
                    let service = TowerToHyperService::new(PeerServer::new(Echo));
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let _ = builder
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Member { address, tasks }
    }

    /// Gives the address back.
    async fn stop(mut self) {
        self.tasks.shutdown().await;
    }

    async fn anywhere() -> Member {
        Member::start(([127, 0, 0, 1], 0).into()).await
    }
}

fn at(addresses: &[SocketAddr]) -> MemberInfo {
    let url = |address: &SocketAddr| format!("http://{address}");
    MemberInfo {
        id: 1,
        peer_urls: addresses.iter().map(url).collect(),
        ..MemberInfo::default()
    }
}

fn from(number: u64) -> Request {
    Request {
        from: number,
        ..Request::default()
    }
}

fn transport() -> PeerTransport {
    PeerTransport::new(Pace::of(Duration::from_millis(300)), Handle::current())
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("nothing came of it")
}

/// Calls until the member answers.
async fn eventually(transport: &PeerTransport, to: &MemberInfo) -> u64 {
    soon(async {
        loop {
            if let Ok(answer) = transport.call(to, from(7), PATIENCE).await {
                return number(answer);
            }
        }
    })
    .await
}

/// A port that nobody listens on.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn calls_are_answered_and_a_restarted_member_is_found_again() {
    let transport = transport();
    let member = Member::anywhere().await;
    let to = at(&[member.address]);
    let answer = soon(transport.call(&to, from(3), PATIENCE)).await.unwrap();
    assert_eq!(number(answer), 3);
    let address = member.address;
    member.stop().await;
    let _again = Member::start(address).await;
    assert_eq!(eventually(&transport, &to).await, 7);
}

#[tokio::test]
async fn a_member_that_is_not_there_certainly_got_nothing() {
    let transport = transport();
    let to = at(&[nobody().await]);
    for _ in 0..3 {
        let error = soon(transport.call(&to, from(3), PATIENCE))
            .await
            .unwrap_err();
        assert!(
            error.certain && error.detail.contains("127.0.0.1"),
            "{error:?}"
        );
    }
    let error = soon(transport.pipe(&to)).await.unwrap_err();
    assert!(error.certain);
    let nowhere = soon(transport.call(&at(&[]), from(3), PATIENCE)).await;
    assert!(nowhere.unwrap_err().certain);
}

#[tokio::test]
async fn every_address_is_tried_and_a_moved_member_is_found() {
    let transport = transport();
    let member = Member::anywhere().await;
    let to = at(&[nobody().await, member.address]);
    assert_eq!(eventually(&transport, &to).await, 7);
    let moved = Member::anywhere().await;
    member.stop().await;
    assert_eq!(eventually(&transport, &at(&[moved.address])).await, 7);
}

#[tokio::test]
async fn a_pipe_keeps_the_order_and_fails_with_its_connection() {
    let transport = transport();
    let member = Member::anywhere().await;
    let mut pipe = soon(transport.pipe(&at(&[member.address]))).await.unwrap();
    for count in 0..200 {
        soon(pipe.requests.send(from(count))).await.unwrap();
        if count >= 50 {
            let answer = soon(pipe.responses.recv()).await.unwrap().unwrap();
            assert_eq!(number(answer), count - 50);
        }
    }
    member.stop().await;
    let mut last = soon(pipe.responses.recv()).await;
    while let Some(Ok(_)) = last {
        last = soon(pipe.responses.recv()).await;
    }
    assert!(
        matches!(last, Some(Err(Unreachable { certain: false, .. }))),
        "{last:?}"
    );
    assert!(soon(pipe.responses.recv()).await.is_none());
    soon(pipe.requests.closed()).await;
}

#[tokio::test]
async fn dropping_either_end_of_a_pipe_closes_it() {
    let transport = transport();
    let member = Member::anywhere().await;
    let to = at(&[member.address]);
    let mut pipe = soon(transport.pipe(&to)).await.unwrap();
    drop(pipe.requests);
    assert!(matches!(soon(pipe.responses.recv()).await, Some(Err(_))));
    assert!(soon(pipe.responses.recv()).await.is_none());

    let pipe = soon(transport.pipe(&to)).await.unwrap();
    drop(pipe.responses);
    soon(pipe.requests.closed()).await;
}

#[tokio::test]
async fn a_member_that_swallows_everything_is_given_up() {
    let transport = transport();
    // The system completes connections, but nobody ever reads from them.
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let to = at(&[silent.local_addr().unwrap()]);
    let mut pipe = soon(transport.pipe(&to)).await.unwrap();
    let answer = soon(pipe.responses.recv()).await.unwrap();
    assert!(!answer.unwrap_err().certain);
    let late = soon(transport.call(&to, from(1), Duration::from_millis(50))).await;
    assert!(!late.unwrap_err().certain);
}
