//! Reads a gRPC status: which error it is, and whether the request can have been carried out.
//!
//! Owns the table of etcd's message texts. Knows nothing of calls and retries.

use std::{error::Error as StdError, sync::Arc};

use tonic::{Code, ConnectError, Status, TimeoutExpired};

use super::{Error, ErrorKind};

/// What became of a failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It never reached a server.
    NotSent,
    /// A server read it and refused it.
    Refused,
    /// It may have been carried out, or may still be.
    Unknown,
}

/// A status that was read.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    pub(crate) fate: Fate,
    /// `None` when the connection failed and no server spoke.
    pub(crate) code: Option<Code>,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn read(status: &Status) -> Self {
        // Only a status made on this side carries a source.
        match status.source() {
            Some(source) => Self::from_transport(status, source),
            None => Self::from_server(status),
        }
    }

    /// The deadline passed here, with no answer.
    pub(crate) fn deadline(waited: std::time::Duration) -> Self {
        Self {
            kind: ErrorKind::Timeout,
            fate: Fate::Unknown,
            code: None,
            message: format!("no answer within {waited:.1?}"),
        }
    }

    /// The deadline passed here while there was no connection yet.
    pub(crate) fn unconnected_deadline(waited: std::time::Duration) -> Self {
        Self {
            kind: ErrorKind::Timeout,
            fate: Fate::NotSent,
            code: None,
            message: format!("no connection within {waited:.1?}"),
        }
    }

    /// A server that says of itself that it cannot do its work: others may.
    pub(crate) fn of_server(message: String) -> Self {
        Self {
            kind: ErrorKind::Unavailable,
            fate: Fate::Refused,
            code: None,
            message,
        }
    }

    pub(crate) fn is_unconnected_deadline(&self) -> bool {
        self.kind == ErrorKind::Timeout && self.fate == Fate::NotSent
    }

    fn from_transport(status: &Status, source: &(dyn StdError + 'static)) -> Self {
        let mut next = Some(source);
        let mut root = status.message().to_owned();
        while let Some(error) = next {
            root = error.to_string();
            if error.is::<TimeoutExpired>() {
                return Self {
                    kind: ErrorKind::Timeout,
                    fate: Fate::Unknown,
                    code: None,
                    message: "no answer before the deadline".to_owned(),
                };
            }
            if let Some(connect) = error.downcast_ref::<ConnectError>() {
                return Self {
                    kind: ErrorKind::Connect,
                    fate: Fate::NotSent,
                    code: None,
                    message: format!("cannot connect: {}", root_cause(connect)),
                };
            }
            // hyper calls a request "canceled" only while it has not left the client's queue.
            if error
                .downcast_ref::<hyper::Error>()
                .is_some_and(hyper::Error::is_canceled)
            {
                return Self {
                    kind: ErrorKind::Unavailable,
                    fate: Fate::NotSent,
                    code: None,
                    message: "the connection closed before the request was sent".to_owned(),
                };
            }
            next = error.source();
        }
        Self {
            kind: ErrorKind::Unavailable,
            fate: Fate::Unknown,
            code: None,
            message: format!("the connection broke: {root}"),
        }
    }

    fn from_server(status: &Status) -> Self {
        let (kind, fate) = by_text(status.message()).unwrap_or_else(|| by_code(status.code()));
        let message = if status.message().is_empty() {
            status.code().description().to_owned()
        } else {
            status.message().to_owned()
        };
        Self {
            kind,
            fate,
            code: Some(status.code()),
            message,
        }
    }

    /// The public error; `write` says that carrying it out would have changed something.
    pub(crate) fn into_error(
        self,
        operation: &'static str,
        endpoint: &Arc<str>,
        write: bool,
    ) -> Error {
        let error = Error::local(self.kind, operation, self.message)
            .with_endpoint(endpoint)
            .with_doubt(write && self.fate == Fate::Unknown);
        match self.code {
            Some(code) => error.with_code(code),
            None => error,
        }
    }
}

