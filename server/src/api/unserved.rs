//! Answers for what this server does not serve.
//!
//! Owns their wording: the log of a client has to tell a method that is still to come from one
//! that no etcd has.

use tonic::Status;

/// Services of etcd's contract that no handler exists for yet.
const LATER: [&str; 3] = [
    "etcdserverpb.Auth",
    "v3lockpb.Lock",
    "v3electionpb.Election",
];

/// For a method of etcd that this version lacks; clients may go on without it.
pub(crate) fn not_yet(method: &str) -> Status {
    Status::unimplemented(format!(
        "handfast {} does not serve {method} yet",
        crate::SERVER_VERSION
    ))
}

/// For a path without handler, in the words of etcd's transport.
pub(crate) fn unknown(service: &str, method: &str) -> Status {
    if LATER.contains(&service) {
        return not_yet(&format!("{service}/{method}"));
    }
    Status::unimplemented(format!("unknown service {service}"))
}

/// For a method that a service, itself known, does not have.
pub(crate) fn unknown_method(service: &str, method: &str) -> Status {
    Status::unimplemented(format!("unknown method {method} for service {service}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_to_come_are_told_from_unknown_ones() {
        let lock = unknown("v3lockpb.Lock", "Lock");
        assert!(
            lock.message()
                .ends_with("does not serve v3lockpb.Lock/Lock yet")
        );
        assert_eq!(unknown("a.B", "C").message(), "unknown service a.B");
        let range = unknown_method("etcdserverpb.KV", "Nope");
        assert_eq!(
            range.message(),
            "unknown method Nope for service etcdserverpb.KV"
        );
        assert_eq!(range.code(), tonic::Code::Unimplemented);
    }
}
