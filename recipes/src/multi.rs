//! Several locks at once: all or none, in one round trip, and without a deadlock.
//!
//! Owns the options and the guard. The places are [`party`]'s, getting them granted is
//! [`entry`]'s, giving them up is [`leave`]'s.
//!
//! One transaction puts a key into every queue, so that all have the same age: any two requests
//! stand in the same order in all queues they share, and nobody waits for somebody who waits for
//! him. While it waits it holds nothing, but those who come later wait behind it, also under names
//! that are free at the moment.

mod entry;
mod leave;
mod party;
mod txns;

use std::{collections::BTreeSet, fmt, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;
use handfast_core::{
    IntoBytes,
    held::{Grant, Held, Leave, Limits},
    session::Reaped,
};

use crate::{
    AcquireOptions, Error, Handfast, Kind, Member, Tenure,
    acquire::{self, acquire_options},
    line::{Line, leave::was_there},
    tenure::guards_tenure,
    way::{Goal, Way},
};
use entry::{Admission, Entry, Tried};
use party::{Lines, Party};
use txns::Leaving;

/// How many names one multi-lock may have: servers allow 128 operations in a transaction.
pub const MAX_NAMES: usize = 60;

/// Several locks that are acquired together; made by [`Handfast::multi_lock`].
///
/// Each name is also a [`Lock`](crate::Lock) for others, and an `etcdctl lock` or Go's
/// `concurrency.Mutex`: all of them exclude each other.
#[derive(Clone)]
#[must_use = "a lock does nothing until it is acquired"]
pub struct MultiLock {
    handfast: Handfast,
    names: BTreeSet<Bytes>,
    options: AcquireOptions,
}

acquire_options!(MultiLock, options);

impl fmt::Debug for MultiLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MultiLock")
            .field("names", &self.names)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Handfast {
    /// The locks called `names`, at most [`MAX_NAMES`], to be acquired together. Their order does
    /// not matter, and a name that comes twice counts once.
    pub fn multi_lock(&self, names: impl IntoIterator<Item = impl IntoBytes>) -> MultiLock {
        MultiLock {
            handfast: self.clone(),
            names: names.into_iter().map(IntoBytes::into_bytes).collect(),
            options: AcquireOptions::default(),
        }
    }
}

/// What a try without waiting came to.
#[derive(Debug)]
#[must_use = "if it was acquired, dropping it releases it"]
pub enum TryMulti {
    /// All locks are held now.
    Acquired(MultiGuard),
    /// Somebody else holds one of them; none is held here.
    Held {
        /// The name that is held.
        name: Bytes,
        /// By whom; the session's record is not read.
        holder: Box<Member>,
    },
}

impl TryMulti {
    /// The guard, if the locks were acquired.
    #[must_use]
    pub fn acquired(self) -> Option<MultiGuard> {
        match self {
            Self::Acquired(guard) => Some(guard),
            Self::Held { .. } => None,
        }
    }
}

impl MultiLock {
    /// Waits for all locks.
    ///
    /// Cancel safe: dropping the future, at any point, leaves all queues for certain, in the
    /// background.
    ///
    /// # Errors
    /// [`InvalidArgument`](Error::InvalidArgument) for no names or too many;
    /// [`Timeout`](Error::Timeout) with the name that was waited for, its holder and the place in
    /// its queue; [`SessionLost`](Error::SessionLost), [`KindConflict`](Error::KindConflict), and
    /// others.
    pub async fn acquire(&self) -> Result<MultiGuard, Error> {
        let lines = self.lines()?;
        let options = &self.options;
        let admission =
            acquire::wait::<Entry>(&self.handfast, &lines, options, &Bytes::new()).await?;
        Ok(MultiGuard::begin(admission, options.limits))
    }

    /// Takes all locks if nobody has one or waits for one: one round trip, and no key is left if
    /// not.
    ///
    /// The timeout, if one is set, bounds the wait for the servers.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub async fn try_acquire(&self) -> Result<TryMulti, Error> {
        let lines = self.lines()?;
        let tried = acquire::within(&self.handfast, self.options.timeout, &*lines, async {
            let epoch = acquire::epoch(&self.handfast, &*lines).await?;
            let entry = Entry::open(&epoch, &lines, Bytes::new()).await;
            entry.attempt().await
        });
        Ok(match tried.await? {
            Tried::Admitted(admission) => {
                TryMulti::Acquired(MultiGuard::begin(admission, self.options.limits))
            }
            Tried::Held { name, holder } => TryMulti::Held {
                name,
                holder: Box::new(holder),
            },
        })
    }

    fn lines(&self) -> Result<Arc<Lines>, Error> {
        let count = self.names.len();
        if count == 0 {
            return Err(Error::invalid("names", "there are none; give at least one"));
        }
        if count > MAX_NAMES {
            let problem = format!("{count} of them; at most {MAX_NAMES} fit into a transaction");
            return Err(Error::invalid("names", problem));
        }
        let metadata = self.handfast.metadata_prefix();
        let lines = self.names.iter().map(|name| {
            let line = Line::new(Kind::Lock, name.clone(), metadata);
            line.map(Arc::new)
        });
        Ok(Arc::new(Lines(lines.collect::<Result<_, Error>>()?)))
    }
}

/// Several locks that are held, until they are [released](Self::release), dropped or lost.
///
/// Dropping it releases all in the background. When one of them is lost, all are. See [`Tenure`]
/// for what can be asked of it: its name is that of all, with commas, its key the first one, and
/// its token is good for each name.
#[derive(Debug)]
#[must_use = "dropping the guard releases the locks"]
pub struct MultiGuard {
    tenure: Tenure,
    names: Arc<[Bytes]>,
    died: Vec<Bytes>,
}

impl MultiGuard {
    fn begin(admission: Admission, limits: Limits) -> Self {
        let Admission { party, died } = admission;
        let lines = Lines(party.places.iter().map(|it| Arc::clone(&it.line)).collect());
        let names: Arc<[Bytes]> = lines.0.iter().map(|line| line.name.clone()).collect();
        let died = names.iter().zip(died).filter(|(_, died)| *died);
        let died: Vec<Bytes> = died.map(|(name, _)| name.clone()).collect();
        let first = party.first();
        let grant = Grant {
            epoch: first.epoch.clone(),
            key: first.key.clone(),
            token: first.revision,
            limits,
        };
        let also = party.places.iter().skip(1).map(|it| it.key.clone());
        let held = Held::begin_all(grant, also.collect(), HeldParty(party));
        Self {
            tenure: Tenure::new(held, Kind::Lock, lines.shown().into(), !died.is_empty()),
            names,
            died,
        }
    }

    /// The names, in order, without repetitions.
    #[must_use]
    pub fn names(&self) -> &[Bytes] {
        &self.names
    }

    /// The names whose holder before ended without giving them back, so that what it worked on
    /// may be half done.
    #[must_use]
    pub fn died(&self) -> &[Bytes] {
        &self.died
    }

    /// Releases all locks at once and waits for the store's answer.
    ///
    /// Dropping the future does not stop the release.
    ///
    /// # Errors
    /// [`Lost`](Error::Lost) when they were not all held any more.
    pub async fn release(self) -> Result<(), Error> {
        self.tenure.release().await
    }
}

guards_tenure!(MultiGuard);

struct HeldParty(Party);

impl Leave for HeldParty {
    fn leave(self: Box<Self>) -> BoxFuture<'static, Reaped<bool>> {
        was_there(self.0.leave(Leaving::Holder))
    }
}
