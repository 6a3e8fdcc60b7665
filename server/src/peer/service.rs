//! What other members, and those who want to become one, may ask this one.
//!
//! Owns how their messages come off the wire and who may send which; the answers are consensus'.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use handfast_consensus::PeerService;
use handfast_proto::peer::{
    Refusal, Request, Response, peer_server::Peer, refusal::Reason, request, response,
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

type Answers = Pin<Box<dyn Stream<Item = Result<Response, Status>> + Send>>;

/// For other members, on the listeners for members only.
#[derive(Clone)]
pub(crate) struct Members {
    service: PeerService,
    stop: CancellationToken,
}

impl Members {
    /// Pipes end when `stop` says so, for they would never end by themselves.
    pub(crate) fn new(service: PeerService, stop: CancellationToken) -> Members {
        Members { service, stop }
    }
}

#[tonic::async_trait]
impl Peer for Members {
    async fn call(
        &self,
        request: tonic::Request<Request>,
    ) -> Result<tonic::Response<Response>, Status> {
        let answer = self.service.call(request.into_inner()).await;
        Ok(tonic::Response::new(answer))
    }

    type ReplicateStream = Answers;

    async fn replicate(
        &self,
        request: tonic::Request<Streaming<Request>>,
    ) -> Result<tonic::Response<Answers>, Status> {
        let requests = tokio_stream::StreamExt::map_while(request.into_inner(), |request| {
            request
                .inspect_err(|status| tracing::debug!(%status, "a member's pipe broke"))
                .ok()
        });
        let answers = self.service.replicate(requests);
        let answers = answers
            .map(Ok)
            .take_until(self.stop.clone().cancelled_owned());
        Ok(tonic::Response::new(Box::pin(answers)))
    }
}

/// For those who are not members yet, on the listeners for clients: they know no other address.
#[derive(Clone)]
pub(crate) struct Newcomers {
    service: PeerService,
}

impl Newcomers {
    pub(crate) fn new(service: PeerService) -> Newcomers {
        Newcomers { service }
    }
}

#[tonic::async_trait]
impl Peer for Newcomers {
    async fn call(
        &self,
        request: tonic::Request<Request>,
    ) -> Result<tonic::Response<Response>, Status> {
        let request = request.into_inner();
        let answer = match request.body {
            Some(request::Body::Describe(_) | request::Body::Join(_)) => {
                self.service.call(request).await
            }
            _ => invalid("only describe and join are answered on a client address"),
        };
        Ok(tonic::Response::new(answer))
    }

    type ReplicateStream = Answers;

    async fn replicate(
        &self,
        _: tonic::Request<Streaming<Request>>,
    ) -> Result<tonic::Response<Answers>, Status> {
        Err(Status::unimplemented(
            "handfast: members replicate over their peer addresses",
        ))
    }
}

fn invalid(detail: &str) -> Response {
    let refusal = Refusal {
        reason: Reason::Invalid.into(),
        detail: detail.to_owned(),
        ..Refusal::default()
    };
    Response {
        body: Some(response::Body::Refusal(refusal)),
    }
}
