//! Mutual exclusion: one holder per name, first come, first served.
//!
//! Owns the lock's options and its guard. The queue is [`crate::line`]'s.

use std::{fmt, ops::Deref, sync::Arc, time::Duration};

use bytes::Bytes;
use handfast_core::IntoBytes;

use crate::{
    Error, Handfast, Kind, Member, Waiting,
    acquire::{self, Request},
    line::{
        Line, breaking,
        entry::{Entry, Tried},
        look,
        tenure::{Limits, Tenure},
    },
    way::{OnWait, Way},
};

/// A lock that can be acquired; made by [`Handfast::lock`].
///
/// Works together with `etcdctl lock` and Go's `concurrency.Mutex` on the same name. Each
/// acquisition is one holder: two of the same program exclude each other.
#[derive(Clone)]
#[must_use = "a lock does nothing until it is acquired"]
pub struct Lock {
    handfast: Handfast,
    name: Bytes,
    timeout: Option<Duration>,
    limits: Limits,
    rejoin: bool,
    on_wait: Option<OnWait>,
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("name", &self.name)
            .field("timeout", &self.timeout)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Handfast {
    /// A lock called `name`.
    pub fn lock(&self, name: impl IntoBytes) -> Lock {
        Lock {
            handfast: self.clone(),
            name: name.into_bytes(),
            timeout: None,
            limits: Limits::default(),
            rejoin: false,
            on_wait: None,
        }
    }
}

/// What a try without waiting came to.
#[derive(Debug)]
#[must_use = "if it was acquired, dropping it releases it"]
pub enum TryLock {
    /// The lock is held now.
    Acquired(LockGuard),
    /// Somebody else holds it. The session's record is not read; see [`Lock::look`].
    Held(Box<Member>),
}

impl TryLock {
    /// The guard, if the lock was acquired.
    #[must_use]
    pub fn acquired(self) -> Option<LockGuard> {
        match self {
            Self::Acquired(guard) => Some(guard),
            Self::Held(_) => None,
        }
    }
}

/// Who holds a lock and who waits for it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LockLine {
    /// Everybody, oldest first: the first holds, the others wait.
    pub members: Vec<Member>,
    /// The store's revision this was read at.
    pub revision: i64,
}

impl LockLine {
    /// Who holds.
    #[must_use]
    pub fn holder(&self) -> Option<&Member> {
        self.members.first()
    }

    /// Who waits, in order.
    #[must_use]
    pub fn waiters(&self) -> &[Member] {
        self.members.get(1..).unwrap_or_default()
    }
}

impl Lock {
    /// Gives up waiting after `timeout` (default: never).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Gives the lock up after it was held for `limit`, whatever the work does.
    ///
    /// It is lost for the holder at `limit`; the key goes when the holder's scopes have ended, or
    /// after another quarter of the TTL.
    pub fn max_hold(mut self, limit: Duration) -> Self {
        self.limits.max_hold = Some(limit);
        self
    }

    /// Gives the lock up when [`Tenure::beat`] is not called for `interval`: it then follows the
    /// work, not the process. Ends like [`max_hold`](Self::max_hold).
    pub fn beat(mut self, interval: Duration) -> Self {
        self.limits.beat = Some(interval);
        self
    }

    /// When the session is lost while waiting, waits again at the end of the queue under a new
    /// session, instead of failing (default false).
    pub fn rejoin(mut self, rejoin: bool) -> Self {
        self.rejoin = rejoin;
        self
    }

    /// Calls `tell` with the place in the queue when waiting begins and whenever it gets shorter
    /// right ahead. Each call costs a read. `tell` must be quick.
    pub fn on_wait(mut self, tell: impl Fn(&Waiting) + Send + Sync + 'static) -> Self {
        self.on_wait = Some(Arc::new(tell));
        self
    }

