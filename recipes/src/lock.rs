//! Mutual exclusion: one holder per name, first come, first served.
//!
//! Owns the lock's options and its guard. The queue is [`crate::line`]'s.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use handfast_core::IntoBytes;

use crate::{
    AcquireOptions, Error, Handfast, Kind, Member,
    acquire::{self, acquire_options},
    line::{
        Line, breaking,
        entry::{Entry, Tried},
        look,
        tenure::Tenure,
    },
    tenure::guards_tenure,
    way::Way,
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
    options: AcquireOptions,
}

acquire_options!(Lock, options);

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("name", &self.name)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Handfast {
    /// A lock called `name`.
    pub fn lock(&self, name: impl IntoBytes) -> Lock {
        Lock {
            handfast: self.clone(),
            name: name.into_bytes(),
            options: AcquireOptions::default(),
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
    /// Everybody in the queue, with what their sessions say of themselves.
    pub(crate) async fn read(handfast: &Handfast, line: &Line) -> Result<Self, Error> {
        let client = handfast.client();
        let seen = look::places(client, line, None).await?;
        let mut members = seen.what;
        look::name_sessions(client, handfast.metadata_prefix(), &mut members).await?;
        Ok(Self {
            members,
            revision: seen.at,
        })
    }

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
        let options = &self.options;
        let admission =
            acquire::wait::<Entry>(&self.handfast, &line, options, &Bytes::new()).await?;
        Ok(LockGuard {
            tenure: Tenure::begin(admission, options.limits),
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
        let tried = acquire::within(&self.handfast, self.options.timeout, &*line, async {
            let epoch = acquire::epoch(&self.handfast, &*line).await?;
            Entry::open(&epoch, &line, Bytes::new())
                .await
                .attempt()
                .await
        });
        Ok(match tried.await? {
            Tried::Admitted(admission) => TryLock::Acquired(LockGuard {
                tenure: Tenure::begin(admission, self.options.limits),
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
        LockLine::read(&self.handfast, &line).await
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

guards_tenure!(LockGuard);
