//! Where handfast follows the contract and Debian's etcd (3.4) does not, in one place.
//!
//! Each entry says why, and which part of the harness keeps it out of the comparison. What is
//! listed here is tested on handfast alone in `tests/contract.rs`.

/// One difference that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    /// What etcd 3.4 does otherwise.
    pub difference: &'static str,
    /// Why handfast does not do the same.
    pub reason: &'static str,
    /// How the comparison leaves it out.
    pub handling: &'static str,
}

/// Every accepted difference.
pub const ACCEPTED: &[Accepted] = &[
    Accepted {
        difference: "an unknown sort target stops the etcd process",
        reason: "3.6 answers `invalid sort option`, and a request must not stop a server",
        handling: "never generated",
    },
    Accepted {
        difference: "a transaction may put a key that an open-ended deletion of it removes",
        reason: "etcd's check for overlaps takes such a deletion for an empty one, and when the \
                 put ignores its value the process stops; the rule of the other ranges holds here",
        handling: "never generated: deletions within a transaction have an end",
    },
    Accepted {
        difference: "a nested transaction may put what a later nested one beside it deletes",
        reason: "etcd's check for overlaps depends on the order of the two; here it does not",
        handling: "never generated: a branch has one nested transaction",
    },
    Accepted {
        difference: "a watch with a negative start revision starts at the current one",
        reason: "3.6 refuses it as compacted",
        handling: "never generated",
    },
    Accepted {
        difference: "a watch from the compacted revision misses a deletion at that revision",
        reason: "later versions keep it: a reader who saw the key before must learn of its end",
        handling: "masked: a deletion at the compacted revision is left out on both sides",
    },
    Accepted {
        difference: "keys with equal sort values come in an order of their own",
        reason: "etcd's sort is not stable, so its own order is no promise",
        handling: "masked: ties are put in key order, and ties cut by a limit are only counted",
    },
    Accepted {
        difference: "the keys of a lease and the leases of a store come in no fixed order",
        reason: "etcd walks a hash map",
        handling: "masked: both are sorted",
    },
    Accepted {
        difference: "an answer to a manual progress request may overtake older events",
        reason: "3.4 answers at once; later versions answer when the watchers are up to date",
        handling: "never generated",
    },
    Accepted {
        difference: "replayed events are cut into responses at other places",
        reason: "how many revisions share a response depends on timing, in etcd too",
        handling: "events are compared as one list per watcher, not response by response",
    },
];
