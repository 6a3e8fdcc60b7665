//! The Maintenance service: how the member is doing.
//!
//! Owns the status report. There are no alarms yet, so their list is empty and none can be set.

use handfast_proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, DefragmentRequest, DefragmentResponse, DowngradeInfo,
    DowngradeRequest, DowngradeResponse, HashKvRequest, HashKvResponse, HashRequest, HashResponse,
    MoveLeaderRequest, MoveLeaderResponse, SnapshotRequest, SnapshotResponse, StatusRequest,
    StatusResponse, alarm_request::AlarmAction, maintenance_server::Maintenance,
};
use tonic::{Request, Response, Status};

use super::Node;
use super::unserved::not_yet;
use crate::{error, limits};

#[tonic::async_trait]
impl Maintenance for Node {
    async fn status(
        &self,
        request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        self.admit(request.metadata())?;
        let raft = self.consensus.status();
        let stats = self.store.stats();
        let errors = match raft.leader {
            Some(_) => Vec::new(),
            None => vec![error::NO_LEADER.1.to_owned()],
        };
        Ok(Response::new(StatusResponse {
            header: Some(self.header(self.store.revision())),
            version: limits::API_VERSION.to_owned(),
            // etcdctl divides by the size.
            db_size: bytes(stats.db_size).max(1),
            leader: raft.leader.unwrap_or(0),
            raft_index: raft.commit_index,
            raft_term: raft.term,
            raft_applied_index: raft.applied_index,
            errors,
            db_size_in_use: bytes(stats.db_size_in_use),
            is_learner: false,
            storage_version: limits::API_VERSION.to_owned(),
            db_size_quota: bytes(self.settings.quota_bytes),
            downgrade_info: Some(DowngradeInfo::default()),
        }))
    }

    async fn alarm(
        &self,
        request: Request<AlarmRequest>,
    ) -> Result<Response<AlarmResponse>, Status> {
        self.admit(request.metadata())?;
        if request.get_ref().action == AlarmAction::Activate as i32 {
            return Err(not_yet(
                "etcdserverpb.Maintenance/Alarm with action ACTIVATE",
            ));
        }
        // Clients take the answer as a proof of quorum, as etcd gives it through its log.
        self.catch_up().await?;
        let header = Some(self.header(self.store.revision()));
        Ok(Response::new(AlarmResponse {
            header,
            alarms: Vec::new(),
        }))
    }

    async fn defragment(
        &self,
        _: Request<DefragmentRequest>,
    ) -> Result<Response<DefragmentResponse>, Status> {
        Err(not_yet("etcdserverpb.Maintenance/Defragment"))
    }

    async fn hash(&self, _: Request<HashRequest>) -> Result<Response<HashResponse>, Status> {
        Err(not_yet("etcdserverpb.Maintenance/Hash"))
    }

    async fn hash_kv(&self, _: Request<HashKvRequest>) -> Result<Response<HashKvResponse>, Status> {
        Err(not_yet("etcdserverpb.Maintenance/HashKV"))
    }

    type SnapshotStream = futures::stream::Empty<Result<SnapshotResponse, Status>>;

    async fn snapshot(
        &self,
        _: Request<SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        Err(not_yet("etcdserverpb.Maintenance/Snapshot"))
    }

    async fn move_leader(
        &self,
        _: Request<MoveLeaderRequest>,
    ) -> Result<Response<MoveLeaderResponse>, Status> {
        Err(not_yet("etcdserverpb.Maintenance/MoveLeader"))
    }

    async fn downgrade(
        &self,
        _: Request<DowngradeRequest>,
    ) -> Result<Response<DowngradeResponse>, Status> {
        Err(not_yet("etcdserverpb.Maintenance/Downgrade"))
    }
}

/// A size as the signed number the wire has for it.
fn bytes(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
