//! Messages between members, over the simulated network.
//!
//! Owns the consensus crate's transport. Requests and answers are encoded and decoded on the way.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use handfast_consensus::peer::{PIPE_DEPTH, Pipe, Transport, Unreachable};
use handfast_proto::command::MemberInfo;
use handfast_proto::peer::{Request, Response, request::Body};
use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::lane::{End, Lane};
use super::{Attached, Net, Place};

/// How long opening a pipe may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// What one member sends its messages by.
#[derive(Debug)]
pub(crate) struct PeerNet {
    net: Net,
    from: Place,
    /// Cancelled when the member's process is gone: what is left of it sends nothing more.
    life: CancellationToken,
}

impl PeerNet {
    pub(crate) fn new(net: &Net, from: Place, life: CancellationToken) -> PeerNet {
        PeerNet {
            net: net.clone(),
            from,
            life,
        }
    }

    fn place(&self, to: &MemberInfo) -> Result<Place, Unreachable> {
        if self.life.is_cancelled() {
            return Err(refused("this process is gone"));
        }
        let mut places = to.peer_urls.iter().filter_map(|url| self.net.place(url));
        places.next().ok_or_else(|| refused(to.peer_urls.join(",")))
    }
}

impl Transport for PeerNet {
    fn call(
        &self,
        to: &MemberInfo,
        request: Request,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Response, Unreachable>> {
        let to = match self.place(to) {
            Ok(to) => to,
            Err(unknown) => return Box::pin(later(Err(unknown))),
        };
        let (net, from) = (self.net.clone(), self.from);
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let repeatable = repeatable(&request);
            let bytes = request.encode_to_vec().into();
            tokio::spawn(carry(net, (from, to), bytes, repeatable, answer));
            match tokio::time::timeout(timeout, answered).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(uncertain("the connection broke")),
                Err(_) => Err(uncertain("no answer in time")),
            }
        })
    }

    fn pipe(&self, to: &MemberInfo) -> BoxFuture<'static, Result<Pipe, Unreachable>> {
        let to = match self.place(to) {
            Ok(to) => to,
            Err(unknown) => return Box::pin(later(Err(unknown))),
        };
        let (net, from) = (self.net.clone(), self.from);
        let life = self.life.clone();
        Box::pin(async move {
            let connecting = tokio::time::timeout(CONNECT_TIMEOUT, connect(&net, from, to));
            let attached = match connecting.await {
                Ok(attached) => attached?,
                Err(_) => return Err(refused("no connection in time")),
            };
            net.note(from, to, "pipe");
            Ok(open(&net, (from, to), &attached, &life))
        })
    }
}

/// An answer without the network; it takes time all the same, as everything does.
async fn later<T>(answer: T) -> T {
    tokio::time::sleep(Duration::from_millis(1)).await;
    answer
}

/// Opens a connection: one round trip, after which the other side is there or is not.
async fn connect(net: &Net, from: Place, to: Place) -> Result<Attached, Unreachable> {
    net.arrive(from, to).await;
    let attached = net.host(to);
    net.arrive(to, from).await;
    attached.ok_or_else(|| refused("connection refused"))
}

/// Takes a request over, has it carried out and brings the answer back.
async fn carry(
    net: Net,
    (from, to): (Place, Place),
    bytes: Bytes,
    repeatable: bool,
    mut answer: oneshot::Sender<Result<Response, Unreachable>>,
) {
    let doubled = repeatable && net.fortune(from, to).doubled;
    if !net.travel(from, to).await {
        // Nobody says so: whoever asked waits until it gives up.
        answer.closed().await;
        return;
    }
    let Some(attached) = net.host(to) else {
        net.arrive(to, from).await;
        let _ = answer.send(Err(refused("connection refused")));
        return;
    };
    let Ok(request) = Request::decode(bytes) else {
        let _ = answer.send(Err(refused("not a request")));
        return;
    };
    net.note(from, to, kind(&request));
    if matches!(request.body, Some(Body::SnapshotChunk(_))) {
        net.draw(|_, figures| figures.snapshot_chunks += 1);
    }
    if doubled {
        net.draw(|_, figures| figures.doubled += 1);
        tokio::spawn(again(net.clone(), (from, to), request.clone()));
    }
    // A caller that gives up resets its stream, which may reach the handler or come too late.
    let resets = net.draw(|dice, _| dice.per_mille(500));
    let served = tokio::select! {
        biased;
        () = attached.life.cancelled() => None,
        served = attached.host.call(request) => Some(served),
        () = abandoned(&net, (from, to), &mut answer), if resets => return,
    };
    let Some(served) = served else {
        net.arrive(to, from).await;
        let _ = answer.send(Err(uncertain("the connection broke")));
        return;
    };
    let bytes = served.encode_to_vec();
    if !net.travel(to, from).await {
        answer.closed().await;
        return;
    }
    net.note(to, from, "answer");
    let decoded = Response::decode(bytes.as_slice());
    let _ = answer.send(decoded.map_err(|_| uncertain("not an answer")));
}

