//! Domain errors as gRPC statuses, with etcd's exact texts.
//!
//! Owns the mapping: clients recognise errors by text first and by code second, so both are part
//! of the contract. It must not know which handler asks.

use handfast_consensus::{MemberError, ProposeError, ReadError};
use handfast_mvcc::Error;
use handfast_proto::etcdserverpb::AlarmType;
use handfast_proto::peer::MemberRefusal;
use tonic::{Code, Status};

/// One row of etcd's error table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row(pub(crate) Code, pub(crate) &'static str);

pub(crate) const EMPTY_KEY: Row = Row(Code::InvalidArgument, "etcdserver: key is not provided");
pub(crate) const KEY_NOT_FOUND: Row = Row(Code::InvalidArgument, "etcdserver: key not found");
pub(crate) const VALUE_PROVIDED: Row = Row(Code::InvalidArgument, "etcdserver: value is provided");
pub(crate) const LEASE_PROVIDED: Row = Row(Code::InvalidArgument, "etcdserver: lease is provided");
pub(crate) const TOO_MANY_OPS: Row = Row(
    Code::InvalidArgument,
    "etcdserver: too many operations in txn request",
);
pub(crate) const DUPLICATE_KEY: Row = Row(
    Code::InvalidArgument,
    "etcdserver: duplicate key given in txn request",
);
pub(crate) const INVALID_SORT: Row = Row(Code::InvalidArgument, "etcdserver: invalid sort option");
pub(crate) const INVALID_API_VERSION: Row = Row(
    Code::InvalidArgument,
    "etcdserver: invalid client api version",
);
pub(crate) const TOO_LARGE: Row = Row(Code::InvalidArgument, "etcdserver: request is too large");
pub(crate) const COMPACTED: Row = Row(
    Code::OutOfRange,
    "etcdserver: mvcc: required revision has been compacted",
);
pub(crate) const FUTURE_REVISION: Row = Row(
    Code::OutOfRange,
    "etcdserver: mvcc: required revision is a future revision",
);
pub(crate) const LEASE_NOT_FOUND: Row =
    Row(Code::NotFound, "etcdserver: requested lease not found");
pub(crate) const LEASE_EXISTS: Row =
    Row(Code::FailedPrecondition, "etcdserver: lease already exists");
pub(crate) const LEASE_TTL_TOO_LARGE: Row =
    Row(Code::OutOfRange, "etcdserver: too large lease TTL");
pub(crate) const WATCH_CANCELED: Row = Row(Code::Cancelled, "etcdserver: watch canceled");
pub(crate) const NO_LEADER: Row = Row(Code::Unavailable, "etcdserver: no leader");
pub(crate) const NOT_LEADER: Row = Row(Code::FailedPrecondition, "etcdserver: not leader");
pub(crate) const BAD_TRANSFEREE: Row = Row(
    Code::FailedPrecondition,
    "etcdserver: bad leader transferee",
);
pub(crate) const TRANSFER_TIMED_OUT: Row = Row(
    Code::Unknown,
    "etcdserver: request timed out, leader transfer took too long",
);
pub(crate) const NO_SPACE: Row = Row(
    Code::ResourceExhausted,
    "etcdserver: mvcc: database space exceeded",
);
pub(crate) const CORRUPT: Row = Row(Code::DataLoss, "etcdserver: corrupt cluster");
/// Up to version 3.5 of etcd the code was Unavailable.
pub(crate) const NOT_FOR_LEARNERS: Row = Row(
    Code::FailedPrecondition,
    "etcdserver: rpc not supported for learner",
);
pub(crate) const MEMBER_NOT_FOUND: Row = Row(Code::NotFound, "etcdserver: member not found");
pub(crate) const MEMBER_ID_EXISTS: Row = Row(
    Code::FailedPrecondition,
    "etcdserver: member ID already exist",
);
pub(crate) const PEER_URL_EXISTS: Row = Row(
    Code::FailedPrecondition,
    "etcdserver: Peer URLs already exists",
);
pub(crate) const MEMBER_URLS_INVALID: Row = Row(
    Code::InvalidArgument,
    "etcdserver: given member URLs are invalid",
);
/// etcd's table says FailedPrecondition, but what its clients see is Unknown.
pub(crate) const NOT_ENOUGH_STARTED: Row = Row(
    Code::Unknown,
    "etcdserver: re-configuration failed due to not enough started members",
);
pub(crate) const UNHEALTHY: Row = Row(Code::Unavailable, "etcdserver: unhealthy cluster");
pub(crate) const NOT_A_LEARNER: Row = Row(
    Code::FailedPrecondition,
    "etcdserver: can only promote a learner member",
);
pub(crate) const LEARNER_NOT_READY: Row = Row(
    Code::FailedPrecondition,
    "etcdserver: can only promote a learner member which is in sync with leader",
);
pub(crate) const TOO_MANY_LEARNERS: Row = Row(
    Code::FailedPrecondition,
    "etcdserver: too many learner members in cluster",
);
pub(crate) const STOPPED: Row = Row(Code::Unavailable, "etcdserver: server stopped");
pub(crate) const TIMED_OUT: Row = Row(Code::Unavailable, "etcdserver: request timed out");
/// etcd's table says ResourceExhausted, but what its clients see is Unknown.
pub(crate) const TOO_MANY_REQUESTS: Row = Row(Code::Unknown, "etcdserver: too many requests");
/// What a proposal gets that no leader took within the deadline.
pub(crate) const DEADLINE: Row = Row(Code::DeadlineExceeded, "context deadline exceeded");

