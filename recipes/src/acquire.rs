//! Waiting for a grant with a time limit, over the loss of sessions if asked to.
//!
//! Owns the options of what is waited for and then held, and what locks, several locks at once and
//! elections do around a way into their queues. Knows nothing of what they do then, nor of the
//! queues.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use handfast_core::{Epoch, held::Limits};
use tokio::time::{Instant, timeout_at};

use crate::{
    Error, Handfast,
    line::look,
    way::{Blocked, Goal, OnWait, Way, shown},
};

/// How long leaving may take to tell who was ahead, before the error is returned without it.
const REPORT_LIMIT: Duration = Duration::from_secs(1);

/// How to wait for a lock, several locks or a leadership, and what ends it although the session
/// lives. Each of them has the same methods; this carries them all at once, to be used again.
#[derive(Clone, Default)]
pub struct AcquireOptions {
    pub(crate) timeout: Option<Duration>,
    pub(crate) rejoin: bool,
    pub(crate) on_wait: Option<OnWait>,
    pub(crate) limits: Limits,
}

impl fmt::Debug for AcquireOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireOptions")
            .field("timeout", &self.timeout)
            .field("rejoin", &self.rejoin)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl AcquireOptions {
    /// To wait for as long as it takes, and to hold for as long as the session lives.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// The methods that set the options: of [`AcquireOptions`] themselves, and of whatever carries
/// them in the field named.
macro_rules! acquire_options {
    ($carrier:ty $(, $options:ident)?) => {
        impl $carrier {
            /// Gives up waiting after `timeout` (default: never).
            pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
                self$(.$options)?.timeout = Some(timeout);
                self
            }

            /// Gives it up after it was held for `limit`, whatever the work does.
            ///
            /// It is lost for the holder at `limit`; its keys go when the holder's scopes have
            /// ended, or after another quarter of the TTL.
            pub fn max_hold(mut self, limit: std::time::Duration) -> Self {
                self$(.$options)?.limits.max_hold = Some(limit);
                self
            }

            /// Gives it up when [`Tenure::beat`](crate::Tenure::beat) is not called for
            /// `interval`: it then follows the work, not the process. Ends like
            /// [`max_hold`](Self::max_hold).
            pub fn beat(mut self, interval: std::time::Duration) -> Self {
                self$(.$options)?.limits.beat = Some(interval);
                self
            }

            /// When the session is lost while waiting, waits again at the end of the queue under
            /// a new session, instead of failing (default false).
            pub fn rejoin(mut self, rejoin: bool) -> Self {
                self$(.$options)?.rejoin = rejoin;
                self
            }

            /// Calls `tell` with the name that is waited for and the place in its queue, when
            /// waiting begins and whenever that changes right ahead. Each call costs a read.
            /// `tell` must be quick.
            pub fn on_wait(
                mut self,
                tell: impl Fn(&crate::Waiting) + Send + Sync + 'static,
            ) -> Self {
                self$(.$options)?.on_wait = Some(std::sync::Arc::new(tell));
                self
            }

            $(
            /// Sets all of these at once.
            pub fn options(mut self, options: crate::AcquireOptions) -> Self {
                self.$options = options;
                self
            }
            )?
        }
    };
}

pub(crate) use acquire_options;

acquire_options!(AcquireOptions);

/// Joins the queue and waits for the grant; `value` is the own key's. Cancel safe.
pub(crate) async fn wait<W: Way>(
    handfast: &Handfast,
    goal: &Arc<W::Goal>,
    options: &AcquireOptions,
    value: &Bytes,
) -> Result<W::Admission, Error> {
    let limit = options.timeout.map(|limit| (Instant::now() + limit, limit));
    loop {
        let mut way = None;
        let going = wait_once::<W>(handfast, goal, (options, value), &mut way);
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
            Err(Error::SessionLost { .. }) if options.rejoin => {}
            Err(error) => return Err(error),
        }
    }
}

async fn wait_once<W: Way>(
    handfast: &Handfast,
    goal: &Arc<W::Goal>,
    (options, value): (&AcquireOptions, &Bytes),
    way: &mut Option<W>,
) -> Result<W::Granted, Error> {
    let epoch = epoch(handfast, &**goal).await?;
    let way = way.insert(W::open(&epoch, goal, value.clone()).await);
    way.wait(options.on_wait.as_ref()).await
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
        return timed_out(handfast, goal, waited);
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
        unreached: None,
    }
}

/// `attempt`, for no longer than `limit`.
pub(crate) async fn within<T>(
    handfast: &Handfast,
    limit: Option<Duration>,
    goal: &impl Goal,
    attempt: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match limit {
        None => attempt.await,
        Some(limit) => match tokio::time::timeout(limit, attempt).await {
            Ok(done) => done,
            Err(_) => Err(timed_out(handfast, goal, limit)),
        },
    }
}

/// The error of a wait that took too long, when nobody told who was in the way.
fn timed_out(handfast: &Handfast, goal: &impl Goal, waited: Duration) -> Error {
    Error::Timeout {
        kind: goal.kind(),
        name: goal.shown(),
        waited,
        holder: None,
        position: None,
        unreached: handfast.client().unreached().map(Box::new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing listens there.
    const NOWHERE: [&str; 2] = ["127.0.0.1:1", "127.0.0.1:9"];

    #[tokio::test]
    async fn a_timeout_says_that_no_server_was_reached_and_why() {
        let handfast = Handfast::builder().endpoints(NOWHERE).build().unwrap();
        // However slow the machine is.
        let brief = handfast.client().with_timeout(Duration::from_millis(100));
        let refused = || {
            let unreached = brief.unreached();
            unreached.is_some_and(|it| it.tried().all(|(_, why)| why.contains("connect:")))
        };
        while !refused() {
            assert!(brief.get("k").await.unwrap_err().is_retryable());
        }
        let limit = Duration::from_millis(50);
        let errors = [
            handfast.lock("n").timeout(limit).acquire().await.err(),
            handfast.lock("n").timeout(limit).try_acquire().await.err(),
            handfast
                .multi_lock(["n", "m"])
                .timeout(limit)
                .acquire()
                .await
                .err(),
            handfast.election("n").timeout(limit).campaign().await.err(),
            handfast
                .queue("n")
                .claim()
                .timeout(limit)
                .next()
                .await
                .err(),
        ];
        for error in errors {
            let error = error.unwrap();
            let text = error.to_string();
            assert!(
                text.contains("; no server was reached: http://127.0.0.1:"),
                "{text}"
            );
            for endpoint in NOWHERE {
                assert!(
                    text.contains(&format!("http://{endpoint}: cannot connect")),
                    "{text}"
                );
            }
            assert_eq!(error.code(), "TIMEOUT");
        }
    }
}
