//! Renewing leases for long, all over one stream.
//!
//! Owns the stream's life: it is opened again, at another endpoint if there is one, when it breaks
//! or falls silent. Knows nothing of what a lost lease means.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures::Stream;
use handfast_proto::etcdserverpb::{LeaseKeepAliveRequest, LeaseKeepAliveResponse};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, sleep_until},
};

use crate::{
    Client, Error, ErrorKind, KeepAlive,
    backoff::Backoff,
    chance::Chance,
    duplex::{self, Duplex},
    error::classify::Failure,
    lease,
    pool::Pool,
};

/// How long an answer may take before the same request goes to another endpoint; doubles each
/// time in a row, so that one slow endpoint is not left for ever.
const REPLY_TIMEOUT: Duration = Duration::from_secs(1);
/// How often overdue renewals are looked for.
const TICK: Duration = Duration::from_millis(100);
const FIRST_WAIT: Duration = Duration::from_millis(50);
const WAIT_LIMIT: Duration = Duration::from_secs(1);

/// Renews leases over one stream shared by all of them. Cheap to clone; the stream ends with the
/// last clone. It is opened at the first renewal.
#[derive(Debug, Clone)]
pub struct KeepAliver {
    renewals: mpsc::UnboundedSender<Renewal>,
    timeout: Duration,
    chance: Chance,
}

#[derive(Debug)]
struct Renewal {
    id: i64,
    deadline: Instant,
    sent: Option<Instant>,
    reply: oneshot::Sender<Result<KeepAlive, Error>>,
}

impl Client {
    /// A renewer of leases.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn keep_aliver(&self) -> KeepAliver {
        let (renewals, receiver) = mpsc::unbounded_channel();
        let driver = Driver {
            pool: Arc::clone(&self.shared.pool),
            require_leader: self.shared.require_leader,
            waiting: BTreeMap::new(),
            connection: Connection::Closed,
            backoff: Backoff::new(FIRST_WAIT, WAIT_LIMIT).drawn_by(self.chance()),
            silences: 0,
            last_failure: None,
            next_tick: Instant::now() + TICK,
        };
        tokio::spawn(driver.run(receiver));
        KeepAliver {
            renewals,
            timeout: self.timeout,
            chance: self.chance().clone(),
        }
    }
}

impl KeepAliver {
    /// This renewer with another limit for one renewal; at first it is the client's timeout.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self {
            timeout,
            ..self.clone()
        }
    }

    /// Renews lease `id` once, trying all endpoints until the timeout.
    ///
    /// The server counts its time from when it read the request: count from before this call.
    /// Renewals of one lease are answered in order. Dropping the future may leave it renewed.
    ///
    /// # Errors
    /// [`LeaseNotFound`](ErrorKind::LeaseNotFound) when it has ended, or that no endpoint answered
    /// in time.
    pub async fn renew(&self, id: i64) -> Result<KeepAlive, Error> {
        let (reply, answer) = oneshot::channel();
        let deadline = Instant::now() + self.timeout;
        let renewal = Renewal {
            id,
            deadline,
            sent: None,
            reply,
        };
        if self.renewals.send(renewal).is_err() {
            return Err(stopped());
        }
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Renews lease `id`, which has `ttl` seconds now, three times in its time. Every renewal is
    /// an item; the stream ends after an error, when the lease is lost or certainly ran out.
    pub fn keep(
        &self,
        id: i64,
        ttl: i64,
    ) -> impl Stream<Item = Result<KeepAlive, Error>> + Send + Unpin + use<> {
        let ttl = lease::seconds(ttl);
        let keeping = Keeping {
            renewer: self.clone(),
            id,
            ttl,
            ends: Instant::now() + ttl,
            over: false,
        };
        Box::pin(futures::stream::unfold(keeping, Keeping::next))
    }
}

fn stopped() -> Error {
    Error::local(
        ErrorKind::Cancelled,
        "lease_keep_alive",
        "the runtime of the renewer has ended",
    )
}

struct Keeping {
    renewer: KeepAliver,
    id: i64,
    ttl: Duration,
    ends: Instant,
    over: bool,
}

impl Keeping {
    async fn next(mut self) -> Option<(Result<KeepAlive, Error>, Self)> {
        if self.over {
            return None;
        }
        let chance = &self.renewer.chance;
        let mut backoff = Backoff::new(FIRST_WAIT, self.ttl / 6).drawn_by(chance);
        sleep(self.ttl.mul_f64(chance.factor(0.30, 0.36))).await;
        loop {
            let asked = Instant::now();
            let left = self.ends.saturating_duration_since(asked);
            let limit = self.renewer.timeout.min(left);
            match self.renewer.with_timeout(limit).renew(self.id).await {
                Ok(alive) => {
                    self.ttl = lease::seconds(alive.ttl);
                    self.ends = asked + self.ttl;
                    return Some((Ok(alive), self));
                }
                Err(error) if error.is_retryable() && Instant::now() < self.ends => {
                    sleep(backoff.next()).await;
                }
                Err(error) => {
                    self.over = true;
                    return Some((Err(error), self));
                }
            }
        }
    }
}

type KeepAliveStream = Duplex<LeaseKeepAliveRequest, LeaseKeepAliveResponse>;

enum Connection {
    Closed,
    Open(KeepAliveStream),
    Waiting(Instant),
}

