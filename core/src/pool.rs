//! The connections to a cluster's endpoints, and which of them to use next.
//!
//! Owns connecting and the memory of what failed. Knows nothing of calls; who uses a link reports
//! how it went.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

use crate::{
    Error, ErrorKind,
    backoff::Backoff,
    chance::Chance,
    dial::Dial,
    endpoint,
    environment::Environment,
    error::classify::{Failure, Fate},
};

/// What every connection of a client is made with.
#[derive(Debug, Clone)]
pub(crate) struct TransportOptions {
    pub(crate) connect_timeout: Duration,
    pub(crate) keep_alive_interval: Duration,
    pub(crate) keep_alive_timeout: Duration,
}

/// Bytes a stream, and the connection, may have under way unread.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// How long an endpoint that failed is passed over: the first time, and at most.
const FIRST_PENALTY: Duration = Duration::from_millis(100);
const PENALTY_LIMIT: Duration = Duration::from_secs(5);

/// The endpoints of one cluster.
#[derive(Debug)]
pub(crate) struct Pool {
    members: Vec<Arc<Member>>,
    preferred: AtomicUsize,
    options: TransportOptions,
    environment: Environment,
}

#[derive(Debug)]
struct Member {
    url: Arc<str>,
    transport: Endpoint,
    dial: Dial,
    ready: Mutex<Option<Ready>>,
    /// Held while connecting, so that callers share one attempt and its outcome.
    connecting: tokio::sync::Mutex<Option<Refusal>>,
    generation: AtomicU64,
    health: Mutex<Health>,
}

#[derive(Debug)]
struct Ready {
    channel: Channel,
    generation: u64,
}

#[derive(Debug)]
struct Refusal {
    at: Instant,
    message: String,
}

#[derive(Debug)]
struct Health {
    not_before: Option<Instant>,
    penalty: Backoff,
}

/// A connection that can be used now.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) index: usize,
    pub(crate) channel: Channel,
    generation: u64,
}

