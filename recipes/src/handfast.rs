//! The handle a program starts from.
//!
//! Owns the client and the one session all recipes share, opened on first use. Knows nothing of
//! the recipes: each adds the method that makes it.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use handfast_core::{
    Client, ClientBuilder, IntoEndpoints, KeyValue, Session, SessionOptions,
    held::Note,
    session::{self, SessionRecord, parse_lease_hex},
};
use parking_lot::Mutex;
use serde::Deserialize;

use crate::{Error, Kind};

const PAGE: i64 = 500;

/// Locks and elections on one cluster, under one session.
///
/// Cheap to clone. The session is opened by the first recipe that needs it, and closed when the
/// last clone and everything held through it are gone.
#[derive(Clone)]
pub struct Handfast {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    options: SessionOptions,
    session: Mutex<Slot>,
}

enum Slot {
    Unused,
    Open(Session),
    Closed,
}

impl fmt::Debug for Handfast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handfast")
            .field("client", &self.shared.client)
            .finish_non_exhaustive()
    }
}

/// Settings of a [`Handfast`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until build() is called"]
pub struct HandfastBuilder {
    client: ClientBuilder,
    options: SessionOptions,
}

impl HandfastBuilder {
    /// Adds endpoints: `host:port`, `http://host:port`, one by one or as a comma list.
    pub fn endpoints(mut self, endpoints: impl IntoEndpoints) -> Self {
        self.client = self.client.endpoints(endpoints);
        self
    }

    /// Puts every key, also the session's, under `prefix`.
    pub fn namespace(mut self, prefix: impl Into<Bytes>) -> Self {
        self.client = self.client.namespace(prefix);
        self
    }

    /// How long one call may take (default 5 s).
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.client = self.client.timeout(timeout);
        self
    }

    /// How long the servers keep what is held after this program was last heard of (default
    /// 10 s). Shorter frees a dead program's locks sooner and forgives shorter outages.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.options = self.options.ttl(ttl);
        self
    }

    /// The name others see when they look who holds (default: the program's).
    pub fn app_name(mut self, app: impl Into<String>) -> Self {
        self.options = self.options.app(app);
        self
    }

    /// The prefix of session records and recipe metadata (default `_handfast/`). All programs
    /// that work together must use the same.
    pub fn metadata_prefix(mut self, prefix: impl Into<Bytes>) -> Self {
        self.options = self.options.metadata_prefix(prefix);
        self
    }

    /// Gives up all that is held when [`Handfast::beat`] is not called for `interval`: it then
    /// follows the program's work and not its process.
    pub fn require_beat(mut self, interval: Duration) -> Self {
        self.options = self.options.require_beat(interval);
        self
    }

    /// Changes the settings of the session that have no method here.
    pub fn session(mut self, change: impl FnOnce(SessionOptions) -> SessionOptions) -> Self {
        self.options = change(self.options);
        self
    }

    /// Changes the settings of the client that have no method here.
    pub fn client(mut self, change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Self {
        self.client = change(self.client);
        self
    }

    /// The handle. Does no input or output.
    ///
    /// # Errors
    /// [`Client`](Error::Client) when no endpoint was given or one cannot be understood.
    pub fn build(self) -> Result<Handfast, Error> {
        Ok(Handfast {
            shared: Arc::new(Shared {
                client: self.client.build()?,
                options: self.options,
                session: Mutex::new(Slot::Unused),
            }),
        })
    }
}

/// A name that is held, or was not given back by a holder that died.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct HeldName {
    /// The name.
    pub name: Bytes,
    /// What it is used for; `None` if the record cannot be read.
    pub kind: Option<Kind>,
    /// When the holder began to wait for it, in milliseconds since 1970 by the holder's clock.
    pub since_unix_ms: u64,
    /// The key in the queue that the name was granted to; empty if the record cannot be read.
    pub key: Bytes,
}

impl HeldName {
    /// Reads the record of `name`, which is at `own/<name>` under the metadata prefix.
    #[must_use]
    pub fn read(name: Bytes, record: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Record {
            kind: Kind,
            #[serde(default)]
            own: String,
            #[serde(default)]
            since_unix_ms: u64,
        }
        let record: Option<Record> = serde_json::from_slice(record).ok();
        let key = record
            .as_ref()
            .map(|record| [&name, &b"/"[..], record.own.as_bytes()].concat());
        Self {
            kind: record.as_ref().map(|record| record.kind),
            since_unix_ms: record.map_or(0, |record| record.since_unix_ms),
            key: key.unwrap_or_default().into(),
            name,
        }
    }
}

impl Handfast {
    /// A handle with default settings. Connects lazily: an unreachable cluster shows at first use.
    ///
    /// # Errors
    /// [`Client`](Error::Client) when no endpoint was given or one cannot be understood.
    pub async fn connect(endpoints: impl IntoEndpoints) -> Result<Self, Error> {
        Self::builder().endpoints(endpoints).build()
    }

    /// A builder for all settings.
    pub fn builder() -> HandfastBuilder {
        HandfastBuilder {
            client: Client::builder(),
            options: SessionOptions::default(),
        }
    }

