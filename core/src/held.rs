//! Holding a key: from the moment it is granted until it is given back or lost.
//!
//! Owns the truth about one held key, computed when asked, and the task that notices its end;
//! locks, leaderships and the claims of a queue stand on it. Knows nothing of how the key was
//! granted and of what it means.

mod gone;
mod hold;
mod txn;
mod vigil;

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::{
    Epoch, Mirror, TxnResponse,
    session::{Lost, LostReason, Reaped, State},
};

pub use gone::{Missing, Note, note_key, why_gone};
use hold::Hold;
pub use hold::Limits;
pub use txn::{GuardedTxn, Holder};

/// A key of one epoch that was granted.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The session's lease the key is on.
    pub epoch: Epoch,
    /// The key.
    pub key: Bytes,
    /// Its create revision: the fencing token.
    pub token: i64,
    /// What ends the hold although the session lives.
    pub limits: Limits,
}

/// How the end of a held key is noticed.
#[derive(Debug, Clone)]
pub enum Notice {
    /// By a watch of its own.
    Watch,
    /// By a mirror that copies the key anyway.
    Mirror(Mirror),
}

/// Gives a held key back.
pub trait Leave: Send + 'static {
    /// Starts at once, in the background (see [`Epoch::reap`]); the future only tells whether the
    /// key was there.
    fn leave(self: Box<Self>) -> BoxFuture<'static, Reaped<bool>>;
}

/// A key that is held. Cheap to clone; a clone does not keep it held.
#[derive(Clone)]
pub struct Held {
    hold: Arc<Hold>,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("key", &self.hold.key)
            .field("token", &self.hold.token)
            .finish_non_exhaustive()
    }
}

impl Held {
    /// Begins with a granted key; watches over it from now on. `leave` is used when a limit ends
    /// the hold, or by [`give_back`](Self::give_back).
    pub fn begin(grant: Grant, notice: Notice, leave: impl Leave) -> Self {
        let hold = Arc::new(Hold::new(grant, Vec::new(), Box::new(leave)));
        hold.epoch.spawn(vigil::keep(Arc::clone(&hold), notice));
        Self { hold }
    }

    /// As [`begin`](Self::begin), for several keys that were put at one revision: when one of them
    /// is gone, all is lost, and `leave` is used for what is still there once the work has stopped.
    pub fn begin_all(grant: Grant, also: Vec<Bytes>, leave: impl Leave) -> Self {
        let hold = Arc::new(Hold::new(grant, also, Box::new(leave)));
        hold.epoch
            .spawn(vigil::keep(Arc::clone(&hold), Notice::Watch));
        Self { hold }
    }

    /// All keys that stand for it, [`key`](Self::key) first.
    pub fn keys(&self) -> impl Iterator<Item = &Bytes> {
        self.hold.keys()
    }

