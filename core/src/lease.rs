//! Leases: grant, revoke, look at, renew once.
//!
//! Owns these calls. Renewing for long is [`crate::keep_alive`]; what a lost lease means is the
//! business of sessions.

use std::time::Duration;

use bytes::Bytes;
use handfast_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest,
    LeaseRevokeRequest, LeaseTimeToLiveRequest, lease_client::LeaseClient,
};
use tonic::{Request, Response, Status, transport::Channel};

use crate::{
    Client, Error, ErrorKind, Header,
    call::{self, Outcome, Safety},
    namespace,
};

/// A lease that was granted.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LeaseGrant {
    /// Who answered, and the store's revision.
    pub header: Header,
    /// The lease's id.
    pub id: i64,
    /// What the server granted, in seconds; it raises what is too short.
    pub ttl: i64,
}

/// A lease that was renewed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct KeepAlive {
    /// Who answered, and the store's revision.
    pub header: Header,
    /// The lease's id.
    pub id: i64,
    /// The time it lives from the moment the server renewed it, in seconds; above 0.
    pub ttl: i64,
}

impl KeepAlive {
    /// The answer for lease `id`, or that it has ended.
    pub(crate) fn read(message: LeaseKeepAliveResponse) -> Result<Self, Error> {
        if message.ttl <= 0 {
            return Err(not_found("lease_keep_alive", message.id));
        }
        Ok(Self {
            header: message.header.unwrap_or_default(),
            id: message.id,
            ttl: message.ttl,
        })
    }
}

/// What is known of a lease.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LeaseInfo {
    /// Who answered, and the store's revision.
    pub header: Header,
    /// The lease's id.
    pub id: i64,
    /// Whole seconds left.
    pub ttl: i64,
    /// Seconds it was granted for.
    pub granted_ttl: i64,
    /// The keys attached to it, within the client's namespace, if asked for.
    pub keys: Vec<Bytes>,
}

pub(crate) fn stub(channel: Channel) -> LeaseClient<Channel> {
    LeaseClient::new(channel).max_decoding_message_size(usize::MAX)
}

impl Client {
    /// Grants a lease of `ttl` seconds. With `id` 0 the client chooses a random one.
    ///
    /// Retried even when in doubt: the id makes a second grant harmless. So a given `id` must not
    /// be in use elsewhere: after an attempt in doubt, a lease with it counts as this call's own.
    /// Dropping the future may leave the lease granted; it then ends by itself.
    ///
    /// # Errors
    /// [`LeaseExists`](ErrorKind::LeaseExists),
    /// [`LeaseTtlTooLarge`](ErrorKind::LeaseTtlTooLarge), [`NoSpace`](ErrorKind::NoSpace), or that
    /// no endpoint answered in time.
    pub async fn lease_grant(&self, ttl: i64, id: i64) -> Result<LeaseGrant, Error> {
        let id = match id {
            0 => self.chance().lease_id(),
            id => id,
        };
        let request = LeaseGrantRequest { ttl, id };
        let call = self.call("lease_grant", Safety::Repeatable);
        let send = |channel, request| async move { stub(channel).lease_grant(request).await };
        let outcome = call::run(&self.shared.pool, call, &request, send).await;
        let response = match outcome {
            Outcome {
                result: Err(error),
                repeated_in_doubt: true,
            } if error.kind() == ErrorKind::LeaseExists => {
                let info = self.lease_time_to_live(id, false).await?;
                return Ok(LeaseGrant {
                    header: info.header,
                    id,
                    ttl: info.granted_ttl,
                });
            }
            Outcome { result, .. } => result?,
        };
        if !response.error.is_empty() {
            return Err(Error::local(
                ErrorKind::Other,
                "lease_grant",
                response.error,
            ));
        }
        Ok(LeaseGrant {
            header: response.header.unwrap_or_default(),
            id: response.id,
            ttl: response.ttl,
        })
    }

