//! What the workers of one handle see of the queue, and which item each should try.
//!
//! Owns the board that follows the mirror, and the choice. A worker takes the item whose place
//! among the free ones is the worker's own among those that have waited longer than it, so that
//! many workers seldom try the same one. Sends nothing but the mirror's reads.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use handfast_core::{
    Client, Error, KeyValue, Mirror,
    mirror::{Follower, Progress, Step},
};
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

use super::{
    board::{Board, Closed},
    keys::Keys,
    post::{self, Post},
    record::{Control, Ticket},
};

/// How long a worker ahead may leave its item alone before the others stop to count on it, at
/// least.
const GRACE: Duration = Duration::from_millis(100);
/// The same in terms of what a claim takes, for slow servers and machines.
const GRACE_CLAIMS: u32 = 4;
const GRACE_LIMIT: Duration = Duration::from_secs(2);

/// How many of the oldest items are looked at for each worker, in search of one of its share.
const SHARE: usize = 8;

#[derive(Debug)]
pub(super) struct Feed {
    keys: Keys,
    pub(super) mirror: Mirror,
    inner: Mutex<Inner>,
    /// Told when an item is let go of within this process.
    local: watch::Sender<()>,
}

#[derive(Debug)]
struct Inner {
    changes: Follower,
    board: Board,
    /// The items this handle's workers try right now, with the worker.
    tried: BTreeMap<String, String>,
    /// This handle's workers, and whether they wait for an item now.
    here: BTreeMap<String, bool>,
    /// Items known to be claimed at a revision the board has not reached.
    taken: BTreeMap<String, i64>,
    /// Idle workers with the revision since which they are, and when they were first seen to
    /// leave an item alone.
    slow: BTreeMap<String, (i64, Instant)>,
    /// What a claim takes, smoothed.
    claim_time: Duration,
}

/// The worker that asks.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    pub(super) own: &'a str,
    /// The revision of the last answer it got from the store.
    pub(super) seen: i64,
    pub(super) registered: bool,
    /// Always the oldest item.
    pub(super) strict: bool,
    pub(super) max_attempts: u32,
    /// How often in a row another was faster.
    pub(super) beaten: u32,
}

/// An item to be tried, as it was seen.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    pub(super) id: String,
    pub(super) item: Arc<KeyValue>,
    pub(super) ticket: Ticket,
    pub(super) ticket_revision: i64,
    pub(super) control_revision: i64,
    pub(super) rule_revision: i64,
    /// The keys of what it waited for, which must be there still.
    pub(super) needs: Vec<Bytes>,
}

/// What a worker should do.
#[derive(Debug)]
pub(super) enum Pick {
    Try(Offer, Trying),
    /// It has failed too often.
    Bury(Offer, Trying),
    /// The count is reached: this key says so.
    Open {
        mark: Bytes,
        rule_revision: i64,
    },
    /// No item is left and none will come.
    Drained,
    /// Look again when the copy has what was written here.
    Behind,
    /// Look again when something changes, or after this.
    Wait(Option<Duration>),
}

/// Keeps an item from the other workers of this handle.
#[derive(Debug)]
pub(super) struct Trying {
    feed: Arc<Feed>,
    id: String,
}

impl Drop for Trying {
    fn drop(&mut self) {
        self.feed.inner.lock().tried.remove(&self.id);
        self.feed.local.send_replace(());
    }
}

/// What can happen from when it was made.
#[derive(Debug)]
pub(super) struct Wakes {
    progress: watch::Receiver<Progress>,
    local: watch::Receiver<()>,
}

impl Wakes {
    /// Waits for something to happen, for the end of the worker's epoch, or for a time; `false`
    /// when the time passed.
    pub(super) async fn wait(&mut self, post: &Post, limit: Option<Duration>) -> bool {
        let limit = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = post.epoch.lost() => true,
            _ = self.progress.changed() => true,
            _ = self.local.changed() => true,
            () = limit => false,
        }
    }
}

/// Says that a worker waits for an item, until it is dropped.
#[derive(Debug)]
pub(super) struct Here {
    feed: Arc<Feed>,
    pub(super) own: String,
}

impl Drop for Here {
    fn drop(&mut self) {
        let own = std::mem::take(&mut self.own);
        self.feed.inner.lock().here.insert(own, false);
        self.feed.local.send_replace(());
    }
}

impl Feed {
    /// Says that the worker `own` waits for an item.
    pub(super) fn arrive(self: &Arc<Self>, own: &str) -> Here {
        self.inner.lock().here.insert(own.to_owned(), true);
        Here {
            feed: Arc::clone(self),
            own: own.to_owned(),
        }
    }

