//! The Lease service.
//!
//! Owns the choice of ids, the routing of renewals and the order of a keepalive stream; deadlines
//! and attached keys belong to the store.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use handfast_mvcc::Outcome;
use handfast_mvcc::lease::granted_ttl;
use handfast_proto::command::{LeaseGrant, LeaseRevoke, command::Op};
use handfast_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, lease_server::Lease,
};
use tonic::{Request, Response, Status, Streaming};

use super::streams::Guarded;
use super::{Node, requires_leader, unexpected};
use crate::metrics::Method;
use crate::{error, limits};

type Replies = Pin<Box<dyn Stream<Item = Result<LeaseKeepAliveResponse, Status>> + Send>>;

/// The lease handlers; a keepalive stream outlives its call and so needs the node shared.
pub(crate) struct Leases(pub(crate) Arc<Node>);

#[tonic::async_trait]
impl Lease for Leases {
    async fn lease_grant(
        &self,
        request: Request<LeaseGrantRequest>,
    ) -> Result<Response<LeaseGrantResponse>, Status> {
        let served = async {
            self.0.admit(request.metadata())?;
            let asked = request.into_inner();
            let ttl_seconds = granted_ttl(asked.ttl).map_err(error::from_store)?;
            let (revision, outcome) = self.0.grant(asked.id, ttl_seconds).await?;
            match outcome {
                Outcome::LeaseGrant { id, ttl_seconds } => Ok(Response::new(LeaseGrantResponse {
                    header: Some(self.0.header(revision)),
                    id,
                    ttl: ttl_seconds,
                    error: String::new(),
                })),
                other => Err(unexpected(&other)),
            }
        };
        self.0.counted(Method::LeaseGrant, served).await
    }

    async fn lease_revoke(
        &self,
        request: Request<LeaseRevokeRequest>,
    ) -> Result<Response<LeaseRevokeResponse>, Status> {
        let served = async {
            self.0.admit(request.metadata())?;
            let id = request.into_inner().id;
            match self.0.propose(Op::LeaseRevoke(LeaseRevoke { id })).await? {
                (revision, Outcome::LeaseRevoke) => {
                    let header = Some(self.0.header(revision));
                    Ok(Response::new(LeaseRevokeResponse { header }))
                }
                (_, other) => Err(unexpected(&other)),
            }
        };
        self.0.counted(Method::LeaseRevoke, served).await
    }

    type LeaseKeepAliveStream = Guarded<Replies>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let mut call = self.0.begin(Method::LeaseKeepAlive);
        call.check(self.0.admit(request.metadata()))?;
        let requires_leader = requires_leader(request.metadata());
        let ticket = self.0.streams.enter(requires_leader, call);
        let node = Arc::clone(&self.0);
        // Renewals that are under way together share one check of leadership; `buffered` keeps
        // their replies in the order of the requests.
        let replies = request
            .into_inner()
            .map(move |request| {
                let node = Arc::clone(&node);
                async move {
                    match request {
                        Ok(request) => node.keep_alive(request.id).await,
                        Err(status) => Err(error::oversized(&status).unwrap_or(status)),
                    }
                }
            })
            .buffered(limits::KEEPALIVES_AT_ONCE);
        Ok(Response::new(Guarded::new(Box::pin(replies), ticket)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        let served = async {
            self.0.admit(request.metadata())?;
            let asked = request.into_inner();
            let asking = self.0.consensus.lease_time_to_live(asked.id, asked.keys);
            let left = asking.await.map_err(error::from_lease_read)?;
            // A lease that is unknown has no error, but a time below nothing.
            let (granted_ttl, ttl, keys) = left.map_or((0, -1, Vec::new()), |left| {
                (left.granted_seconds, left.remaining_seconds, left.keys)
            });
            Ok(Response::new(LeaseTimeToLiveResponse {
                header: Some(self.0.header(self.0.store.revision())),
                id: asked.id,
                ttl,
                granted_ttl,
                keys,
            }))
        };
        self.0.counted(Method::LeaseTimeToLive, served).await
    }

    async fn lease_leases(
        &self,
        request: Request<LeaseLeasesRequest>,
    ) -> Result<Response<LeaseLeasesResponse>, Status> {
        let served = async {
            self.0.admit(request.metadata())?;
            let ids = self.0.store.leases().list();
            Ok(Response::new(LeaseLeasesResponse {
                header: Some(self.0.header(self.0.store.revision())),
                leases: ids.into_iter().map(|id| LeaseStatus { id }).collect(),
            }))
        };
        self.0.counted(Method::LeaseLeases, served).await
    }
}

impl Node {
    /// Grants a lease; id 0 asks for one that is free.
    async fn grant(&self, asked: i64, ttl_seconds: i64) -> Result<(i64, Outcome), Status> {
        let mut attempts = if asked == 0 {
            limits::LEASE_ID_ATTEMPTS
        } else {
            1
        };
        loop {
            attempts -= 1;
            let id = if asked == 0 { self.ids.lease() } else { asked };
            let granted = self
                .propose(Op::LeaseGrant(LeaseGrant { id, ttl_seconds }))
                .await;
            match granted {
                Err(status) if attempts > 0 && error::LEASE_EXISTS.is(&status) => {}
                granted => return granted,
            }
        }
    }

    /// Renews a lease; one that is gone is answered with TTL 0.
    async fn keep_alive(&self, id: i64) -> Result<LeaseKeepAliveResponse, Status> {
        // The promise is that the header is older than the renewal.
        let header = Some(self.header(self.store.revision()));
        let ttl = self
            .consensus
            .lease_keep_alive(id)
            .await
            .map_err(error::from_lease_read)?;
        Ok(LeaseKeepAliveResponse {
            header,
            id,
            ttl: ttl.unwrap_or(0),
        })
    }
}