    /// Ends lease `id` and deletes its keys. Retried even when in doubt.
    ///
    /// # Errors
    /// [`LeaseNotFound`](ErrorKind::LeaseNotFound) when there was no such lease, or that no
    /// endpoint answered in time.
    pub async fn lease_revoke(&self, id: i64) -> Result<Header, Error> {
        let request = LeaseRevokeRequest { id };
        let call = self.call("lease_revoke", Safety::Repeatable);
        let send = |channel, request| async move { stub(channel).lease_revoke(request).await };
        match call::run(&self.shared.pool, call, &request, send).await {
            // An attempt whose answer was lost did it.
            Outcome {
                result: Err(error),
                repeated_in_doubt: true,
            } if error.kind() == ErrorKind::LeaseNotFound => Ok(Header::default()),
            Outcome { result, .. } => Ok(result?.header.unwrap_or_default()),
        }
    }

    /// Renews lease `id` once. The server counts its time from when it read the request, so count
    /// from before the call. For more than one renewal use [`KeepAliver`](crate::KeepAliver).
    ///
    /// # Errors
    /// [`LeaseNotFound`](ErrorKind::LeaseNotFound) when it has ended, or that no endpoint answered
    /// in time.
    pub async fn lease_keep_alive_once(&self, id: i64) -> Result<KeepAlive, Error> {
        let request = LeaseKeepAliveRequest { id };
        let mut call = self.call("lease_keep_alive", Safety::Repeatable);
        // A stream that is refused for want of a leader would say so without an answer.
        call.require_leader = self.shared.require_leader;
        let response = call::run(&self.shared.pool, call, &request, keep_alive_once)
            .await
            .result?;
        KeepAlive::read(response)
    }

    /// How long lease `id` has left, and with `keys` which keys it holds.
    ///
    /// # Errors
    /// [`LeaseNotFound`](ErrorKind::LeaseNotFound) when it has ended, or that no endpoint answered
    /// in time.
    pub async fn lease_time_to_live(&self, id: i64, keys: bool) -> Result<LeaseInfo, Error> {
        let request = LeaseTimeToLiveRequest { id, keys };
        let call = self.call("lease_time_to_live", Safety::Read);
        let send =
            |channel, request| async move { stub(channel).lease_time_to_live(request).await };
        let response = call::run(&self.shared.pool, call, &request, send)
            .await
            .result?;
        if response.ttl < 0 {
            return Err(not_found("lease_time_to_live", id));
        }
        let mut keys = response.keys;
        keys.retain(|key| key.starts_with(&self.namespace));
        for key in &mut keys {
            namespace::leave_key(&self.namespace, key);
        }
        Ok(LeaseInfo {
            header: response.header.unwrap_or_default(),
            id: response.id,
            ttl: response.ttl,
            granted_ttl: response.granted_ttl,
            keys,
        })
    }

    /// The ids of all leases, as the asked member knows them.
    ///
    /// # Errors
    /// That no endpoint answered in time.
    pub async fn leases(&self) -> Result<Vec<i64>, Error> {
        let mut call = self.call("leases", Safety::Read);
        call.require_leader = false;
        let send = |channel, request| async move { stub(channel).lease_leases(request).await };
        let request = LeaseLeasesRequest {};
        let response = call::run(&self.shared.pool, call, &request, send)
            .await
            .result?;
        Ok(response.leases.iter().map(|lease| lease.id).collect())
    }
}

/// One renewal over a stream of its own.
async fn keep_alive_once(
    channel: Channel,
    request: Request<LeaseKeepAliveRequest>,
) -> Result<Response<LeaseKeepAliveResponse>, Status> {
    let (metadata, extensions, message) = request.into_parts();
    let stream = tokio_stream::once(message);
    let request = Request::from_parts(metadata, extensions, stream);
    let response = stub(channel).lease_keep_alive(request).await?;
    let (metadata, mut answers, extensions) = response.into_parts();
    match answers.message().await? {
        Some(answer) => Ok(Response::from_parts(metadata, answer, extensions)),
        None => Err(Status::unavailable("the stream ended without an answer")),
    }
}

fn not_found(operation: &'static str, id: i64) -> Error {
    Error::local(
        ErrorKind::LeaseNotFound,
        operation,
        format!("lease {id:x} does not exist"),
    )
}

/// Seconds as a duration; the protocol's numbers are signed.
pub(crate) fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(ttl.unsigned_abs())
}