/// The text at the bottom of an error's chain: the operating system's, mostly.
fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// What a message means that came in a reply rather than as a status (a refused watch).
pub(crate) fn kind_of_text(text: &str) -> ErrorKind {
    // Auth refusals of watches carry Go's rendering of a status; the text is at its end.
    let text = text.rsplit_once("desc = ").map_or(text, |(_, tail)| tail);
    by_text(text).map_or(ErrorKind::Other, |(kind, _)| kind)
}

fn by_text(text: &str) -> Option<(ErrorKind, Fate)> {
    use ErrorKind as K;
    let tail = text.strip_prefix("etcdserver: ").unwrap_or(text);
    let tail = tail.strip_prefix("mvcc: ").unwrap_or(tail);
    if let Some(kind) = passing_by_text(tail) {
        return Some(kind);
    }
    let kind = match tail {
        "required revision has been compacted" => K::Compacted,
        "required revision is a future revision" => K::FutureRevision,
        "key is not provided" => K::EmptyKey,
        "key not found" => K::KeyNotFound,
        "value is provided" => K::ValueProvided,
        "lease is provided" => K::LeaseProvided,
        "too many operations in txn request" => K::TooManyOps,
        "duplicate key given in txn request" => K::DuplicateKey,
        "request is too large" => K::TooLarge,
        "database space exceeded" => K::NoSpace,
        "requested lease not found" => K::LeaseNotFound,
        "lease already exists" => K::LeaseExists,
        "too large lease TTL" => K::LeaseTtlTooLarge,
        "member not found" => K::MemberNotFound,
        "given member URLs are invalid" => K::InvalidMemberUrl,
        "can only promote a learner member" => K::NotLearner,
        "can only promote a learner member which is in sync with leader" => K::LearnerNotReady,
        "too many learner members in cluster" => K::TooManyLearners,
        "bad leader transferee" => K::BadLeaderTransferee,
        "cluster ID mismatch" => K::ClusterMismatch,
        "not capable" => K::Unimplemented,
        "member ID already exist" | "Peer URLs already exists" => K::MemberExists,
        "permission denied" | "auth: permission denied" => K::PermissionDenied,
        "invalid auth token"
        | "user name is empty"
        | "auth: user name is empty"
        | "revision of auth store is old"
        | "authentication failed, invalid user ID or password" => K::Unauthenticated,
        "authentication is not enabled" => K::AuthNotEnabled,
        "corrupt cluster" => K::Corrupt,
        "not leader" => K::NotLeader,
        "invalid sort option"
        | "watcher range is empty"
        | "duplicate watch ID provided on the WatchStream" => K::InvalidRequest,
        _ if text.contains("received message larger than max") => K::TooLarge,
        _ => return None,
    };
    Some((kind, Fate::Refused))
}

/// Conditions that pass, and what they leave in doubt.
fn passing_by_text(tail: &str) -> Option<(ErrorKind, Fate)> {
    use ErrorKind as K;
    Some(match tail {
        "no leader" => (K::NoLeader, Fate::Refused),
        "leader changed" => (K::LeaderChanged, Fate::Unknown),
        "server stopped" => (K::ServerStopped, Fate::Unknown),
        "too many requests" => (K::TooManyRequests, Fate::Refused),
        "unhealthy cluster" | "re-configuration failed due to not enough started members" => {
            (K::UnhealthyCluster, Fate::Refused)
        }
        "rpc not supported for learner" => (K::Learner, Fate::Refused),
        "not a primary lessor" => (K::LeaderChanged, Fate::Refused),
        // Raft took the proposal from nobody: it is in no log.
        "raft proposal dropped" => (K::Unavailable, Fate::Refused),
        "context deadline exceeded" => (K::Timeout, Fate::Unknown),
        "context canceled" | "watch canceled" | "request cancelled" | "request canceled" => {
            (K::Cancelled, Fate::Unknown)
        }
        _ if tail.starts_with("request timed out") => (K::Timeout, Fate::Unknown),
        _ => return None,
    })
}

