//! Waiting for a grant with a time limit, over the loss of sessions if asked to.
//!
//! Owns what locks and elections do around [`Entry`]. Knows nothing of what they do then.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use crate::{
    Error, Handfast,
    line::{
        Line,
        entry::{Admission, Entry, OnWait},
        look,
    },
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

/// Joins the queue of `line` and waits for the grant. Cancel safe.
pub(crate) async fn wait(
    handfast: &Handfast,
    line: &Arc<Line>,
    request: Request,
) -> Result<Admission, Error> {
    let limit = request.timeout.map(|limit| (Instant::now() + limit, limit));
    loop {
        let mut entry = None;
        let going = wait_once(handfast, line, &request, &mut entry);
        let granted = match limit {
            None => going.await,
            Some((deadline, limit)) => match timeout_at(deadline, going).await {
                Ok(granted) => granted,
                Err(_) => return Err(give_up(handfast, line, limit, entry).await),
            },
        };
        match granted {
            Ok(previous_died) => match entry {
                Some(entry) => return entry.into_admission(previous_died),
                None => return Err(Error::invalid("entry", "granted without a place")),
            },
            Err(Error::SessionLost { .. }) if request.rejoin => {}
            Err(error) => return Err(error),
        }
    }
}

async fn wait_once(
    handfast: &Handfast,
    line: &Arc<Line>,
    request: &Request,
    entry: &mut Option<Entry>,
) -> Result<bool, Error> {
    let session = handfast.session()?;
    let epoch = session.epoch().await;
    let epoch = epoch.map_err(|error| Error::of_session(error, line.kind, &line.shown()))?;
    let entry = entry.insert(Entry::open(&epoch, line, request.value.clone()).await);
    entry.wait(request.on_wait.as_ref()).await
}

/// Leaves the queue and says who was in the way.
async fn give_up(
    handfast: &Handfast,
    line: &Arc<Line>,
    waited: Duration,
    entry: Option<Entry>,
) -> Error {
    let left = match entry {
        Some(entry) => entry.give_up(REPORT_LIMIT).await,
        None => None,
    };
    let mut ahead = left.map(|left| left.ahead);
    let position = ahead.as_ref().map(|ahead| ahead.len() + 1);
    let holder = ahead.as_mut().and_then(|ahead| {
        ahead.truncate(1);
        ahead.pop()
    });
    let holder = match holder {
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
        kind: line.kind,
        name: line.shown(),
        waited,
        holder,
        position,
    }
}

/// The error of a wait for the servers that took too long.
pub(crate) fn timed_out(line: &Line, waited: Duration) -> Error {
    Error::Timeout {
        kind: line.kind,
        name: line.shown(),
        waited,
        holder: None,
        position: None,
    }
}
