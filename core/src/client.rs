//! The client handle and how it is built.
//!
//! Owns what all calls and watches of a client share. The calls themselves are in the modules
//! named after what they concern.

use std::{fmt, future::Future, io, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::transport::{Channel, Uri};

use crate::{
    Error, ErrorKind, IntoEndpoints,
    call::{Call, Safety},
    chance::Chance,
    clock::Clock,
    dial::Dial,
    endpoint,
    environment::Environment,
    pool::{Pool, TransportOptions},
    span,
    sync::EndpointSync,
    watch::{WatchOptions, WatchStream, Watches},
};

/// How many compares, and operations of one branch, a server takes by default.
pub const MAX_TXN_OPS: usize = 128;

/// A client of one cluster.
///
/// Cheap to clone; all clones share connections and the watch stream. Nothing is connected before
/// the first call. Calls need a tokio runtime.
///
/// With several endpoints the client stays with one, drawn at random, until that one fails: it
/// refuses connections, knows no leader, is a learner or stops. Then it goes on with another, and
/// so do watches and keepalives, where they were. A member that says nothing at all for about
/// 2.5 s (4 s on a quiet watch) counts as failed, whatever the call's timeout. What a call does
/// about it:
///
/// * A read is made again elsewhere.
/// * A write is made again only if it certainly was not applied, or if it may be
///   [repeated](crate::Put::repeatable); else its error is [in doubt](crate::Error::in_doubt).
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
    pub(crate) namespace: Bytes,
    pub(crate) timeout: Duration,
}

pub(crate) struct Shared {
    pub(crate) pool: Arc<Pool>,
    pub(crate) require_leader: bool,
    pub(crate) max_txn_ops: usize,
    pub(crate) environment: Environment,
    watches: Watches,
    sync: Option<EndpointSync>,
}

/// Settings of a [`Client`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until build() is called"]
pub struct ClientBuilder {
    endpoints: Vec<String>,
    namespace: Bytes,
    timeout: Duration,
    require_leader: bool,
    max_txn_ops: usize,
    transport: TransportOptions,
    sync_endpoints: bool,
    environment: Environment,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            namespace: Bytes::new(),
            timeout: Duration::from_secs(5),
            require_leader: true,
            max_txn_ops: MAX_TXN_OPS,
            transport: TransportOptions {
                connect_timeout: Duration::from_secs(2),
                keep_alive_interval: Duration::from_secs(10),
                keep_alive_timeout: Duration::from_secs(5),
            },
            sync_endpoints: false,
            environment: Environment::default(),
        }
    }
}

impl ClientBuilder {
    /// Adds endpoints: `host:port`, `http://host:port`, `unix:path`, one by one or as a comma list.
    pub fn endpoints(mut self, endpoints: impl IntoEndpoints) -> Self {
        self.endpoints.extend(endpoints.into_endpoints());
        self
    }

    /// Puts every key under `prefix`, as [`Client::namespace`] does.
    pub fn namespace(mut self, prefix: impl Into<Bytes>) -> Self {
        self.namespace = prefix.into();
        self
    }

    /// How long a call may take, all attempts together (default 5 s).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long making a connection may take (default 2 s).
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.transport.connect_timeout = timeout;
        self
    }

    /// How often a connection in use is probed (default 10 s; etcd refuses less than 5 s), and how
    /// long a probe may stay unanswered before the connection counts as dead (default 5 s).
    pub fn keep_alive(mut self, interval: Duration, timeout: Duration) -> Self {
        self.transport.keep_alive_interval = interval;
        self.transport.keep_alive_timeout = timeout;
        self
    }

    /// Whether a member that knows no leader shall refuse at once, so that another can be asked
    /// (default true). Without it a watch on a member that is cut off stays silent.
    pub fn require_leader(mut self, require: bool) -> Self {
        self.require_leader = require;
        self
    }

    /// How many operations a transaction may have (default [`MAX_TXN_OPS`]); raise it
    /// together with the server's `--max-txn-ops`.
    pub fn max_txn_ops(mut self, limit: usize) -> Self {
        self.max_txn_ops = limit;
        self
    }

    /// Whether to learn from the cluster at which addresses its members serve clients, and use
    /// those too (default false). Asked at the first call and about every 30 s.
    ///
    /// Only for clusters whose members advertise addresses this client can reach. Those given by
    /// [`endpoints`](Self::endpoints) stay in use; learners, addresses with TLS, and `localhost`
    /// of another machine are left out.
    pub fn sync_endpoints(mut self, sync: bool) -> Self {
        self.sync_endpoints = sync;
        self
    }

    /// Connects with `connect`, which is given the endpoint's address, instead of the network.
    ///
    /// With [`clock`](Self::clock) and [`seed`](Self::seed) a seam for simulations: all other
    /// time is the runtime's.
    #[doc(hidden)]
    pub fn connector<F, Fut, Io>(mut self, connect: F) -> Self
    where
        F: Fn(Uri) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<Io>> + Send + 'static,
        Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.environment.dial = Dial::custom(connect);
        self
    }

    /// The clock sessions measure their deadlines with, unless their options name another.
    #[doc(hidden)]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.environment.clock = clock;
        self
    }

    /// Draws jitter, lease ids and the first endpoint from `seed`; host and process id in records
    /// are then made up, so that a run repeats to the byte.
    #[doc(hidden)]
    pub fn seed(mut self, seed: u64) -> Self {
        self.environment.chance = Chance::seeded(seed);
        self
    }

    /// The client. Does no input or output.
    ///
    /// # Errors
    /// [`InvalidEndpoint`](crate::ErrorKind::InvalidEndpoint) when no endpoint was given or one
    /// cannot be understood.
    pub fn build(self) -> Result<Client, Error> {
        let urls = endpoint::parse(&self.endpoints)?;
        let environment = self.environment;
        let pool = Arc::new(Pool::new(urls, self.transport, environment.clone())?);
        Ok(Client {
            shared: Arc::new(Shared {
                watches: Watches::new(Arc::clone(&pool), self.require_leader),
                pool,
                require_leader: self.require_leader,
                max_txn_ops: self.max_txn_ops,
                environment,
                sync: self.sync_endpoints.then(EndpointSync::default),
            }),
            namespace: self.namespace,
            timeout: self.timeout,
        })
    }
}

