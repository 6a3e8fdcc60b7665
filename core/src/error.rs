//! What can go wrong with a call, and what the caller may do about it.
//!
//! Owns the one error type of the crate and the advice in its messages. Knows nothing of how calls
//! are made; [`classify`] reads a gRPC status.

pub(crate) mod classify;

use std::{fmt, sync::Arc};

use tonic::Code;

/// What went wrong. Told from etcd's message text first, from the gRPC code second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No connection could be made; nothing was sent.
    Connect,
    /// The connection broke, or the server says that it cannot serve now.
    Unavailable,
    /// The deadline passed, here or at the server.
    Timeout,
    /// The member knows no leader: an election is going on, or it is cut off from the others.
    NoLeader,
    /// The leader changed while the call was served.
    LeaderChanged,
    /// The server is shutting down.
    ServerStopped,
    /// The server refuses for a moment because too much is waiting.
    TooManyRequests,
    /// The member asked is not the leader, and only the leader can do this.
    NotLeader,
    /// The member asked is a learner and cannot do this.
    Learner,
    /// The revision asked for was compacted away.
    Compacted,
    /// The revision asked for does not exist yet.
    FutureRevision,
    /// A key is empty.
    EmptyKey,
    /// A put with `ignore_value` or `ignore_lease` found no key.
    KeyNotFound,
    /// A put with `ignore_value` carries a value.
    ValueProvided,
    /// A put with `ignore_lease` carries a lease.
    LeaseProvided,
    /// A transaction has more compares or operations than the server takes.
    TooManyOps,
    /// A transaction changes one key twice.
    DuplicateKey,
    /// The request is bigger than the server takes.
    TooLarge,
    /// The server's storage quota is used up.
    NoSpace,
    /// The lease does not exist, or has ended.
    LeaseNotFound,
    /// A lease with this id exists.
    LeaseExists,
    /// The lease's TTL is above the limit.
    LeaseTtlTooLarge,
    /// The cluster has no member with this id.
    MemberNotFound,
    /// A member with this id or peer address exists.
    MemberExists,
    /// A peer address cannot be used.
    InvalidMemberUrl,
    /// The member to promote is a voting member already.
    NotLearner,
    /// The learner is too far behind the leader to be promoted.
    LearnerNotReady,
    /// The cluster has as many learners as it may.
    TooManyLearners,
    /// The leadership cannot go to this member.
    BadLeaderTransferee,
    /// The member belongs to another cluster.
    ClusterMismatch,
    /// The cluster is not healthy enough for the change.
    UnhealthyCluster,
    /// The user may not do this.
    PermissionDenied,
    /// The server wants to know who calls, or the token is not valid (any more).
    Unauthenticated,
    /// Authentication is off at the server.
    AuthNotEnabled,
    /// The server found its data damaged and refuses.
    Corrupt,
    /// The request is wrong in itself; repeating it cannot help.
    InvalidRequest,
    /// An endpoint's address cannot be understood or used.
    InvalidEndpoint,
    /// The server does not know this call.
    Unimplemented,
    /// The call or stream was cancelled.
    Cancelled,
    /// The server's answer breaks the protocol.
    Protocol,
    /// The server answered with an error this client has no name for.
    Other,
}

impl ErrorKind {
    /// Whether the condition usually passes, so that making the call again later may succeed.
    pub(crate) fn is_passing(self) -> bool {
        matches!(
            self,
            Self::Connect
                | Self::Unavailable
                | Self::Timeout
                | Self::NoLeader
                | Self::LeaderChanged
                | Self::ServerStopped
                | Self::TooManyRequests
                | Self::Learner
                | Self::UnhealthyCluster
                | Self::LearnerNotReady
        )
    }

    /// What to do, where the message alone does not say it.
    fn advice(self) -> Option<&'static str> {
        Some(match self {
            Self::Connect => "check that the server runs there and that the address is right",
            Self::Unavailable => "the server may be restarting; try again, or add endpoints",
            Self::Timeout => "check the server's load and the network, or allow a longer timeout",
            Self::NoLeader => "wait for the election, or ask another member",
            Self::ServerStopped => "ask another member, or wait for its restart",
            Self::TooManyRequests => "slow down and try again",
            Self::NotLeader => "send the call to the leader",
            Self::Learner => "send the call to a voting member",
            Self::Compacted => "start from the current revision instead",
            Self::KeyNotFound => "create the key first",
            Self::TooManyOps => "split the transaction, or raise the server's --max-txn-ops",
            Self::DuplicateKey => "change each key once per transaction",
            Self::TooLarge => "split the request, or raise the server's --max-request-bytes",
            Self::NoSpace => "delete and compact, then disarm the alarm, or raise the quota",
            Self::LeaseNotFound => "the lease ended or was revoked: grant a new one",
            Self::LeaseExists => "choose another lease id",
            Self::UnhealthyCluster => "bring the other members back first",
            Self::InvalidMemberUrl => "write each peer address as http://host:port",
            Self::NotLearner => "it votes already; there is nothing to do",
            Self::LearnerNotReady => "wait until it has caught up, then promote it again",
            Self::TooManyLearners => "promote or remove a learner first",
            Self::BadLeaderTransferee => "name a voting member that runs",
            Self::ClusterMismatch => "check that all endpoints belong to one cluster",
            Self::PermissionDenied => "grant the user a role that covers these keys",
            Self::Unimplemented => "the server is older than this call",
            Self::Protocol => "check that the endpoint is an etcd or handfast client address",
            _ => return None,
        })
    }
}

