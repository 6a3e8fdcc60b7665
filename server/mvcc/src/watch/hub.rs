//! The registry of watched ranges.
//!
//! Owns which stream wants which range, and the note each stream gets of the revisions it has to
//! look at. Knows nothing of single watchers: a stream finds its own.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;

use super::interest::Interest;
use crate::KeyRange;
use crate::recent::{Commit, Recent};

/// A stream that is not polled is noted this many revisions; after that it walks the ring.
const MAX_NOTED: usize = if cfg!(test) { 4 } else { 1024 };

/// Called when a stream has something to poll for. It is called from apply and must only signal.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Revisions a stream has to look at, all ascending.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) hits: Vec<i64>,
    /// First and last revision of those that were not noted singly; they come after `hits`.
    pub(super) walk: Option<(i64, i64)>,
}

impl Notes {
    fn is_empty(&self) -> bool {
        self.hits.is_empty() && self.walk.is_none()
    }
}

/// Where the hub leaves a stream its notes.
pub(super) struct Mailbox {
    notes: Mutex<Notes>,
    wake: Wake,
}

impl Mailbox {
    /// Notes revisions `from..=through`; true if the stream must be woken for them.
    fn note(&self, from: i64, through: i64) -> bool {
        let mut notes = self.notes.lock();
        let was_empty = notes.is_empty();
        if let Some((_, last)) = &mut notes.walk {
            *last = through;
        } else if from == through && notes.hits.len() < MAX_NOTED {
            notes.hits.push(from);
        } else {
            notes.walk = Some((from, through));
        }
        was_empty
    }

    pub(super) fn has_notes(&self) -> bool {
        !self.notes.lock().is_empty()
    }

    /// Takes all notes. `hits` is left behind for reuse and must be empty.
    pub(super) fn take(&self, mut hits: Vec<i64>) -> Notes {
        hits.clear();
        std::mem::replace(&mut *self.notes.lock(), Notes { hits, walk: None })
    }
}

struct Seat {
    mailbox: Arc<Mailbox>,
    last_hit: i64,
}

struct Registry {
    interest: Interest,
    seats: Vec<Option<Seat>>,
    free: Vec<u32>,
}

impl Registry {
    /// Notes a commit for every stream it concerns, adding the mailboxes to wake.
    fn note(&mut self, commit: &Commit, wakes: &mut Vec<Arc<Mailbox>>) {
        let Registry {
            interest, seats, ..
        } = self;
        let main = commit.main();
        for event in commit.events() {
            interest.visit(&event.kv.key, |members| {
                for member in members {
                    let Some(seat) = &mut seats[*member as usize] else {
                        continue;
                    };
                    if seat.last_hit != main {
                        seat.last_hit = main;
                        if seat.mailbox.note(main, main) {
                            wakes.push(Arc::clone(&seat.mailbox));
                        }
                    }
                }
            });
        }
    }
}

/// The registry of watched ranges, one per store.
pub struct WatchHub {
    recent: Arc<Recent>,
    registry: Mutex<Registry>,
    published: AtomicI64,
}

impl fmt::Debug for WatchHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchHub")
            .field("published", &self.published())
            .finish_non_exhaustive()
    }
}

impl WatchHub {
    /// A hub that serves what `recent` holds.
    pub fn new(recent: Arc<Recent>) -> Arc<WatchHub> {
        let registry = Registry {
            interest: Interest::new(),
            seats: Vec::new(),
            free: Vec::new(),
        };
        let published = AtomicI64::new(recent.revision());
        Arc::new(WatchHub {
            recent,
            registry: Mutex::new(registry),
            published,
        })
    }

    /// The ring this hub reads.
    pub fn recent(&self) -> &Arc<Recent> {
        &self.recent
    }

    /// Tells the streams that have a matching watcher that there are new events.
    ///
    /// Called once per batch, after [`Recent::push`], and best before the write section of the
    /// batch ends: then nobody can read a revision that a progress notification does not cover.
    pub fn publish(&self, batch: &[Arc<Commit>]) {
        let Some(last) = batch.last() else { return };
        let mut wakes = Vec::new();
        {
            let mut registry = self.registry.lock();
            if !registry.interest.is_empty() {
                for commit in batch {
                    registry.note(commit, &mut wakes);
                }
            }
            self.published.store(last.main(), Ordering::Release);
        }
        for mailbox in wakes {
            (mailbox.wake)();
        }
    }

    /// Tells every stream that the store was replaced by one at `revision`.
    ///
    /// Called after [`Recent::reset`]. Watchers continue from history, or are cancelled as
    /// compacted where the new store does not reach back to them.
    pub fn reset(&self, revision: i64) {
        let mailboxes: Vec<_> = {
            let registry = self.registry.lock();
            let first = self.published.swap(revision, Ordering::AcqRel) + 1;
            let seats = registry.seats.iter().flatten();
            let missed = seats.filter(|seat| seat.mailbox.note(first, revision.max(first)));
            missed.map(|seat| Arc::clone(&seat.mailbox)).collect()
        };
        for mailbox in mailboxes {
            (mailbox.wake)();
        }
    }

    /// The newest revision every stream was told of.
    pub fn published(&self) -> i64 {
        self.published.load(Ordering::Acquire)
    }

    /// How many streams are open.
    pub fn streams(&self) -> usize {
        let registry = self.registry.lock();
        registry.seats.len() - registry.free.len()
    }

    /// Gives a new stream its seat and the place where it finds its notes.
    pub(super) fn join(&self, wake: Wake) -> (u32, Arc<Mailbox>) {
        let mailbox = Arc::new(Mailbox {
            notes: Mutex::default(),
            wake,
        });
        let seat = Seat {
            mailbox: Arc::clone(&mailbox),
            last_hit: 0,
        };
        let mut registry = self.registry.lock();
        let number = match registry.free.pop() {
            Some(number) => {
                registry.seats[number as usize] = Some(seat);
                number
            }
            None => {
                registry.seats.push(Some(seat));
                (registry.seats.len() - 1) as u32
            }
        };
        (number, mailbox)
    }

    pub(super) fn register(&self, seat: u32, range: &KeyRange) {
        self.registry.lock().interest.insert(range, seat);
    }

    pub(super) fn unregister(&self, seat: u32, range: &KeyRange) {
        self.registry.lock().interest.remove(range, seat);
    }

    /// Gives the seat back; all its ranges must be unregistered.
    pub(super) fn leave(&self, seat: u32) {
        let mut registry = self.registry.lock();
        registry.seats[seat as usize] = None;
        registry.free.push(seat);
    }
}
