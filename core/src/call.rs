//! One request and its answer, tried again only where that is safe.
//!
//! Owns deadlines, retries and failover. Knows nothing of what a request means: the caller says
//! whether repeating it does harm.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Request, Response, Status, metadata::MetadataValue, transport::Channel};

use crate::{
    Error, ErrorKind,
    backoff::Backoff,
    error::classify::{Failure, Fate},
    pool::{Link, Pool, Wait},
};

const FIRST_WAIT: Duration = Duration::from_millis(25);
const WAIT_LIMIT: Duration = Duration::from_secs(1);
/// The longest wait after which all endpoints are asked again.
const ROUND_LIMIT: Duration = Duration::from_millis(250);
/// A read leaves a silent endpoint for another after half its time, but not sooner than this.
const MIN_ATTEMPT: Duration = Duration::from_millis(500);

/// What repeating a request would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Safety {
    /// It changes nothing.
    Read,
    /// Carrying it out twice could do harm.
    Write,
    /// It changes something, but twice is as good as once.
    Repeatable,
}

/// How a request is to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) operation: &'static str,
    pub(crate) safety: Safety,
    pub(crate) timeout: Duration,
    /// Whether a member without a leader shall refuse at once.
    pub(crate) require_leader: bool,
}

/// What came of a call, with what matters for reading its last answer.
#[derive(Debug)]
pub(crate) struct Outcome<T> {
    pub(crate) result: Result<T, Error>,
    /// Whether an attempt before the last one may have been carried out.
    pub(crate) repeated_in_doubt: bool,
}

/// Marks `request` so that a member without a leader refuses it at once.
pub(crate) fn demand_leader<T>(request: &mut Request<T>) {
    request
        .metadata_mut()
        .insert("hasleader", MetadataValue::from_static("true"));
}

/// Makes `call` on an endpoint of `pool`. `send` is given a connection and the request.
///
/// Dropping the future leaves the fate of a write open.
pub(crate) async fn run<Req, Resp, F, Fut>(
    pool: &Pool,
    call: Call,
    request: &Req,
    send: F,
) -> Outcome<Resp>
where
    Req: Clone,
    F: Fn(Channel, Request<Req>) -> Fut,
    Fut: Future<Output = Result<Response<Resp>, Status>>,
{
    let deadline = Instant::now() + call.timeout;
    let mut backoff = Backoff::new(FIRST_WAIT, WAIT_LIMIT).drawn_by(pool.chance());
    let mut trials = Trials::default();
    let mut avoid = None;
    loop {
        let index = pool.pick(avoid);
        let failure = match attempt(pool, index, call, deadline, request, &send).await {
            Ok(response) => {
                pool.succeeded(index);
                return Outcome {
                    result: Ok(response),
                    repeated_in_doubt: trials.doubt,
                };
            }
            Err(failure) => failure,
        };
        let again = may_repeat(call.safety, &failure) && passes(failure.kind, pool.len());
        if punishes(failure.kind) {
            pool.failed(index, &failure);
            avoid = Some(index);
        }
        let kind = failure.kind;
        tracing::debug!(
            operation = call.operation,
            endpoint = %pool.url(index),
            error = %failure.message,
            again,
            "an attempt failed"
        );
        let earlier_doubt = trials.doubt;
        trials.doubt |= call.safety != Safety::Read && failure.fate == Fate::Unknown;
        trials.note(index, failure);
        // Only once every endpoint had its turn is there a reason to wait.
        let wait = match trials.attempts as usize % pool.len().max(1) {
            0 if kind == ErrorKind::TooManyRequests => backoff.next(),
            // What is waited for is an election or a restart, and asking costs little.
            0 => backoff.next().min(ROUND_LIMIT),
            _ => Duration::ZERO,
        };
        if !again || Instant::now() + wait >= deadline {
            return Outcome {
                result: Err(trials.into_error(pool, call)),
                repeated_in_doubt: earlier_doubt,
            };
        }
        sleep(wait).await;
    }
}

/// What a call's attempts came to.
#[derive(Default)]
struct Trials {
    attempts: u32,
    /// Whether one of them may have been carried out.
    doubt: bool,
    /// The last failure at each endpoint, the latest at the end.
    failures: Vec<(usize, Failure)>,
}

