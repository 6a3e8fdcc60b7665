//! What a member needs to start.

use std::{sync::Arc, time::Duration};

use handfast_mvcc::{Clock, Store};
use handfast_proto::command::MemberInfo;
use handfast_storage::wal::Wal;

use crate::{SpoolOptions, peer::SharedTransport};

/// What a member needs to start.
pub struct Options {
    /// Who this member is; its id never changes.
    pub member: MemberInfo,
    /// The cluster it belongs to; messages of another one are refused.
    pub cluster_id: u64,
    /// How it begins, if its log is empty.
    pub start: Start,
    /// The way to other members.
    pub transport: SharedTransport,
    /// The raft log.
    pub wal: Wal,
    /// The state, already opened.
    pub store: Arc<Store>,
    /// The clock the store's leases run on.
    pub clock: Arc<dyn Clock>,
    /// Where a snapshot is kept while it arrives.
    pub spool: SpoolOptions,
    /// How often a leader tells its followers that it lives.
    pub heartbeat_interval: Duration,
    /// How long a follower waits for a sign of life before it stands for election.
    pub election_timeout: Duration,
    /// How long a request may look for a leader and wait for its outcome.
    pub request_timeout: Duration,
    /// Bytes an encoded command may have.
    pub max_request_bytes: usize,
    /// Log entries kept behind the durable state for members that fall behind.
    pub log_tail_entries: u64,
    /// Let the leader answer linearizable reads by its lease, without asking its followers: faster,
    /// and wrong when its clock stands still while others' run.
    pub lease_read: bool,
    /// Refuse changes of membership that could cost the quorum.
    pub strict_reconfig: bool,
    /// Learners there may be at once, those not counted that shall vote.
    pub max_learners: usize,
    /// How often the rows of all members are compared; zero is never. What they applied is
    /// compared every few seconds in any case.
    pub compare_rows_every: Duration,
    /// Whether long computations may use threads of their own; a simulation says no.
    pub blocking: bool,
}

/// How a member with an empty log begins. One with a log goes on with it whatever this says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// With a new cluster of these members, the same list on each of them.
    Found(Vec<MemberInfo>),
    /// With nothing, until the leader of its cluster sends what there is.
    Join,
    /// With its log, which must be there.
    Resume,
}
