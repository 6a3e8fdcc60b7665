//! What a session can be in, and why it can end.
//!
//! Owns the words. Knows nothing of how a state is reached.

use std::{fmt, time::Duration};

/// Why a session, or one lock or leadership of it, is gone for good.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LostReason {
    /// No keepalive was answered in time: another holder may exist from now on.
    Expired,
    /// The server says that the lease does not exist (any more), or the session's record is gone.
    Revoked,
    /// The session was ended by somebody, who said why.
    Killed {
        /// Who ended it.
        by: String,
        /// The reason given.
        why: String,
    },
    /// The key of the holder was deleted by somebody, with a note that says by whom and why.
    Broken {
        /// Who broke it.
        by: String,
        /// The reason given.
        why: String,
    },
    /// The key of the holder was deleted by somebody who left no note.
    Deleted,
    /// It was held for as long as allowed.
    MaxHold,
    /// The work did not report progress in time.
    NoBeat,
    /// The servers' data was restored from a backup, or they are another cluster now.
    Restored,
    /// This process is a fork of the one that opened the session.
    Forked,
    /// The session was closed here.
    Closed,
    /// It was given back here.
    Released,
}

impl LostReason {
    /// A short stable word for programs and scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Killed { .. } => "killed",
            Self::Broken { .. } => "broken",
            Self::Deleted => "deleted",
            Self::MaxHold => "max_hold",
            Self::NoBeat => "no_beat",
            Self::Restored => "restored",
            Self::Forked => "forked",
            Self::Closed => "closed",
            Self::Released => "released",
        }
    }
}

impl fmt::Display for LostReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("no keepalive was answered within the session's TTL"),
            Self::Revoked => f.write_str("the session's lease was revoked at the server"),
            Self::Killed { by, why } => write!(f, "the session was killed by {by}: {why}"),
            Self::Broken { by, why } => write!(f, "broken by {by}: {why}"),
            Self::Deleted => f.write_str("its key was deleted by another client"),
            Self::MaxHold => f.write_str("the maximum hold time passed"),
            Self::NoBeat => f.write_str("the work reported no progress in time"),
            Self::Restored => f.write_str("the server's data was replaced by other data"),
            Self::Forked => f.write_str("this process is a fork; connect anew after a fork"),
            Self::Closed => f.write_str("the session was closed"),
            Self::Released => f.write_str("it was released"),
        }
    }
}

/// What a session is in, as of the moment it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// No lease was granted yet; acquisitions wait.
    Connecting,
    /// The lease is renewed.
    Connected,
    /// A keepalive is overdue; what is held is held for `remaining` more.
    Suspended {
        /// Time until [`State::Lost`] if no keepalive is answered.
        remaining: Duration,
    },
    /// So little is left that work under a lock should stop now.
    Expiring {
        /// Time until [`State::Lost`] if no keepalive is answered.
        remaining: Duration,
    },
    /// This epoch is over for good: what was held under it must not be relied on.
    Lost {
        /// Why.
        reason: LostReason,
    },
    /// A new lease is being granted; locks and leaderships do not come back with it.
    Recovering,
    /// The session was closed.
    Closed,
}

impl State {
    /// A short stable word for programs and scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Suspended { .. } => "suspended",
            Self::Expiring { .. } => "expiring",
            Self::Lost { .. } => "lost",
            Self::Recovering => "recovering",
            Self::Closed => "closed",
        }
    }
}

/// The session (or what was held under it) is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("session lost: {reason}; acquire again under the new session")]
#[non_exhaustive]
pub struct Lost {
    /// Why.
    pub reason: LostReason,
}

impl Lost {
    /// The loss with this reason.
    #[must_use]
    pub fn new(reason: LostReason) -> Self {
        Self { reason }
    }
}

/// Why a session cannot serve.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The session's lease ended.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// [`close`](super::Session::close) was called.
    #[error("the session is closed; connect again")]
    Closed,
    /// An option is out of its bounds.
    #[error("session option {option}: {problem}")]
    InvalidOption {
        /// Which option.
        option: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The server could not be asked, or refused.
    #[error(transparent)]
    Client(#[from] crate::Error),
}
