//! What can go wrong with a recipe.
//!
//! Owns the one error type of this crate and its stable codes. Knows nothing of how the recipes
//! work.

use std::{fmt, time::Duration};

use handfast_core::{
    ErrorKind,
    session::{Lost, LostReason, SessionError},
};

use crate::{Kind, Member};

/// Why a recipe failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It was not acquired in time; nothing is left in the queue.
    #[error(
        "{kind} {name}: not acquired within {waited:?}{}", Waiting { holder, position, unreached }
    )]
    Timeout {
        /// What was waited for.
        kind: Kind,
        /// Its name.
        name: String,
        /// The time allowed.
        waited: Duration,
        /// Who holds it; `None` if it was not to be learned in time.
        holder: Option<Box<Member>>,
        /// The place in the queue when given up: 1 is the holder's.
        position: Option<usize>,
        /// Why no server was reached, if none was when it was given up.
        unreached: Option<Box<handfast_core::Error>>,
    },
    /// It is not held any more: another client may hold it.
    #[error("{}{kind} {name} is lost: {reason}", what_of(*kind))]
    Lost {
        /// What is lost.
        kind: Kind,
        /// Its name.
        name: String,
        /// Why.
        reason: LostReason,
    },
    /// An item was not acknowledged: the claim is lost, and others may work on the item. Nothing
    /// of the acknowledgement was written.
    #[error("queue {queue}: item {item} is not acknowledged, the claim is lost: {reason}")]
    AckLost {
        /// The queue.
        queue: String,
        /// The item's id.
        item: String,
        /// Why the claim is lost.
        reason: LostReason,
    },
    /// The queue accepts no items.
    #[error("queue {queue} is drained and accepts no items; `handfast queue start` opens it again")]
    Draining {
        /// The queue.
        queue: String,
    },
    /// The session ended before it was acquired.
    #[error("{kind} {name}: the session ended while waiting: {reason}; acquire again")]
    SessionLost {
        /// What was waited for.
        kind: Kind,
        /// Its name.
        name: String,
        /// Why the session ended.
        reason: LostReason,
    },
    /// The name is in use for another kind of recipe.
    #[error(
        "{name} is used as {found} by another program, and {wanted} was asked for here; \
             choose another name"
    )]
    KindConflict {
        /// The name.
        name: String,
        /// What was asked for.
        wanted: Kind,
        /// What others use it for.
        found: Kind,
    },
    /// Somebody else published since; nothing was published now, unless it is in doubt.
    #[error("config {name}: {}", Conflict { since, revision, changed, by, in_doubt })]
    PublishConflict {
        /// The key or the prefix.
        name: String,
        /// The revision after which nothing should have been published.
        since: i64,
        /// The store's revision now: read again at this one or later.
        revision: i64,
        /// The keys that changed, with their revisions; none if keys were deleted.
        changed: Vec<String>,
        /// Who published last, if it was done by this library.
        by: Option<String>,
        /// An earlier try of the same call may have been carried out, and the history that would
        /// tell is compacted away.
        in_doubt: bool,
    },
    /// What is published is not acceptable to this program, and it has no earlier value.
    #[error("config {name} at revision {revision}: {problem}; publish a value that is accepted")]
    ConfigRefused {
        /// The key or the prefix.
        name: String,
        /// The revision it was read at.
        revision: i64,
        /// What is wrong.
        problem: String,
    },
    /// Somebody else is registered under this id; nothing was registered here.
    #[error(
        "service {service}: {instance} is registered already, at {addr}, by {owner}; choose \
             another id, or wait for that one to go"
    )]
    DuplicateInstance {
        /// The service.
        service: String,
        /// The instance's id.
        instance: String,
        /// Where the other one is reached.
        addr: String,
        /// Who registered it.
        owner: Box<Member>,
    },
    /// There is no instance that could be called.
    #[error("service {service}: {}", Nobody { draining, stale_for })]
    NoInstance {
        /// The service.
        service: String,
        /// How many are listed but drain.
        draining: usize,
        /// For how long the servers have not been heard of.
        stale_for: Duration,
    },
    /// An argument is out of its bounds.
    #[error("{argument}: {problem}")]
    InvalidArgument {
        /// Which argument.
        argument: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// [`close`](crate::Handfast::close) was called.
    #[error("closed; connect again")]
    Closed,
    /// A call failed in a way that the recipe cannot mend.
    #[error(transparent)]
    Client(#[from] handfast_core::Error),
}

impl Error {
    /// A short stable word for programs, the same in every language.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Timeout { .. } => "TIMEOUT",
            Self::Lost { .. } => "LOCK_LOST",
            Self::AckLost { .. } => "ACK_LOST",
            Self::Draining { .. } => "DRAINING",
            Self::SessionLost { .. } => "SESSION_LOST",
            Self::KindConflict { .. } => "KIND_CONFLICT",
            Self::PublishConflict { .. } => "CONFLICT",
            Self::ConfigRefused { .. } => "CONFIG_REFUSED",
            Self::DuplicateInstance { .. } => "DUPLICATE_INSTANCE",
            Self::NoInstance { .. } => "NO_INSTANCE",
            Self::InvalidArgument { .. } => "INVALID_ARGUMENT",
            Self::Closed => "CLOSED",
            Self::Client(error) => match error.kind() {
                ErrorKind::Timeout => "TIMEOUT",
                ErrorKind::EmptyKey
                | ErrorKind::InvalidEndpoint
                | ErrorKind::InvalidRequest
                | ErrorKind::DuplicateKey
                | ErrorKind::TooManyOps
                | ErrorKind::TooLarge => "INVALID_ARGUMENT",
                _ if error.is_retryable() => "UNAVAILABLE",
                _ => "INTERNAL",
            },
        }
    }

    /// Whether the same call may succeed later without a change.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Timeout { .. }
            | Self::SessionLost { .. }
            | Self::DuplicateInstance { .. }
            | Self::NoInstance { .. } => true,
            Self::Client(error) => error.is_retryable(),
            _ => false,
        }
    }

    /// Why the lock, the leadership or the session was lost, if that is what happened.
    #[must_use]
    pub fn lost_reason(&self) -> Option<&LostReason> {
        match self {
            Self::Lost { reason, .. }
            | Self::AckLost { reason, .. }
            | Self::SessionLost { reason, .. } => Some(reason),
            _ => None,
        }
    }

    pub(crate) fn invalid(argument: &'static str, problem: impl Into<String>) -> Self {
        Self::InvalidArgument {
            argument,
            problem: problem.into(),
        }
    }

    /// A session's failure, as seen by whoever waits for `name`.
    pub(crate) fn of_session(error: SessionError, kind: Kind, name: &str) -> Self {
        match error {
            SessionError::Lost(Lost {
                reason: LostReason::Closed,
                ..
            }) => Self::Closed,
            SessionError::Lost(Lost { reason, .. }) => Self::SessionLost {
                kind,
                name: name.to_owned(),
                reason,
            },
            SessionError::Closed => Self::Closed,
            SessionError::InvalidOption { option, problem } => Self::invalid(option, problem),
            SessionError::Client(error) => Self::Client(error),
            other => Self::invalid("session", other.to_string()),
        }
    }
}

