//! An item that is worked on.
//!
//! Owns the claim's ends: acknowledged, failed, given back untried, dropped. What holding is, is
//! [`crate::tenure`]'s. Knows nothing of how items are chosen.

use std::{ops::Deref, sync::Arc};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use handfast_core::{
    Client, IntoBytes, KeyValue, Op, Txn, TxnResponse,
    held::{Grant, Held, Holder, Leave, Limits, Notice},
    session::{self, LostReason, Reaped, Unanswered},
};

use super::{
    Queue,
    feed::Feed,
    post::Post,
    record::Ticket,
    txns::{self, Acking, Back, Ending},
};
use crate::{Error, Kind, Tenure};

/// How many old marks one acknowledgement takes away: more than it adds.
const MARKS_TAKEN: usize = 2;

/// What a worker got hold of.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) post: Arc<Post>,
    pub(super) id: String,
    pub(super) item: Arc<KeyValue>,
    pub(super) before: Ticket,
    pub(super) token: i64,
}

/// An item that is worked on, until it is acknowledged, given back, dropped or lost.
///
/// See [`Tenure`] for what can be asked of it. Dropping it gives the item back in the background;
/// the attempt counts then, since work may have begun.
#[derive(Debug)]
#[must_use = "dropping the claim gives the item back"]
pub struct Claim {
    tenure: Tenure,
    pub(super) queue: Queue,
    pub(super) feed: Arc<Feed>,
    returning: Returning,
}

/// What became of an item that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failed {
    /// It can be claimed again, and has kept its place.
    Queued,
    /// It had its last attempt and is a dead letter now.
    Dead,
}

impl Claim {
    pub(super) fn begin(
        queue: &Queue,
        feed: &Arc<Feed>,
        claimed: Claimed,
        max_attempts: u32,
    ) -> Self {
        let grant = Grant {
            epoch: claimed.post.epoch.clone(),
            key: queue.keys().claim(&claimed.id),
            token: claimed.token,
            limits: Limits::default(),
        };
        let died = claimed.before.died();
        let returning = Returning {
            claimed: Arc::new(claimed),
            max_attempts,
        };
        let notice = Notice::Mirror(feed.mirror.clone());
        let held = Held::begin(grant, notice, returning.clone());
        Self {
            tenure: Tenure::new(held, Kind::Queue, queue.keys().name.clone(), died),
            queue: queue.clone(),
            feed: Arc::clone(feed),
            returning,
        }
    }

    pub(super) fn claimed(&self) -> &Claimed {
        &self.returning.claimed
    }

    /// What is held, as a handle that can be cloned and passed on.
    #[must_use]
    pub fn tenure(&self) -> Tenure {
        self.tenure.clone()
    }

    /// The item's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.claimed().id
    }

    /// What was pushed.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.claimed().item.value
    }

    /// Counts the attempts on the item, this one among them.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.claimed().before.attempts + 1
    }

    /// An acknowledgement: the item is done. It can carry writes of the caller's own, which are
    /// then committed with it or not at all.
    pub fn ack(self) -> AckTxn {
        AckTxn {
            claim: self,
            ops: Vec::new(),
        }
    }

    /// Gives the item back as failed; it keeps its place, or becomes a dead letter after its last
    /// attempt. `why` is shown to people. Dropping the future does not stop it.
    ///
    /// # Errors
    /// [`Lost`](Error::Lost) when the claim was not held any more.
    pub async fn nack(self, why: impl Into<String>) -> Result<Failed, Error> {
        let back = self.returning.failed(why.into());
        let fate = match &back {
            Back::Dead { .. } => Failed::Dead,
            _ => Failed::Queued,
        };
        self.give_back(back).await?;
        Ok(fate)
    }

    /// Gives the item back untried: the attempt does not count. Dropping the future does not stop
    /// it.
    ///
    /// # Errors
    /// [`Lost`](Error::Lost) when the claim was not held any more.
    pub async fn release(self) -> Result<(), Error> {
        self.give_back(Back::Untried).await
    }

    async fn give_back(self, back: Back) -> Result<(), Error> {
        let held = self.tenure.held().confirm().await;
        held.map_err(|lost| self.tenure.is_gone(lost.reason))?;
        if !self.tenure.held().end() {
            return Err(self.tenure.found_gone().await);
        }
        match self.returning.send(back).await {
            Reaped::Answered(true) => Ok(()),
            Reaped::Answered(false) => Err(self.tenure.is_gone(LostReason::Deleted)),
            _ => Err(self.tenure.is_gone(LostReason::Expired)),
        }
    }
}

impl Deref for Claim {
    type Target = Tenure;

    fn deref(&self) -> &Tenure {
        &self.tenure
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        drop(self.tenure.give_back());
    }
}

/// How a claim is given back, also when nobody waits for it.
#[derive(Debug, Clone)]
struct Returning {
    claimed: Arc<Claimed>,
    max_attempts: u32,
}