impl Row {
    /// Whether a status is of this row.
    pub(crate) fn is(self, status: &Status) -> bool {
        status.code() == self.0 && status.message() == self.1
    }
}

impl From<Row> for Status {
    fn from(Row(code, text): Row) -> Status {
        Status::new(code, text)
    }
}

/// What the client sees of an error of the store.
pub(crate) fn from_store(error: Error) -> Status {
    let row = match error {
        Error::EmptyKey => EMPTY_KEY,
        Error::KeyNotFound => KEY_NOT_FOUND,
        Error::ValueProvided => VALUE_PROVIDED,
        Error::LeaseProvided => LEASE_PROVIDED,
        Error::TooManyOps { .. } => TOO_MANY_OPS,
        Error::DuplicateKey => DUPLICATE_KEY,
        Error::InvalidSortOption => INVALID_SORT,
        Error::Compacted { .. } => COMPACTED,
        Error::FutureRevision { .. } => FUTURE_REVISION,
        Error::LeaseNotFound(_) => LEASE_NOT_FOUND,
        Error::LeaseExists(_) => LEASE_EXISTS,
        Error::LeaseTtlTooLarge(_) => LEASE_TTL_TOO_LARGE,
        Error::NoSpace => NO_SPACE,
        Error::Corrupt => CORRUPT,
        other => return internal(&other),
    };
    row.into()
}

/// What the client sees of a change that was not taken, or whose fate is unknown.
pub(crate) fn from_propose(error: ProposeError) -> Status {
    let row = match error {
        ProposeError::NoLeader => DEADLINE,
        ProposeError::Timeout => TIMED_OUT,
        ProposeError::Stopped => STOPPED,
        ProposeError::TooManyRequests => TOO_MANY_REQUESTS,
        ProposeError::TooLarge { .. } => TOO_LARGE,
        other => return internal(&other),
    };
    row.into()
}

/// What the client sees of a linearizable read that could not be confirmed.
pub(crate) fn from_read(error: ReadError) -> Status {
    let row = match error {
        ReadError::NoLeader | ReadError::Timeout => TIMED_OUT,
        ReadError::Stopped => STOPPED,
        other => return internal(&other),
    };
    row.into()
}

/// What the client sees of a lease question that only a leader can answer.
pub(crate) fn from_lease_read(error: ReadError) -> Status {
    match error {
        ReadError::NoLeader | ReadError::Timeout => NO_LEADER.into(),
        other => from_read(other),
    }
}

/// What the client sees of a confirmation that stands for a write.
pub(crate) fn from_read_as_write(error: ReadError) -> Status {
    match error {
        ReadError::NoLeader => DEADLINE.into(),
        other => from_read(other),
    }
}