impl Trials {
    fn note(&mut self, index: usize, failure: Failure) {
        self.attempts = self.attempts.saturating_add(1);
        let earlier = self.failures.iter().position(|(known, _)| *known == index);
        match earlier.map(|place| self.failures.remove(place)) {
            // That there was no time left says less than what failed before.
            Some(earlier) if failure.is_unconnected_deadline() => self.failures.push(earlier),
            _ => self.failures.push((index, failure)),
        }
    }

    fn into_error(mut self, pool: &Pool, call: Call) -> Error {
        if self.failures.len() > 1
            && let Some((_, last)) = self.failures.last()
            && last.is_unconnected_deadline()
        {
            self.failures.rotate_right(1);
        }
        let tried = self
            .failures
            .iter()
            .map(|(index, failure)| (pool.url(*index), failure.message.clone()))
            .collect();
        let Some((index, failure)) = self.failures.pop() else {
            return Error::protocol(call.operation, "no endpoint was asked");
        };
        failure
            .into_error(
                call.operation,
                &pool.url(index),
                call.safety != Safety::Read,
            )
            .with_attempts(self.attempts)
            .with_doubt(self.doubt)
            .with_tried(tried)
    }
}

async fn attempt<Req, Resp, F, Fut>(
    pool: &Pool,
    index: usize,
    call: Call,
    deadline: Instant,
    request: &Req,
    send: &F,
) -> Result<Resp, Failure>
where
    Req: Clone,
    F: Fn(Channel, Request<Req>) -> Fut,
    Fut: Future<Output = Result<Response<Resp>, Status>>,
{
    let begun = Instant::now();
    // While nothing was sent, even a write may go elsewhere.
    let link = match timeout_at(share(pool, deadline), pool.link(index)).await {
        Ok(link) => link?,
        Err(_) => {
            return Err(Failure::unconnected_deadline(begun.elapsed()));
        }
    };
    let attempt_deadline = match call.safety {
        Safety::Write => deadline,
        Safety::Read | Safety::Repeatable => share(pool, deadline),
    };
    let mut request = Request::new(request.clone());
    request.set_timeout(attempt_deadline.saturating_duration_since(Instant::now()));
    if call.require_leader {
        demand_leader(&mut request);
    }
    let sent = Instant::now();
    let _waiting = pool.wait(&link, Wait::Call);
    match timeout_at(attempt_deadline, send(link.channel.clone(), request)).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => {
            let failure = Failure::read(&status);
            note(pool, &link, &failure);
            Err(failure)
        }
        Err(_) => {
            let failure = Failure::deadline(sent.elapsed());
            note(pool, &link, &failure);
            Err(failure)
        }
    }
}

/// Until when one endpoint may take before another has its turn.
fn share(pool: &Pool, deadline: Instant) -> Instant {
    if pool.len() == 1 {
        return deadline;
    }
    let now = Instant::now();
    let half = deadline.saturating_duration_since(now) / 2;
    deadline.min(now + half.max(MIN_ATTEMPT))
}

/// Gives up the connection of a failure in which no server spoke.
///
/// Not when there are others and this one was only too slow for the caller: connecting anew would
/// add to its load, and if it fell silent the pool notices.
pub(crate) fn note(pool: &Pool, link: &Link, failure: &Failure) {
    let slow = failure.kind == ErrorKind::Timeout && pool.len() > 1;
    if failure.code.is_none() && !slow {
        pool.discard(link);
    }
}

fn may_repeat(safety: Safety, failure: &Failure) -> bool {
    safety != Safety::Write || failure.fate != Fate::Unknown
}

/// Whether trying again within this call's time makes sense.
fn passes(kind: ErrorKind, endpoints: usize) -> bool {
    match kind {
        ErrorKind::Learner => endpoints > 1,
        ErrorKind::UnhealthyCluster | ErrorKind::LearnerNotReady => false,
        _ => kind.is_passing(),
    }
}

/// Whether the failure speaks against the endpoint rather than the moment.
pub(crate) fn punishes(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Connect
            | ErrorKind::Unavailable
            | ErrorKind::Timeout
            | ErrorKind::NoLeader
            | ErrorKind::ServerStopped
            | ErrorKind::Learner
            | ErrorKind::Protocol
            | ErrorKind::Unimplemented
            | ErrorKind::Other
    )
}
