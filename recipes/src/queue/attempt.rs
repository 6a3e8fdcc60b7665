//! A claim on its way.
//!
//! Owns what becomes of it: had, lost to another, or taken back when nobody waits for it any more.
//! Knows nothing of how the item was chosen.

use std::sync::Arc;

use handfast_core::{
    Client, KeyValue, TxnResponse,
    session::{self, Unanswered},
};

use super::{
    claim::Claimed,
    feed::{Feed, Offer, Trying},
    post::Post,
    txns::{self, Taking},
};
use crate::Error;

/// A claim on its way. Dropping it takes it back in the background, whatever became of it.
pub(super) struct Attempt {
    pub(super) post: Arc<Post>,
    pub(super) offer: Offer,
    nonce: String,
    /// It may have been carried out, or may still be.
    pub(super) doubtful: bool,
    _trying: Trying,
}

impl Attempt {
    pub(super) fn new(post: &Arc<Post>, offer: Offer, trying: Trying) -> Self {
        Self {
            post: Arc::clone(post),
            offer,
            nonce: post.nonce(),
            doubtful: false,
            _trying: trying,
        }
    }

    pub(super) fn taking(&self) -> Taking<'_> {
        Taking {
            offer: &self.offer,
            nonce: &self.nonce,
            lease: self.post.epoch.lease(),
        }
    }

    /// Claims the item; `None` if another was faster, or the epoch is lost.
    pub(super) async fn claim(mut self, feed: &Feed) -> Result<Option<Claimed>, Error> {
        // While it is under way, dropping this future leaves its fate open.
        self.doubtful = true;
        let mut doubt = false;
        let (post, taking) = (&self.post, self.taking());
        let claim = || txns::claim(post.epoch.client(), &post.keys, &taking);
        let begun = tokio::time::Instant::now();
        let answer = session::commit(&post.epoch, &mut doubt, claim).await;
        feed.took(begun.elapsed());
        match answer {
            Ok(answer) => self.answered(feed, &answer, answer.header.revision),
            Err(unanswered) => {
                self.doubtful = doubt;
                settle::<TxnResponse>(Err(unanswered)).map(|_| None)
            }
        }
    }

    /// What `answer`, that of a [claim](txns::claim) at `revision`, came to.
    pub(super) fn answered(
        mut self,
        feed: &Feed,
        answer: &TxnResponse,
        revision: i64,
    ) -> Result<Option<Claimed>, Error> {
        if answer.succeeded {
            return Ok(self.had(feed, revision));
        }
        if let Some(token) = self.found(&answer.range(0)?.kvs) {
            return Ok(self.had(feed, token));
        }
        // A late copy finds a claim, or something else changed for good.
        self.doubtful = false;
        feed.taken(feed.claimed(&answer.range(1)?.kvs), revision);
        feed.taken(std::iter::once(&*self.offer.id), revision);
        Ok(None)
    }

    /// The token, if the item's claim is this one.
    pub(super) fn found(&self, claim: &[KeyValue]) -> Option<i64> {
        let mine = claim
            .first()
            .filter(|pair| pair.value == self.nonce.as_bytes());
        mine.map(|pair| pair.create_revision)
    }

    /// The item, unless the epoch is lost.
    pub(super) fn had(mut self, feed: &Feed, token: i64) -> Option<Claimed> {
        if self.post.epoch.check().is_err() {
            return None;
        }
        self.doubtful = false;
        self.post.note(token);
        feed.taken(std::iter::once(&*self.offer.id), token);
        Some(Claimed {
            post: Arc::clone(&self.post),
            id: self.offer.id.clone(),
            item: Arc::clone(&self.offer.item),
            before: self.offer.ticket.clone(),
            token,
        })
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

/// A lost epoch is no error here: the next one is taken.
pub(super) fn settle<T>(answer: Result<T, Unanswered>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Unanswered::Lost(_)) => Ok(None),
        Err(Unanswered::Refused(error)) => Err(error.into()),
    }
}
