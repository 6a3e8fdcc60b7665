//! The cluster's members.
//!
//! Owns thin calls; their answers are the wire messages.

use handfast_proto::etcdserverpb::{
    MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse,
    MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse,
    MemberUpdateRequest, MemberUpdateResponse, cluster_client::ClusterClient,
};
use tonic::transport::Channel;

use crate::{
    Client, Error,
    call::{self, Safety},
};

fn stub(channel: Channel) -> ClusterClient<Channel> {
    ClusterClient::new(channel).max_decoding_message_size(usize::MAX)
}

impl Client {
    /// The members, by ascending id; one that has not started yet has no name.
    ///
    /// # Errors
    /// That no endpoint answered in time.
    pub async fn members(&self) -> Result<MemberListResponse, Error> {
        self.member_list(true).await
    }

    /// The members, by ascending id: as the cluster agreed last, or (not `linearizable`) as far as
    /// the member that is asked knows, which it tells without a leader too. An etcd before 3.5
    /// knows only the latter.
    ///
    /// # Errors
    /// That no endpoint answered in time.
    pub async fn member_list(&self, linearizable: bool) -> Result<MemberListResponse, Error> {
        let request = MemberListRequest { linearizable };
        let mut call = self.call("member_list", Safety::Read);
        call.require_leader &= linearizable;
        let send = |channel, request| async move { stub(channel).member_list(request).await };
        call::run(&self.shared.pool, call, &request, send)
            .await
            .result
    }

    /// Adds a member that will listen to its peers at `peer_urls`, as a learner if asked.
    ///
    /// # Errors
    /// [`MemberExists`](crate::ErrorKind::MemberExists),
    /// [`InvalidMemberUrl`](crate::ErrorKind::InvalidMemberUrl),
    /// [`UnhealthyCluster`](crate::ErrorKind::UnhealthyCluster), or another refusal.
    pub async fn member_add(
        &self,
        peer_urls: Vec<String>,
        is_learner: bool,
    ) -> Result<MemberAddResponse, Error> {
        let request = MemberAddRequest {
            peer_ur_ls: peer_urls,
            is_learner,
        };
        let call = self.call("member_add", Safety::Write);
        let send = |channel, request| async move { stub(channel).member_add(request).await };
        call::run(&self.shared.pool, call, &request, send)
            .await
            .result
    }

    /// Adds a member that will listen to its peers at `peer_urls` and does not vote until it is
    /// [promoted](Self::member_promote).
    ///
    /// # Errors
    /// [`TooManyLearners`](crate::ErrorKind::TooManyLearners), and those of
    /// [`member_add`](Self::member_add).
    pub async fn member_add_learner(
        &self,
        peer_urls: Vec<String>,
    ) -> Result<MemberAddResponse, Error> {
        self.member_add(peer_urls, true).await
    }

    /// Removes member `id`.
    ///
    /// # Errors
    /// [`MemberNotFound`](crate::ErrorKind::MemberNotFound),
    /// [`UnhealthyCluster`](crate::ErrorKind::UnhealthyCluster), or another refusal.
    pub async fn member_remove(&self, id: u64) -> Result<MemberRemoveResponse, Error> {
        let request = MemberRemoveRequest { id };
        let call = self.call("member_remove", Safety::Write);
        let send = |channel, request| async move { stub(channel).member_remove(request).await };
        call::run(&self.shared.pool, call, &request, send)
            .await
            .result
    }

    /// Changes where member `id` listens to its peers.
    ///
    /// # Errors
    /// [`MemberNotFound`](crate::ErrorKind::MemberNotFound),
    /// [`MemberExists`](crate::ErrorKind::MemberExists), or another refusal.
    pub async fn member_update(
        &self,
        id: u64,
        peer_urls: Vec<String>,
    ) -> Result<MemberUpdateResponse, Error> {
        let request = MemberUpdateRequest {
            id,
            peer_ur_ls: peer_urls,
        };
        let call = self.call("member_update", Safety::Write);
        let send = |channel, request| async move { stub(channel).member_update(request).await };
        call::run(&self.shared.pool, call, &request, send)
            .await
            .result
    }

    /// Makes the learner `id` a voting member.
    ///
    /// # Errors
    /// [`MemberNotFound`](crate::ErrorKind::MemberNotFound),
    /// [`NotLearner`](crate::ErrorKind::NotLearner), or
    /// [`LearnerNotReady`](crate::ErrorKind::LearnerNotReady): it is too far behind.
    pub async fn member_promote(&self, id: u64) -> Result<MemberPromoteResponse, Error> {
        let request = MemberPromoteRequest { id };
        let call = self.call("member_promote", Safety::Write);
        let send = |channel, request| async move { stub(channel).member_promote(request).await };
        call::run(&self.shared.pool, call, &request, send)
            .await
            .result
    }
}
