//! The way to other members over the network.
//!
//! Owns which connection a message takes, and what a failure says about whether it arrived. It
//! must not know what the messages mean, beyond which of them are bulky.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use handfast_consensus::peer::{PIPE_DEPTH, Pipe, Transport, Unreachable};
use handfast_proto::command::MemberInfo;
use handfast_proto::peer::{Request, Response, request::Body};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::link::{Broken, Client, Link, Pace};
use crate::limits;

/// What keeps the parts of a snapshot from delaying everything else: connections of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    Small,
    Bulk,
}

/// Connections to other members, each made when it is first needed.
#[derive(Debug)]
pub(crate) struct PeerTransport {
    pace: Pace,
    home: Handle,
    links: Mutex<Vec<Known>>,
}

/// By address and not by member, so that a member that has moved is reached anew.
#[derive(Debug)]
struct Known {
    urls: Vec<String>,
    load: Load,
    link: Arc<Link>,
}

impl PeerTransport {
    /// Connections live on `home`: let it be the runtime of consensus.
    pub(crate) fn new(pace: Pace, home: Handle) -> PeerTransport {
        PeerTransport {
            pace,
            home,
            links: Mutex::default(),
        }
    }

    fn link(&self, to: &MemberInfo, load: Load) -> Arc<Link> {
        let mut links = self.links.lock();
        let known = links
            .iter()
            .find(|known| known.load == load && known.urls == to.peer_urls);
        if let Some(known) = known {
            return Arc::clone(&known.link);
        }
        if links.len() >= limits::PEER_LINKS {
            // Members that have moved or gone; whoever is still needed is connected to anew.
            links.clear();
        }
        let link = Link::new(to.peer_urls.clone(), self.pace, self.home.clone());
        links.push(Known {
            urls: to.peer_urls.clone(),
            load,
            link: Arc::clone(&link),
        });
        link
    }
}

impl Transport for PeerTransport {
    fn call(
        &self,
        to: &MemberInfo,
        request: Request,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Response, Unreachable>> {
        let link = self.link(to, load_of(&request));
        let deadline = Instant::now() + timeout;
        Box::pin(async move {
            let late = |certain| Unreachable {
                detail: format!("no answer within {timeout:?}"),
                certain,
            };
            let mut client = tokio::time::timeout_at(deadline, link.client())
                .await
                .map_err(|_| late(true))??;
            let answered = tokio::time::timeout_at(deadline, client.call(request))
                .await
                .map_err(|_| late(false))?;
            answered
                .map(tonic::Response::into_inner)
                .map_err(|status| unreachable(&status))
        })
    }

    fn pipe(&self, to: &MemberInfo) -> BoxFuture<'static, Result<Pipe, Unreachable>> {
        let link = self.link(to, Load::Small);
        let home = self.home.clone();
        Box::pin(async move {
            let client = link.client().await?;
            let (requests, outgoing) = mpsc::channel(PIPE_DEPTH);
            let (incoming, responses) = mpsc::channel(PIPE_DEPTH);
            home.spawn(pump(client, outgoing, incoming));
            Ok(Pipe {
                requests,
                responses,
            })
        })
    }
}

/// Carries a pipe's messages until either end closes it or the connection breaks.
async fn pump(
    mut client: Client,
    outgoing: mpsc::Receiver<Request>,
    incoming: mpsc::Sender<Result<Response, Unreachable>>,
) {
    let carrying = async {
        let answers = client.replicate(ReceiverStream::new(outgoing)).await;
        let mut answers = answers.map_err(|status| unreachable(&status))?.into_inner();
        while let Some(answer) = answers
            .message()
            .await
            .map_err(|status| unreachable(&status))?
        {
            if incoming.send(Ok(answer)).await.is_err() {
                return Ok(());
            }
        }
        Err(Unreachable {
            detail: "the member closed the pipe".to_owned(),
            certain: false,
        })
    };
    tokio::select! {
        biased;
        // Dropping the call is what tells the other side.
        () = incoming.closed() => {}
        ended = carrying => {
            if let Err(error) = ended {
                drop(incoming.send(Err(error)).await);
            }
        }
    }
}

fn load_of(request: &Request) -> Load {
    match request.body {
        Some(Body::SnapshotOffer(_) | Body::SnapshotChunk(_) | Body::SnapshotInstall(_)) => {
            Load::Bulk
        }
        _ => Load::Small,
    }
}

fn unreachable(status: &Status) -> Unreachable {
    let broken = status
        .source()
        .and_then(|source| source.downcast_ref::<Broken>());
    Unreachable {
        detail: match broken {
            Some(broken) => broken.to_string(),
            None => status.message().to_owned(),
        },
        certain: broken.is_some_and(|broken| broken.unsent),
    }
}
