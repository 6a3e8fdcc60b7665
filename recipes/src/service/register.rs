//! Being listed.
//!
//! Owns the options of a registration and its handle. That it comes back under each new lease is
//! the session's doing.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use handfast_core::{
    KeyValue,
    session::{DeclareError, Declared, LostReason, Standing},
};

use super::{
    Service,
    entry::{self, Entry, Status},
};
use crate::{Error, Kind, Member, line::look};

/// An instance that is to be registered; made by [`Service::instance`].
#[derive(Debug, Clone)]
#[must_use = "nothing is listed until register() is called"]
pub struct Register {
    service: Service,
    id: String,
    entry: Entry,
    wait: Duration,
}

impl Register {
    pub(super) fn new(service: Service, id: String, entry: Entry) -> Self {
        Self {
            service,
            id,
            entry,
            wait: Duration::ZERO,
        }
    }

    /// Its share of calls beside the others' (default 1).
    pub fn weight(mut self, weight: u32) -> Self {
        self.entry.weight = weight;
        self
    }

    /// Where it runs, for instance a data centre.
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.entry.zone = zone.into();
        self
    }

    /// What it runs.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.entry.version = version.into();
        self
    }

    /// Whether it takes calls (default: it is up).
    pub fn status(mut self, status: Status) -> Self {
        self.entry.status = status;
        self
    }

    /// Something else that others shall know of it.
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.entry.metadata.insert(name.into(), value.into());
        self
    }

    /// How long to wait for another instance with the same id to go (default: not at all). A
    /// program that crashed is listed until its session's TTL is over, so its successor waits
    /// for that long.
    pub fn wait(mut self, limit: Duration) -> Self {
        self.wait = limit;
        self
    }

    /// Lists the instance, and keeps it listed until the returned handle is unregistered or
    /// dropped: also under new leases, after the session was lost or the servers were gone.
    ///
    /// Cancel safe: dropping the future withdraws it for certain, in the background.
    ///
    /// # Errors
    /// [`DuplicateInstance`](Error::DuplicateInstance) with its owner, when somebody else has the
    /// id; [`InvalidArgument`](Error::InvalidArgument); [`Client`](Error::Client) when no server
    /// answered within the session's connect timeout, or one refused.
    pub async fn register(self) -> Result<Registration, Error> {
        self.entry.check()?;
        let key = entry::key(&self.service.name, &self.id)?;
        let hf = &self.service.handfast;
        let failed = |error| Error::of_session(error, Kind::Service, &self.service.name);
        let session = hf.session()?;
        // Says soon that there is no server.
        session.epoch().await.map_err(failed)?;
        let declared = session
            .declare(key, self.entry.to_value())
            .map_err(failed)?;
        let registration = Registration {
            inner: Arc::new(Inner {
                service: self.service.clone(),
                id: self.id,
                declared,
            }),
        };
        match registration.inner.listed(self.wait).await {
            Ok(_) => Ok(registration),
            Err(error) => {
                drop(registration.inner.declared.withdraw());
                Err(error)
            }
        }
    }
}

/// Where a registration stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistrationState {
    /// It is to be listed as soon as a server answers.
    Pending,
    /// It is listed.
    Listed {
        /// The revision of the last change.
        revision: i64,
    },
    /// While this session was lost, somebody else registered under the same id. It is listed
    /// again when that one is gone.
    Duplicate {
        /// The lease of the other's session.
        lease: i64,
    },
    /// It is over: unregistered, or the session is.
    Ended(LostReason),
}

/// An instance that is kept listed.
///
/// Cheap to clone. It is unregistered by [`unregister`](Self::unregister), when the last clone is
/// dropped, and when the [`Handfast`](crate::Handfast) is closed.
#[derive(Clone)]
#[must_use = "dropping it unregisters the instance"]
pub struct Registration {
    inner: Arc<Inner>,
}