/// The same request, once more and later.
async fn again(net: Net, (from, to): (Place, Place), request: Request) {
    net.arrive(from, to).await;
    if let Some(attached) = net.host(to) {
        net.note(from, to, "again");
        let handled = attached.host.call(request);
        attached.life.run_until_cancelled(handled).await;
    }
}

async fn abandoned(
    net: &Net,
    (from, to): (Place, Place),
    answer: &mut oneshot::Sender<Result<Response, Unreachable>>,
) {
    answer.closed().await;
    net.arrive(from, to).await;
}

fn kind(request: &Request) -> &'static str {
    match &request.body {
        Some(Body::Append(_)) => "append",
        Some(Body::Vote(_)) => "vote",
        Some(Body::PreVote(_)) => "pre-vote",
        Some(Body::Propose(_)) => "propose",
        Some(Body::ReadIndex(_)) => "read-index",
        Some(Body::TransferLeader(_)) => "transfer",
        Some(Body::SnapshotOffer(_) | Body::SnapshotChunk(_) | Body::SnapshotInstall(_)) => {
            "snapshot"
        }
        _ => "call",
    }
}

/// Whether carrying a request out twice must do no harm. A proposal, or a change of the
/// membership, is not sent twice by any network: HTTP/2 runs over TCP.
fn repeatable(request: &Request) -> bool {
    !matches!(
        request.body,
        Some(Body::Propose(_) | Body::MemberChange(_) | Body::Join(_) | Body::MoveLeader(_))
    )
}

/// Both ends of a pipe, and the two lanes between them.
fn open(
    net: &Net,
    (from, to): (Place, Place),
    attached: &Attached,
    life: &CancellationToken,
) -> Pipe {
    let broken = attached.life.child_token();
    // A pipe ends with the process at either end.
    tokio::spawn({
        let (life, broken) = (life.clone(), broken.clone());
        async move {
            broken.run_until_cancelled(life.cancelled()).await;
            broken.cancel();
        }
    });
    let lane = |from, to, what| Lane {
        net: net.clone(),
        from,
        to,
        broken: broken.clone(),
        what,
    };
    let (requests, sent) = mpsc::channel::<Request>(PIPE_DEPTH);
    let (deliver, delivered) = mpsc::channel::<Option<Request>>(PIPE_DEPTH);
    let sent = ReceiverStream::new(sent).map(|request| request.encode_to_vec().into());
    let there = lane(from, to, "frame");
    tokio::spawn({
        let broken = broken.clone();
        async move {
            let end = there
                .run(sent, deliver, |bytes| Request::decode(bytes).ok())
                .await;
            if end == End::Dropped {
                broken.cancel();
            }
        }
    });

    let received = ReceiverStream::new(delivered);
    let received = received.take_while(|it| std::future::ready(it.is_some()));
    let received = received.filter_map(std::future::ready).boxed();
    let answers = attached.host.replicate(received);
    let answers = answers.map(|answer| answer.encode_to_vec().into());
    let (answer, responses) = mpsc::channel(PIPE_DEPTH);
    let back = lane(to, from, "back");
    tokio::spawn(async move {
        let unpack = |bytes: Bytes| Response::decode(bytes).map_err(|_| uncertain("not an answer"));
        match back.run(answers, answer.clone(), unpack).await {
            End::Finished => {}
            End::Dropped => broken.cancel(),
            End::Broken => {
                let _ = answer.send(Err(uncertain("the connection broke"))).await;
            }
        }
    });
    Pipe {
        requests,
        responses,
    }
}

fn refused(detail: impl Into<String>) -> Unreachable {
    Unreachable {
        detail: detail.into(),
        certain: true,
    }
}

fn uncertain(detail: &str) -> Unreachable {
    Unreachable {
        detail: detail.to_owned(),
        certain: false,
    }
}
