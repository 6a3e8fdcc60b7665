//! What is held, until it is given back: locks, a leadership, an item.
//!
//! Owns the guard, so that the host's object can give it up from a method. Knows nothing of how
//! the host learns of a loss.

use handfast::{Claim, Leadership, LockGuard, MultiGuard, Tenure};
use parking_lot::Mutex;

use crate::{
    Failure,
    runtime::{self, Local},
};

/// What gives the key back.
#[derive(Debug)]
#[non_exhaustive]
pub enum Guard {
    /// Of a lock.
    Lock(LockGuard),
    /// Of an election.
    Leadership(Leadership),
    /// Of an item of a queue.
    Claim(Box<Claim>),
    /// Of several locks.
    Multi(MultiGuard),
}

impl Guard {
    fn tenure(&self) -> Tenure {
        match self {
            Self::Lock(guard) => guard.tenure(),
            Self::Leadership(guard) => guard.tenure(),
            Self::Claim(claim) => claim.tenure(),
            Self::Multi(guard) => guard.tenure(),
        }
    }

    async fn release(self) -> Result<(), handfast::Error> {
        match self {
            Self::Lock(guard) => guard.release().await,
            Self::Leadership(guard) => guard.resign().await,
            Self::Claim(claim) => claim.release().await,
            Self::Multi(guard) => guard.release().await,
        }
    }
}

type Scope = Box<dyn Send + Sync>;

/// Something that is held until it is released, lost or dropped.
///
/// It must be dropped within a runtime; [`Local`] sees to that.
pub struct Holding {
    tenure: Tenure,
    guard: Mutex<Option<Guard>>,
    scope: Mutex<Option<Scope>>,
}

impl std::fmt::Debug for Holding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Holding")
            .field("tenure", &self.tenure)
            .finish_non_exhaustive()
    }
}

impl From<Guard> for Holding {
    fn from(guard: Guard) -> Self {
        Self {
            tenure: guard.tenure(),
            guard: Mutex::new(Some(guard)),
            scope: Mutex::new(None),
        }
    }
}

impl Holding {
    /// What can be asked of it.
    #[must_use]
    pub fn tenure(&self) -> &Tenure {
        &self.tenure
    }

    /// Says that work relies on it, until it is released or abandoned.
    pub fn enter(&self) {
        let scope: Scope = Box::new(self.tenure.enter());
        let before = self.scope.lock().replace(scope);
        drop(before);
    }

    /// Gives it back; does nothing at the second time. Dropping the future does not stop it.
    ///
    /// The future fails with `LOCK_LOST` when it was not held any more.
    pub fn release(&self) -> impl Future<Output = Result<(), Failure>> + Send + use<> {
        let guard = self.take();
        async move {
            match guard {
                Some(guard) => Ok(guard.release().await?),
                None => Ok(()),
            }
        }
    }

    /// Gives it back in the background, for nobody has begun to work with it: the attempt on an
    /// item does not count.
    pub fn abandon(&self) {
        match (self.take(), runtime::handle()) {
            (Some(guard @ Guard::Claim(_)), Ok(runtime)) => {
                // If it is lost there is nothing to give back.
                runtime.spawn(async move { drop(guard.release().await) });
            }
            (guard, _) => drop(Local::new(guard)),
        }
    }

    /// Something that is held, and given back by somebody else.
    #[must_use]
    pub fn of(tenure: Tenure) -> Self {
        Self {
            tenure,
            guard: Mutex::new(None),
            scope: Mutex::new(None),
        }
    }

    /// The claim on an item of a queue, for good.
    ///
    /// # Errors
    /// `CLOSED` when it was given back, `INVALID_ARGUMENT` when this is no claim.
    pub fn take_claim(&self) -> Result<Claim, Failure> {
        match self.take() {
            Some(Guard::Claim(claim)) => Ok(*claim),
            Some(_) => Err(Failure::invalid("claim", "this holds no item")),
            None => Err(Failure::closed("claim")),
        }
    }

    fn take(&self) -> Option<Guard> {
        let scope = self.scope.lock().take();
        drop(scope);
        self.guard.lock().take()
    }
}