    /// Waits for the lock.
    ///
    /// Cancel safe: dropping the future, at any point, leaves the queue for certain, in the
    /// background.
    ///
    /// # Errors
    /// [`Timeout`](Error::Timeout) with the holder and the place in the queue,
    /// [`SessionLost`](Error::SessionLost), [`KindConflict`](Error::KindConflict), and others.
    pub async fn acquire(&self) -> Result<LockGuard, Error> {
        let line = self.line()?;
        let request = Request {
            timeout: self.timeout,
            rejoin: self.rejoin,
            on_wait: self.on_wait.clone(),
            value: Bytes::new(),
        };
        let admission = acquire::wait::<Entry>(&self.handfast, &line, request).await?;
        Ok(LockGuard {
            tenure: Tenure::begin(admission, self.limits),
        })
    }

    /// Takes the lock if nobody has it or waits for it: one round trip, and no key is left if not.
    ///
    /// The timeout, if one is set, bounds the wait for the servers.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub async fn try_acquire(&self) -> Result<TryLock, Error> {
        let line = self.line()?;
        let tried = acquire::within(self.timeout, &*line, async {
            let epoch = acquire::epoch(&self.handfast, &*line).await?;
            Entry::open(&epoch, &line, Bytes::new())
                .await
                .attempt()
                .await
        });
        Ok(match tried.await? {
            Tried::Admitted(admission) => TryLock::Acquired(LockGuard {
                tenure: Tenure::begin(admission, self.limits),
            }),
            Tried::Held(holder) => TryLock::Held(Box::new(holder)),
        })
    }

    /// Who holds and who waits, with what their sessions say of themselves.
    ///
    /// # Errors
    /// That the server could not be asked.
    pub async fn look(&self) -> Result<LockLine, Error> {
        let line = self.line()?;
        let client = self.handfast.client();
        let seen = look::places(client, &line, None).await?;
        let mut members = seen.what;
        look::name_sessions(client, self.handfast.metadata_prefix(), &mut members).await?;
        Ok(LockLine {
            members,
            revision: seen.at,
        })
    }

    /// Takes the lock away from whoever holds it; the holder learns by whom (this program) and
    /// why. Returns the holder, or `None` if nobody holds.
    ///
    /// The holder may go on for a moment: what it works on should check tokens.
    ///
    /// # Errors
    /// That the server could not be asked.
    pub async fn break_holder(&self, why: &str) -> Result<Option<Member>, Error> {
        let line = self.line()?;
        breaking::holder(self.handfast.client(), &line, &self.handfast.who(), why).await
    }

    /// Takes the place away from `member`, as [`break_holder`](Self::break_holder); whether it
    /// was still there.
    ///
    /// # Errors
    /// That the server could not be asked.
    pub async fn break_member(&self, member: &Member, why: &str) -> Result<bool, Error> {
        let line = self.line()?;
        breaking::member(
            self.handfast.client(),
            &line,
            member,
            &self.handfast.who(),
            why,
        )
        .await
    }

    fn line(&self) -> Result<Arc<Line>, Error> {
        let metadata = self.handfast.metadata_prefix();
        Ok(Arc::new(Line::new(
            Kind::Lock,
            self.name.clone(),
            metadata,
        )?))
    }
}

/// A lock that is held, until it is [released](Self::release), dropped or lost.
///
/// Dropping it releases it in the background. See [`Tenure`] for what can be asked of it.
#[derive(Debug)]
#[must_use = "dropping the guard releases the lock"]
pub struct LockGuard {
    tenure: Tenure,
}

impl LockGuard {
    /// What is held, as a handle that can be cloned and passed on.
    #[must_use]
    pub fn tenure(&self) -> Tenure {
        self.tenure.clone()
    }

    /// Releases the lock and waits for the store's answer.
    ///
    /// Dropping the future does not stop the release.
    ///
    /// # Errors
    /// [`Lost`](Error::Lost) when it was not held any more.
    pub async fn release(self) -> Result<(), Error> {
        self.tenure.release().await
    }
}

impl Deref for LockGuard {
    type Target = Tenure;

    fn deref(&self) -> &Tenure {
        &self.tenure
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        drop(self.tenure.give_back());
    }
}