impl Pool {
    pub(crate) fn new(
        urls: Vec<Arc<str>>,
        options: TransportOptions,
        environment: Environment,
    ) -> Result<Self, Error> {
        let members = urls
            .into_iter()
            .map(|url| Member::new(url, &options, &environment).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        // A random start spreads many clients over the members.
        let preferred = AtomicUsize::new(environment.chance.below(members.len()));
        Ok(Self {
            members,
            preferred,
            options,
            environment,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn chance(&self) -> &Chance {
        &self.environment.chance
    }

    pub(crate) fn urls(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| &*member.url)
    }

    pub(crate) fn url(&self, index: usize) -> &Arc<str> {
        &self.members[index].url
    }

    /// A pool of only `written`, which need not be one of this pool's endpoints; if it is, the
    /// connection is shared.
    pub(crate) fn only(&self, written: &str) -> Result<Self, Error> {
        let url = endpoint::parse_one(written.trim())?;
        match self.members.iter().find(|member| *member.url == *url) {
            Some(member) => Ok(Self {
                members: vec![Arc::clone(member)],
                preferred: AtomicUsize::new(0),
                options: self.options.clone(),
                environment: self.environment.clone(),
            }),
            None => Self::new(
                vec![url.into()],
                self.options.clone(),
                self.environment.clone(),
            ),
        }
    }

    /// The endpoint to use next: the preferred one unless it failed a moment ago. `avoid` is
    /// taken only if there is no other.
    pub(crate) fn pick(&self, avoid: Option<usize>) -> usize {
        let count = self.members.len();
        let start = self.preferred.load(Ordering::Relaxed);
        let now = Instant::now();
        let mut soonest: Option<(Instant, usize)> = None;
        for index in (0..count).map(|step| (start + step) % count) {
            if count > 1 && avoid == Some(index) {
                continue;
            }
            match self.members[index].health.lock().not_before {
                Some(at) if at > now => {
                    if soonest.is_none_or(|(best, _)| at < best) {
                        soonest = Some((at, index));
                    }
                }
                _ => return index,
            }
        }
        soonest.map_or(start % count, |(_, index)| index)
    }

    /// A link to endpoint `index`, connecting if need be. A failure means that nothing was sent.
    ///
    /// Cancel safe: a dropped attempt is taken over by the next caller.
    pub(crate) async fn link(&self, index: usize) -> Result<Link, Failure> {
        let member = &self.members[index];
        if let Some(link) = member.ready_link(index) {
            return Ok(link);
        }
        let asked = Instant::now();
        let mut refusal = member.connecting.lock().await;
        if let Some(link) = member.ready_link(index) {
            return Ok(link);
        }
        if let Some(refusal) = refusal.as_ref().filter(|refusal| refusal.at >= asked) {
            return Err(not_connected(&refusal.message));
        }
        match member.connect().await {
            Ok(channel) => {
                *refusal = None;
                let generation = member.generation.fetch_add(1, Ordering::Relaxed) + 1;
                let link = Link {
                    index,
                    channel,
                    generation,
                };
                *member.ready.lock() = Some(Ready {
                    channel: link.channel.clone(),
                    generation,
                });
                Ok(link)
            }
            Err(error) => {
                let message = root_cause(&error);
                *refusal = Some(Refusal {
                    at: Instant::now(),
                    message: message.clone(),
                });
                Err(not_connected(&message))
            }
        }
    }

    /// `index` answered: it is used until it fails.
    pub(crate) fn succeeded(&self, index: usize) {
        let mut health = self.members[index].health.lock();
        if health.not_before.take().is_some() {
            health.penalty.reset();
        }
        drop(health);
        if self.preferred.load(Ordering::Relaxed) != index {
            self.preferred.store(index, Ordering::Relaxed);
        }
    }

    /// `index` failed: it is passed over for a while, longer each time in a row.
    pub(crate) fn failed(&self, index: usize) {
        let mut health = self.members[index].health.lock();
        let penalty = health.penalty.next();
        health.not_before = Some(Instant::now() + penalty);
    }

    /// `link` is broken or silent: the next user makes a new connection.
    pub(crate) fn discard(&self, link: &Link) {
        let mut ready = self.members[link.index].ready.lock();
        if ready
            .as_ref()
            .is_some_and(|ready| ready.generation == link.generation)
        {
            *ready = None;
        }
    }
}

impl Member {
    fn new(
        url: Arc<str>,
        options: &TransportOptions,
        environment: &Environment,
    ) -> Result<Self, Error> {
        let transport = Endpoint::from_shared(url.to_string())
            .map_err(|error| {
                let message = format!("{url}: not an address: {}", root_cause(&error));
                Error::local(ErrorKind::InvalidEndpoint, "connect", message)
            })?
            .connect_timeout(options.connect_timeout)
            .http2_keep_alive_interval(options.keep_alive_interval)
            .keep_alive_timeout(options.keep_alive_timeout)
            // An etcd answers pings on a connection without streams by closing it.
            .keep_alive_while_idle(false)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        Ok(Self {
            url,
            transport,
            dial: environment.dial.clone(),
            ready: Mutex::new(None),
            connecting: tokio::sync::Mutex::new(None),
            generation: AtomicU64::new(0),
            health: Mutex::new(Health {
                not_before: None,
                penalty: Backoff::new(FIRST_PENALTY, PENALTY_LIMIT).drawn_by(&environment.chance),
            }),
        })
    }

    async fn connect(&self) -> Result<Channel, tonic::transport::Error> {
        let (dial, url) = (self.dial.clone(), Arc::clone(&self.url));
        let connector = tower::service_fn(move |_| {
            let (dial, url) = (dial.clone(), Arc::clone(&url));
            async move { dial.open(&url).await.map(TokioIo::new) }
        });
        self.transport.connect_with_connector(connector).await
    }

    fn ready_link(&self, index: usize) -> Option<Link> {
        self.ready.lock().as_ref().map(|ready| Link {
            index,
            channel: ready.channel.clone(),
            generation: ready.generation,
        })
    }
}

fn not_connected(message: &str) -> Failure {
    Failure {
        kind: ErrorKind::Connect,
        fate: Fate::NotSent,
        code: None,
        message: format!("cannot connect: {message}"),
    }
}

fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(count: usize) -> Pool {
        let urls = (1..=count)
            .map(|port| format!("http://127.0.0.1:{port}").into())
            .collect();
        Pool::new(
            urls,
            TransportOptions {
                connect_timeout: Duration::from_secs(1),
                keep_alive_interval: Duration::from_secs(10),
                keep_alive_timeout: Duration::from_secs(5),
            },
            Environment::default(),
        )
        .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_endpoint_is_passed_over_until_its_penalty_ends() {
        let pool = pool(2);
        let first = pool.pick(None);
        pool.failed(first);
        assert_eq!(pool.pick(None), 1 - first);
        tokio::time::advance(PENALTY_LIMIT).await;
        assert_eq!(pool.pick(None), first);
    }

    #[tokio::test(start_paused = true)]
    async fn success_makes_an_endpoint_the_preferred_one() {
        let pool = pool(3);
        pool.succeeded(2);
        assert_eq!(pool.pick(None), 2);
        assert_ne!(pool.pick(Some(2)), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_failed_the_soonest_to_recover_is_used() {
        let pool = pool(2);
        for _ in 0..5 {
            pool.failed(0);
        }
        pool.failed(1);
        assert_eq!(pool.pick(None), 1);
        assert_eq!(pool.pick(Some(1)), 0);
    }

    #[tokio::test]
    async fn a_missing_socket_is_a_refused_connection() {
        let pool = pool(1).only("unix:///nowhere/handfast.sock").unwrap();
        assert_eq!(pool.link(0).await.unwrap_err().kind, ErrorKind::Connect);
    }

    #[tokio::test]
    async fn a_refused_connection_says_so_and_nothing_was_sent() {
        let failure = pool(1).link(0).await.unwrap_err();
        assert_eq!(
            (failure.kind, failure.fate),
            (ErrorKind::Connect, Fate::NotSent)
        );
        assert!(failure.message.contains("refused"), "{}", failure.message);
    }
}