impl Client {
    /// A client with default settings. Connects lazily: an unreachable cluster shows at the first
    /// call.
    ///
    /// # Errors
    /// [`InvalidEndpoint`](crate::ErrorKind::InvalidEndpoint) when no endpoint was given or one
    /// cannot be understood.
    pub async fn connect(endpoints: impl IntoEndpoints) -> Result<Self, Error> {
        Self::builder().endpoints(endpoints).build()
    }

    /// A builder for all settings.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// This client with every key under `prefix`, within its own namespace.
    ///
    /// Keys, ranges, compares and watches are prefixed, answers and events stripped. No separator
    /// is added. Connections are shared.
    #[must_use]
    pub fn namespace(&self, prefix: impl AsRef<[u8]>) -> Self {
        let namespace = span::join(&self.namespace, prefix.as_ref());
        Self {
            namespace,
            ..self.clone()
        }
    }

    /// The prefix of all keys; empty without a namespace.
    #[must_use]
    pub fn namespace_prefix(&self) -> &Bytes {
        &self.namespace
    }

    /// This client with another default call timeout.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self {
            timeout,
            ..self.clone()
        }
    }

    /// How long a call may take, all attempts together.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The endpoints in use, as `http://host:port`.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        let urls = self.shared.pool.urls();
        urls.iter().map(ToString::to_string).collect()
    }

    /// Why no server is reached, as far as is known; `None` if one of them answered when it was
    /// asked last. No input or output.
    #[must_use]
    pub fn unreached(&self) -> Option<Error> {
        let tried = self.shared.pool.unreached()?;
        let (endpoint, message) = tried.last()?.clone();
        let error = Error::local(ErrorKind::Connect, "connect", message);
        Some(error.with_endpoint(&endpoint).with_tried(tried))
    }

    /// Watches keys. Needs no `await`: the watch is made by the client's watch task, and reports
    /// [`Created`](crate::WatchEvent::Created) when it is in place.
    ///
    /// The stream heals by itself: it ends only after
    /// [`Compacted`](crate::WatchEvent::Compacted) or an error that trying again cannot cure.
    /// Changes are neither lost nor doubled.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use = "dropping the stream cancels the watch"]
    pub fn watch(&self, options: WatchOptions) -> WatchStream {
        self.shared.watches.open(&self.namespace, options)
    }

    /// A bare gRPC channel for calls this crate does not wrap: to `endpoint`, or to the one in use.
    ///
    /// Such calls are neither retried nor put into the namespace.
    ///
    /// # Errors
    /// [`Connect`](crate::ErrorKind::Connect) when the endpoint cannot be reached.
    pub async fn channel(&self, endpoint: Option<&str>) -> Result<Channel, Error> {
        let only;
        let pool = match endpoint {
            Some(endpoint) => {
                only = self.shared.pool.only(endpoint)?;
                &only
            }
            None => &*self.shared.pool,
        };
        let index = pool.pick(None);
        match pool.link(index).await {
            Ok(link) => Ok(link.channel),
            Err(failure) => Err(failure.into_error("connect", &pool.url(index), false)),
        }
    }

    /// Where recipes draw their jitter from.
    #[doc(hidden)]
    #[must_use]
    pub fn chance(&self) -> &Chance {
        &self.shared.environment.chance
    }

    /// The clock sessions measure their deadlines with.
    #[doc(hidden)]
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.environment.clock
    }

    pub(crate) fn call(&self, operation: &'static str, safety: Safety) -> Call {
        if let Some(sync) = &self.shared.sync {
            sync.start(&self.shared.pool);
        }
        Call {
            operation,
            safety,
            timeout: self.timeout,
            require_leader: self.shared.require_leader,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoints", &self.endpoints())
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn building_needs_no_runtime_and_namespaces_nest() {
        let client = Client::builder()
            .endpoints("a:1,b:2")
            .namespace("x/")
            .build()
            .unwrap();
        assert_eq!(client.endpoints(), ["http://a:1", "http://b:2"]);
        assert_eq!(client.namespace("y/").namespace_prefix(), &b"x/y/"[..]);
        assert!(Client::builder().build().is_err());
    }
}
