//! Clean-up that must happen although nobody waits for it any more.
//!
//! Owns retrying until the server answered or the lease is gone, and the list of names that are
//! not settled yet. Knows nothing of what is cleaned up.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::Epoch;
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

/// Names with clean-up under way.
#[derive(Debug)]
pub(crate) struct Parked {
    names: Mutex<HashMap<Bytes, usize>>,
    changed: watch::Sender<()>,
}

impl Parked {
    pub(crate) fn new() -> Self {
        Self {
            names: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }

    fn park(self: &Arc<Self>, name: Bytes) -> Ticket {
        *self.names.lock().entry(name.clone()).or_default() += 1;
        Ticket {
            parked: Arc::clone(self),
            name,
        }
    }

    fn is_parked(&self, name: &[u8]) -> bool {
        self.names.lock().contains_key(name)
    }

    async fn settled(&self, name: &[u8]) {
        let mut changed = self.changed.subscribe();
        while self.is_parked(name) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }
}

/// One clean-up's entry in [`Parked`]; dropping it, in whatever way, takes the entry out.
struct Ticket {
    parked: Arc<Parked>,
    name: Bytes,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut names = self.parked.names.lock();
        if let Some(count) = names.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                names.remove(&self.name);
            }
        }
        drop(names);
        self.parked.changed.send_replace(());
    }
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
        let (tell, told) = oneshot::channel();
        let ticket = self.core.parked.park(name);
        let epoch = self.clone();
        self.core.runtime.spawn(async move {
            let outcome = tokio::select! {
                biased;
                _ = epoch.core.life.ended() => Reaped::LeaseGone,
                answer = repeat(&epoch, job) => Reaped::Answered(answer),
            };
            drop(ticket);
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
    let mut backoff = Backoff::new(FIRST_WAIT, WAIT_LIMIT);
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

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn a_name_is_settled_when_its_last_ticket_is_gone() {
        let parked = Arc::new(Parked::new());
        let name = Bytes::from_static(b"n");
        let first = parked.park(name.clone());
        let second = parked.park(name.clone());
        let mut settled = Box::pin(parked.settled(&name));
        assert!(settled.as_mut().now_or_never().is_none());
        assert!(parked.settled(b"other").now_or_never().is_some());
        drop(first);
        assert!(settled.as_mut().now_or_never().is_none());
        drop(second);
        assert!(settled.now_or_never().is_some());
    }
}