/// What the client sees of a change of membership that was not made, or whose fate is unknown.
pub(crate) fn from_member(error: MemberError) -> Status {
    let row = match error {
        MemberError::Refused(refusal) => match refusal {
            MemberRefusal::NotFound => MEMBER_NOT_FOUND,
            MemberRefusal::PeerUrlExists => PEER_URL_EXISTS,
            MemberRefusal::UrlsInvalid => MEMBER_URLS_INVALID,
            MemberRefusal::TooManyLearners => TOO_MANY_LEARNERS,
            MemberRefusal::NotEnoughStarted => NOT_ENOUGH_STARTED,
            MemberRefusal::Unhealthy => UNHEALTHY,
            MemberRefusal::NotALearner => NOT_A_LEARNER,
            MemberRefusal::LearnerNotReady => LEARNER_NOT_READY,
            MemberRefusal::IdExists => MEMBER_ID_EXISTS,
            MemberRefusal::BadTransferee => BAD_TRANSFEREE,
            MemberRefusal::None => return internal(&error),
        },
        MemberError::NotLeader => NOT_LEADER,
        MemberError::Timeout => TIMED_OUT,
        MemberError::Stopped => STOPPED,
        other => return internal(&other),
    };
    row.into()
}

/// What the client sees of leadership that was not handed over.
pub(crate) fn from_transfer(error: MemberError) -> Status {
    match error {
        MemberError::Timeout => TRANSFER_TIMED_OUT.into(),
        other => from_member(other),
    }
}

/// etcd's name of an alarm, by its number.
pub(crate) fn alarm_name(kind: i32) -> &'static str {
    match AlarmType::try_from(kind) {
        Ok(kind) => kind.as_str_name(),
        Err(_) => "UNKNOWN",
    }
}

/// A fault of ours: logged here in full, and told to the client in one line.
fn internal(error: &dyn std::error::Error) -> Status {
    tracing::error!(%error, "request failed inside the server");
    Status::internal(format!("handfast: {error}"))
}

