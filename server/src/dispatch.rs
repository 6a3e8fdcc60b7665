//! Which handler a request goes to.
//!
//! Owns the routing of gRPC paths straight to the generated services, with no router between, and
//! of everything else to the few plain HTTP answers. It must not know how connections are made.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use handfast_proto::etcdserverpb::{
    cluster_server::ClusterServer, kv_server::KvServer, lease_server::LeaseServer,
    maintenance_server::MaintenanceServer, watch_server::WatchServer,
};
use handfast_proto::health::health_server::HealthServer;
use handfast_proto::peer::peer_server::PeerServer;
use http::{HeaderMap, Method, Request, Response, header};
use hyper::body::Incoming;
use hyper::service::Service;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tower::Service as _;

use crate::api::{Leases, Node, Watches, unserved};
use crate::metrics::Traffic;
use crate::peer::{self, Members, Newcomers};
use crate::{error, http1, limits};

type Reply = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// What a listener offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// gRPC and plain HTTP.
    Everything,
    /// Plain HTTP only: health and version.
    Plain,
    /// What members say to each other, and plain HTTP.
    Members,
}

/// All services of one member; a clone is a handful of reference counts.
pub(crate) struct Services {
    node: Arc<Node>,
    kv: KvServer<Node>,
    watch: WatchServer<Watches>,
    lease: LeaseServer<Leases>,
    cluster: ClusterServer<Node>,
    maintenance: MaintenanceServer<Node>,
    health: HealthServer<Node>,
    members: PeerServer<Members>,
    newcomers: PeerServer<Newcomers>,
}

impl Services {
    /// What members have open for ever ends when `members_stop` says so.
    pub(crate) fn new(node: &Arc<Node>, members_stop: CancellationToken) -> Arc<Services> {
        let limit = node.settings.max_message_bytes();
        let shared = || Arc::clone(node);
        let peers = node.consensus.peers();
        Arc::new(Services {
            kv: KvServer::from_arc(shared()).max_decoding_message_size(limit),
            watch: WatchServer::new(Watches(shared())).max_decoding_message_size(limit),
            lease: LeaseServer::new(Leases(shared())).max_decoding_message_size(limit),
            cluster: ClusterServer::from_arc(shared()).max_decoding_message_size(limit),
            maintenance: MaintenanceServer::from_arc(shared()).max_decoding_message_size(limit),
            health: HealthServer::from_arc(shared()).max_decoding_message_size(limit),
            members: PeerServer::new(Members::new(peers.clone(), members_stop))
                .max_decoding_message_size(limits::PEER_REQUEST_BYTES + limit),
            newcomers: PeerServer::new(Newcomers::new(peers)).max_decoding_message_size(limit),
            node: shared(),
        })
    }

    /// Hands what another member says to consensus.
    fn members(&self, request: Request<Incoming>) -> Reply {
        match request.uri().path() {
            "/handfastpeerpb.Peer/Call" | "/handfastpeerpb.Peer/Replicate" => {
                self.members.clone().call(request)
            }
            path => refuse(Status::unimplemented(format!(
                "handfast: {path} is not for members; this address is for them only"
            ))),
        }
    }

    /// Hands a gRPC request to its service.
    fn grpc(&self, request: Request<Incoming>) -> Reply {
        let path = request.uri().path();
        let Some((service, method)) = path.strip_prefix('/').and_then(|p| p.split_once('/')) else {
            return refuse(Status::unimplemented(format!(
                "malformed method name: {path:?}"
            )));
        };
        match (service, method) {
            ("etcdserverpb.KV", "Range" | "Put" | "DeleteRange" | "Txn" | "Compact") => {
                self.kv.clone().call(request)
            }
            ("etcdserverpb.Watch", "Watch") => self.watch.clone().call(request),
            (
                "etcdserverpb.Lease",
                "LeaseGrant" | "LeaseRevoke" | "LeaseKeepAlive" | "LeaseTimeToLive" | "LeaseLeases",
            ) => self.lease.clone().call(request),
            (
                "etcdserverpb.Cluster",
                "MemberAdd" | "MemberRemove" | "MemberUpdate" | "MemberList" | "MemberPromote",
            ) => self.cluster.clone().call(request),
            (
                "etcdserverpb.Maintenance",
                "Alarm" | "Status" | "Defragment" | "Hash" | "HashKV" | "Snapshot" | "MoveLeader"
                | "Downgrade",
            ) => self.maintenance.clone().call(request),
            ("grpc.health.v1.Health", "Check" | "Watch") => self.health.clone().call(request),
            ("handfastpeerpb.Peer", "Call") => self.newcomers.clone().call(request),
            (
                "etcdserverpb.KV"
                | "etcdserverpb.Watch"
                | "etcdserverpb.Lease"
                | "etcdserverpb.Cluster"
                | "etcdserverpb.Maintenance"
                | "grpc.health.v1.Health",
                _,
            ) => refuse(unserved::unknown_method(service, method)),
            _ => refuse(unserved::unknown(service, method)),
        }
    }
}

/// The hyper service of one listener.
#[derive(Clone)]
pub(crate) struct Dispatch {
    pub(crate) services: Arc<Services>,
    pub(crate) offer: Offer,
}

impl Dispatch {
    /// Where the bytes of a connection are counted.
    pub(crate) fn traffic(&self) -> Arc<Traffic> {
        let metrics = &self.services.node.metrics;
        Arc::clone(match self.offer {
            Offer::Members => &metrics.member_traffic,
            Offer::Everything | Offer::Plain => &metrics.client_traffic,
        })
    }
}

impl Service<Request<Incoming>> for Dispatch {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let grpc = self.offer != Offer::Plain && is_grpc(&request);
        if grpc && self.offer == Offer::Members {
            return Answer {
                reply: self.services.members(request),
                grpc: false,
            };
        }
        if grpc {
            return Answer {
                reply: self.services.grpc(request),
                grpc: true,
            };
        }
        let node = Arc::clone(&self.services.node);
        let for_members = self.offer == Offer::Members;
        let answer = async move {
            if for_members && request.uri().path() == peer::MEMBERS_PATH {
                return Ok(peer::member_list(&node));
            }
            Ok(http1::answer(&node, &request).await)
        };
        Answer {
            reply: Box::pin(answer),
            grpc: false,
        }
    }
}

fn is_grpc(request: &Request<Incoming>) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let kind = content_type.and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"));
    // `application/grpc-web` is another protocol.
    request.method() == Method::POST
        && kind.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

fn refuse(status: Status) -> Reply {
    Box::pin(std::future::ready(Ok(status.into_http())))
}

/// A reply under way.
pub(crate) struct Answer {
    reply: Reply,
    grpc: bool,
}

impl Future for Answer {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Ok(reply) = ready!(self.reply.as_mut().poll(cx));
        if self.grpc && reply.headers().contains_key(Status::GRPC_STATUS) {
            return Poll::Ready(Ok(reworded(reply)));
        }
        Poll::Ready(Ok(reply))
    }
}

/// A reply that is an error from the start, with the transport's own texts put into etcd's words.
fn reworded(reply: Response<Body>) -> Response<Body> {
    let oversized = |headers: &HeaderMap| {
        Status::from_header_map(headers).and_then(|status| error::oversized(&status))
    };
    match oversized(reply.headers()) {
        Some(status) => status.into_http(),
        None => reply,
    }
}
