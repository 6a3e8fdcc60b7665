//! Looking at a queue: what is in it, who works on it, and why an item is not worked on.
//!
//! Owns what is shown to people and programs, and putting dead letters back. Takes no part in the
//! work.

use std::{fmt, time::Duration};

use bytes::Bytes;

use super::{
    Condition, Control, Queue,
    board::{Block, Board, Closed},
    keys::check_id,
    record::Ticket,
    txns,
};
use crate::{Error, Member, line::look};

/// What an item is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ItemState {
    /// It can be claimed, as soon as the queue lets items be.
    Ready,
    /// It waits for other items or a gate.
    Blocked,
    /// A worker has it.
    Claimed,
    /// It failed too often.
    Dead,
    /// It was acknowledged.
    Done,
    /// There is none of this id, or it was acknowledged and is not remembered.
    Unknown,
}

impl ItemState {
    /// A short stable word for programs and scripts.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Blocked => "blocked",
            Self::Claimed => "claimed",
            Self::Dead => "dead",
            Self::Done => "done",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for ItemState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

/// An item that is not done.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct QueueItem {
    /// Its id.
    pub id: String,
    /// What it is in.
    pub state: ItemState,
    /// Who works on it.
    pub claimed_by: Option<Member>,
    /// How long ago it was pushed, by the clocks of the one that pushed and of this one.
    pub age: Duration,
    /// How often it was tried, the present attempt among them.
    pub attempts: u32,
    /// What the last worker that gave it back said.
    pub said: Option<String>,
    /// How many bytes were pushed.
    pub size: usize,
    /// The revision that gives it its place.
    pub revision: i64,
}

/// A queue at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStatus {
    /// What is allowed.
    pub control: Control,
    /// What all items wait for.
    pub condition: Condition,
    /// Whether the condition holds and the queue is not paused.
    pub open: bool,
    /// Items that can be claimed, as soon as the queue lets items be.
    pub ready: usize,
    /// Items that wait for others, or for a gate.
    pub blocked: usize,
    /// Items that are worked on.
    pub claimed: usize,
    /// Items that failed too often.
    pub dead: usize,
    /// Items that were acknowledged and are remembered.
    pub done: usize,
    /// Workers that wait, or work on items.
    pub workers: usize,
    /// The revision this is exact at.
    pub revision: i64,
}

/// An item that failed too often.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Its id.
    pub id: String,
    /// What was pushed.
    pub payload: Bytes,
    /// How often it was tried.
    pub attempts: u32,
    /// What the last worker said; `None` if it died.
    pub said: Option<String>,
    /// The revision it died at.
    pub revision: i64,
}

/// Why an item is where it is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Why {
    /// The item's id.
    pub id: String,
    /// What it is in.
    pub state: ItemState,
    /// Everything that keeps it from being claimed; empty if nothing does.
    pub reasons: Vec<Reason>,
}

/// One thing that keeps an item from being claimed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// The queue is paused.
    Paused,
    /// The queue waits to be started.
    NotStarted,
    /// Too few items were ready at once so far.
    Count {
        /// How many are ready.
        ready: usize,
        /// How many must be.
        wanted: u32,
    },
    /// A gate is shut, of the item or of the queue.
    Gate(String),
    /// It waits for another item.
    After {
        /// The other item's id.
        id: String,
        /// What the other one is in.
        state: ItemState,
    },
    /// Items wait for each other in a circle, these ones: none of them will ever be claimed.
    Cycle(Vec<String>),
    /// Somebody works on it.
    ClaimedBy(Member),
    /// So many older items can be claimed, too.
    Older(usize),
    /// No worker waits.
    NoWorker,
    /// It failed too often.
    Dead {
        /// How often it was tried.
        attempts: u32,
        /// What the last worker said.
        said: Option<String>,
    },
}

