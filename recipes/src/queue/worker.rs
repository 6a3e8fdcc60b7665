//! Taking items from a queue.
//!
//! Owns the wait for an item and the way to its claim; leaves no claim behind wherever it is
//! dropped. What follows the claim is [`super::claim`].

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use handfast_core::{Backoff, Compare, Op, session};
use tokio::time::timeout;

use super::{
    Queue,
    attempt::{Attempt, settle},
    claim::Claim,
    feed::{Asking, Feed, Here, Offer, Pick, Trying},
    post::Post,
    txns,
};
use crate::{Error, Kind};

const DEFAULT_MAX_ATTEMPTS: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(5);
const WAIT_LIMIT: Duration = Duration::from_secs(1);
/// How long the copy may stand still before what it has is taken as it is.
const BEHIND_LIMIT: Duration = Duration::from_secs(1);

/// Takes items one after the other; made by [`Queue::worker`].
///
/// A claim may outlive the worker, and one worker may hold several.
#[derive(Debug)]
#[must_use = "a worker does nothing until next() is called"]
pub struct Worker {
    queue: Queue,
    max_attempts: u32,
    strict: bool,
    once: bool,
    timeout: Option<Duration>,
    post: Option<Arc<Post>>,
    tries: u64,
}

impl Worker {
    pub(super) fn new(queue: &Queue, once: bool) -> Self {
        Self {
            queue: queue.clone(),
            max_attempts: DEFAULT_MAX_ATTEMPTS,
            strict: false,
            once,
            timeout: None,
            post: None,
            tries: 0,
        }
    }

    /// How often an item is tried before it is moved to the dead letters (default 5). All workers
    /// of a queue should say the same.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Always tries the oldest item that can be claimed, instead of leaving those to workers that
    /// have waited longer (default false). With many workers this costs lost tries.
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Gives up waiting for an item after `timeout` (default: never).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Waits for an item and claims it; `None` when the queue is drained: no item is left and
    /// none will be accepted.
    ///
    /// A session that is lost while waiting is replaced. Cancel safe: dropping the future, at any
    /// point, leaves no claim behind, and no attempt is counted.
    ///
    /// # Errors
    /// [`Timeout`](Error::Timeout), [`Closed`](Error::Closed), [`Client`](Error::Client) for what
    /// the server refuses, [`InvalidArgument`](Error::InvalidArgument).
    pub async fn next(&mut self) -> Result<Option<Claim>, Error> {
        if self.max_attempts == 0 {
            return Err(Error::invalid("max_attempts", "0; at least 1 is needed"));
        }
        let Some(limit) = self.timeout else {
            return self.claim().await;
        };
        match timeout(limit, self.claim()).await {
            Ok(claimed) => claimed,
            Err(_) => Err(Error::Timeout {
                kind: Kind::Queue,
                name: self.queue.keys().shown(),
                waited: limit,
                holder: None,
                position: None,
                unreached: self.queue.client().unreached().map(Box::new),
            }),
        }
    }

    /// How many claims it has sent, also those that another worker was faster with.
    #[must_use]
    pub fn tries(&self) -> u64 {
        self.tries
    }

    /// An item that can be claimed with the acknowledgement of one that `post` holds, if there is
    /// one now that is not left to others.
    pub(super) fn beside(&mut self, feed: &Arc<Feed>, post: &Arc<Post>) -> Option<Attempt> {
        // A claim of another worker, or of an epoch before, says nothing of this worker.
        let own = self.post.as_ref().filter(|own| Arc::ptr_eq(own, post))?;
        let asking = Asking {
            own: &own.own,
            seen: 0,
            // Whoever waits goes first.
            registered: false,
            strict: self.strict,
            max_attempts: self.max_attempts,
            beaten: 0,
        };
        let (offer, trying) = feed.pick_beside(&asking)?;
        self.tries += 1;
        Some(Attempt::new(own, offer, trying))
    }