    /// The client, for everything that is not a recipe.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// Reports that the program's work goes on; see [`HandfastBuilder::require_beat`].
    ///
    /// # Errors
    /// [`SessionLost`](Error::SessionLost) when this report comes too late: what was held is lost,
    /// and can be acquired again. [`Closed`](Error::Closed).
    pub fn beat(&self) -> Result<(), Error> {
        let session = match &*self.shared.session.lock() {
            Slot::Open(session) => session.clone(),
            Slot::Unused => return Ok(()),
            Slot::Closed => return Err(Error::Closed),
        };
        let beaten = session.beat();
        beaten.map_err(|error| Error::of_session(error, Kind::Lock, "session"))
    }

    /// The session all recipes share; opens it if need be.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), or [`InvalidArgument`](Error::InvalidArgument) for a setting
    /// out of its bounds.
    ///
    /// # Panics
    /// When the session is opened outside a tokio runtime.
    pub fn session(&self) -> Result<Session, Error> {
        let mut slot = self.shared.session.lock();
        match &*slot {
            Slot::Open(session) => Ok(session.clone()),
            Slot::Closed => Err(Error::Closed),
            Slot::Unused => {
                let session = Session::open(&self.shared.client, self.shared.options.clone());
                let session =
                    session.map_err(|error| Error::of_session(error, Kind::Lock, "session"))?;
                *slot = Slot::Open(session.clone());
                Ok(session)
            }
        }
    }

    /// Gives up everything held, in one revoke, and waits for it for at most 2 s.
    ///
    /// Dropping the future does not stop it.
    ///
    /// # Errors
    /// That no server confirmed it; what was held then ends after the TTL.
    pub async fn close(&self) -> Result<(), Error> {
        let slot = std::mem::replace(&mut *self.shared.session.lock(), Slot::Closed);
        match slot {
            Slot::Open(session) => {
                let closed = session.close().await;
                closed.map_err(|error| Error::of_session(error, Kind::Lock, "session"))
            }
            Slot::Unused | Slot::Closed => Ok(()),
        }
    }

    /// The sessions of all programs, with their leases.
    ///
    /// # Errors
    /// That the server could not be asked.
    pub async fn sessions(&self) -> Result<Vec<(i64, SessionRecord)>, Error> {
        let prefix = [&self.metadata_prefix()[..], b"session/"].concat();
        let pairs = self.pairs(&prefix).await?;
        Ok(pairs
            .iter()
            .filter_map(|pair| {
                let lease = std::str::from_utf8(pair.key.strip_prefix(&*prefix)?).ok()?;
                Some((parse_lease_hex(lease)?, SessionRecord::parse(&pair.value)?))
            })
            .collect())
    }

    /// Ends the session of `lease`, whosoever it is: all it holds is free at once, and its program
    /// learns that it was killed, by whom (this program) and why. Whether there was such a session.
    ///
    /// The program may go on for a moment: what it works on should check tokens. It gets a new
    /// session, and what it is registered as comes back under that one.
    ///
    /// # Errors
    /// That the server could not be asked.
    pub async fn kill_session(&self, lease: i64, why: &str) -> Result<bool, Error> {
        let note = Note {
            by: self.who(),
            why: why.to_owned(),
        };
        let killed = session::kill(self.client(), self.metadata_prefix(), lease, &note).await;
        Ok(killed?)
    }

    /// The names that are held through this library, or were when their holder died. Who holds a
    /// name now is told by [`Lock::look`](crate::Lock::look) and
    /// [`Election::candidates`](crate::Election::candidates).
    ///
    /// # Errors
    /// That the server could not be asked.
    pub async fn held_names(&self) -> Result<Vec<HeldName>, Error> {
        let prefix = [&self.metadata_prefix()[..], b"own/"].concat();
        let pairs = self.pairs(&prefix).await?;
        Ok(pairs
            .iter()
            .map(|pair| HeldName::read(pair.key.slice(prefix.len()..), &pair.value))
            .collect())
    }

    pub(crate) async fn pairs(&self, prefix: &[u8]) -> Result<Vec<KeyValue>, Error> {
        let end = handfast_core::prefix_end(prefix);
        let mut pairs: Vec<KeyValue> = Vec::new();
        loop {
            let from = match pairs.last() {
                None => prefix.to_vec(),
                Some(last) => [&last.key[..], b"\0"].concat(),
            };
            let page = self
                .shared
                .client
                .range(from)
                .range_end(&end)
                .limit(PAGE)
                .await?;
            let more = page.more && !page.kvs.is_empty();
            pairs.extend(page.kvs);
            if !more {
                return Ok(pairs);
            }
        }
    }

    /// The TTL asked for of the session.
    pub(crate) fn ttl(&self) -> Duration {
        self.shared.options.asked_ttl()
    }

    pub(crate) fn metadata_prefix(&self) -> &Bytes {
        self.shared.options.metadata()
    }

    /// This program, for notes to others.
    pub(crate) fn who(&self) -> String {
        let SessionRecord { app, pid, host, .. } =
            SessionRecord::of(self.client(), self.shared.options.app_name());
        format!("{app} (pid {pid} on {host})")
    }
}