struct Driver {
    pool: Arc<Pool>,
    require_leader: bool,
    /// Unanswered renewals of each lease, in the order they were (or will be) sent.
    waiting: BTreeMap<i64, VecDeque<Renewal>>,
    connection: Connection,
    backoff: Backoff,
    /// How often in a row an endpoint fell silent.
    silences: u32,
    last_failure: Option<Error>,
    next_tick: Instant,
}

enum Step {
    Renewal(Option<Renewal>),
    Reply(Result<LeaseKeepAliveResponse, Failure>),
    Retry,
    Tick,
}

impl Driver {
    async fn run(mut self, mut renewals: mpsc::UnboundedReceiver<Renewal>) {
        loop {
            // The tick first, since it comes seldom and a busy stream must not keep it away.
            let step = tokio::select! {
                biased;
                () = sleep_until(self.next_tick), if !self.waiting.is_empty() => Step::Tick,
                renewal = renewals.recv() => Step::Renewal(renewal),
                step = self.connection.step() => step,
            };
            match step {
                Step::Renewal(None) => return,
                Step::Renewal(Some(renewal)) => self.begin(renewal),
                Step::Reply(Ok(response)) => self.answer(response),
                Step::Reply(Err(failure)) => self.broken(failure),
                Step::Retry => self.open(None),
                Step::Tick => self.tick(),
            }
        }
    }

    fn begin(&mut self, mut renewal: Renewal) {
        if let Connection::Open(stream) = &self.connection {
            renewal.sent = Some(Instant::now());
            stream.send(LeaseKeepAliveRequest { id: renewal.id });
        }
        self.waiting
            .entry(renewal.id)
            .or_default()
            .push_back(renewal);
        if matches!(self.connection, Connection::Closed) {
            self.open(None);
        }
    }

    /// Opens the stream and asks everything on it that is unanswered.
    fn open(&mut self, avoid: Option<usize>) {
        let index = self.pool.pick(avoid);
        let stream = Duplex::open(
            &self.pool,
            index,
            self.require_leader,
            |channel, request| async move { lease::stub(channel).lease_keep_alive(request).await },
        );
        let now = Instant::now();
        self.waiting.retain(|_, renewals| {
            renewals.retain(|renewal| !renewal.reply.is_closed());
            !renewals.is_empty()
        });
        for renewal in self.waiting.values_mut().flatten() {
            renewal.sent = Some(now);
            stream.send(LeaseKeepAliveRequest { id: renewal.id });
        }
        self.connection = Connection::Open(stream);
    }

    fn answer(&mut self, response: LeaseKeepAliveResponse) {
        if let Connection::Open(stream) = &self.connection {
            self.pool.succeeded(stream.index());
        }
        self.backoff.reset();
        self.silences = 0;
        self.last_failure = None;
        if let Some(renewals) = self.waiting.get_mut(&response.id) {
            let renewal = renewals.pop_front();
            if renewals.is_empty() {
                self.waiting.remove(&response.id);
            }
            if let Some(renewal) = renewal {
                // Who no longer waits needs no answer.
                let _ = renewal.reply.send(KeepAlive::read(response));
            }
        }
    }

    fn broken(&mut self, failure: Failure) {
        let is_final = duplex::is_final(&failure);
        let Connection::Open(stream) = &self.connection else {
            return;
        };
        let index = stream.index();
        let error = failure.into_error("lease_keep_alive", &self.pool.url(index), false);
        if is_final {
            for renewal in std::mem::take(&mut self.waiting).into_values().flatten() {
                let _ = renewal.reply.send(Err(error.clone()));
            }
        }
        self.last_failure = Some(error);
        self.connection = if self.waiting.is_empty() {
            Connection::Closed
        } else {
            Connection::Waiting(Instant::now() + self.backoff.next())
        };
    }

    /// Fails what is past its deadline, and leaves an endpoint that fell silent.
    fn tick(&mut self) {
        let now = Instant::now();
        self.next_tick = now + TICK;
        let patience = REPLY_TIMEOUT.saturating_mul(1 << self.silences.min(6));
        let mut silent = false;
        let last_failure = &self.last_failure;
        self.waiting.retain(|_, renewals| {
            // A renewal that was sent keeps its place: its answer may still come.
            for renewal in renewals.iter_mut() {
                silent |= renewal.sent.is_some_and(|sent| sent + patience <= now);
            }
            while let Some(renewal) = renewals.pop_front_if(|first| first.deadline <= now) {
                // A late answer to it would be taken for one to the next: the stream must go.
                silent |= renewal.sent.is_some();
                let error = last_failure.clone().unwrap_or_else(overdue);
                let _ = renewal.reply.send(Err(error));
            }
            !renewals.is_empty()
        });
        if !silent {
            return;
        }
        match std::mem::replace(&mut self.connection, Connection::Closed) {
            Connection::Open(stream) => {
                self.silences = self.silences.saturating_add(1);
                let index = stream.index();
                let error = overdue().with_endpoint(&self.pool.url(index));
                self.last_failure = Some(error);
                stream.abandon();
                if !self.waiting.is_empty() {
                    self.open(Some(index));
                }
            }
            other => self.connection = other,
        }
    }
}

fn overdue() -> Error {
    Error::local(ErrorKind::Timeout, "lease_keep_alive", "no answer in time")
}

impl Connection {
    async fn step(&mut self) -> Step {
        match self {
            Self::Closed => std::future::pending().await,
            Self::Open(stream) => Step::Reply(stream.next().await),
            Self::Waiting(until) => {
                sleep_until(*until).await;
                Step::Retry
            }
        }
    }
}
