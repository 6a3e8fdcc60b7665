//! What is held under a name: a lock, a leadership, the claim of an item.
//!
//! Owns the handle and its errors, which tell the kind and the name. What holding is, is
//! [`handfast_core::held`]'s. Knows nothing of how the grant came about.

use std::{fmt, future::Future, time::Duration};

use bytes::Bytes;
use handfast_core::{
    Epoch,
    held::{self, Held, Holder},
    session::{Lost, LostReason, State},
};

use crate::{Error, Kind};

/// What is held: a lock, a leadership or a claim. Cheap to clone; a clone does not keep it held.
#[derive(Clone)]
pub struct Tenure {
    held: Held,
    kind: Kind,
    name: Bytes,
    previous_died: bool,
}

/// A transaction that the store refuses when what guards it is not held any more; made by
/// [`Tenure::txn`].
pub type GuardedTxn = held::GuardedTxn<Tenure>;

impl fmt::Debug for Tenure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenure")
            .field("kind", &self.kind)
            .field("key", self.key())
            .field("token", &self.token())
            .finish_non_exhaustive()
    }
}

/// What a guard, which has a `tenure`, can do: be asked what the tenure is asked, and give it back
/// when it is dropped.
macro_rules! guards_tenure {
    ($guard:ty) => {
        impl $guard {
            /// What is held, as a handle that can be cloned and passed on.
            #[must_use]
            pub fn tenure(&self) -> crate::Tenure {
                self.tenure.clone()
            }
        }

        impl std::ops::Deref for $guard {
            type Target = crate::Tenure;

            fn deref(&self) -> &crate::Tenure {
                &self.tenure
            }
        }

        impl Drop for $guard {
            fn drop(&mut self) {
                drop(self.tenure.give_back());
            }
        }
    };
}

pub(crate) use guards_tenure;

impl Tenure {
    pub(crate) fn new(held: Held, kind: Kind, name: Bytes, previous_died: bool) -> Self {
        Self {
            held,
            kind,
            name,
            previous_died,
        }
    }

    /// What kind of thing is held.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The name held.
    #[must_use]
    pub fn name(&self) -> &Bytes {
        &self.name
    }

    /// The key that stands for it in the store.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        self.held.key()
    }

    /// The fencing token: grows with every grant of the name. Below 2^53.
    ///
    /// Whatever is changed outside the store should refuse a token smaller than one it has seen:
    /// no local check can rule out a pause between it and the change.
    #[must_use]
    pub fn token(&self) -> i64 {
        self.held.token()
    }

    /// The id of the session's lease the key is on.
    #[must_use]
    pub fn lease(&self) -> i64 {
        self.held.epoch().lease()
    }

    /// Whether the holder before this one ended without giving it back, so that what it worked on
    /// may be half done.
    #[must_use]
    pub fn previous_died(&self) -> bool {
        self.previous_died
    }

    /// Whether it is held at this instant, by the clock. No input or output.
    ///
    /// # Errors
    /// [`Lost`](Error::Lost) with the reason; it stays lost.
    pub fn check(&self) -> Result<(), Error> {
        self.held.check().map_err(|lost| self.is_lost(lost))
    }

    /// How long it is held for certain if nothing more is heard; zero when it is lost.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.held.remaining()
    }

    /// The state of the session's lease at this instant.
    #[must_use]
    pub fn state(&self) -> State {
        self.held.state()
    }

    /// Waits until it is lost or given back, and tells why. Cancel safe.
    pub async fn lost(&self) -> LostReason {
        self.held.lost().await
    }

    /// Waits until work should stop, since what remains is less than the grace time, or it is
    /// lost. The session may still recover after that. Cancel safe.
    pub async fn expiring(&self) {
        self.held.expiring().await;
    }

    /// Reports that the work goes on, for a [`beat`](crate::Lock::beat) limit.
    ///
    /// # Errors
    /// [`Lost`](Error::Lost), also when this report comes too late.
    pub fn beat(&self) -> Result<(), Error> {
        self.held.beat().map_err(|lost| self.is_lost(lost))
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
        let done = self.held.scope(work).await;
        done.map_err(|lost| self.is_lost(lost))
    }

    /// Says that work relies on this until the returned value is dropped, for work that
    /// [`scope`](Self::scope) cannot run, such as another language's. When a limit ends the hold,
    /// the key stays until then, or for a quarter of the TTL.
    #[must_use = "the scope ends when this is dropped"]
    pub fn enter(&self) -> impl Send + Sync + use<> {
        self.held.enter()
    }

    /// A transaction that the store refuses when this is not held any more.
    pub fn txn(&self) -> GuardedTxn {
        GuardedTxn::new(self.clone())
    }

    pub(crate) fn epoch(&self) -> &Epoch {
        self.held.epoch()
    }

    /// The store says that the key is not there, or not this grant's.
    pub(crate) async fn found_gone(&self) -> Error {
        Holder::lost(self, self.held.found_gone().await)
    }

    /// Gives it back: starts at once, in the background. `None` if it was lost before.
    pub(crate) fn give_back(&self) -> Option<impl Future<Output = Result<(), Error>> + use<>> {
        let left = self.held.give_back()?;
        let this = self.clone();
        Some(async move { left.await.map_err(|lost| this.is_lost(lost)) })
    }

    /// Gives it back and waits for the answer.
    pub(crate) async fn release(&self) -> Result<(), Error> {
        let released = self.held.release().await;
        released.map_err(|lost| self.is_lost(lost))
    }

    /// The error that says it is gone, and why.
    pub(crate) fn is_gone(&self, reason: LostReason) -> Error {
        Holder::lost(self, reason)
    }

    fn is_lost(&self, lost: Lost) -> Error {
        self.is_gone(lost.reason)
    }
}

impl Holder for Tenure {
    type Error = Error;

    fn held(&self) -> &Held {
        &self.held
    }

    fn lost(&self, reason: LostReason) -> Error {
        Error::Lost {
            kind: self.kind,
            name: String::from_utf8_lossy(&self.name).into_owned(),
            reason,
        }
    }
}