fn by_code(code: Code) -> (ErrorKind, Fate) {
    match code {
        Code::Unavailable => (ErrorKind::Unavailable, Fate::Unknown),
        Code::DeadlineExceeded => (ErrorKind::Timeout, Fate::Unknown),
        Code::Cancelled => (ErrorKind::Cancelled, Fate::Unknown),
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition => {
            (ErrorKind::InvalidRequest, Fate::Refused)
        }
        Code::PermissionDenied => (ErrorKind::PermissionDenied, Fate::Refused),
        Code::Unauthenticated => (ErrorKind::Unauthenticated, Fate::Refused),
        Code::Unimplemented => (ErrorKind::Unimplemented, Fate::Refused),
        Code::DataLoss => (ErrorKind::Corrupt, Fate::Unknown),
        _ => (ErrorKind::Other, Fate::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(code: Code, text: &str) -> Failure {
        Failure::read(&Status::new(code, text))
    }

    #[test]
    fn the_text_decides_before_the_code() {
        let failure = read(Code::Unknown, "etcdserver: too many requests");
        assert_eq!(failure.kind, ErrorKind::TooManyRequests);
        assert_eq!(failure.fate, Fate::Refused);
        let failure = read(
            Code::Unavailable,
            "etcdserver: rpc not supported for learner",
        );
        assert_eq!(failure.kind, ErrorKind::Learner);
    }

    #[test]
    fn both_spellings_of_the_revision_errors_are_known() {
        for text in [
            "etcdserver: mvcc: required revision has been compacted",
            "mvcc: required revision has been compacted",
        ] {
            assert_eq!(read(Code::OutOfRange, text).kind, ErrorKind::Compacted);
        }
    }

    #[test]
    fn every_server_timeout_leaves_a_write_in_doubt() {
        for text in [
            "etcdserver: request timed out",
            "etcdserver: request timed out, possibly due to previous leader failure",
            "context deadline exceeded",
        ] {
            let error = read(Code::Unavailable, text).into_error("put", &Arc::from("x"), true);
            assert_eq!(error.kind(), ErrorKind::Timeout);
            assert!(error.in_doubt() && error.is_retryable());
        }
    }

    #[test]
    fn a_refusal_is_never_in_doubt() {
        let error = read(Code::Unavailable, "etcdserver: no leader").into_error(
            "put",
            &Arc::from("x"),
            true,
        );
        assert!(!error.in_doubt() && error.is_retryable());
    }

    #[test]
    fn an_unknown_text_falls_back_to_the_code() {
        assert_eq!(read(Code::Unimplemented, "").kind, ErrorKind::Unimplemented);
        assert_eq!(read(Code::Unknown, "boom").kind, ErrorKind::Other);
    }

    #[test]
    fn changes_of_the_membership_fail_for_a_reason_with_a_name() {
        for (text, kind) in [
            ("member not found", ErrorKind::MemberNotFound),
            ("Peer URLs already exists", ErrorKind::MemberExists),
            ("given member URLs are invalid", ErrorKind::InvalidMemberUrl),
            ("can only promote a learner member", ErrorKind::NotLearner),
            (
                "can only promote a learner member which is in sync with leader",
                ErrorKind::LearnerNotReady,
            ),
            (
                "too many learner members in cluster",
                ErrorKind::TooManyLearners,
            ),
            (
                "re-configuration failed due to not enough started members",
                ErrorKind::UnhealthyCluster,
            ),
            ("unhealthy cluster", ErrorKind::UnhealthyCluster),
            ("not leader", ErrorKind::NotLeader),
            ("bad leader transferee", ErrorKind::BadLeaderTransferee),
        ] {
            // The codes differ between versions of etcd; the texts do not.
            let failure = read(Code::Unknown, &format!("etcdserver: {text}"));
            assert_eq!(
                (failure.kind, failure.fate),
                (kind, Fate::Refused),
                "{text}"
            );
        }
    }

    #[test]
    fn a_refused_watch_may_wrap_the_text() {
        let text = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
        assert_eq!(kind_of_text(text), ErrorKind::PermissionDenied);
    }
}
