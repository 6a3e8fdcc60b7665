//! A queue: items are pushed, claimed by workers, and acknowledged.
//!
//! Owns the handle and what is set for a whole queue. Pushing is [`push`], taking is [`worker`],
//! holding is [`claim`], going from one item to the next is [`onward`], looking is [`look`].

mod attempt;
mod board;
mod claim;
mod feed;
mod keys;
mod look;
mod onward;
mod post;
mod push;
mod record;
mod txns;
mod worker;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use handfast_core::{Client, Compare, IntoBytes, Op};
use tokio::sync::OnceCell;

pub use claim::{AckTxn, Acked, Claim, Failed};
pub use look::{DeadLetter, ItemState, QueueItem, QueueStatus, Reason, Why};
pub use push::{Push, Pushed};
pub use record::{Condition, Control};
pub use worker::Worker;

use crate::{Error, Handfast};
use feed::Feed;
use keys::{Keys, check_id};
use record::Rule;

/// How many acknowledged items are remembered, unless it is set.
const DEFAULT_HISTORY: usize = 10_000;
const CATCH_UP_LIMIT: Duration = Duration::from_secs(1);

/// A queue; made by [`Handfast::queue`].
///
/// Every item is given to one worker at a time, oldest first, until one acknowledges it: at least
/// once, and what an acknowledgement writes is written once. A claim dies with its worker's
/// session, and the item is given to another then.
///
/// Cheap to clone. The first worker, listing or item with dependencies makes the handle follow
/// the queue: it keeps a copy of all items.
#[derive(Debug, Clone)]
pub struct Queue {
    shared: Arc<Shared>,
    history: usize,
}

#[derive(Debug)]
struct Shared {
    handfast: Handfast,
    keys: Arc<Keys>,
    feed: OnceCell<Arc<Feed>>,
    /// The revision of the last thing written through this handle.
    written: Arc<AtomicI64>,
}

impl Handfast {
    /// A queue called `name`.
    #[must_use]
    pub fn queue(&self, name: impl IntoBytes) -> Queue {
        let keys = Keys::new(name.into_bytes(), self.metadata_prefix());
        Queue {
            shared: Arc::new(Shared {
                handfast: self.clone(),
                keys: Arc::new(keys),
                feed: OnceCell::new(),
                written: Arc::default(),
            }),
            history: DEFAULT_HISTORY,
        }
    }
}

impl Queue {
    /// How many acknowledged items the workers of this handle leave remembered (default 10,000):
    /// so that their ids are not accepted again and items that are pushed later can wait for
    /// them. What items wait for is remembered in any case.
    #[must_use]
    pub fn keep_history(mut self, items: usize) -> Self {
        self.history = items;
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &bytes::Bytes {
        &self.keys().name
    }

    /// A worker, which takes one item after the other.
    pub fn worker(&self) -> Worker {
        Worker::new(self, false)
    }

    /// A worker for one item: it saves the round trip with which a worker says that it waits,
    /// unless it has to wait.
    pub fn claim(&self) -> Worker {
        Worker::new(self, true)
    }

    /// Lets workers take items, or not; lets items be pushed, or not. Enforced by the store: once
    /// this returns, no claim or push that it forbids succeeds.
    ///
    /// # Errors
    /// That the server could not be asked.
    pub async fn control(&self, control: Control) -> Result<(), Error> {
        self.keys().check()?;
        let put = Op::put(self.keys().control(), control.word());
        let answer = self.client().txn().then([put]).repeatable().commit();
        self.note(answer.await?.header.revision);
        Ok(())
    }

    /// Sets what all items wait for. Enforced by the store, as [`control`](Self::control) is.
    ///
    /// # Errors
    /// [`InvalidArgument`](Error::InvalidArgument), or that the server could not be asked.
    pub async fn condition(&self, condition: Condition) -> Result<(), Error> {
        self.keys().check()?;
        match &condition {
            Condition::Gate(gate) => check_id("gate", gate)?,
            Condition::Count(0) => return Err(Error::invalid("count", "0; use 1 or more")),
            _ => {}
        }
        let key = self.keys().condition();
        let forget = Op::delete(self.keys().opens()).prefix();
        let txn = if condition == Condition::None {
            self.client().txn().then([Op::delete(key), forget])
        } else {
            let epoch = format!("{:016x}", self.client().chance().word());
            let rule = record::value(&Rule { condition, epoch });
            // Sent again, it must not shut what was opened since.
            let is_set = Compare::value(&key).eq(rule.clone());
            let set = [Op::put(key, rule), forget];
            self.client().txn().when([is_set]).otherwise(set)
        };
        self.note(txn.repeatable().commit().await?.header.revision);
        Ok(())
    }

    /// Opens a gate by hand; whether it was shut.
    ///
    /// # Errors
    /// [`InvalidArgument`](Error::InvalidArgument), or that the server could not be asked.
    pub async fn open_gate(&self, gate: &str) -> Result<bool, Error> {
        self.keys().check()?;
        check_id("gate", gate)?;
        let key = self.keys().gate(gate);
        let txn = self.client().txn();
        let shut = Compare::create_revision(&key).eq(0);
        let answer = txn.when([shut]).then([Op::put(&key, "")]).repeatable();
        let answer = answer.commit().await?;
        self.note(answer.header.revision);
        Ok(answer.succeeded || answer.repeated_in_doubt)
    }

    fn client(&self) -> &Client {
        self.shared.handfast.client()
    }

    fn handfast(&self) -> &Handfast {
        &self.shared.handfast
    }

    fn keys(&self) -> &Arc<Keys> {
        &self.shared.keys
    }

    fn history(&self) -> usize {
        self.history
    }

    fn note(&self, revision: i64) {
        self.shared.written.fetch_max(revision, Ordering::AcqRel);
    }

    fn written(&self) -> i64 {
        self.shared.written.load(Ordering::Acquire)
    }

    /// What all workers of this handle look at.
    async fn feed(&self) -> Result<Arc<Feed>, Error> {
        self.keys().check()?;
        let open = || Feed::open(self.client(), self.keys());
        Ok(Arc::clone(self.shared.feed.get_or_try_init(open).await?))
    }

    /// The same, with everything in it that this handle has written, as far as can be told soon.
    async fn caught_up(&self) -> Result<Arc<Feed>, Error> {
        let feed = self.feed().await?;
        // A store that was restored may never come that far.
        let reached = feed.mirror.at_least(self.written());
        let _ = tokio::time::timeout(CATCH_UP_LIMIT, reached).await;
        Ok(feed)
    }

    /// The same, with everything in it that the store has now.
    async fn current(&self) -> Result<Arc<Feed>, Error> {
        if !self.shared.feed.initialized() {
            return self.feed().await;
        }
        let now = self.client().range(self.keys().control()).await?;
        let feed = self.feed().await?;
        feed.mirror.at_least(now.header.revision).await;
        Ok(feed)
    }
}