/// A queue is not lost, only what was taken from it.
fn what_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Queue => "the claim on an item of ",
        _ => "",
    }
}

struct Conflict<'a> {
    since: &'a i64,
    revision: &'a i64,
    changed: &'a [String],
    by: &'a Option<String>,
    in_doubt: &'a bool,
}

impl fmt::Display for Conflict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "changed since revision {}: ", self.since)?;
        match self.changed {
            [] => f.write_str("a key was deleted")?,
            changed => f.write_str(&changed.join(", "))?,
        }
        if let Some(by) = self.by {
            write!(f, ", last by {by}")?;
        }
        write!(f, "; the revision is {} now: ", self.revision)?;
        f.write_str(match self.in_doubt {
            true => "this may have been published before that; read it again",
            false => "nothing was published; read it again and publish on top of that",
        })
    }
}

struct Nobody<'a> {
    draining: &'a usize,
    stale_for: &'a Duration,
}

impl fmt::Display for Nobody<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.draining {
            0 => f.write_str("no instance is registered"),
            1 => f.write_str("the only instance is draining"),
            count => write!(f, "all {count} instances are draining"),
        }?;
        if !self.stale_for.is_zero() {
            write!(f, "; the servers have been silent for {:?}", self.stale_for)?;
        }
        Ok(())
    }
}

struct Waiting<'a> {
    holder: &'a Option<Box<Member>>,
    position: &'a Option<usize>,
    unreached: &'a Option<Box<handfast_core::Error>>,
}

impl fmt::Display for Waiting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(holder) = self.holder {
            write!(f, "; held by {holder}")?;
        }
        if let Some(position) = self.position {
            write!(
                f,
                "; this was number {position} in the queue, the holder being 1"
            )?;
        }
        if let Some(unreached) = self.unreached {
            f.write_str("; no server was reached")?;
            for (place, (endpoint, why)) in unreached.tried().enumerate() {
                let before = if place == 0 { ":" } else { "," };
                write!(f, "{before} {endpoint}: {why}")?;
            }
            f.write_str("; check that it runs there and that the address is right")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_the_claim_and_not_the_queue() {
        let lost = |kind| Error::Lost {
            kind,
            name: "mail".to_owned(),
            reason: LostReason::Deleted,
        };
        let text = lost(Kind::Queue).to_string();
        assert!(
            text.starts_with("the claim on an item of queue mail is lost"),
            "{text}"
        );
        let text = lost(Kind::Lock).to_string();
        assert!(text.starts_with("lock mail is lost"), "{text}");
    }

    #[test]
    fn instances_that_drain_are_counted_in_words_that_fit() {
        let nobody = |draining, silent| {
            let error = Error::NoInstance {
                service: "api".to_owned(),
                draining,
                stale_for: Duration::from_secs(silent),
            };
            error.to_string()
        };
        let none = "service api: no instance is registered";
        assert_eq!(nobody(0, 0), none);
        let silence = "; the servers have been silent for 7s";
        assert_eq!(nobody(0, 7), format!("{none}{silence}"));
        assert_eq!(nobody(1, 0), "service api: the only instance is draining");
        assert_eq!(nobody(2, 0), "service api: all 2 instances are draining");
    }
}
