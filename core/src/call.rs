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
    pool::{Link, Pool},
};

const FIRST_WAIT: Duration = Duration::from_millis(25);
const WAIT_LIMIT: Duration = Duration::from_secs(1);
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
    let started = Instant::now();
    let deadline = started + call.timeout;
    let mut backoff = Backoff::new(FIRST_WAIT, WAIT_LIMIT).drawn_by(pool.chance());
    let mut doubt = false;
    let mut avoid = None;
    let mut attempts = 0u32;
    let mut earlier: Option<(Failure, usize)> = None;
    loop {
        attempts = attempts.saturating_add(1);
        let index = pool.pick(avoid);
        let failure = match attempt(pool, index, call, deadline, request, &send).await {
            Ok(response) => {
                pool.succeeded(index);
                return Outcome {
                    result: Ok(response),
                    repeated_in_doubt: doubt,
                };
            }
            Err(failure) => failure,
        };
        let again = may_repeat(call.safety, &failure)
            && passes(failure.kind, pool.len())
            && Instant::now() < deadline;
        if punishes(failure.kind) {
            pool.failed(index);
            avoid = Some(index);
        }
        let earlier_doubt = doubt;
        doubt |= call.safety != Safety::Read && failure.fate == Fate::Unknown;
        // Only once every endpoint had its turn is there a reason to wait.
        let wait = match attempts as usize % pool.len() {
            0 => backoff.next(),
            _ => Duration::ZERO,
        };
        if !again || Instant::now() + wait >= deadline {
            let (failure, index) = match earlier {
                // That there was no time left says less than what failed before.
                Some(earlier) if failure.is_unconnected_deadline() => earlier,
                _ => (failure, index),
            };
            let error = failure
                .into_error(call.operation, pool.url(index), call.safety != Safety::Read)
                .with_attempts(attempts)
                .with_doubt(doubt);
            return Outcome {
                result: Err(error),
                repeated_in_doubt: earlier_doubt,
            };
        }
        tracing::debug!(
            operation = call.operation,
            endpoint = %pool.url(index),
            error = %failure.message,
            "trying again"
        );
        earlier = Some((failure, index));
        sleep(wait).await;
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
    let link = match timeout_at(deadline, pool.link(index)).await {
        Ok(link) => link?,
        Err(_) => {
            return Err(Failure::unconnected_deadline(begun.elapsed()));
        }
    };
    let attempt_deadline = match call.safety {
        Safety::Write => deadline,
        _ if pool.len() == 1 => deadline,
        _ => {
            let now = Instant::now();
            let half = deadline.saturating_duration_since(now) / 2;
            deadline.min(now + half.max(MIN_ATTEMPT))
        }
    };
    let mut request = Request::new(request.clone());
    request.set_timeout(attempt_deadline.saturating_duration_since(Instant::now()));
    if call.require_leader {
        demand_leader(&mut request);
    }
    let sent = Instant::now();
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

/// Gives up the connection of a failure in which no server spoke.
pub(crate) fn note(pool: &Pool, link: &Link, failure: &Failure) {
    if failure.code.is_none() {
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
        ErrorKind::UnhealthyCluster => false,
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