    pub(super) fn most_attempts(&self) -> u32 {
        self.max_attempts
    }

    async fn claim(&mut self) -> Result<Option<Claim>, Error> {
        let feed = self.queue.feed().await?;
        let chance = self.queue.client().chance().clone();
        let mut backoff = Backoff::new(FIRST_WAIT, WAIT_LIMIT).drawn_by(&chance);
        let mut beaten = 0;
        let mut seen = self.queue.written();
        let mut here: Option<Here> = None;
        loop {
            let post = self.post().await?;
            // Before it registers: whatever becomes of that, those here know that it does not wait.
            if here.as_ref().is_none_or(|here| here.own != post.own) {
                here = Some(feed.arrive(&post.own));
            }
            if !self.once && !post.is_registered() {
                settle(post.register().await)?;
                seen = self.queue.written();
                continue;
            }
            let mut wakes = feed.wakes();
            let asking = Asking {
                own: &post.own,
                seen,
                registered: post.is_registered(),
                strict: self.strict,
                max_attempts: self.max_attempts,
                beaten,
            };
            match feed.pick(&asking, chance.factor(0.0, 1.0)) {
                Pick::Try(offer, trying) => {
                    self.tries += 1;
                    let attempt = Attempt::new(&post, offer, trying);
                    if let Some(claimed) = attempt.claim(&feed).await? {
                        let claim = Claim::begin(&self.queue, &feed, claimed, self.max_attempts);
                        return Ok(Some(claim));
                    }
                    beaten += 1;
                    if beaten > 2 {
                        tokio::time::sleep(backoff.next()).await;
                    }
                }
                Pick::Bury(offer, trying) => bury(&post, &offer, trying).await?,
                Pick::Open {
                    mark,
                    rule_revision,
                } => open(&post, mark, rule_revision).await?,
                Pick::Drained => return Ok(None),
                Pick::Wait(_) if !post.is_registered() => drop(settle(post.register().await)?),
                Pick::Wait(again) => {
                    beaten = 0;
                    wakes.wait(&post, again).await;
                    continue;
                }
                Pick::Behind => {
                    // A store that was restored may never come that far.
                    if !wakes.wait(&post, Some(BEHIND_LIMIT)).await {
                        seen = 0;
                    }
                    continue;
                }
            }
            seen = self.queue.written();
        }
    }

    /// This worker's name under the current epoch.
    async fn post(&mut self) -> Result<Arc<Post>, Error> {
        if let Some(post) = &self.post
            && post.epoch.check().is_ok()
        {
            return Ok(Arc::clone(post));
        }
        self.post = None;
        let session = self.queue.handfast().session()?;
        let epoch = session
            .epoch()
            .await
            .map_err(|error| Error::of_session(error, Kind::Queue, &self.queue.keys().shown()))?;
        let post = Post::new(epoch, self.queue.keys(), &self.queue.shared.written);
        Ok(Arc::clone(self.post.insert(post)))
    }
}

async fn bury(post: &Post, offer: &Offer, trying: Trying) -> Result<(), Error> {
    let mut doubt = false;
    let bury = || txns::bury(post.epoch.client(), &post.keys, offer);
    let answer = settle(session::commit(&post.epoch, &mut doubt, bury).await)?;
    if let Some(answer) = answer {
        post.note(answer.header.revision);
    }
    drop(trying);
    Ok(())
}

/// Says that the count is reached, if it was not said and the condition is the same.
async fn open(post: &Post, mark: Bytes, rule_revision: i64) -> Result<(), Error> {
    let mut doubt = false;
    let say = || {
        let when = [
            Compare::create_revision(&mark).eq(0),
            Compare::mod_revision(post.keys.condition()).eq(rule_revision),
        ];
        let txn = post.epoch.client().txn();
        txn.when(when).then([Op::put(&mark, "")])
    };
    if let Some(answer) = settle(session::commit(&post.epoch, &mut doubt, say).await)? {
        post.note(answer.header.revision);
    }
    Ok(())
}
