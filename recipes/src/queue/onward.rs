//! From one item to the next without a pause.
//!
//! Owns the acknowledgement that claims the next item in the same transaction. What the two are by
//! themselves is [`super::claim`]'s and [`super::attempt`]'s.

use std::sync::Arc;

use super::{
    claim::{AckTxn, Acked, Claim},
    txns,
    worker::Worker,
};
use crate::Error;

impl AckTxn {
    /// [`commit`](Self::commit), and in the same round trip, and at the same revision, the claim
    /// of the next item by `worker`, which claimed this one.
    ///
    /// It does not wait: `None` says that no item was there for the taking, or another worker was
    /// faster, and then [`Worker::next`] is what waits. Of many workers each has its own share of
    /// the oldest items, so that they seldom try the same one; what is left over is for those that
    /// wait.
    ///
    /// Dropping the future leaves open whether it was acknowledged, as with `commit`, and leaves
    /// no claim behind.
    ///
    /// # Errors
    /// As [`commit`](Self::commit); then nothing is claimed either.
    pub async fn commit_and_next(
        self,
        worker: &mut Worker,
    ) -> Result<(Acked, Option<Claim>), Error> {
        let (queue, feed) = (self.claim.queue.clone(), Arc::clone(&self.claim.feed));
        let attempt = worker.beside(&feed, &self.claim.claimed().post);
        let fitting = attempt.filter(|next| txns::fit_together(&self.ops, &next.offer));
        let Some(mut next) = fitting else {
            return Ok((self.commit().await?, None));
        };
        // While it is under way, dropping this future leaves its fate open.
        next.doubtful = true;
        let mut doubt = false;
        let taking = next.taking();
        let keys = queue.keys();
        let both = |client: &_, acking: &_| txns::ack_and_claim(client, keys, acking, &taking);
        let sent = self.send(&mut doubt, both).await;
        let (answer, acked) = match sent {
            Ok(answered) => answered,
            Err(error) => {
                next.doubtful = doubt;
                return Err(error);
            }
        };
        let claimed = if answer.succeeded {
            let nested = answer.nested(answer.responses.len().saturating_sub(1))?;
            next.answered(&feed, nested, answer.header.revision)?
        } else {
            // It was acknowledged by an attempt whose answer was lost.
            match next.found(&answer.range(1)?.kvs) {
                Some(token) => next.had(&feed, token),
                None => {
                    next.doubtful = false;
                    None
                }
            }
        };
        let begin = |claimed| Claim::begin(&queue, &feed, claimed, worker.most_attempts());
        Ok((acked, claimed.map(begin)))
    }
}
