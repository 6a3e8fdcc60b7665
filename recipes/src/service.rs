//! A registry of services: who offers what, at which address, and whom to call.
//!
//! Owns the layout `<service>/<instance>`, which grpc-go's etcd resolver reads, and looking at a
//! service from outside. Being listed is `register`'s, following the list `discovery`'s. That a
//! registration heals itself is the session's doing: it is declared, not executed.

mod changes;
mod discovery;
mod entry;
mod follow;
mod load;
mod pick;
mod register;
mod roster;
mod shared;

use std::fmt;

use handfast_core::{Compare, Op};

pub use changes::ServiceChanges;
pub use discovery::{Discover, Discovery, Picked, ServiceList};
pub use entry::{Entry, Instance, Status};
pub use pick::Pick;
pub use register::{Register, Registration, RegistrationState};
pub use roster::ServiceChange;

use crate::{Error, Handfast};

/// A service; made by [`Handfast::service`].
#[derive(Clone)]
pub struct Service {
    handfast: Handfast,
    name: String,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Handfast {
    /// A service called `name`.
    #[must_use]
    pub fn service(&self, name: impl Into<String>) -> Service {
        Service {
            handfast: self.clone(),
            name: name.into(),
        }
    }

    /// Finds the instances of the service `name`; await it, or set options first.
    pub fn discover(&self, name: impl Into<String>) -> Discover {
        self.service(name).discover()
    }
}

impl Service {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// An instance that is to be registered, called `id`, reached at `addr` (`host:port`).
    pub fn instance(&self, id: impl Into<String>, addr: impl Into<String>) -> Register {
        Register::new(self.clone(), id.into(), Entry::new(addr))
    }

    /// Finds the instances; await it, or set options first.
    pub fn discover(&self) -> Discover {
        Discover::new(self.clone())
    }

    /// Who is listed now, in the order of ids: one read, nothing is followed.
    ///
    /// # Errors
    /// That the server could not be asked; [`InvalidArgument`](Error::InvalidArgument).
    pub async fn list(&self) -> Result<Vec<Instance>, Error> {
        let prefix = entry::prefix(&self.name)?;
        let pairs = self.handfast.pairs(&prefix).await?;
        let read = pairs
            .iter()
            .filter_map(|pair| Instance::read(&prefix, pair));
        Ok(read.collect())
    }

    /// Sets the status of an instance from outside, for instance to drain it. Its own program
    /// takes that over, also for when it registers anew. `None` when it is not listed, else the
    /// revision.
    ///
    /// # Errors
    /// That the server could not be asked; [`InvalidArgument`](Error::InvalidArgument).
    pub async fn set_status(&self, id: &str, status: Status) -> Result<Option<i64>, Error> {
        let key = entry::key(&self.name, id)?;
        let client = self.handfast.client();
        let mut pair = client.get(&key).await?;
        loop {
            let Some(seen) = &pair else { return Ok(None) };
            let Some(value) = entry::with_status(&seen.value, status) else {
                let problem = format!("what is stored for {id} is no entry of a service");
                return Err(Error::invalid("instance", problem));
            };
            if value == seen.value {
                return Ok(Some(seen.mod_revision));
            }
            // Without its lease the entry would stay when the instance dies.
            let put = Op::put(&key, &value).ignore_lease();
            let answer = client
                .txn()
                .when([Compare::mod_revision(&key).eq(seen.mod_revision)])
                .then([put])
                .otherwise([Op::get(&key)])
                .repeatable()
                .commit()
                .await?;
            if answer.succeeded {
                return Ok(Some(answer.header.revision));
            }
            pair = answer.range(0)?.kvs.first().cloned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_send<T: Send>(_: T) {}

    #[tokio::test]
    async fn everything_can_be_spawned() {
        let hf = Handfast::connect("127.0.0.1:1").await.unwrap();
        let service = hf.service("x");
        is_send(service.instance("n", "h:1").register());
        is_send(service.discover().open());
        is_send(service.list());
        is_send(service.set_status("n", Status::Up));
        let of_registration = |registration: &Registration| {
            is_send(registration.update(|entry| entry.weight = 1));
            is_send(registration.changed());
            is_send(registration.unregister());
        };
        let of_discovery = |discovery: &Discovery| {
            is_send(discovery.at_least(1));
            is_send(discovery.pick_when_ready(Pick::P2c));
        };
        let of_changes = |changes: &mut ServiceChanges| is_send(changes.next());
        // Only their types are of interest.
        let _ = (of_registration, of_discovery, of_changes);
    }
}
