//! Why a member does not fit the cluster it is told to be part of.
//!
//! Owns the sentences; each says what to do.

use std::path::PathBuf;

/// Why a member does not fit the cluster it is told to be part of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BootstrapError {
    /// Somebody else runs with this member's identity.
    #[error(
        "another server runs as member {member_id:x} at {url}: the data in {} is a copy of its \
         data, and two members must not share an identity; add this one with an empty data \
         directory", .data_dir.display()
    )]
    CopiedData {
        /// The data directory.
        data_dir: PathBuf,
        /// Whose data it holds.
        member_id: u64,
        /// Where the other one is.
        url: String,
    },
    /// A member of this name has run before, but here is no data of it.
    #[error(
        "member {member_id:x} ({name}) has run before, but {} is empty: a member that lost its \
         data must not come back under its old identity; remove it with `handfast member remove \
         {member_id:x}` and add it again, or use `handfast member replace`", .data_dir.display()
    )]
    DataLost {
        /// The data directory.
        data_dir: PathBuf,
        /// The member's name.
        name: String,
        /// The member's id.
        member_id: u64,
    },
    /// A founding member belongs to another cluster.
    #[error(
        "{url} belongs to cluster {other:x}, but these settings found cluster {cluster_id:x}: \
         --initial-cluster and --initial-cluster-token must be the same on every founding member"
    )]
    FoundersDisagree {
        /// Where the other one is.
        url: String,
        /// The cluster of this member.
        cluster_id: u64,
        /// The cluster of the other one.
        other: u64,
    },
    /// The cluster did not take the member in.
    #[error("cannot join the cluster at {urls}: {problem}")]
    JoinRefused {
        /// Who was asked.
        urls: String,
        /// Its answer.
        problem: String,
    },
    /// The named members are not those of the cluster.
    #[error(
        "--initial-cluster names {listed} members, but the cluster at {url} has {members} or \
         others: it should be {right}"
    )]
    ListDiffers {
        /// Who was asked.
        url: String,
        /// Members named.
        listed: usize,
        /// Members there are.
        members: usize,
        /// What the flag should be.
        right: String,
    },
    /// Nobody of the cluster answers.
    #[error(
        "no member of the cluster answers ({problem}); is one of them running, and reachable from \
         here?"
    )]
    NoAnswer {
        /// What happened, for each address.
        problem: String,
    },
    /// The cluster does not know of this member.
    #[error(
        "{peer_urls} is not a member of the cluster at {url} yet: run `handfast member add {name} \
         --peer-urls {peer_urls}` first"
    )]
    NotAdded {
        /// This member's name.
        name: String,
        /// Who was asked.
        url: String,
        /// This member's addresses.
        peer_urls: String,
    },
    /// The data belongs to another cluster than the other members.
    #[error(
        "the data in {} belongs to cluster {cluster_id:x}, but {url} belongs to cluster {other:x}: \
         check --data-dir and the peer URLs, or add this member with an empty data directory",
        .data_dir.display()
    )]
    OtherClustersData {
        /// The data directory.
        data_dir: PathBuf,
        /// Whose data it holds.
        cluster_id: u64,
        /// Where another member is.
        url: String,
        /// The cluster of that one.
        other: u64,
    },
    /// The data belongs to another member than the addresses.
    #[error(
        "the data in {} is that of member {member_id:x}, but {url} \
         (--initial-advertise-peer-urls) belongs to member {owner:x}: check --data-dir",
        .data_dir.display()
    )]
    OtherMembersData {
        /// The data directory.
        data_dir: PathBuf,
        /// Whose data it holds.
        member_id: u64,
        /// The address.
        url: String,
        /// Whose address it is.
        owner: u64,
    },
    /// The member was removed from the cluster.
    #[error(
        "member {member_id:x} ({name}) was removed from the cluster at {url}: add it anew with \
         `handfast member add {name} --peer-urls {peer_urls}`, and start it with \
         --initial-cluster-state existing"
    )]
    WasRemoved {
        /// This member's name.
        name: String,
        /// Its former id.
        member_id: u64,
        /// Who was asked.
        url: String,
        /// This member's addresses.
        peer_urls: String,
    },
}
