//! The RPC handlers, one module per service, and the node they all speak for.
//!
//! Owns what every request has in common: admission by metadata, the way into consensus, and
//! response headers. It must not know how requests arrive.

mod cluster;
mod health;
mod kv;
mod lease;
mod maintenance;
mod streams;
pub(crate) mod unserved;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use handfast_consensus::Consensus;
use handfast_mvcc::{Outcome, Store};
use handfast_proto::command::{Command, MemberInfo, command::Op};
use handfast_proto::etcdserverpb::ResponseHeader;
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::config::Config;
use crate::error;
use crate::ids::Ids;
use crate::limits;
use crate::metrics::{Call, Calls, Method, Metrics};

pub(crate) use lease::Leases;
pub(crate) use streams::Streams;
pub(crate) use watch::Watches;

/// Metadata key by which a client asks for an error instead of a wait when there is no leader.
const REQUIRE_LEADER: &str = "hasleader";

/// Metadata key that carries the client's version.
const CLIENT_API_VERSION: &str = "client-api-version";

/// What the handlers need to know of the configuration.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) max_request_bytes: usize,
    pub(crate) max_txn_ops: usize,
    pub(crate) request_timeout: Duration,
    pub(crate) election_timeout: Duration,
    pub(crate) progress_interval: Duration,
    /// Storage quota in bytes; zero is none.
    pub(crate) quota_bytes: u64,
    /// Whether long work is done where it is asked for, as simulations need it.
    pub(crate) inline: bool,
}

impl Settings {
    pub(crate) fn of(config: &Config) -> Settings {
        let elections = config.election_timeout * limits::REQUEST_TIMEOUT_ELECTIONS;
        Settings {
            max_request_bytes: usize::try_from(config.max_request_bytes).unwrap_or(usize::MAX),
            max_txn_ops: config.max_txn_ops,
            request_timeout: limits::REQUEST_TIMEOUT_BASE + elections,
            election_timeout: config.election_timeout,
            progress_interval: config.watch_progress_notify_interval,
            quota_bytes: config.quota_backend_bytes.unwrap_or(0),
            inline: false,
        }
    }

    /// The longest message the transport takes, in bytes.
    pub(crate) fn max_message_bytes(&self) -> usize {
        self.max_request_bytes
            .saturating_add(limits::MESSAGE_OVERHEAD_BYTES)
    }
}

/// One member as its clients see it: the handlers of all services are methods of this.
pub(crate) struct Node {
    pub(crate) cluster_id: u64,
    pub(crate) consensus: Consensus,
    pub(crate) store: Arc<Store>,
    /// This member as it runs now; the log has what it was when it was added.
    pub(crate) member: MemberInfo,
    pub(crate) settings: Settings,
    pub(crate) streams: Arc<Streams>,
    pub(crate) ids: Ids,
    pub(crate) metrics: Metrics,
}

impl Node {
    /// Counts a call, whatever comes of it.
    async fn counted<T>(
        &self,
        method: Method,
        served: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        let mut call = Calls::begin(&*self.metrics.calls, method);
        call.note(served.await)
    }

    /// Counts the beginning of a call that lasts as long as its stream.
    fn begin(&self, method: Method) -> Call<Arc<Calls>> {
        Calls::begin(Arc::clone(&self.metrics.calls), method)
    }

    /// Checks what has to hold before a request is looked at.
    fn admit(&self, metadata: &MetadataMap) -> Result<(), Status> {
        if self.is_learner() {
            return Err(error::NOT_FOR_LEARNERS.into());
        }
        self.admit_at_learner(metadata)
    }

    /// The same for the few requests that a learner answers, too.
    fn admit_at_learner(&self, metadata: &MetadataMap) -> Result<(), Status> {
        if let Some(version) = metadata.get(CLIENT_API_VERSION)
            && std::str::from_utf8(version.as_encoded_bytes()).is_err()
        {
            return Err(error::INVALID_API_VERSION.into());
        }
        if requires_leader(metadata) && !self.has_leader() {
            return Err(error::NO_LEADER.into());
        }
        Ok(())
    }

    /// Whether clients have to take this member for a learner. One that is to vote soon is none:
    /// it serves all requests, for they are decided at the leader.
    pub(crate) fn is_learner(&self) -> bool {
        self.consensus.is_learner() && {
            let members = self.consensus.members();
            let this = members.iter().find(|member| member.id == self.member.id);
            !this.is_some_and(|this| this.voter_intent)
        }
    }

    pub(crate) fn has_leader(&self) -> bool {
        self.consensus.leader().is_some()
    }

    /// A header with all four fields.
    fn header(&self, revision: i64) -> ResponseHeader {
        ResponseHeader {
            cluster_id: self.cluster_id,
            member_id: self.member.id,
            revision,
            raft_term: self.consensus.term(),
        }
    }

    /// Completes a header in which the store has set the revision only.
    fn complete(&self, header: &mut Option<ResponseHeader>) {
        let revision = header.as_ref().map_or(0, |header| header.revision);
        *header = Some(self.header(revision));
    }

    /// Brings one change through consensus and returns what it came to, with the revision after.
    ///
    /// Dropping the future does not undo the change: it may still happen.
    async fn propose(&self, op: Op) -> Result<(i64, Outcome), Status> {
        let command = Command { op: Some(op) };
        let applied = self
            .consensus
            .propose(command)
            .await
            .map_err(error::from_propose)?;
        let outcome = applied.result.map_err(error::from_store)?;
        Ok((applied.revision, outcome))
    }

    /// Returns once the local store has caught up with everything acknowledged before the call.
    pub(crate) async fn catch_up(&self) -> Result<(), Status> {
        self.consensus
            .linearizable()
            .await
            .map_err(error::from_read)
    }
}

/// Whether the caller prefers an error to waiting for a leader.
fn requires_leader(metadata: &MetadataMap) -> bool {
    metadata
        .get(REQUIRE_LEADER)
        .is_some_and(|value| value == "true")
}

/// The answer when consensus returns the outcome of another kind of command.
fn unexpected(outcome: &Outcome) -> Status {
    tracing::error!(?outcome, "a command came to the outcome of another");
    Status::internal("handfast: a command came to the outcome of another")
}
