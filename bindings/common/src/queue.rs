//! Workers of queues that objects of the host share.
//!
//! Owns which of them goes to the next item when several want to. Knows nothing of how an item is
//! chosen.

use std::sync::Arc;

use handfast::{AckTxn, Claim};
use tokio::sync::Mutex;

use crate::Failure;

/// Takes items one after the other. Clones are the same worker.
#[derive(Debug, Clone)]
pub struct Worker(Arc<Mutex<handfast::Worker>>);

impl From<handfast::Worker> for Worker {
    fn from(worker: handfast::Worker) -> Self {
        Self(Arc::new(Mutex::new(worker)))
    }
}

impl Worker {
    /// The next item, in the order of the calls; `None` when the queue is drained. Cancel safe.
    ///
    /// # Errors
    /// As [`handfast::Worker::next`].
    pub async fn next(&self) -> Result<Option<Claim>, Failure> {
        Ok(self.0.lock().await.next().await?)
    }

    /// Commits `ack`, of an item that this worker took, and claims the next one with it, if one is
    /// there for the taking: the revision, and that claim.
    ///
    /// Does not wait for an item, nor for a call of [`next`](Self::next) that does: while there is
    /// one, that is the one to get the next item.
    ///
    /// # Errors
    /// As [`AckTxn::commit`]; then nothing is claimed either.
    pub async fn ack_and_next(&self, ack: AckTxn) -> Result<(i64, Option<Claim>), Failure> {
        let (acked, next) = match self.0.try_lock() {
            Ok(mut worker) => ack.commit_and_next(&mut worker).await?,
            Err(_) => (ack.commit().await?, None),
        };
        Ok((acked.revision, next))
    }
}

#[cfg(test)]
mod tests {
    use handfast::{Claim, Handfast, Queue};

    use super::*;
    use crate::testing::TestServer;

    async fn push(queue: &Queue, id: &str) {
        queue.push("").id(id).send().await.unwrap();
    }

    async fn taken(worker: &Worker) -> Claim {
        worker.next().await.unwrap().unwrap()
    }

    #[test]
    fn an_acknowledgement_goes_on_to_the_next_item_unless_somebody_waits_for_it() {
        crate::runtime::handle().unwrap().block_on(async {
            let server = TestServer::start().await.unwrap();
            let hf = Handfast::connect(server.endpoint()).await.unwrap();
            let queue = hf.queue("q");
            let worker = Worker::from(queue.worker());
            push(&queue, "a").await;
            push(&queue, "b").await;
            let a = taken(&worker).await;
            // Until the copy of the queue has seen the other one.
            queue.list().await.unwrap();
            let (revision, b) = worker.ack_and_next(a.ack()).await.unwrap();
            let b = b.unwrap();
            assert_eq!((b.id(), b.token()), ("b", revision));

            let (waiting, again) = (worker.clone(), worker.clone());
            let waiting = tokio::spawn(async move { waiting.next().await });
            while again.0.try_lock().is_ok() {
                tokio::task::yield_now().await;
            }
            let (_, nothing) = worker.ack_and_next(b.ack()).await.unwrap();
            assert!(nothing.is_none());
            push(&queue, "c").await;
            let c = waiting.await.unwrap().unwrap().unwrap();
            assert_eq!(c.id(), "c");
        });
    }
}
