//! Taking items from a queue.
//!
//! Owns the wait for an item and the way to its claim; leaves no claim behind wherever it is
//! dropped. What follows the claim is [`super::claim`].

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use handfast_core::{
    Backoff, Client, Compare, Op, TxnResponse,
    session::{self, Unanswered},
};
use tokio::time::timeout;

use super::{
    Queue,
    claim::{Claim, Claimed},
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
            }),
        }
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
            if !self.once && !post.is_registered() {
                settle(post.register().await)?;
                seen = self.queue.written();
                continue;
            }
            if here.as_ref().is_none_or(|here| here.own != post.own) {
                here = Some(feed.arrive(&post.own));
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

/// A lost epoch is no error here: the next one is taken.
fn settle<T>(answer: Result<T, Unanswered>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Unanswered::Lost(_)) => Ok(None),
        Err(Unanswered::Refused(error)) => Err(error.into()),
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

/// A claim on its way. Dropping it takes it back in the background, whatever became of it.
struct Attempt {
    post: Arc<Post>,
    offer: Offer,
    nonce: String,
    doubtful: bool,
    _trying: Trying,
}

impl Attempt {
    fn new(post: &Arc<Post>, offer: Offer, trying: Trying) -> Self {
        Self {
            post: Arc::clone(post),
            offer,
            nonce: post.nonce(),
            doubtful: false,
            _trying: trying,
        }
    }

    /// Claims the item; `None` if another was faster, or the epoch is lost.
    async fn claim(mut self, feed: &Feed) -> Result<Option<Claimed>, Error> {
        // While it is under way, dropping this future leaves its fate open.
        self.doubtful = true;
        let mut doubt = false;
        let (post, offer) = (&self.post, &self.offer);
        let lease = post.epoch.lease();
        let claim = || txns::claim(post.epoch.client(), &post.keys, offer, &self.nonce, lease);
        let begun = tokio::time::Instant::now();
        let answer = session::commit(&post.epoch, &mut doubt, claim).await;
        feed.took(begun.elapsed());
        let answer = match answer {
            Ok(answer) => answer,
            Err(unanswered) => {
                self.doubtful = doubt;
                return settle::<TxnResponse>(Err(unanswered)).map(|_| None);
            }
        };
        let revision = answer.header.revision;
        let token = if answer.succeeded {
            Some(revision)
        } else {
            let claim = answer.range(0)?.kvs.first();
            let mine = claim.filter(|pair| pair.value == self.nonce.as_bytes());
            mine.map(|pair| pair.create_revision)
        };
        let Some(token) = token else {
            // A late copy finds a claim, or something else changed for good.
            self.doubtful = false;
            feed.taken(feed.claimed(&answer.range(1)?.kvs), revision);
            feed.taken(std::iter::once(&*self.offer.id), revision);
            return Ok(None);
        };
        if self.post.epoch.check().is_err() {
            return Ok(None);
        }
        self.doubtful = false;
        self.post.note(token);
        feed.taken(std::iter::once(&*self.offer.id), token);
        Ok(Some(Claimed {
            post: Arc::clone(&self.post),
            id: self.offer.id.clone(),
            item: Arc::clone(&self.offer.item),
            before: self.offer.ticket.clone(),
            token,
        }))
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.doubtful {
            return;
        }
        let (post, offer, nonce) = (
            Arc::clone(&self.post),
            self.offer.clone(),
            std::mem::take(&mut self.nonce),
        );
        let epoch = post.epoch.clone();
        let job = move |client: Client| {
            let withdraw = txns::withdraw(&client, &post.keys, &offer, &nonce).repeatable();
            async move { withdraw.commit().await.map(drop) }
        };
        drop(epoch.reap(self.post.keys.prefix.clone(), job));
    }
}
