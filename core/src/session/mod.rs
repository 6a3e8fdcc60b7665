//! One lease, kept alive, with an honest local deadline; shared by every recipe of a program.
//!
//! Owns the session handle. Knows nothing of locks and elections: recipes hold an [`Epoch`].
//!
//! The promise: [`Epoch::check`] says yes only while no other client can own what this one holds,
//! if clock rates differ by less than [`drift`](SessionOptions::drift). It cannot promise what
//! happens between a check and an effect outside the store; fencing tokens are for that.

mod beat;
mod course;
mod declare;
mod declared;
mod departure;
mod epoch;
mod keepalive;
mod kill;
mod life;
mod options;
mod parked;
mod reaper;
mod record;
mod sending;
mod state;
mod turns;
mod witness;

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, sync::watch};
use tokio_util::sync::CancellationToken;

pub use declare::{DeclareError, Declared, left_key};
pub use declared::Standing;
pub use departure::Departure;
pub use epoch::Epoch;
pub use kill::kill;
pub use options::{DEFAULT_METADATA_PREFIX, DEFAULT_TTL, SessionOptions};
pub use reaper::Reaped;
pub use record::{Note, SessionRecord, lease_hex, parse_lease_hex, record_key};
pub use sending::{Unanswered, commit};
pub use state::{Lost, LostReason, SessionError, State};

use beat::Beats;
use course::{Phase, Shared};
use declared::Declarations;
use epoch::Closer;

#[doc(hidden)]
pub use crate::clock::TokioClock;
pub use crate::clock::{Clock, SystemClock};
use crate::{Client, Error, ErrorKind, IntoBytes};

/// A lease that is kept alive in the background.
///
/// Cheap to clone. When the last clone, and the last [`Epoch`] of it, is dropped, the session is
/// closed in the background; [`close`](Self::close) does it and waits.
#[derive(Debug, Clone)]
pub struct Session {
    shared: Arc<Shared>,
    closer: Arc<Closer>,
}

impl Session {
    /// Opens a session: a task on the current runtime grants the lease and keeps it alive.
    ///
    /// Returns at once, in state [`Connecting`](State::Connecting).
    ///
    /// # Errors
    /// [`InvalidOption`](SessionError::InvalidOption).
    ///
    /// # Panics
    /// When called outside a tokio runtime.
    pub fn open(client: &Client, options: SessionOptions) -> Result<Self, SessionError> {
        options.validate()?;
        let clock = options.clock.as_ref().unwrap_or(client.clock());
        let beats = Beats::new(Arc::clone(clock), options.require_beat);
        let close = CancellationToken::new();
        let shared = Arc::new(Shared {
            client: client.clone(),
            clock: Arc::clone(clock),
            options: Arc::new(options),
            phase: watch::Sender::new(Phase::Granting { last_error: None }),
            states: watch::Sender::new(State::Connecting),
            beats: Arc::new(beats),
            close: close.clone(),
            pid: std::process::id(),
            declared: Declarations::new(),
        });
        let runtime = Handle::current();
        runtime.spawn(keepalive::run(Arc::clone(&shared), runtime.clone()));
        Ok(Self {
            shared,
            closer: Arc::new(Closer(close)),
        })
    }

    /// Reports that the program's work goes on, for a session that
    /// [requires it](SessionOptions::require_beat). No input or output.
    ///
    /// # Errors
    /// [`Lost`](SessionError::Lost) when this report comes too late: what was held is lost, and a
    /// new lease follows. [`Closed`](SessionError::Closed).
    pub fn beat(&self) -> Result<(), SessionError> {
        let late = match &*self.shared.phase.borrow() {
            Phase::Live(core) => core.life.check().err(),
            Phase::Closed(_) => return Err(SessionError::Closed),
            _ => None,
        };
        let overdue = self.shared.beats.is_overdue();
        self.shared.beats.beat();
        match late {
            Some(lost) => Err(lost.into()),
            None if overdue => Err(Lost::new(LostReason::NoBeat).into()),
            None => Ok(()),
        }
    }

    /// The current epoch; waits for it while a lease is being granted. Cancel safe.
    ///
    /// # Errors
    /// [`Lost`](SessionError::Lost) when the session is lost and does not recover,
    /// [`Closed`](SessionError::Closed), or [`Client`](SessionError::Client) when the server
    /// refuses, or none answered within the connect timeout.
    pub async fn epoch(&self) -> Result<Epoch, SessionError> {
        self.check_process()?;
        if self.shared.beats.is_overdue() {
            // No lease is asked for until the work goes on.
            return Err(Lost::new(LostReason::NoBeat).into());
        }
        let mut phase = self.shared.phase.subscribe();
        match self.shared.options.connect_timeout {
            None => self.wait_for_epoch(&mut phase).await,
            Some(limit) => {
                let waited = tokio::time::timeout(limit, self.wait_for_epoch(&mut phase)).await;
                waited.unwrap_or_else(|_| Err(self.not_reached(limit)))
            }
        }
    }

