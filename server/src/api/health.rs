//! The gRPC health service.
//!
//! Owns one answer: the server as a whole (the empty service name) serves while it runs. As in
//! etcd, health here is tied neither to quorum nor to alarms.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use handfast_proto::health::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_server::Health,
};
use tonic::{Request, Response, Status};

use super::streams::Guarded;
use super::{Node, requires_leader};
use crate::metrics::Method;

type Reports = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Health for Node {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let served = async {
            self.admit(request.metadata())?;
            match status_of(&request.get_ref().service) {
                ServingStatus::ServiceUnknown => Err(Status::not_found("unknown service")),
                status => Ok(Response::new(report(status))),
            }
        };
        self.counted(Method::HealthCheck, served).await
    }

    type WatchStream = Guarded<Reports>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let mut call = self.begin(Method::HealthWatch);
        call.check(self.admit(request.metadata()))?;
        let requires_leader = requires_leader(request.metadata());
        let first = report(status_of(&request.get_ref().service));
        let reports = futures::stream::iter([Ok(first)]).chain(futures::stream::pending());
        Ok(Response::new(Guarded::new(
            Box::pin(reports),
            self.streams.enter(requires_leader, call),
        )))
    }
}

fn status_of(service: &str) -> ServingStatus {
    if service.is_empty() {
        ServingStatus::Serving
    } else {
        ServingStatus::ServiceUnknown
    }
}

fn report(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}
