//! Status, health, alarms and upkeep.
//!
//! Owns thin calls; their answers are the wire messages. Calls that concern one member take its
//! endpoint, which need not be one of the client's own.

use handfast_proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmResponse, AlarmType, DefragmentRequest, DefragmentResponse,
    HashKvRequest, HashKvResponse, MoveLeaderRequest, MoveLeaderResponse, RangeRequest,
    SnapshotRequest, SnapshotResponse, StatusRequest, StatusResponse, alarm_request::AlarmAction,
    maintenance_client::MaintenanceClient,
};
use tonic::{Streaming, transport::Channel};

use crate::{
    Client, Error, ErrorKind,
    call::{self, Call, Safety},
    kv,
};

fn stub(channel: Channel) -> MaintenanceClient<Channel> {
    MaintenanceClient::new(channel).max_decoding_message_size(usize::MAX)
}

impl Client {
    /// What the member at `endpoint` says of itself. Works without a leader.
    ///
    /// # Errors
    /// That the endpoint did not answer in time.
    pub async fn status(&self, endpoint: &str) -> Result<StatusResponse, Error> {
        let pool = self.shared.pool.only(endpoint)?;
        let send = |channel, request| async move { stub(channel).status(request).await };
        call::run(
            &pool,
            self.local_call("status", Safety::Read),
            &StatusRequest {},
            send,
        )
        .await
        .result
    }

    /// Checks that the member at `endpoint` can serve: a linearizable read, then no alarm.
    ///
    /// # Errors
    /// Why it cannot: that it did not answer in time, [`NoSpace`](ErrorKind::NoSpace) or
    /// [`Corrupt`](ErrorKind::Corrupt).
    pub async fn health(&self, endpoint: &str) -> Result<(), Error> {
        let pool = self.shared.pool.only(endpoint)?;
        let request = RangeRequest {
            key: "health".into(),
            limit: 1,
            ..Default::default()
        };
        let call = self.call("health", Safety::Read);
        let send = |channel, request| async move { kv::stub(channel).range(request).await };
        match call::run(&pool, call, &request, send).await.result {
            Ok(_) => {}
            // Whoever can say this has read the store.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error),
        }
        let send = |channel, request| async move { stub(channel).alarm(request).await };
        let answer = call::run(&pool, call, &AlarmRequest::default(), send)
            .await
            .result?;
        match answer.alarms.first() {
            None => Ok(()),
            Some(alarm) => {
                let kind = match alarm.alarm() {
                    AlarmType::Corrupt => ErrorKind::Corrupt,
                    _ => ErrorKind::NoSpace,
                };
                let message = format!(
                    "alarm {} of member {:x}",
                    alarm.alarm().as_str_name(),
                    alarm.member_id
                );
                Err(Error::local(kind, "health", message).with_endpoint(&pool.url(0)))
            }
        }
    }

    /// The alarms that are raised.
    ///
    /// # Errors
    /// That no endpoint answered in time.
    pub async fn alarms(&self) -> Result<Vec<AlarmMember>, Error> {
        let call = self.call("alarm_list", Safety::Read);
        Ok(self.alarm(call, &AlarmRequest::default()).await?.alarms)
    }

    /// Takes `alarm` back. Retried even when in doubt.
    ///
    /// # Errors
    /// That no endpoint answered in time.
    pub async fn alarm_disarm(&self, alarm: AlarmMember) -> Result<AlarmResponse, Error> {
        let request = AlarmRequest {
            action: AlarmAction::Deactivate as i32,
            member_id: alarm.member_id,
            alarm: alarm.alarm,
        };
        self.alarm(self.call("alarm_disarm", Safety::Repeatable), &request)
            .await
    }

    async fn alarm(&self, call: Call, request: &AlarmRequest) -> Result<AlarmResponse, Error> {
        let send = |channel, request| async move { stub(channel).alarm(request).await };
        call::run(&self.shared.pool, call, request, send)
            .await
            .result
    }

    /// Rewrites the store of the member at `endpoint` to give space back; an etcd serves nothing
    /// meanwhile. Allow it time with [`with_timeout`](Self::with_timeout).
    ///
    /// # Errors
    /// That the endpoint did not answer in time.
    pub async fn defragment(&self, endpoint: &str) -> Result<DefragmentResponse, Error> {
        let pool = self.shared.pool.only(endpoint)?;
        let call = self.local_call("defragment", Safety::Write);
        let send = |channel, request| async move { stub(channel).defragment(request).await };
        call::run(&pool, call, &DefragmentRequest {}, send)
            .await
            .result
    }

    /// The hash over the store of the member at `endpoint` at `revision` (0: now).
    ///
    /// # Errors
    /// [`Compacted`](ErrorKind::Compacted), [`FutureRevision`](ErrorKind::FutureRevision), or that
    /// the endpoint did not answer in time.
    pub async fn hash_kv(&self, endpoint: &str, revision: i64) -> Result<HashKvResponse, Error> {
        let pool = self.shared.pool.only(endpoint)?;
        let call = self.local_call("hash_kv", Safety::Read);
        let send = |channel, request| async move { stub(channel).hash_kv(request).await };
        call::run(&pool, call, &HashKvRequest { revision }, send)
            .await
            .result
    }

    /// Makes member `target` the leader. `endpoint` must be the present leader's.
    ///
    /// # Errors
    /// [`NotLeader`](ErrorKind::NotLeader),
    /// [`BadLeaderTransferee`](ErrorKind::BadLeaderTransferee), or another refusal.
    pub async fn move_leader(
        &self,
        endpoint: &str,
        target: u64,
    ) -> Result<MoveLeaderResponse, Error> {
        let pool = self.shared.pool.only(endpoint)?;
        let call = self.call("move_leader", Safety::Write);
        let send = |channel, request| async move { stub(channel).move_leader(request).await };
        call::run(&pool, call, &MoveLeaderRequest { target_id: target }, send)
            .await
            .result
    }

    /// A snapshot of the member at `endpoint`, in chunks; the last holds the SHA-256 of the others.
    ///
    /// The stream has no deadline and is not resumed when it breaks: start over then.
    ///
    /// # Errors
    /// That the endpoint cannot be reached or refuses.
    pub async fn snapshot(&self, endpoint: &str) -> Result<Streaming<SnapshotResponse>, Error> {
        let pool = self.shared.pool.only(endpoint)?;
        let unread = |failure: crate::error::classify::Failure| {
            failure.into_error("snapshot", &pool.url(0), false)
        };
        let link = pool.link(0).await.map_err(unread)?;
        let answer = stub(link.channel).snapshot(SnapshotRequest {}).await;
        let status = match answer {
            Ok(stream) => return Ok(stream.into_inner()),
            Err(status) => status,
        };
        Err(unread(crate::error::classify::Failure::read(&status)))
    }

    /// A call that a member answers from what it has, leader or not.
    fn local_call(&self, operation: &'static str, safety: Safety) -> Call {
        Call {
            require_leader: false,
            ..self.call(operation, safety)
        }
    }
}