/// Replaces the transport's answer to an oversized message by etcd's code and text.
pub(crate) fn oversized(status: &Status) -> Option<Status> {
    if status.code() != Code::OutOfRange {
        return None;
    }
    let (_, numbers) = status
        .message()
        .split_once("message length too large: found ")?;
    let (found, limit) = numbers.split_once(" bytes, the limit is: ")?;
    let limit = limit.strip_suffix(" bytes")?;
    Some(Status::resource_exhausted(format!(
        "grpc: received message larger than max ({found} vs. {limit})"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: &Status, code: Code, text: &str) {
        assert_eq!((status.code(), status.message()), (code, text));
    }

    #[test]
    fn errors_of_the_store_have_etcds_code_and_text() {
        use Code::{FailedPrecondition, InvalidArgument, NotFound, OutOfRange};
        let compacted = Error::Compacted {
            requested: 1,
            compacted: 2,
        };
        let future = Error::FutureRevision {
            requested: 2,
            current: 1,
        };
        let table = [
            (Error::EmptyKey, InvalidArgument, "key is not provided"),
            (Error::KeyNotFound, InvalidArgument, "key not found"),
            (Error::ValueProvided, InvalidArgument, "value is provided"),
            (Error::LeaseProvided, InvalidArgument, "lease is provided"),
            (
                Error::TooManyOps { limit: 128 },
                InvalidArgument,
                "too many operations in txn request",
            ),
            (
                Error::DuplicateKey,
                InvalidArgument,
                "duplicate key given in txn request",
            ),
            (
                Error::InvalidSortOption,
                InvalidArgument,
                "invalid sort option",
            ),
            (
                compacted,
                OutOfRange,
                "mvcc: required revision has been compacted",
            ),
            (
                future,
                OutOfRange,
                "mvcc: required revision is a future revision",
            ),
            (
                Error::LeaseNotFound(1),
                NotFound,
                "requested lease not found",
            ),
            (
                Error::LeaseExists(1),
                FailedPrecondition,
                "lease already exists",
            ),
            (
                Error::LeaseTtlTooLarge(1),
                OutOfRange,
                "too large lease TTL",
            ),
        ];
        for (error, code, text) in table {
            check(&from_store(error), code, &format!("etcdserver: {text}"));
        }
        let fault = from_store(Error::Malformed("x".to_owned()));
        assert_eq!(fault.code(), Code::Internal);
    }

    #[test]
    fn proposals_and_reads_tell_a_missing_leader_apart_as_etcd_does() {
        use Code::{DeadlineExceeded, InvalidArgument, Unavailable, Unknown};
        let stopped = "etcdserver: server stopped";
        let timed_out = "etcdserver: request timed out";
        let too_large = ProposeError::TooLarge { size: 2, limit: 1 };
        let proposals = [
            (
                ProposeError::NoLeader,
                DeadlineExceeded,
                "context deadline exceeded",
            ),
            (ProposeError::Timeout, Unavailable, timed_out),
            (ProposeError::Stopped, Unavailable, stopped),
            (
                ProposeError::TooManyRequests,
                Unknown,
                "etcdserver: too many requests",
            ),
            (
                too_large,
                InvalidArgument,
                "etcdserver: request is too large",
            ),
        ];
        for (error, code, text) in proposals {
            check(&from_propose(error), code, text);
        }
        let no_leader = "etcdserver: no leader";
        let reads = [
            (ReadError::NoLeader, timed_out, no_leader),
            (ReadError::Timeout, timed_out, no_leader),
            (ReadError::Stopped, stopped, stopped),
        ];
        for (error, range, lease) in reads {
            check(&from_read(error.clone()), Unavailable, range);
            check(&from_lease_read(error), Unavailable, lease);
        }
        assert_eq!(
            from_propose(ProposeError::Fatal("x".to_owned())).code(),
            Code::Internal
        );
        assert_eq!(
            from_read(ReadError::Fatal("x".to_owned())).code(),
            Code::Internal
        );
    }

    #[test]
    fn alarms_forbid_with_etcds_code_and_text() {
        check(
            &from_store(Error::NoSpace),
            Code::ResourceExhausted,
            "etcdserver: mvcc: database space exceeded",
        );
        let corrupt = from_store(Error::Corrupt);
        check(&corrupt, Code::DataLoss, "etcdserver: corrupt cluster");
        let names = [0, 1, 2, 7].map(alarm_name);
        assert_eq!(names, ["NONE", "NOSPACE", "CORRUPT", "UNKNOWN"]);
    }

    #[test]
    fn a_confirmation_in_place_of_a_write_fails_as_a_write_does() {
        let text = "context deadline exceeded";
        let status = from_read_as_write(ReadError::NoLeader);
        check(&status, Code::DeadlineExceeded, text);
        let status = from_read_as_write(ReadError::Timeout);
        check(&status, Code::Unavailable, "etcdserver: request timed out");
    }

    #[test]
    fn every_refusal_of_a_change_of_members_has_etcds_code_and_text() {
        use Code::{FailedPrecondition, InvalidArgument, NotFound, Unavailable, Unknown};
        use MemberRefusal as Refusal;
        let table = [
            (Refusal::NotFound, NotFound, "member not found"),
            (
                Refusal::PeerUrlExists,
                FailedPrecondition,
                "Peer URLs already exists",
            ),
            (
                Refusal::UrlsInvalid,
                InvalidArgument,
                "given member URLs are invalid",
            ),
            (
                Refusal::TooManyLearners,
                FailedPrecondition,
                "too many learner members in cluster",
            ),
            (
                Refusal::NotEnoughStarted,
                Unknown,
                "re-configuration failed due to not enough started members",
            ),
            (Refusal::Unhealthy, Unavailable, "unhealthy cluster"),
            (
                Refusal::NotALearner,
                FailedPrecondition,
                "can only promote a learner member",
            ),
            (
                Refusal::LearnerNotReady,
                FailedPrecondition,
                "can only promote a learner member which is in sync with leader",
            ),
            (
                Refusal::IdExists,
                FailedPrecondition,
                "member ID already exist",
            ),
            (
                Refusal::BadTransferee,
                FailedPrecondition,
                "bad leader transferee",
            ),
        ];
        for (refusal, code, text) in table {
            let status = from_member(MemberError::Refused(refusal));
            check(&status, code, &format!("etcdserver: {text}"));
        }
        let timed_out = "etcdserver: request timed out";
        check(&from_member(MemberError::Timeout), Unavailable, timed_out);
        let not_leader = from_transfer(MemberError::NotLeader);
        check(&not_leader, FailedPrecondition, "etcdserver: not leader");
        let too_long = "etcdserver: request timed out, leader transfer took too long";
        check(&from_transfer(MemberError::Timeout), Unknown, too_long);
        let nothing = from_member(MemberError::Refused(Refusal::None));
        assert_eq!(nothing.code(), Code::Internal);
    }

    #[test]
    fn only_the_transports_refusal_of_a_long_message_is_reworded() {
        let text = "Error, decoded message length too large: found 2100013 bytes, the limit is: \
                    2097152 bytes";
        let reworded = oversized(&Status::out_of_range(text)).unwrap();
        check(
            &reworded,
            Code::ResourceExhausted,
            "grpc: received message larger than max (2100013 vs. 2097152)",
        );
        assert!(oversized(&COMPACTED.into()).is_none());
        assert!(oversized(&Status::internal(text)).is_none());
    }
}