impl Returning {
    fn failed(&self, said: String) -> Back {
        if self.claimed.before.attempts + 1 < self.max_attempts {
            return Back::Failed { said };
        }
        let payload = self.claimed.item.value.clone();
        Back::Dead { said, payload }
    }

    fn ending(&self) -> Ending {
        Ending {
            id: self.claimed.id.clone(),
            token: self.claimed.token,
            before: self.claimed.before.clone(),
            worker: self.claimed.post.registration(),
        }
    }

    /// Starts at once, in the background; tells whether the claim was there.
    fn send(&self, back: Back) -> BoxFuture<'static, Reaped<bool>> {
        let (post, ending) = (Arc::clone(&self.claimed.post), self.ending());
        let (epoch, name) = (post.epoch.clone(), post.keys.prefix.clone());
        // An attempt whose answer was lost may have done it.
        let doubt = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let job = move |client: Client| {
            let txn = txns::give_back(&client, &post.keys, &ending, &back).repeatable();
            let (post, doubt) = (Arc::clone(&post), Arc::clone(&doubt));
            async move {
                use std::sync::atomic::Ordering::Relaxed;
                let answer = txn.commit().await.inspect_err(|error| {
                    doubt.fetch_or(error.in_doubt(), Relaxed);
                })?;
                post.note(answer.header.revision);
                let before = answer.repeated_in_doubt || doubt.load(Relaxed);
                Ok(answer.succeeded || before)
            }
        };
        epoch.reap(name, job).boxed()
    }
}

impl Leave for Returning {
    fn leave(self: Box<Self>) -> BoxFuture<'static, Reaped<bool>> {
        self.send(self.failed("its worker let go of it".to_owned()))
    }
}

/// An acknowledgement that is being put together; made by [`Claim::ack`].
///
/// It may use up to 120 operations. Dropping it gives the item back, as dropping the claim does.
#[derive(Debug)]
#[must_use = "nothing is acknowledged until commit() is called"]
pub struct AckTxn {
    pub(super) claim: Claim,
    pub(super) ops: Vec<Op>,
}

/// An acknowledgement that was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acked {
    /// The revision of it, and of the writes it carried.
    pub revision: i64,
}

impl AckTxn {
    /// Adds a put of `value` at `key`.
    pub fn put(self, key: impl IntoBytes, value: impl IntoBytes) -> Self {
        self.then([Op::put(key, value)])
    }

    /// Adds a delete of `key`.
    pub fn delete(self, key: impl IntoBytes) -> Self {
        self.then([Op::delete(key)])
    }

    /// Adds operations.
    pub fn then(mut self, ops: impl IntoIterator<Item = Op>) -> Self {
        self.ops.extend(ops);
        self
    }

    /// Acknowledges the item and runs the operations, at one revision, if the claim is still held
    /// then. Sent again until a server answers or the claim is lost.
    ///
    /// Dropping the future leaves open whether it was committed; if it was not, the item is given
    /// back.
    ///
    /// # Errors
    /// [`AckLost`](Error::AckLost): nothing was written. [`Client`](Error::Client) for operations
    /// that the server refuses; the item is given back then.
    pub async fn commit(self) -> Result<Acked, Error> {
        let keys = Arc::clone(self.claim.queue.keys());
        let (_, acked) = self
            .send(&mut false, |client, acking| {
                txns::ack(client, &keys, acking)
            })
            .await?;
        Ok(acked)
    }

    /// Sends what `build` makes of it until it is answered. Sets `doubt` when no answer came and
    /// it may have been, or may still be, carried out.
    pub(super) async fn send(
        self,
        doubt: &mut bool,
        build: impl Fn(&Client, &Acking) -> Txn,
    ) -> Result<(TxnResponse, Acked), Error> {
        let Self { claim, ops } = self;
        let lost = |reason| Error::AckLost {
            queue: claim.queue.keys().shown(),
            item: claim.id().to_owned(),
            reason,
        };
        let held = claim.tenure.held();
        held.confirm().await.map_err(|gone| lost(gone.reason))?;
        held.leaving();
        let kept = claim.queue.history();
        let acking = Acking {
            ending: claim.returning.ending(),
            outdated: claim.feed.look(|board| board.outdated(kept, MARKS_TAKEN)),
            ops,
        };
        let epoch = &claim.claimed().post.epoch;
        let sending = session::commit(epoch, doubt, || build(epoch.client(), &acking));
        let answer = match sending.await {
            Ok(answer) => answer,
            Err(Unanswered::Lost(reason)) => return Err(lost(reason)),
            Err(Unanswered::Refused(error)) => return Err(error.into()),
        };
        *doubt = false;
        let revision = if answer.succeeded {
            Some(answer.header.revision)
        } else {
            txns::acked_before(&acking.ending, &answer)?
        };
        let Some(revision) = revision else {
            return Err(lost(held.found_gone().await));
        };
        held.end();
        claim.claimed().post.note(revision);
        Ok((answer, Acked { revision }))
    }
}
