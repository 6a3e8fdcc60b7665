//! Holding: from the grant until it is given back or lost.
//!
//! Owns the truth about one grant, computed when asked, and the task that notices its end. Shared
//! by the guard of a lock and by a leadership. Knows nothing of how the grant came about.

mod hold;
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
use handfast_core::session::{LostReason, Reaped, State};

use hold::Hold;
pub(crate) use hold::Limits;

use super::{entry::Admission, leave::Left, txns::Leaving};
use crate::{Error, Kind};

/// What is held: a lock or a leadership. Cheap to clone; a clone does not keep it held.
#[derive(Clone)]
pub struct Tenure {
    hold: Arc<Hold>,
}

impl fmt::Debug for Tenure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenure")
            .field("kind", &self.hold.line.kind)
            .field("key", &self.hold.key)
            .field("token", &self.hold.token)
            .finish_non_exhaustive()
    }
}

impl Tenure {
    /// Begins with a granted place; watches over it from now on.
    pub(crate) fn begin(admission: Admission, limits: Limits) -> Self {
        let hold = Arc::new(Hold::new(admission, limits));
        hold.epoch.spawn(vigil::keep(Arc::clone(&hold)));
        Self { hold }
    }

    /// What kind of thing is held.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.hold.line.kind
    }

    /// The name held.
    #[must_use]
    pub fn name(&self) -> &Bytes {
        &self.hold.line.name
    }

    /// The key that stands for it in the store.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        &self.hold.key
    }

    /// The fencing token: grows with every grant of the name. Below 2^53.
    ///
    /// Whatever is changed outside the store should refuse a token smaller than one it has seen:
    /// no local check can rule out a pause between it and the change.
    #[must_use]
    pub fn token(&self) -> i64 {
        self.hold.token
    }

    /// The id of the session's lease the key is on.
    #[must_use]
    pub fn lease(&self) -> i64 {
        self.hold.epoch.lease()
    }

    /// Whether the holder before this one ended without giving it back, so that what it worked on
    /// may be half done.
    #[must_use]
    pub fn previous_died(&self) -> bool {
        self.hold.previous_died
    }

    /// Whether it is held at this instant, by the clock. No input or output.
    ///
    /// # Errors
    /// [`Lost`](Error::Lost) with the reason; it stays lost.
    pub fn check(&self) -> Result<(), Error> {
        self.hold
            .check()
            .map_err(|reason| self.hold.line.lost(reason))
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

    /// Reports that the work goes on, for a [`beat`](crate::Lock::beat) limit.
    ///
    /// # Errors
    /// [`Lost`](Error::Lost), also when this report comes too late.
    pub fn beat(&self) -> Result<(), Error> {
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
    /// [`Lost`](Error::Lost) when it was lost before `work` was done.
    pub async fn scope<F: Future>(&self, work: F) -> Result<F::Output, Error> {
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
            _ => Err(self.hold.line.lost(self.hold.lost().await)),
        }
    }

    /// Says that work relies on this until the returned value is dropped, for work that
    /// [`scope`](Self::scope) cannot run, such as another language's. When a limit ends the hold,
    /// the key stays until then, or for a quarter of the TTL.
    #[must_use = "the scope ends when this is dropped"]
    pub fn enter(&self) -> impl Send + Sync + use<> {
        self.hold.enter_scope()
    }

    pub(crate) fn epoch(&self) -> &handfast_core::Epoch {
        &self.hold.epoch
    }

    /// The store says that the key is not there, or not this grant's.
    pub(crate) async fn found_gone(&self) -> Error {
        self.hold.key_is_gone().await;
        self.hold.line.lost(self.hold.lost().await)
    }

    /// Gives it back: starts at once, in the background. `None` if it was lost before.
    pub(crate) fn give_back(&self) -> Option<impl Future<Output = Result<(), Error>> + use<>> {
        let place = self.hold.end(LostReason::Released)?;
        let line = Arc::clone(&self.hold.line);
        let left = place.leave(Leaving::Holder);
        Some(async move {
            match left.await {
                Reaped::Answered(Left { found: true, .. }) => Ok(()),
                Reaped::Answered(_) => Err(line.lost(LostReason::Deleted)),
                _ => Err(line.lost(LostReason::Expired)),
            }
        })
    }

    /// Gives it back and waits for the answer.
    pub(crate) async fn release(&self) -> Result<(), Error> {
        // A lease that ran out unnoticed is a loss, not a release.
        self.check()?;
        match self.give_back() {
            Some(left) => left.await,
            None => Err(self.hold.line.lost(self.hold.lost().await)),
        }
    }
}