/// A failed call.
///
/// [`kind`](Self::kind) is for programs, the message for people: it names the operation, the
/// endpoint that failed and what to do. Cheap to clone.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    endpoint: Option<Arc<str>>,
    message: String,
    code: Option<Code>,
    in_doubt: bool,
    attempts: u32,
    /// The last failure at each endpoint that was asked.
    tried: Vec<(Arc<str>, String)>,
}

impl Error {
    /// An error found here, before anything was sent.
    pub(crate) fn local(
        kind: ErrorKind,
        operation: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self(Box::new(Inner {
            kind,
            operation,
            endpoint: None,
            message: message.into(),
            code: None,
            in_doubt: false,
            attempts: 0,
            tried: Vec::new(),
        }))
    }

    pub(crate) fn invalid(operation: &'static str, message: impl Into<String>) -> Self {
        Self::local(ErrorKind::InvalidRequest, operation, message)
    }

    pub(crate) fn protocol(operation: &'static str, message: impl Into<String>) -> Self {
        Self::local(ErrorKind::Protocol, operation, message)
    }

    pub(crate) fn with_endpoint(mut self, endpoint: &Arc<str>) -> Self {
        self.0.endpoint = Some(Arc::clone(endpoint));
        self
    }

    pub(crate) fn with_code(mut self, code: Code) -> Self {
        self.0.code = Some(code);
        self
    }

    pub(crate) fn with_doubt(mut self, in_doubt: bool) -> Self {
        self.0.in_doubt = in_doubt;
        self
    }

    pub(crate) fn with_attempts(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self
    }

    pub(crate) fn with_tried(mut self, tried: Vec<(Arc<str>, String)>) -> Self {
        self.0.tried = tried;
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the condition usually passes, so that the same call may succeed later.
    ///
    /// Says nothing about safety: look at [`in_doubt`](Self::in_doubt) before repeating a write.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.kind.is_passing()
    }

    /// Whether this was a write that may have been applied, or may still be.
    ///
    /// When `false` the write did not happen and will not.
    #[must_use]
    pub fn in_doubt(&self) -> bool {
        self.0.in_doubt
    }

    /// The endpoint that failed last; `None` when no endpoint was asked.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.0.endpoint.as_deref()
    }

    /// The gRPC code the server answered with; `None` when the server did not answer.
    #[must_use]
    pub fn grpc_code(&self) -> Option<Code> {
        self.0.code
    }

    /// The operation that failed, such as `put`.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// The bare message, without operation, endpoint and advice; the server's own text if it spoke.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What failed last at each endpoint that was asked, the latest at the end.
    pub fn tried(&self) -> impl Iterator<Item = (&str, &str)> {
        let tried = self.0.tried.iter();
        tried.map(|(endpoint, message)| (&**endpoint, message.as_str()))
    }

    /// How often the call was tried.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        f.write_str(inner.operation)?;
        // Of a refusal that is no passing state, what failed elsewhere before is no cause.
        if inner.tried.len() > 1 && inner.kind.is_passing() {
            f.write_str(": no member could serve it")?;
            for (place, (endpoint, message)) in inner.tried.iter().enumerate() {
                write!(
                    f,
                    "{} {endpoint}: {message}",
                    if place == 0 { ":" } else { ";" }
                )?;
            }
        } else {
            if let Some(endpoint) = &inner.endpoint {
                write!(f, " at {endpoint}")?;
            }
            write!(f, ": {}", inner.message)?;
        }
        if inner.attempts > 1 {
            write!(f, " (tried {} times)", inner.attempts)?;
        }
        if inner.in_doubt {
            f.write_str("; the write may have been applied: read before repeating it")?;
        } else if let Some(advice) = inner.kind.advice() {
            write!(f, "; {advice}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_operation_endpoint_cause_and_advice() {
        let error = Error::local(ErrorKind::Connect, "put", "connection refused")
            .with_endpoint(&Arc::from("http://127.0.0.1:1"))
            .with_attempts(3);
        assert_eq!(
            error.to_string(),
            "put at http://127.0.0.1:1: connection refused (tried 3 times); \
             check that the server runs there and that the address is right"
        );
        assert!(error.is_retryable() && !error.in_doubt());
    }

    #[test]
    fn every_endpoint_that_was_asked_is_named() {
        let (a, b): (Arc<str>, Arc<str>) = (Arc::from("http://a:1"), Arc::from("http://b:2"));
        let error = Error::local(ErrorKind::NoLeader, "get", "etcdserver: no leader")
            .with_endpoint(&b)
            .with_attempts(9)
            .with_tried(vec![
                (a, "connection refused".to_owned()),
                (b, "etcdserver: no leader".to_owned()),
            ]);
        assert_eq!(
            error.to_string(),
            "get: no member could serve it: http://a:1: connection refused; \
             http://b:2: etcdserver: no leader (tried 9 times); \
             wait for the election, or ask another member"
        );
        assert_eq!(error.tried().count(), 2);
    }

    #[test]
    fn doubt_replaces_the_advice() {
        let error = Error::local(ErrorKind::Timeout, "txn", "no answer in 5s").with_doubt(true);
        let text = error.to_string();
        assert!(text.ends_with("read before repeating it"), "{text}");
    }
}
