//! Where this member stands: who leads, and whether that can be relied on.
//!
//! Owns the difference between what raft believes and what is told to others: a leader that has
//! not heard from a majority for an election timeout, or whose disk hangs, leads nobody.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use openraft::{AsyncRuntime, Instant as _, ServerState, async_runtime::watch::WatchReceiver};
use tokio::time::Instant;

use crate::{machine::RaftHandle, runtime::Runtime};

/// The moments raft notes.
type RaftInstant = <Runtime as AsyncRuntime>::Instant;

/// How long ago a moment was.
pub(crate) fn age(at: &RaftInstant) -> Duration {
    let now = RaftInstant::now();
    if now > *at { now - *at } else { Duration::ZERO }
}

/// What a member is in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It orders the writes.
    Leader,
    /// It follows a leader, or waits for one.
    Follower,
    /// It stands for election.
    Candidate,
    /// It receives the log but has no vote.
    Learner,
}

/// Reads where the member stands. Clones of the handle inside share one raft.
pub(crate) struct Standing {
    raft: RaftHandle,
    me: u64,
    quorum_lost: AtomicBool,
    disk_hangs: AtomicBool,
    /// When `heard_after` is counted from.
    begin: Instant,
    /// Milliseconds from `begin` until a leader was heard last; zero before that.
    heard_after: AtomicU64,
    /// A leader that was not heard for so long is none any more.
    election_timeout: Duration,
}

impl Standing {
    pub(crate) fn new(raft: RaftHandle, me: u64, election_timeout: Duration) -> Self {
        Self {
            raft,
            me,
            quorum_lost: AtomicBool::new(false),
            disk_hangs: AtomicBool::new(false),
            begin: Instant::now(),
            heard_after: AtomicU64::new(0),
            election_timeout,
        }
    }

    /// Notes a sign of life from the leader.
    pub(crate) fn heard(&self) {
        self.heard_after.store(self.now().max(1), Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Raft remembers a leader until there is another; to others a silent one is none.
    fn is_heard(&self) -> bool {
        let heard = self.heard_after.load(Ordering::Relaxed);
        let silence = Duration::from_millis(self.now().saturating_sub(heard));
        heard > 0 && silence <= self.election_timeout
    }

    /// Whether leadership, if raft believes in it, is worth nothing at the moment.
    pub(crate) fn is_suspended(&self) -> bool {
        self.quorum_lost.load(Ordering::Relaxed) || self.disk_hangs.load(Ordering::Relaxed)
    }

    /// Notes whether a majority was heard of; returns whether that is news.
    pub(crate) fn set_quorum_lost(&self, lost: bool) -> bool {
        self.quorum_lost.swap(lost, Ordering::Relaxed) != lost
    }

    /// Notes whether the disk hangs; returns whether that is news.
    pub(crate) fn set_disk_hangs(&self, hangs: bool) -> bool {
        self.disk_hangs.swap(hangs, Ordering::Relaxed) != hangs
    }

    /// Whether the disk hangs.
    pub(crate) fn disk_hangs(&self) -> bool {
        self.disk_hangs.load(Ordering::Relaxed)
    }

    /// The leader, when one is known.
    pub(crate) fn leader(&self) -> Option<u64> {
        let leader = self.raft.server_metrics().borrow_watched().current_leader?;
        let leads = match leader == self.me {
            true => !self.is_suspended(),
            false => self.is_heard(),
        };
        leads.then_some(leader)
    }

    /// The term in which this member leads, if it does.
    pub(crate) fn leads_in(&self) -> Option<u64> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let leads = metrics.current_leader == Some(self.me) && !self.is_suspended();
        leads.then_some(metrics.vote.leader_id.term)
    }

    /// The term that raft has this member lead in, suspended or not.
    ///
    /// Leases go by this: what was proposed before a suspension may still be committed after it, so
    /// nothing that was found expired may be renewed in the same term.
    pub(crate) fn elected_in(&self) -> Option<u64> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let leads = metrics.current_leader == Some(self.me);
        leads.then_some(metrics.vote.leader_id.term)
    }

    /// The current term.
    pub(crate) fn term(&self) -> u64 {
        self.raft
            .server_metrics()
            .borrow_watched()
            .vote
            .leader_id
            .term
    }

    /// What the member is.
    pub(crate) fn role(&self) -> Role {
        let state = self.raft.server_metrics().borrow_watched().state;
        match state {
            ServerState::Leader if !self.is_suspended() => Role::Leader,
            ServerState::Candidate => Role::Candidate,
            ServerState::Learner => Role::Learner,
            _ => Role::Follower,
        }
    }
}
