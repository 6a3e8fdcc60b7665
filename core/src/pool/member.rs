//! One endpoint: its connection, and how it fared lately.
//!
//! Owns connecting, shared by all who want to at the same time. Knows nothing of other endpoints.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

use super::{
    gather::Gathered,
    pulse::{Pulse, Wait, Waiting},
};
use crate::{
    Error, ErrorKind,
    backoff::Backoff,
    dial::Dial,
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
pub(super) const PENALTY_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Member {
    pub(super) url: Arc<str>,
    transport: Endpoint,
    dial: Dial,
    ready: Mutex<Option<Link>>,
    /// Held while connecting, so that callers share one attempt and its outcome.
    connecting: tokio::sync::Mutex<Option<Refusal>>,
    generation: AtomicU64,
    health: Mutex<Health>,
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
    reach: Reach,
}

/// Whether the member is there, as far as is known.
#[derive(Debug)]
enum Reach {
    /// Nothing came of what was tried, if anything was.
    Unknown,
    Answers,
    /// What went wrong last since it answered, if it ever did.
    Fails(String),
}

/// A connection that can be used now.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) index: usize,
    pub(crate) channel: Channel,
    pulse: Arc<Pulse>,
    generation: u64,
}

impl Link {
    /// Says that somebody waits for the member, so that its silence is noticed.
    pub(super) fn wait(&self, wait: Wait) -> Waiting {
        self.pulse.wait(&self.channel, wait)
    }
}

impl Member {
    pub(super) fn new(
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
        let penalty = Backoff::new(FIRST_PENALTY, PENALTY_LIMIT).drawn_by(&environment.chance);
        Ok(Self {
            url,
            transport,
            dial: environment.dial.clone(),
            ready: Mutex::new(None),
            connecting: tokio::sync::Mutex::new(None),
            generation: AtomicU64::new(0),
            health: Mutex::new(Health {
                not_before: None,
                penalty,
                reach: Reach::Unknown,
            }),
        })
    }

    /// A link to it, connecting if need be. A failure means that nothing was sent.
    ///
    /// Cancel safe: a dropped attempt is taken over by the next caller.
    pub(super) async fn link(&self, index: usize) -> Result<Link, Failure> {
        if let Some(link) = self.ready_link(index) {
            return Ok(link);
        }
        let asked = Instant::now();
        let mut refusal = self.connecting.lock().await;
        if let Some(link) = self.ready_link(index) {
            return Ok(link);
        }
        if let Some(refusal) = refusal.as_ref().filter(|refusal| refusal.at >= asked) {
            return Err(not_connected(&refusal.message));
        }
        match self.connect().await {
            Ok((channel, pulse)) => {
                *refusal = None;
                let link = Link {
                    index,
                    channel,
                    pulse,
                    generation: self.generation.fetch_add(1, Ordering::Relaxed) + 1,
                };
                *self.ready.lock() = Some(link.clone());
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

    async fn connect(&self) -> Result<(Channel, Arc<Pulse>), tonic::transport::Error> {
        let pulse = Arc::new(Pulse::default());
        let (dial, url, tapping) = (self.dial.clone(), Arc::clone(&self.url), Arc::clone(&pulse));
        // Called again whenever the channel finds its connection broken.
        let connector = tower::service_fn(move |_| {
            let (dial, url, pulse) = (dial.clone(), Arc::clone(&url), Arc::clone(&tapping));
            async move {
                let opened = dial.open(&url).await;
                opened.map(|io| TokioIo::new(Gathered::new(pulse.tap(io))))
            }
        });
        let channel = self.transport.connect_with_connector(connector).await?;
        Ok((channel, pulse))
    }

    /// The link there is. Its number is the caller's: pools may share a member.
    fn ready_link(&self, index: usize) -> Option<Link> {
        let ready = self.ready.lock();
        ready.as_ref().map(|link| Link {
            index,
            ..link.clone()
        })
    }

    pub(super) fn discard(&self, link: &Link) {
        let mut ready = self.ready.lock();
        if ready
            .as_ref()
            .is_some_and(|ready| ready.generation == link.generation)
        {
            *ready = None;
        }
    }

    /// Until when it is passed over.
    pub(super) fn not_before(&self) -> Option<Instant> {
        self.health.lock().not_before
    }

    /// Why it is not reached; `None` if it answered what it was asked last.
    pub(super) fn trouble(&self) -> Option<String> {
        match &self.health.lock().reach {
            Reach::Unknown => Some("no answer yet".to_owned()),
            Reach::Answers => None,
            Reach::Fails(why) => Some(why.clone()),
        }
    }

    pub(super) fn succeeded(&self) {
        let mut health = self.health.lock();
        if !matches!(health.reach, Reach::Answers) {
            health.reach = Reach::Answers;
        }
        if health.not_before.take().is_some() {
            health.penalty.reset();
        }
    }

    pub(super) fn failed(&self, failure: &Failure) {
        let mut health = self.health.lock();
        let penalty = health.penalty.next();
        health.not_before = Some(Instant::now() + penalty);
        health.reach = match &health.reach {
            // A server spoke.
            _ if failure.code.is_some() || failure.fate == Fate::Refused => Reach::Answers,
            // That there was no time left says less than what failed before.
            Reach::Fails(_) if failure.is_unconnected_deadline() => return,
            _ => Reach::Fails(failure.message.clone()),
        };
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