impl Reason {
    /// A short stable word for programs and scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::NotStarted => "not_started",
            Self::Count { .. } => "count",
            Self::Gate(_) => "gate",
            Self::After { .. } => "after",
            Self::Cycle(_) => "cycle",
            Self::ClaimedBy(_) => "claimed",
            Self::Older(_) => "older",
            Self::NoWorker => "no_worker",
            Self::Dead { .. } => "dead",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused => f.write_str("the queue is paused; `queue start` lets it run"),
            Self::NotStarted => f.write_str("the queue was not started; `queue start` does"),
            Self::Count { ready, wanted } => {
                write!(f, "{ready} items are ready, and work begins at {wanted}")
            }
            Self::Gate(gate) => write!(f, "gate {gate} is shut"),
            Self::After { id, state } => write!(f, "it comes after {id}, which is {state}"),
            Self::Cycle(ids) => write!(
                f,
                "it waits for itself: {}; push one of them anew under another id",
                ids.join(" waits for ")
            ),
            Self::ClaimedBy(member) => write!(f, "{member} works on it"),
            Self::Older(1) => f.write_str("one older item is to be claimed before it"),
            Self::Older(count) => write!(f, "{count} older items are to be claimed before it"),
            Self::NoWorker => f.write_str("no worker waits for items"),
            Self::Dead { attempts, said } => {
                write!(f, "it failed {attempts} times")?;
                match said.as_deref() {
                    None => f.write_str("; its last worker died")?,
                    Some("") => {}
                    Some(said) => write!(f, "; at last: {said}")?,
                }
                f.write_str("; `queue retry` puts it back")
            }
        }
    }
}

impl Board {
    fn state(&self, id: &str) -> ItemState {
        let item = self.items.get(id);
        if self.dead.contains_key(id) {
            ItemState::Dead
        } else if item.is_some() && self.claims.contains_key(id) {
            ItemState::Claimed
        } else if item.is_some() && self.blocks(id).next().is_some() {
            ItemState::Blocked
        } else if item.is_some() {
            ItemState::Ready
        } else if self.done.contains_key(id) {
            ItemState::Done
        } else {
            ItemState::Unknown
        }
    }

    fn claimant(&self, id: &str) -> Option<Member> {
        let pair = self.claims.get(id)?;
        Some(Member {
            key: pair.key.clone(),
            lease: pair.lease,
            token: pair.create_revision,
            position: 1,
            value: pair.value.clone(),
            immortal: pair.lease == 0,
            session: None,
        })
    }

    fn shown(&self, id: &str, now: Duration) -> QueueItem {
        let pair = self.items.get(id).or_else(|| self.dead.get(id));
        let ticket = self.ticket(id).cloned().unwrap_or_default();
        let pushed = Duration::from_millis(ticket.pushed_unix_ms);
        let known = ticket.pushed_unix_ms > 0;
        QueueItem {
            id: id.to_owned(),
            state: self.state(id),
            claimed_by: self.claimant(id),
            age: if known {
                now.saturating_sub(pushed)
            } else {
                Duration::ZERO
            },
            attempts: ticket.attempts,
            said: ticket.said.filter(|said| !said.is_empty()),
            size: pair.map_or(0, |pair| pair.value.len()),
            revision: pair.map_or(0, |pair| pair.create_revision),
        }
    }

    fn reason(&self, block: Block) -> Reason {
        match block {
            Block::Gate(gate) => Reason::Gate(gate),
            Block::After(id) => {
                let state = self.state(&id);
                Reason::After { id, state }
            }
        }
    }

    fn why(&self, id: &str) -> Vec<Reason> {
        let state = self.state(id);
        if state == ItemState::Dead {
            let Ticket { attempts, said, .. } = self.ticket(id).cloned().unwrap_or_default();
            return vec![Reason::Dead { attempts, said }];
        }
        if matches!(state, ItemState::Done | ItemState::Unknown) {
            return Vec::new();
        }
        if let Some(member) = self.claimant(id) {
            return vec![Reason::ClaimedBy(member)];
        }
        let mut reasons = Vec::new();
        for block in self.blocks(id) {
            let Block::After(first) = block else {
                reasons.push(self.reason(block));
                continue;
            };
            if let Some(mut way) = self.way(std::slice::from_ref(&first), id) {
                way.insert(0, id.to_owned());
                reasons.push(Reason::Cycle(way));
            }
            reasons.push(self.reason(Block::After(first)));
        }
        let opens = self.ticket(id).and_then(|ticket| ticket.opens.as_ref());
        match self.closed() {
            Some(Closed::Paused) => reasons.push(Reason::Paused),
            Some(Closed::NotStarted) => reasons.push(Reason::NotStarted),
            Some(Closed::Count { wanted, .. }) => reasons.push(Reason::Count {
                ready: self.free.len(),
                wanted,
            }),
            Some(Closed::Gate(gate)) if opens != Some(&gate) => reasons.push(Reason::Gate(gate)),
            Some(Closed::Gate(_)) | None => {}
        }
        if reasons.is_empty() {
            let older = self.claimable().take_while(|other| *other != id).count();
            if older > 0 {
                reasons.push(Reason::Older(older));
            }
            if self.workers.is_empty() {
                reasons.push(Reason::NoWorker);
            }
        }
        reasons
    }
}

