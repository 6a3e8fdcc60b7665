//! Elections: one leader per name, first come, first served, with a value to announce.
//!
//! Owns the election's options and the leadership. The queue is [`crate::line`]'s, watching from
//! outside is [`observe`]'s.

mod observe;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use handfast_core::{Compare, IntoBytes, Op};

use crate::{
    AcquireOptions, Error, Handfast, Kind, LockLine, Member,
    acquire::{self, acquire_options},
    line::{Line, breaking, entry::Entry, look, tenure::Tenure},
    tenure::guards_tenure,
};

pub use observe::{Leader, Observer};

/// Everybody in an election: the leader first, then those who would follow.
pub type Candidates = LockLine;

/// An election; made by [`Handfast::election`].
///
/// Works together with `etcdctl elect` and Go's `concurrency.Election` on the same name.
#[derive(Clone)]
#[must_use = "an election does nothing until something is asked of it"]
pub struct Election {
    handfast: Handfast,
    name: Bytes,
    value: Bytes,
    again: bool,
    options: AcquireOptions,
}

acquire_options!(Election, options);

impl fmt::Debug for Election {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Election")
            .field("name", &self.name)
            .field("value", &self.value)
            .finish_non_exhaustive()
    }
}

impl Handfast {
    /// An election called `name`.
    pub fn election(&self, name: impl IntoBytes) -> Election {
        Election {
            handfast: self.clone(),
            name: name.into_bytes(),
            value: Bytes::new(),
            again: false,
            options: AcquireOptions::default(),
        }
    }
}

impl Election {
    /// What observers see when this candidate leads (default: empty).
    pub fn value(mut self, value: impl IntoBytes) -> Self {
        self.value = value.into_bytes();
        self
    }

    /// Lets [`run`](Self::run) campaign again after the leadership was lost (default false).
    pub fn again(mut self, again: bool) -> Self {
        self.again = again;
        self
    }

    /// Waits to be elected.
    ///
    /// Cancel safe: dropping the future, at any point, withdraws the candidate for certain, in
    /// the background.
    ///
    /// # Errors
    /// [`Timeout`](Error::Timeout) with the leader and the place in the queue,
    /// [`SessionLost`](Error::SessionLost), [`KindConflict`](Error::KindConflict), and others.
    pub async fn campaign(&self) -> Result<Leadership, Error> {
        let line = self.line()?;
        let options = match self.again {
            true => self.options.clone().rejoin(true),
            false => self.options.clone(),
        };
        let admission =
            acquire::wait::<Entry>(&self.handfast, &line, &options, &self.value).await?;
        Ok(Leadership {
            tenure: Tenure::begin(admission, options.limits),
        })
    }

    /// Campaigns, runs `work` while leading, resigns when `work` has returned, and not earlier.
    ///
    /// When the leadership is lost, the future of `work` is dropped at its next await. With
    /// [`again`](Self::again) it then campaigns again and calls `work` again.
    ///
    /// # Errors
    /// As [`campaign`](Self::campaign), and [`Lost`](Error::Lost) when the leadership was lost
    /// before `work` was done.
    pub async fn run<F, Fut>(&self, mut work: F) -> Result<Fut::Output, Error>
    where
        F: FnMut(Tenure) -> Fut,
        Fut: Future,
    {
        loop {
            let leadership = self.campaign().await?;
            // The scope drops the work's future before it returns.
            let done = leadership.scope(work(leadership.tenure())).await;
            match done {
                Ok(output) => {
                    // Whether or not the answer comes, the work was done while leading.
                    let _ = leadership.resign().await;
                    return Ok(output);
                }
                Err(Error::Lost { .. }) if self.again => drop(leadership),
                Err(error) => return Err(error),
            }
        }
    }

    /// The leader at this moment, if there is one.
    ///
    /// # Errors
    /// That the server could not be asked.
    pub async fn leader(&self) -> Result<Option<Leader>, Error> {
        let line = self.line()?;
        let seen = look::places(self.handfast.client(), &line, None).await?;
        Ok(seen
            .what
            .into_iter()
            .next()
            .map(|member| Leader::of(member, seen.at)))
    }

    /// Everybody who campaigns, the leader first, with what their sessions say of themselves.
    ///
    /// # Errors
    /// That the server could not be asked.
    pub async fn candidates(&self) -> Result<Candidates, Error> {
        let line = self.line()?;
        Candidates::read(&self.handfast, &line).await
    }

    /// Follows who leads, from now on.
    ///
    /// # Errors
    /// That the server could not be asked.
    pub async fn observe(&self) -> Result<Observer, Error> {
        Observer::open(self.handfast.client(), self.line()?).await
    }

    /// Takes the leadership away from whoever has it; the leader learns by whom (this program)
    /// and why. Returns the leader, or `None` if nobody leads.
    ///
    /// # Errors
    /// That the server could not be asked.
    pub async fn break_leader(&self, why: &str) -> Result<Option<Member>, Error> {
        let line = self.line()?;
        breaking::holder(self.handfast.client(), &line, &self.handfast.who(), why).await
    }

    fn line(&self) -> Result<Arc<Line>, Error> {
        let metadata = self.handfast.metadata_prefix();
        Ok(Arc::new(Line::new(
            Kind::Election,
            self.name.clone(),
            metadata,
        )?))
    }
}

/// Leading, until it is [resigned](Self::resign), dropped or lost.
///
/// Dropping it resigns in the background. See [`Tenure`] for what can be asked of it; its token
/// is the term.
#[derive(Debug)]
#[must_use = "dropping the leadership resigns"]
pub struct Leadership {
    tenure: Tenure,
}

impl Leadership {
    /// Resigns and waits for the store's answer. Dropping the future does not stop it.
    ///
    /// # Errors
    /// [`Lost`](Error::Lost) when it did not lead any more.
    pub async fn resign(self) -> Result<(), Error> {
        self.tenure.release().await
    }
}

guards_tenure!(Leadership);

impl Tenure {
    /// Announces another value for observers of an election; the term stays.
    ///
    /// # Errors
    /// [`Lost`](Error::Lost): nothing was announced. [`InvalidArgument`](Error::InvalidArgument)
    /// for a lock, which has no value.
    pub async fn proclaim(&self, value: impl IntoBytes) -> Result<(), Error> {
        if self.kind() != Kind::Election {
            return Err(Error::invalid(
                "value",
                "a lock has none; only a leader proclaims",
            ));
        }
        self.check()?;
        // Without the lease the key would stay when this leader dies.
        let announce = Op::put(self.key(), value).lease(self.lease());
        let answer = self
            .epoch()
            .client()
            .txn()
            .when([Compare::create_revision(self.key()).eq(self.token())])
            .then([announce])
            .repeatable()
            .commit()
            .await?;
        if answer.succeeded {
            return Ok(());
        }
        Err(self.found_gone().await)
    }
}
