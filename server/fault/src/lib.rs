//! Deliberate bugs, by name, so that the tests that shall find such bugs can be tested themselves.
//!
//! Owns the list and the switch. Code that has a bug to offer asks [`active`] at the spot; without
//! the feature `inject` that is `false` at build time and costs nothing.

#![forbid(unsafe_code)]

use std::cell::Cell;

/// A bug that the checks must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// The log says "durable" before the sync.
    AckBeforeSync = 1,
    /// Two commands of a batch are applied in the wrong order, on one member.
    ApplyOutOfOrder = 2,
    /// A member that believes to lead answers reads without asking its followers.
    ReadWithoutIndex = 3,
    /// A follower answers a linearizable read before it has applied up to the read index.
    ReadBeforeApplied = 4,
    /// The end of a lease is applied although a newer leader may have renewed it.
    ExpireUnderOldTerm = 5,
    /// A watch that catches up leaves out one revision.
    WatchSkipsRevision = 6,
    /// A watch gets one revision twice when it passes from the past to the present.
    WatchRepeatsRevision = 7,
    /// A forwarded batch whose answer was lost is proposed again.
    ForwardTwice = 8,
    /// The vote is forgotten over a restart.
    VoteNotSaved = 9,
    /// A restart begins with the flushed state but without the log behind it.
    ReplayForgotten = 10,
    /// A transaction ignores the last of its compares.
    TxnSkipsCompare = 11,
    /// A new leader lets leases run on from the old leader's start, not from its own.
    LeaseNotExtended = 12,
}

/// All of them.
pub const ALL: [Fault; 12] = [
    Fault::AckBeforeSync,
    Fault::ApplyOutOfOrder,
    Fault::ReadWithoutIndex,
    Fault::ReadBeforeApplied,
    Fault::ExpireUnderOldTerm,
    Fault::WatchSkipsRevision,
    Fault::WatchRepeatsRevision,
    Fault::ForwardTwice,
    Fault::VoteNotSaved,
    Fault::ReplayForgotten,
    Fault::TxnSkipsCompare,
    Fault::LeaseNotExtended,
];

thread_local! {
    static ACTIVE: Cell<u8> = const { Cell::new(0) };
}

/// Whether the code shall show this bug.
#[inline]
#[must_use]
pub fn active(fault: Fault) -> bool {
    cfg!(feature = "inject") && ACTIVE.get() == fault as u8
}

/// Turns one bug on for what runs on this thread, or all of them off: a simulation is one thread,
/// and others go on beside it. Without the feature `inject` it has no effect.
pub fn set(fault: Option<Fault>) {
    ACTIVE.set(fault.map_or(0, |fault| fault as u8));
}