    /// The key that stands for it in the store.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        &self.hold.key
    }

    /// The fencing token: grows with every grant.
    #[must_use]
    pub fn token(&self) -> i64 {
        self.hold.token
    }

    /// The epoch of the session it is held under.
    #[must_use]
    pub fn epoch(&self) -> &Epoch {
        &self.hold.epoch
    }

    /// Whether it is held at this instant, by the clock. No input or output.
    ///
    /// # Errors
    /// [`Lost`] with the reason; it stays lost.
    pub fn check(&self) -> Result<(), Lost> {
        self.hold.check().map_err(Lost::new)
    }

    /// As [`check`](Self::check); if it is lost, waits until the reason is known.
    ///
    /// # Errors
    /// [`Lost`] with the reason; it stays lost.
    pub async fn confirm(&self) -> Result<(), Lost> {
        match self.check() {
            Ok(()) => Ok(()),
            Err(_) => Err(Lost::new(self.lost().await)),
        }
    }

    /// How long it is held for certain if nothing more is heard; zero when it is lost.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.hold.remaining()
    }

    /// The state of the session's lease at this instant.
    #[must_use]
    pub fn state(&self) -> State {
        self.hold.epoch.state()
    }

    /// Waits until it is lost or given back, and tells why. Cancel safe.
    pub async fn lost(&self) -> LostReason {
        self.hold.lost().await
    }

    /// Waits until work should stop, since what remains is less than the grace time, or it is
    /// lost. The session may still recover after that. Cancel safe.
    pub async fn expiring(&self) {
        tokio::select! {
            biased;
            () = self.hold.fired() => {}
            () = self.hold.epoch.expiring() => {}
        }
    }

    /// Reports that the work goes on, for a [`beat`](Limits::beat) limit.
    ///
    /// # Errors
    /// [`Lost`], also when this report comes too late.
    pub fn beat(&self) -> Result<(), Lost> {
        self.check()?;
        self.hold.beat();
        Ok(())
    }

    /// Runs `work` for as long as it is held; drops `work` at its next await when it is lost.
    ///
    /// The clock is read before each step of `work`, so that it does not take a step after a
    /// pause of the whole process that outlasted the lease. Code that does not await cannot be
    /// stopped.
    ///
    /// # Errors
    /// [`Lost`] when it was lost before `work` was done.
    pub async fn scope<F: Future>(&self, work: F) -> Result<F::Output, Lost> {
        let running = self.hold.enter_scope();
        let done = {
            let mut work = pin!(work);
            let mut fired = pin!(self.hold.fired());
            poll_fn(|context| {
                if self.hold.check().is_err() || fired.as_mut().poll(context).is_ready() {
                    return Poll::Ready(None);
                }
                work.as_mut().poll(context).map(Some)
            })
            .await
        };
        drop(running);
        match done {
            // Work that ended after the loss may have overlapped with another holder's.
            Some(output) if self.hold.check().is_ok() => Ok(output),
            _ => Err(Lost::new(self.hold.lost().await)),
        }
    }

    /// Says that work relies on this until the returned value is dropped, for work that
    /// [`scope`](Self::scope) cannot run, such as another language's. When a limit ends the hold,
    /// the key stays until then, or for a quarter of the TTL.
    #[must_use = "the scope ends when this is dropped"]
    pub fn enter(&self) -> impl Send + Sync + use<> {
        self.hold.enter_scope()
    }

    /// Takes in that the store says the key is not there, or not this grant's; tells why.
    pub async fn found_gone(&self) -> LostReason {
        self.hold.key_is_gone(&self.hold.key, 0);
        self.hold.lost().await
    }

    /// As [`found_gone`](Self::found_gone), with the answer that has all keys.
    async fn found_gone_in(&self, answer: &TxnResponse) -> LostReason {
        let gone = vigil::first_gone(&self.hold, answer);
        let at = answer.header.revision;
        self.hold.key_is_gone(gone.unwrap_or(self.key()), at);
        self.hold.lost().await
    }

    /// Says that the holder is about to delete the key itself, in a way of its own, and will call
    /// [`end`](Self::end) or [`found_gone`](Self::found_gone) then, or drop the hold.
    pub fn leaving(&self) {
        self.hold.leaving();
    }

    /// Ends the hold from here without giving the key back: the caller does, or has done, that
    /// in its own way. Whether it was held until now.
    pub fn end(&self) -> bool {
        self.hold.end(LostReason::Released).is_some()
    }

    /// Gives it back: starts at once, in the background. `None` if it was lost before.
    ///
    /// The future fails with [`Lost`] when the key was found gone.
    pub fn give_back(&self) -> Option<impl Future<Output = Result<(), Lost>> + Send + use<>> {
        let left = self.hold.end(LostReason::Released)?.leave();
        let hold = Arc::clone(&self.hold);
        Some(async move {
            let reason = match left.await {
                Reaped::Answered(true) => return Ok(()),
                Reaped::Answered(false) => hold.why_gone().await,
                // Not lost if the runtime of the session ends.
                Reaped::LeaseGone if hold.epoch.check().is_ok() => LostReason::Expired,
                Reaped::LeaseGone => hold.epoch.lost().await,
            };
            Err(Lost::new(reason))
        })
    }

    /// Gives it back and waits for the answer. Dropping the future does not stop it.
    ///
    /// # Errors
    /// [`Lost`] when it was not held any more.
    pub async fn release(&self) -> Result<(), Lost> {
        // A lease that ran out unnoticed is a loss, not a release.
        self.confirm().await?;
        match self.give_back() {
            Some(left) => left.await,
            None => Err(Lost::new(self.hold.lost().await)),
        }
    }
}