struct Inner {
    service: Service,
    id: String,
    declared: Declared,
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("service", &self.inner.service.name)
            .field("id", &self.inner.id)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl Inner {
    async fn listed(&self, wait: Duration) -> Result<i64, Error> {
        let until = tokio::time::sleep(wait);
        tokio::pin!(until);
        loop {
            let by = match self.declared.present().await {
                Ok(revision) => return Ok(revision),
                Err(DeclareError::Taken { by }) => by,
                Err(error) => return Err(self.error(error).await),
            };
            let mut standing = self.declared.watch();
            let is_free = |standing: &Standing| !matches!(standing, Standing::Refused { .. });
            let freed = async {
                // The sender lives as long as the declaration.
                let _ = standing.wait_for(is_free).await;
            };
            tokio::select! {
                biased;
                () = freed => {}
                () = &mut until => return Err(self.duplicate(&by).await),
            }
        }
    }

    async fn error(&self, error: DeclareError) -> Error {
        match error {
            DeclareError::Taken { by } => self.duplicate(&by).await,
            DeclareError::Session(error) => {
                Error::of_session(error, Kind::Service, &self.service.name)
            }
            other => Error::invalid("instance", other.to_string()),
        }
    }

    async fn duplicate(&self, by: &KeyValue) -> Error {
        let mut owner = [Member {
            key: by.key.clone(),
            lease: by.lease,
            token: by.create_revision,
            position: 1,
            value: by.value.clone(),
            immortal: by.lease == 0,
            session: None,
        }];
        let hf = &self.service.handfast;
        // Who it is makes the message better; that it is taken stands without.
        let _ = look::name_sessions(hf.client(), hf.metadata_prefix(), &mut owner).await;
        let [owner] = owner;
        Error::DuplicateInstance {
            service: self.service.name.clone(),
            instance: self.id.clone(),
            addr: Entry::parse(&by.value).map_or_else(String::new, |entry| entry.addr),
            owner: Box::new(owner),
        }
    }
}

impl Registration {
    /// The service's name.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.inner.service.name
    }

    /// The instance's name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// The key in the store.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        self.inner.declared.key()
    }

    /// What is said of the instance, as it is wished here.
    #[must_use]
    pub fn entry(&self) -> Entry {
        // What is put there can be read back; what somebody else put may be anything.
        Entry::parse(&self.inner.declared.value()).unwrap_or_else(|| Entry::new(""))
    }

    /// Where it stands, as far as is known here. No input or output.
    #[must_use]
    pub fn state(&self) -> RegistrationState {
        match self.inner.declared.standing() {
            Standing::Present { revision, .. } => RegistrationState::Listed { revision },
            Standing::Refused { by } => RegistrationState::Duplicate { lease: by.lease },
            Standing::Gone { reason } => RegistrationState::Ended(reason),
            _ => RegistrationState::Pending,
        }
    }

    /// Waits until where it stands changes, or what is said of it. Cancel safe, but a change
    /// before the call is not seen: look at [`state`](Self::state) first.
    pub async fn changed(&self) {
        let mut standing = self.inner.declared.watch();
        // The sender lives as long as the declaration.
        let _ = standing.changed().await;
    }

    /// Changes what is said of the instance, in place; returns the revision.
    ///
    /// It counts here at once: should the session be lost before the store has it, it is what is
    /// listed afterwards. `change` may be called again, on what somebody else wrote meanwhile.
    /// Dropping the future does not undo it.
    ///
    /// # Errors
    /// [`InvalidArgument`](Error::InvalidArgument): nothing was changed. Else as
    /// [`register`](Register::register).
    pub async fn update(
        &self,
        change: impl Fn(&mut Entry) + Send + Sync + 'static,
    ) -> Result<i64, Error> {
        let mut entry = self.entry();
        change(&mut entry);
        entry.check()?;
        let on_value = move |value: &Bytes| match Entry::parse(value) {
            Some(mut entry) => {
                change(&mut entry);
                entry.to_value()
            }
            None => entry.to_value(),
        };
        let changed = self.inner.declared.change(on_value).await;
        match changed {
            Ok(revision) => Ok(revision),
            Err(error) => Err(self.inner.error(error).await),
        }
    }

    /// Says whether it takes calls.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub async fn set_status(&self, status: Status) -> Result<i64, Error> {
        self.update(move |entry| entry.status = status).await
    }

    /// Takes it off the list for good, and lets others know that it left and did not die. Starts
    /// at once; the returned future waits until a server answered, or the lease is gone for
    /// certain. Dropping it does not stop it.
    pub fn unregister(&self) -> impl Future<Output = ()> + Send + use<> {
        self.inner.declared.withdraw()
    }
}