impl Queue {
    /// All items that are not done, dead letters at the end; otherwise oldest first.
    ///
    /// # Errors
    /// That the server could not be asked.
    pub async fn list(&self) -> Result<Vec<QueueItem>, Error> {
        let now = self.client().clock().unix_time();
        let feed = self.current().await?;
        let mut items: Vec<QueueItem> = feed.look(|board| {
            let ids = board.items.keys().chain(board.dead.keys());
            ids.map(|id| board.shown(id, now)).collect()
        });
        items.sort_by_key(|item| (item.state == ItemState::Dead, item.revision));
        let mut members: Vec<Member> = items
            .iter()
            .filter_map(|item| item.claimed_by.clone())
            .collect();
        self.name_sessions(&mut members).await?;
        let mut named = members.into_iter();
        for item in &mut items {
            if item.claimed_by.is_some() {
                item.claimed_by = named.next();
            }
        }
        Ok(items)
    }

    /// How many items are in what, and what is set for the queue.
    ///
    /// # Errors
    /// That the server could not be asked.
    pub async fn status(&self) -> Result<QueueStatus, Error> {
        let feed = self.current().await?;
        Ok(feed.look(|board| {
            let control = board.control.map(|(control, _)| control);
            let (ready, claimed) = (board.free.len(), board.claims.len());
            QueueStatus {
                control: control.unwrap_or_default(),
                condition: board.rule().0.condition,
                open: board.closed().is_none(),
                ready,
                blocked: board.items.len().saturating_sub(ready + claimed),
                claimed,
                dead: board.dead.len(),
                done: board.done.len(),
                workers: board.workers.len(),
                revision: board.revision,
            }
        }))
    }

    /// What keeps an item from being claimed.
    ///
    /// # Errors
    /// That the server could not be asked.
    pub async fn why(&self, id: &str) -> Result<Why, Error> {
        let feed = self.current().await?;
        let (state, mut reasons) = feed.look(|board| (board.state(id), board.why(id)));
        for reason in &mut reasons {
            if let Reason::ClaimedBy(member) = reason {
                self.name_sessions(std::slice::from_mut(member)).await?;
            }
        }
        Ok(Why {
            id: id.to_owned(),
            state,
            reasons,
        })
    }

    /// The items that failed too often, the longest dead first.
    ///
    /// # Errors
    /// That the server could not be asked.
    pub async fn dead(&self) -> Result<Vec<DeadLetter>, Error> {
        let feed = self.current().await?;
        let mut letters: Vec<DeadLetter> = feed.look(|board| {
            let letters = board.dead.iter().map(|(id, pair)| {
                let ticket = board.ticket(id).cloned().unwrap_or_default();
                DeadLetter {
                    id: id.clone(),
                    payload: pair.value.clone(),
                    attempts: ticket.attempts,
                    said: ticket.said,
                    revision: pair.create_revision,
                }
            });
            letters.collect()
        });
        letters.sort_by_key(|letter| letter.revision);
        Ok(letters)
    }

    /// Puts a dead letter back into the queue, at its end, with all its attempts before it;
    /// whether there is one of this id.
    ///
    /// # Errors
    /// That the server could not be asked.
    pub async fn retry(&self, id: &str) -> Result<bool, Error> {
        self.keys().check()?;
        check_id("id", id)?;
        let (client, keys) = (self.client(), self.keys());
        let reads = [
            handfast_core::Op::get(keys.dead(id)),
            handfast_core::Op::get(keys.ticket(id)),
        ];
        let found = client.txn().then(reads).commit().await?;
        let Some(letter) = found.range(0)?.kvs.first() else {
            return Ok(false);
        };
        let ticket = found.range(1)?.kvs.first();
        let ticket: Ticket =
            ticket.map_or_else(Ticket::default, |pair| super::record::parse(&pair.value));
        let letter = (&letter.value, letter.create_revision);
        let revive = txns::revive(client, keys, id, letter, &ticket).repeatable();
        let answer = revive.commit().await?;
        self.note(answer.header.revision);
        // Whoever was faster has put it back, too.
        Ok(answer.succeeded || !answer.range(0)?.kvs.is_empty())
    }

    async fn name_sessions(&self, members: &mut [Member]) -> Result<(), Error> {
        let metadata = self.handfast().metadata_prefix();
        look::name_sessions(self.client(), metadata, members).await?;
        Ok(())
    }
}
