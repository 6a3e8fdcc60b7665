//! Waiting for a grant with a time limit, over the loss of sessions if asked to.
//!
//! Owns what locks, several locks at once and elections do around a way into their queues. Knows
//! nothing of what they do then, nor of the queues.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use handfast_core::Epoch;
use tokio::time::{Instant, timeout_at};

use crate::{
    Error, Handfast,
    line::look,
    way::{Blocked, Goal, OnWait, Way, shown},
};

/// How long leaving may take to tell who was ahead, before the error is returned without it.
const REPORT_LIMIT: Duration = Duration::from_secs(1);

/// How to wait.
pub(crate) struct Request {
    pub(crate) timeout: Option<Duration>,
    pub(crate) rejoin: bool,
    pub(crate) on_wait: Option<OnWait>,
    /// The value of the own key.
    pub(crate) value: Bytes,
}

/// Joins the queue and waits for the grant. Cancel safe.
pub(crate) async fn wait<W: Way>(
    handfast: &Handfast,
    goal: &Arc<W::Goal>,
    request: Request,
) -> Result<W::Admission, Error> {
    let limit = request.timeout.map(|limit| (Instant::now() + limit, limit));
    loop {
        let mut way = None;
        let going = wait_once::<W>(handfast, goal, &request, &mut way);
        let granted = match limit {
            None => going.await,
            Some((deadline, limit)) => match timeout_at(deadline, going).await {
                Ok(granted) => granted,
                Err(_) => return Err(give_up(handfast, &**goal, limit, way).await),
            },
        };
        match granted {
            Ok(granted) => match way {
                Some(way) => return way.into_admission(granted),
                None => return Err(Error::invalid("entry", "granted without a place")),
            },
            Err(Error::SessionLost { .. }) if request.rejoin => {}
            Err(error) => return Err(error),
        }
    }
}

async fn wait_once<W: Way>(
    handfast: &Handfast,
    goal: &Arc<W::Goal>,
    request: &Request,
    way: &mut Option<W>,
) -> Result<W::Granted, Error> {
    let epoch = epoch(handfast, &**goal).await?;
    let way = way.insert(W::open(&epoch, goal, request.value.clone()).await);
    way.wait(request.on_wait.as_ref()).await
}

/// The session's present epoch.
pub(crate) async fn epoch(handfast: &Handfast, goal: &impl Goal) -> Result<Epoch, Error> {
    let epoch = handfast.session()?.epoch().await;
    epoch.map_err(|error| Error::of_session(error, goal.kind(), &goal.shown()))
}

/// Leaves the queue and says who was in the way.
async fn give_up<W: Way>(
    handfast: &Handfast,
    goal: &W::Goal,
    waited: Duration,
    way: Option<W>,
) -> Error {
    let blocked = match way {
        Some(way) => way.give_up(REPORT_LIMIT).await,
        None => None,
    };
    let Some(Blocked { name, ahead }) = blocked else {
        return timed_out(goal, waited);
    };
    let position = Some(ahead.len() + 1);
    let holder = match ahead.into_iter().next() {
        Some(holder) => {
            let mut named = [holder];
            let client = handfast.client().with_timeout(REPORT_LIMIT);
            // A name is nice to have; without it the lease still tells who it is.
            let _ = look::name_sessions(&client, handfast.metadata_prefix(), &mut named).await;
            let [holder] = named;
            Some(Box::new(holder))
        }
        None => None,
    };
    Error::Timeout {
        kind: goal.kind(),
        name: shown(&name),
        waited,
        holder,
        position,
    }
}

/// `attempt`, for no longer than `limit`.
pub(crate) async fn within<T>(
    limit: Option<Duration>,
    goal: &impl Goal,
    attempt: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match limit {
        None => attempt.await,
        Some(limit) => match tokio::time::timeout(limit, attempt).await {
            Ok(done) => done,
            Err(_) => Err(timed_out(goal, limit)),
        },
    }
}

/// The error of a wait that took too long, when nobody told who was in the way.
fn timed_out(goal: &impl Goal, waited: Duration) -> Error {
    Error::Timeout {
        kind: goal.kind(),
        name: goal.shown(),
        waited,
        holder: None,
        position: None,
    }
}