    pub(super) async fn open(client: &Client, keys: &Keys) -> Result<Arc<Self>, Error> {
        let mirror = Mirror::open(client, &keys.prefix).await?;
        let (view, changes) = mirror.follow();
        let board = Board::of(keys, view.revision(), view.iter());
        let inner = Inner {
            changes,
            board,
            tried: BTreeMap::new(),
            here: BTreeMap::new(),
            taken: BTreeMap::new(),
            slow: BTreeMap::new(),
            claim_time: Duration::ZERO,
        };
        Ok(Arc::new(Self {
            keys: keys.clone(),
            mirror,
            inner: Mutex::new(inner),
            local: watch::Sender::new(()),
        }))
    }

    /// Wakes when the copy moves, or an item is let go of here.
    pub(super) fn wakes(&self) -> Wakes {
        Wakes {
            progress: self.mirror.progress(),
            local: self.local.subscribe(),
        }
    }

    /// Looks at the board as it is now.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Board) -> T) -> T {
        let mut inner = self.inner.lock();
        self.catch_up(&mut inner);
        look(&inner.board)
    }

    /// Takes in how long a claim took.
    pub(super) fn took(&self, time: Duration) {
        let mut inner = self.inner.lock();
        inner.claim_time = (inner.claim_time * 7 + time) / 8;
    }

    /// Takes in that the store had `ids` claimed, or gone, at `revision`.
    pub(super) fn taken<'a>(&self, ids: impl Iterator<Item = &'a str>, revision: i64) {
        let mut inner = self.inner.lock();
        for id in ids {
            inner.taken.insert(id.to_owned(), revision);
        }
    }

    /// What is in `claims`, keys of claims.
    pub(super) fn claimed<'a>(&self, claims: &'a [KeyValue]) -> impl Iterator<Item = &'a str> {
        let prefix = self.keys.claims().len();
        claims
            .iter()
            .filter_map(move |pair| std::str::from_utf8(pair.key.get(prefix..)?).ok())
    }

    fn catch_up(&self, inner: &mut Inner) {
        // Read before the changes: what is taken in then is at least this new.
        let revision = self.mirror.revision();
        while let Some(step) = inner.changes.try_next() {
            match step {
                Step::Changes(changes) => {
                    for change in &changes.changes {
                        inner.board.apply(&self.keys, change);
                    }
                    if changes.reset {
                        inner.board.revision = 0;
                        inner.taken.clear();
                    }
                    inner.board.revision = inner.board.revision.max(changes.revision);
                }
                Step::Anew(view) => {
                    // Revisions may have gone back.
                    if view.revision() < inner.board.revision {
                        inner.taken.clear();
                    }
                    inner.board = Board::of(&self.keys, view.revision(), view.iter());
                }
            }
        }
        inner.board.revision = inner.board.revision.max(revision);
        let revision = inner.board.revision;
        inner.taken.retain(|_, at| *at > revision);
    }

    /// What `asking` should do now.
    pub(super) fn pick(self: &Arc<Self>, asking: &Asking<'_>, chance: f64) -> Pick {
        let mut inner = self.inner.lock();
        self.catch_up(&mut inner);
        let inner = &mut *inner;
        if inner.board.revision < asking.seen {
            return Pick::Behind;
        }
        if let Some(Closed::Count { wanted, epoch }) = inner.board.closed() {
            let reached = inner.board.free.len() >= wanted as usize;
            let ahead = inner.ahead(asking, reached);
            if !reached || ahead > 0 {
                return Pick::Wait(reached.then_some(inner.grace()));
            }
            let rule_revision = inner.board.rule().1;
            let mark = self.keys.open(&epoch);
            return Pick::Open {
                mark,
                rule_revision,
            };
        }
        let draining = inner.board.control.map(|(control, _)| control) == Some(Control::Drain);
        if draining && inner.board.items.is_empty() {
            return Pick::Drained;
        }
        let work = inner.board.claimable().next().is_some();
        let ahead = inner.ahead(asking, work);
        let grace = inner.grace();
        let (tried, taken) = (&inner.tried, &inner.taken);
        let mut free = inner
            .board
            .claimable()
            .filter(|id| !tried.contains_key(*id) && !taken.contains_key(*id));
        let place = if asking.strict {
            0
        } else {
            // Whoever was beaten twice sees the queue otherwise than the others do.
            let spread = f64::from(asking.beaten.saturating_sub(1).min(16) * 2);
            ahead + (spread * chance) as usize
        };
        let mut last = None;
        let found = free.by_ref().take(place + 1).enumerate().last();
        if let Some((at, id)) = found {
            // Fewer items than workers ahead: they are for those.
            last = (at == place).then(|| id.to_owned());
        }
        let some = found.is_some();
        drop(free);
        let Some(id) = last else {
            return Pick::Wait(some.then_some(grace));
        };
        let offer = self.offer(&inner.board, &id);
        let Some(offer) = offer else {
            return Pick::Wait(Some(grace));
        };
        inner.tried.insert(id.clone(), asking.own.to_owned());
        let trying = Trying {
            feed: Arc::clone(self),
            id,
        };
        if offer.ticket.attempts >= asking.max_attempts {
            return Pick::Bury(offer, trying);
        }
        Pick::Try(offer, trying)
    }

    /// An item for a worker that holds one and ends it now; none if those that wait need all.
    ///
    /// Many may ask before any of them is seen to have claimed something, so each has a share of
    /// the items by itself: what another that is slow leaves alone is taken by those that wait.
    pub(super) fn pick_beside(self: &Arc<Self>, asking: &Asking<'_>) -> Option<(Offer, Trying)> {
        let mut inner = self.inner.lock();
        self.catch_up(&mut inner);
        let inner = &mut *inner;
        let work = inner.board.claimable().next().is_some();
        let ahead = inner.ahead(asking, work);
        let mut workers = inner.board.workers.keys();
        let others = workers.len();
        let (many, own) = match workers.position(|other| **other == *asking.own) {
            Some(own) => (others, own),
            // One that was given its item at once has no registration.
            None => (others + 1, others),
        };
        let (tried, taken) = (&inner.tried, &inner.taken);
        let mut free = inner
            .board
            .claimable()
            .filter(|id| !tried.contains_key(*id) && !taken.contains_key(*id))
            .skip(ahead)
            .take(many * SHARE);
        let id = match asking.strict {
            true => free.next(),
            false => free.find(|id| share(id, many) == own),
        };
        let id = id?.to_owned();
        drop(free);
        let offer = self.offer(&inner.board, &id)?;
        if offer.ticket.attempts >= asking.max_attempts {
            return None;
        }
        inner.tried.insert(id.clone(), asking.own.to_owned());
        let trying = Trying {
            feed: Arc::clone(self),
            id,
        };
        Some((offer, trying))
    }

    fn offer(&self, board: &Board, id: &str) -> Option<Offer> {
        let item = Arc::clone(board.items.get(id)?);
        let ticket = board.ticket(id).cloned().unwrap_or_default();
        let (rule, rule_revision) = board.rule();
        let mut needs: Vec<Bytes> = ticket.after.iter().map(|id| self.keys.done(id)).collect();
        needs.extend(ticket.gate.as_ref().map(|gate| self.keys.gate(gate)));
        needs.extend(match &rule.condition {
            super::Condition::Count(_) => Some(self.keys.open(&rule.epoch)),
            super::Condition::Gate(gate) if ticket.opens.as_ref() != Some(gate) => {
                Some(self.keys.gate(gate))
            }
            _ => None,
        });
        needs.sort();
        needs.dedup();
        Some(Offer {
            id: id.to_owned(),
            item,
            ticket_revision: board.ticket_revision(id),
            ticket,
            control_revision: board.control.map_or(0, |(_, revision)| revision),
            rule_revision,
            needs,
        })
    }
}

