//! Clean-up that must happen although nobody waits for it any more.
//!
//! Owns retrying until the server answered or the lease is gone. Knows nothing of what is cleaned
//! up.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::epoch::Epoch;
use crate::{Client, Error, backoff::Backoff};

const FIRST_WAIT: Duration = Duration::from_millis(20);
const WAIT_LIMIT: Duration = Duration::from_secs(2);

/// How a clean-up ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Reaped<T> {
    /// The server answered.
    Answered(T),
    /// The lease ended first, and the keys on it with it.
    LeaseGone,
}

impl Epoch {
    /// Makes `job` happen in the background: it is repeated until a server answers it or this
    /// epoch's lease is gone. Until then `name` is parked, see [`settled`](Self::settled).
    ///
    /// `job` must be harmless when repeated. The session stays open until it is done. The
    /// returned future only tells how it went: dropping it changes nothing.
    pub fn reap<T, F, Fut>(
        &self,
        name: Bytes,
        job: F,
    ) -> impl Future<Output = Reaped<T>> + Send + use<T, F, Fut>
    where
        T: Send + 'static,
        F: Fn(Client) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, Error>> + Send,
    {
        self.reap_all([name], job)
    }

    /// As [`reap`](Self::reap), for what concerns several names: all are parked.
    pub fn reap_all<T, F, Fut, N>(
        &self,
        names: N,
        job: F,
    ) -> impl Future<Output = Reaped<T>> + Send + use<T, F, Fut, N>
    where
        T: Send + 'static,
        F: Fn(Client) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, Error>> + Send,
        N: IntoIterator<Item = Bytes>,
    {
        let (tell, told) = oneshot::channel();
        let park = |name| self.core.parked.park(name);
        let tickets: Vec<_> = names.into_iter().map(park).collect();
        let epoch = self.clone();
        self.core.runtime.spawn(async move {
            let outcome = tokio::select! {
                biased;
                () = epoch.core.life.gone() => Reaped::LeaseGone,
                answer = repeat(&epoch, job) => Reaped::Answered(answer),
            };
            drop(tickets);
            // Nobody may be listening, and that is fine.
            let _ = tell.send(outcome);
        });
        // A runtime that shuts down drops the task; the lease then ends by itself.
        async move { told.await.unwrap_or(Reaped::LeaseGone) }
    }

    /// Waits until no clean-up for `name` is under way. Cancel safe.
    pub async fn settled(&self, name: &[u8]) {
        self.core.parked.settled(name).await;
    }
}

async fn repeat<T, F, Fut>(epoch: &Epoch, job: F) -> T
where
    F: Fn(Client) -> Fut,
    Fut: Future<Output = Result<T, Error>>,
{
    let mut backoff = Backoff::new(FIRST_WAIT, WAIT_LIMIT).drawn_by(epoch.client().chance());
    loop {
        match job(epoch.client().clone()).await {
            Ok(answer) => return answer,
            Err(error) => {
                tracing::debug!(target: "handfast::session", %error, "clean-up is tried again");
            }
        }
        tokio::time::sleep(backoff.next()).await;
    }
}
