//! Putting items into a queue.
//!
//! Owns the push and the telling apart of a repetition from another push. Knows nothing of
//! workers.

use bytes::Bytes;
use handfast_core::{IntoBytes, KeyValue, OpResponse, TxnResponse};

use super::{
    Queue,
    keys::check_id,
    record::{self, Done, Ticket},
    txns,
};
use crate::Error;

/// How many items one item may wait for: all are compared in its claim.
const AFTER_LIMIT: usize = 100;

/// An item to be pushed; made by [`Queue::push`].
///
/// [`send`](Self::send) can be called again after an error: it is the same item.
#[derive(Debug, Clone)]
#[must_use = "nothing is pushed until send() is called"]
pub struct Push {
    queue: Queue,
    id: String,
    payload: Bytes,
    after: Vec<String>,
    gate: Option<String>,
    opens: Option<String>,
    nonce: String,
}

/// What a push came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pushed {
    /// The item's id.
    pub id: String,
    /// The revision it was put at, or, of a duplicate, that at which its state was last changed.
    pub revision: i64,
    /// An item of this id was pushed before; nothing was written.
    pub duplicate: bool,
}

impl Push {
    pub(super) fn new(queue: &Queue, payload: Bytes) -> Self {
        let chance = queue.client().chance();
        let nonce = format!("{:016x}{:016x}", chance.word(), chance.word());
        Self {
            queue: queue.clone(),
            id: nonce.clone(),
            payload,
            after: Vec::new(),
            gate: None,
            opens: None,
            nonce,
        }
    }

    /// The item's id (default: a random one). An id is accepted once: also not again after the
    /// item is done, as far as the queue's [history](Queue::keep_history) reaches.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// Keeps the item back until all of these are acknowledged; at most 100. They may be pushed
    /// later.
    pub fn after<I: Into<String>>(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        self.after.extend(ids.into_iter().map(Into::into));
        self
    }

    /// Keeps the item back until this gate is open: by [`opens`](Self::opens) or
    /// [`Queue::open_gate`].
    pub fn gate(mut self, gate: impl Into<String>) -> Self {
        self.gate = Some(gate.into());
        self
    }

    /// Opens this gate with the acknowledgement of the item.
    pub fn opens(mut self, gate: impl Into<String>) -> Self {
        self.opens = Some(gate.into());
        self
    }

    /// Pushes it: one round trip, and one look at the queue more for the first item with
    /// [`after`](Self::after).
    ///
    /// Dropping the future leaves open whether it was pushed.
    ///
    /// # Errors
    /// [`Draining`](Error::Draining); [`InvalidArgument`](Error::InvalidArgument), also when it
    /// would wait for itself by way of others; [`Client`](Error::Client).
    pub async fn send(&self) -> Result<Pushed, Error> {
        self.check()?;
        if !self.after.is_empty() {
            self.refuse_cycle().await?;
        }
        let (client, keys) = (self.queue.client(), self.queue.keys());
        let since = client.clock().unix_time().as_millis();
        let mut after = self.after.clone();
        after.sort();
        after.dedup();
        let ticket = Ticket {
            pushed_unix_ms: u64::try_from(since).unwrap_or(u64::MAX),
            nonce: self.nonce.clone(),
            after,
            gate: self.gate.clone(),
            opens: self.opens.clone(),
            ..Ticket::default()
        };
        let ticket = record::value(&ticket);
        let push = txns::push(client, keys, &self.id, &self.payload, &ticket);
        let answer = push.repeatable().commit().await?;
        let pushed = self.read(&answer)?;
        self.queue.note(answer.header.revision);
        pushed.ok_or_else(|| Error::Draining {
            queue: keys.shown(),
        })
    }

    /// `None` when the queue is drained.
    fn read(&self, answer: &TxnResponse) -> Result<Option<Pushed>, Error> {
        if answer.succeeded {
            // What an attempt before wrote was accepted.
            return Ok(self.found(answer)?.filter(|found| !found.duplicate));
        }
        match answer.responses.first().and_then(OpResponse::as_txn) {
            Some(nested) if nested.succeeded => Ok(Some(Pushed {
                id: self.id.clone(),
                revision: answer.header.revision,
                duplicate: false,
            })),
            Some(nested) => self.found(nested),
            None => Err(Error::invalid(
                "server",
                "the server left a push unanswered",
            )),
        }
    }

    /// What is there under the id.
    fn found(&self, answer: &TxnResponse) -> Result<Option<Pushed>, Error> {
        let mut pairs: Vec<&KeyValue> = Vec::new();
        for index in 0..4 {
            pairs.extend(&answer.range(index)?.kvs);
        }
        let keys = self.queue.keys();
        let ours = pairs.iter().any(|pair| {
            let nonce = if pair.key == keys.ticket(&self.id) {
                record::parse::<Ticket>(&pair.value).nonce
            } else {
                record::parse::<Done>(&pair.value).nonce
            };
            nonce == self.nonce
        });
        let newest = pairs.iter().map(|pair| pair.mod_revision).max();
        Ok(newest.map(|revision| Pushed {
            id: self.id.clone(),
            revision,
            duplicate: !ours,
        }))
    }

    fn check(&self) -> Result<(), Error> {
        self.queue.keys().check()?;
        check_id("id", &self.id)?;
        for id in &self.after {
            check_id("after", id)?;
        }
        for gate in self.gate.iter().chain(&self.opens) {
            check_id("gate", gate)?;
        }
        if self.after.len() > AFTER_LIMIT {
            let problem = format!(
                "{} items; at most {AFTER_LIMIT} are allowed: let some wait for others",
                self.after.len()
            );
            return Err(Error::invalid("after", problem));
        }
        if self.gate.is_some() && self.gate == self.opens {
            let problem = "the item would wait for the gate that it opens itself";
            return Err(Error::invalid("gate", problem));
        }
        Ok(())
    }

    async fn refuse_cycle(&self) -> Result<(), Error> {
        let feed = self.queue.caught_up().await?;
        let Some(way) = feed.look(|board| board.way(&self.after, &self.id)) else {
            return Ok(());
        };
        let problem = format!(
            "{} would wait for itself: it waits for {}",
            self.id,
            way.join(", which waits for ")
        );
        Err(Error::invalid("after", problem))
    }
}

impl Queue {
    /// An item with this payload, to be pushed.
    pub fn push(&self, payload: impl IntoBytes) -> Push {
        Push::new(self, payload.into_bytes())
    }
}