impl Inner {
    fn grace(&self) -> Duration {
        let some_claims = self.claim_time * GRACE_CLAIMS;
        some_claims.clamp(GRACE, GRACE_LIMIT)
    }

    /// How many idle workers have waited longer than the one that asks, without those that leave
    /// the `work` there is alone.
    fn ahead(&mut self, asking: &Asking<'_>, work: bool) -> usize {
        let busy: std::collections::BTreeSet<&str> = self
            .board
            .claims
            .values()
            .filter_map(|pair| std::str::from_utf8(&pair.value).ok())
            .map(|value| value.split('#').next().unwrap_or_default())
            .chain(self.tried.values().map(|own| &**own))
            .collect();
        let mine = match self.board.workers.get(asking.own) {
            Some(since) if asking.registered => *since,
            _ => i64::MAX,
        };
        let idle = self.board.workers.iter();
        let mut idle: Vec<(i64, &String)> = idle
            .filter(|(own, since)| **since < mine && !busy.contains(&***own))
            // One of this program that does not ask will not take any.
            .filter(|(own, _)| self.here.get(*own) != Some(&false))
            .map(|(own, since)| (*since, own))
            .collect();
        idle.sort_unstable();
        let now = Instant::now();
        let grace = self.grace();
        let mut ahead = 0;
        let mut limit = grace;
        for (since, own) in &idle {
            let seen = self.slow.get(*own).filter(|(at, _)| at == since && work);
            let begun = seen.map_or(now, |(_, begun)| *begun);
            if work {
                self.slow.insert((*own).clone(), (*since, begun));
            }
            // One after the other, or all would stop to wait at once.
            ahead += usize::from(now.duration_since(begun) < limit);
            limit += grace;
        }
        if !work {
            self.slow.clear();
        }
        let workers = &self.board.workers;
        // The keys of this epoch's workers may be on their way; there are only so many names.
        let epoch = post::epoch_of(asking.own);
        self.here.retain(|own, waits| {
            *waits || post::epoch_of(own) == epoch || workers.contains_key(own)
        });
        self.slow.retain(|own, _| workers.contains_key(own));
        ahead
    }
}

/// Which of `many` workers an item is for. Everybody must find the same.
fn share(id: &str, many: usize) -> usize {
    // FNV-1a, with its upper half folded in.
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    ((hash ^ hash >> 32) % many.max(1) as u64) as usize
}