    async fn wait_for_epoch(
        &self,
        phase: &mut watch::Receiver<Phase>,
    ) -> Result<Epoch, SessionError> {
        loop {
            match &*phase.borrow_and_update() {
                // An epoch that just ended stands here until the task has noticed.
                Phase::Live(core) if core.life.check().is_ok() => {
                    let _closer = Arc::clone(&self.closer);
                    return Ok(Epoch {
                        core: Arc::clone(core),
                        _closer,
                    });
                }
                Phase::Live(_) | Phase::Granting { last_error: None } => {}
                Phase::Granting {
                    last_error: Some(error),
                } => {
                    if !error.is_retryable() {
                        return Err(error.clone().into());
                    }
                }
                Phase::Over(reason) => return Err(Lost::new(reason.clone()).into()),
                Phase::Closed(_) => return Err(SessionError::Closed),
            }
            if phase.changed().await.is_err() {
                return Err(SessionError::Closed);
            }
        }
    }

    fn not_reached(&self, limit: Duration) -> SessionError {
        if let Phase::Granting {
            last_error: Some(error),
        } = &*self.shared.phase.borrow()
        {
            return error.clone().into();
        }
        let message = format!("no lease was granted within {limit:?}");
        Error::local(ErrorKind::Timeout, "lease_grant", message).into()
    }

    fn check_process(&self) -> Result<(), SessionError> {
        if std::process::id() != self.shared.pid {
            return Err(Lost::new(LostReason::Forked).into());
        }
        Ok(())
    }

    /// The state at this instant, computed from the clock.
    #[must_use]
    pub fn state(&self) -> State {
        if self.check_process().is_err() {
            return State::Lost {
                reason: LostReason::Forked,
            };
        }
        match &*self.shared.phase.borrow() {
            Phase::Live(core) => core.life.state(),
            Phase::Closed(_) => State::Closed,
            Phase::Over(reason) => State::Lost {
                reason: reason.clone(),
            },
            Phase::Granting { .. } => self.shared.states.borrow().clone(),
        }
    }

    /// State changes, as the background task sees them. For decisions use [`state`](Self::state)
    /// or [`Epoch::check`], which look at the clock.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<State> {
        self.shared.states.subscribe()
    }

    /// Whether the current lease can be counted on at this instant.
    ///
    /// # Errors
    /// [`Lost`](SessionError::Lost), also while a lease is being granted anew, or
    /// [`Closed`](SessionError::Closed).
    pub fn check(&self) -> Result<(), SessionError> {
        match self.state() {
            State::Connected | State::Suspended { .. } | State::Expiring { .. } => Ok(()),
            State::Closed => Err(SessionError::Closed),
            State::Lost { reason } => Err(Lost::new(reason).into()),
            State::Connecting | State::Recovering => Err(Lost::new(LostReason::Expired).into()),
        }
    }

    /// How long the current lease can be counted on if nothing more is heard.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        match &*self.shared.phase.borrow() {
            Phase::Live(core) => core.life.remaining(),
            _ => Duration::ZERO,
        }
    }

    /// The id of the current lease, if there is one.
    #[must_use]
    pub fn lease(&self) -> Option<i64> {
        match &*self.shared.phase.borrow() {
            Phase::Live(core) => Some(core.lease),
            _ => None,
        }
    }

    /// The client the session speaks through.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// The settings in force.
    #[must_use]
    pub fn metadata_prefix(&self) -> &bytes::Bytes {
        &self.shared.options.metadata_prefix
    }

    /// Declares that the session shall have `key` with `value`, on its lease: it is put now and
    /// under each new lease, until the handle is withdrawn or dropped, which leaves a mark at
    /// [`left_key`] for a minute. Returns at once.
    ///
    /// The key must be this session's alone: a key that another session has is left to that one.
    /// Who else writes the key changes the declaration, too.
    ///
    /// # Errors
    /// When this process is a fork of the one that opened the session.
    ///
    /// # Panics
    /// When called outside a tokio runtime.
    pub fn declare(
        &self,
        key: impl IntoBytes,
        value: impl IntoBytes,
    ) -> Result<Declared, SessionError> {
        self.check_process()?;
        Ok(Declared::begin(
            &self.shared,
            Arc::clone(&self.closer),
            &Handle::current(),
            key.into_bytes(),
            value.into_bytes(),
        ))
    }

    /// Gives up the lease, and with it everything held under it, in one revoke.
    ///
    /// Takes no longer than the smaller of the TTL and 2 s. All clones are closed. Dropping the
    /// future does not stop it.
    ///
    /// # Errors
    /// That no server confirmed the revoke; the lease then ends after its TTL.
    pub async fn close(&self) -> Result<(), SessionError> {
        self.check_process()?;
        self.shared.close.cancel();
        let mut phase = self.shared.phase.subscribe();
        let closed = phase
            .wait_for(|phase| matches!(phase, Phase::Closed(_)))
            .await;
        match closed.as_deref() {
            Ok(Phase::Closed(Some(error))) => Err(error.clone().into()),
            _ => Ok(()),
        }
    }
}
