//! The Maintenance service: how the member is doing.
//!
//! Owns the status report and the alarms as clients see them; what an alarm forbids is decided
//! where changes are applied.

use std::sync::Arc;

use handfast_mvcc::{HashKv, Outcome};
use handfast_proto::command::{Alarm, command::Op};
use handfast_proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmResponse, DefragmentRequest, DefragmentResponse, DowngradeInfo,
    DowngradeRequest, DowngradeResponse, HashKvRequest, HashKvResponse, HashRequest, HashResponse,
    MoveLeaderRequest, MoveLeaderResponse, SnapshotRequest, SnapshotResponse, StatusRequest,
    StatusResponse, alarm_request::AlarmAction, maintenance_server::Maintenance,
};
use tonic::{Request, Response, Status};

use super::unserved::not_yet;
use super::{Node, unexpected};
use crate::lanes::blocking;
use crate::metrics::Method;
use crate::{error, limits};

#[tonic::async_trait]
impl Maintenance for Node {
    async fn status(
        &self,
        request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        let served = async {
            self.admit_at_learner(request.metadata())?;
            Ok(Response::new(self.report()))
        };
        self.counted(Method::Status, served).await
    }

    async fn alarm(
        &self,
        request: Request<AlarmRequest>,
    ) -> Result<Response<AlarmResponse>, Status> {
        let served = async {
            self.admit(request.metadata())?;
            let alarms = self.alarms(request.get_ref()).await?;
            let header = Some(self.header(self.store.revision()));
            Ok(Response::new(AlarmResponse { header, alarms }))
        };
        self.counted(Method::Alarm, served).await
    }

    async fn defragment(
        &self,
        _: Request<DefragmentRequest>,
    ) -> Result<Response<DefragmentResponse>, Status> {
        let refused = async { Err(not_yet("etcdserverpb.Maintenance/Defragment")) };
        self.counted(Method::Defragment, refused).await
    }

    async fn hash(&self, request: Request<HashRequest>) -> Result<Response<HashResponse>, Status> {
        let served = async {
            self.admit(request.metadata())?;
            let HashKv { hash, .. } = self.hashed(0).await?;
            Ok(Response::new(HashResponse {
                header: Some(self.header(self.store.revision())),
                hash,
            }))
        };
        self.counted(Method::Hash, served).await
    }

    async fn hash_kv(
        &self,
        request: Request<HashKvRequest>,
    ) -> Result<Response<HashKvResponse>, Status> {
        let served = async {
            self.admit(request.metadata())?;
            let hashed = self.hashed(request.get_ref().revision).await?;
            Ok(Response::new(HashKvResponse {
                header: Some(self.header(self.store.revision())),
                hash: hashed.hash,
                compact_revision: hashed.compact_revision,
                hash_revision: hashed.revision,
            }))
        };
        self.counted(Method::HashKv, served).await
    }

    type SnapshotStream = futures::stream::Empty<Result<SnapshotResponse, Status>>;

    async fn snapshot(
        &self,
        _: Request<SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        let refused = async { Err(not_yet("etcdserverpb.Maintenance/Snapshot")) };
        self.counted(Method::Snapshot, refused).await
    }

    async fn move_leader(
        &self,
        request: Request<MoveLeaderRequest>,
    ) -> Result<Response<MoveLeaderResponse>, Status> {
        let served = async {
            self.admit(request.metadata())?;
            if !self.consensus.status().is_leader {
                return Err(error::NOT_LEADER.into());
            }
            let moving = self.consensus.move_leader(request.get_ref().target_id);
            moving.await.map_err(error::from_transfer)?;
            // The one answer without a header.
            Ok(Response::new(MoveLeaderResponse::default()))
        };
        self.counted(Method::MoveLeader, served).await
    }

    async fn downgrade(
        &self,
        _: Request<DowngradeRequest>,
    ) -> Result<Response<DowngradeResponse>, Status> {
        let refused = async { Err(not_yet("etcdserverpb.Maintenance/Downgrade")) };
        self.counted(Method::Downgrade, refused).await
    }
}

impl Node {
    /// How this member is, as it sees itself.
    fn report(&self) -> StatusResponse {
        let raft = self.consensus.status();
        let stats = self.store.stats();
        let mut errors = Vec::new();
        if raft.leader.is_none() {
            errors.push(error::NO_LEADER.1.to_owned());
        }
        // Operators' scripts look for these lines, which end with a blank.
        errors.extend(self.store.alarms().iter().map(|alarm| {
            let kind = error::alarm_name(alarm.kind);
            format!("memberID:{} alarm:{kind} ", alarm.member_id)
        }));
        StatusResponse {
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
            is_learner: self.is_learner(),
            storage_version: limits::API_VERSION.to_owned(),
            db_size_quota: bytes(self.settings.quota_bytes),
            downgrade_info: Some(DowngradeInfo::default()),
        }
    }

    /// What a request about alarms is answered with.
    async fn alarms(&self, asked: &AlarmRequest) -> Result<Vec<AlarmMember>, Status> {
        let kind = asked.alarm;
        let raise = match AlarmAction::try_from(asked.action) {
            Ok(AlarmAction::Activate) => true,
            Ok(AlarmAction::Deactivate) => false,
            Ok(AlarmAction::Get) => {
                // Clients take the answer as a proof of quorum, as etcd gives it through its log.
                self.consensus
                    .linearizable()
                    .await
                    .map_err(error::from_read_as_write)?;
                let alarms = self.store.alarms().into_iter();
                let wanted = alarms.filter(|alarm| kind == 0 || alarm.kind == kind);
                return Ok(wanted.map(shown).collect());
            }
            Err(unknown) => {
                let text = format!("handfast: unknown alarm action {}", unknown.0);
                return Err(Status::invalid_argument(text));
            }
        };
        let op = Op::Alarm(Alarm {
            raise,
            member_id: asked.member_id,
            kind,
        });
        match self.propose(op).await? {
            (_, Outcome::Alarm(concerned)) => Ok(concerned.into_iter().map(shown).collect()),
            (_, other) => Err(unexpected(&other)),
        }
    }

    /// Reads the whole state, so not on a lane unless there is nothing else.
    async fn hashed(&self, revision: i64) -> Result<HashKv, Status> {
        let store = Arc::clone(&self.store);
        let hash = move || store.hash_kv(revision);
        let hashed = match self.settings.inline {
            true => hash(),
            false => blocking(hash).await,
        };
        hashed.map_err(error::from_store)
    }
}

fn shown(alarm: handfast_mvcc::Alarm) -> AlarmMember {
    AlarmMember {
        member_id: alarm.member_id,
        alarm: alarm.kind,
    }
}

/// A size as the signed number the wire has for it.
fn bytes(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
