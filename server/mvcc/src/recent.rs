//! The ring of recently committed events.
//!
//! Owns the window of revisions that are answered from memory: those the state file does not hold
//! yet, and as many older ones as the limits allow. Knows nothing of watchers, of the key index or
//! of how rows reach the disk.

use std::collections::VecDeque;
use std::sync::Arc;

use handfast_proto::mvccpb::KeyValue;
use parking_lot::RwLock;

/// What an event costs besides its key and value, in bytes.
const EVENT_OVERHEAD: usize = 160;

/// One change of one key.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The place within its revision, counted from 0 in execution order.
    pub sub: u32,
    /// Whether the key was deleted; `kv` then has only `key` and `mod_revision`.
    pub tombstone: bool,
    /// The pair after the change; `mod_revision` is the main revision of the event.
    pub kv: KeyValue,
}

impl Event {
    /// The main revision.
    pub fn main(&self) -> i64 {
        self.kv.mod_revision
    }

    /// Whether this put made a key that did not exist before.
    pub fn is_creation(&self) -> bool {
        !self.tombstone && self.kv.create_revision == self.kv.mod_revision
    }

    /// Roughly what the event takes in memory and on the wire, in bytes.
    pub fn cost(&self) -> usize {
        self.kv.key.len() + self.kv.value.len() + EVENT_OVERHEAD
    }
}

/// All events of one main revision, in execution order.
#[derive(Debug)]
pub struct Commit {
    main: i64,
    cost: usize,
    events: Box<[Event]>,
}

impl Commit {
    /// Takes the events of revision `main`, which must be there in ascending `sub`.
    pub fn new(main: i64, events: Vec<Event>) -> Arc<Commit> {
        debug_assert!(!events.is_empty());
        debug_assert!(events.iter().all(|event| event.main() == main));
        debug_assert!(events.is_sorted_by(|a, b| a.sub < b.sub));
        let cost = events.iter().map(Event::cost).sum();
        Arc::new(Commit {
            main,
            cost,
            events: events.into_boxed_slice(),
        })
    }

    /// The main revision.
    pub fn main(&self) -> i64 {
        self.main
    }

    /// Roughly what its events take in memory, in bytes.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// The events, ascending by `sub`.
    pub fn events(&self) -> &[Event] {
        &self.events
    }
}

/// How much flushed history the ring keeps. What is not flushed is kept beyond both limits.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Limit in bytes of keys, values and overhead.
    pub bytes: usize,
    /// Limit in revisions.
    pub revisions: usize,
}

impl Default for Window {
    fn default() -> Self {
        Window {
            bytes: 32 << 20,
            revisions: 10_000,
        }
    }
}

#[derive(Debug)]
struct Ring {
    revisions: VecDeque<Arc<Commit>>,
    /// Every revision from here on is in the ring.
    floor: i64,
    last: i64,
    flushed: i64,
    bytes: usize,
    unflushed_bytes: usize,
}

impl Ring {
    fn empty(revision: i64) -> Ring {
        Ring {
            revisions: VecDeque::new(),
            floor: revision + 1,
            last: revision,
            flushed: revision,
            bytes: 0,
            unflushed_bytes: 0,
        }
    }

    /// The index of the first revision that is not below `main`.
    fn index_of(&self, main: i64) -> usize {
        self.revisions
            .partition_point(|revision| revision.main < main)
    }

    fn trim(&mut self, window: &Window) {
        while self.bytes > window.bytes || self.revisions.len() > window.revisions {
            match self.revisions.front() {
                Some(oldest) if oldest.main <= self.flushed => {
                    self.floor = oldest.main + 1;
                    self.bytes -= oldest.cost;
                    self.revisions.pop_front();
                }
                _ => return,
            }
        }
    }
}

/// The ring. All methods take `&self`; every lock hold is short and never blocks on I/O.
#[derive(Debug)]
pub struct Recent {
    window: Window,
    ring: RwLock<Ring>,
}

impl Recent {
    /// An empty ring for a store that is at `revision`, all of it on disk.
    pub fn new(window: Window, revision: i64) -> Recent {
        Recent {
            window,
            ring: RwLock::new(Ring::empty(revision)),
        }
    }

    /// Forgets everything: the store was replaced by one at `revision`, all of it on disk.
    pub fn reset(&self, revision: i64) {
        *self.ring.write() = Ring::empty(revision);
    }

    /// Appends the revisions of one apply batch, ascending and newer than all before.
    ///
    /// Must happen before readers can see the new revision and before the batch is published.
    pub fn push(&self, batch: &[Arc<Commit>]) {
        let mut ring = self.ring.write();
        for revision in batch {
            debug_assert!(revision.main > ring.last);
            ring.last = revision.main;
            ring.bytes += revision.cost;
            ring.unflushed_bytes += revision.cost;
            ring.revisions.push_back(Arc::clone(revision));
        }
        ring.trim(&self.window);
    }

    /// Notes that every revision up to `revision` is on disk, so that it may leave the ring.
    pub fn set_flushed(&self, revision: i64) {
        let mut ring = self.ring.write();
        let revision = revision.min(ring.last);
        if revision <= ring.flushed {
            return;
        }
        let range = ring.index_of(ring.flushed + 1)..ring.index_of(revision + 1);
        let freed: usize = ring
            .revisions
            .range(range)
            .map(|revision| revision.cost)
            .sum();
        ring.unflushed_bytes -= freed;
        ring.flushed = revision;
        ring.trim(&self.window);
    }

    /// Every revision from this one on is in the ring.
    pub fn floor(&self) -> i64 {
        self.ring.read().floor
    }

    /// The newest revision that was pushed.
    pub fn revision(&self) -> i64 {
        self.ring.read().last
    }

    /// What the revisions that are not on disk yet take, in bytes.
    pub fn unflushed_bytes(&self) -> usize {
        self.ring.read().unflushed_bytes
    }

    /// What all revisions in the ring take, in bytes.
    pub fn bytes(&self) -> usize {
        self.ring.read().bytes
    }

    /// The events of one revision, unless it has left the ring or is not there yet.
    pub fn get(&self, main: i64) -> Option<Arc<Commit>> {
        let ring = self.ring.read();
        let revision = ring.revisions.get(ring.index_of(main))?;
        (revision.main == main).then(|| Arc::clone(revision))
    }

    /// The pair written at `(main, sub)`, a tombstone's too, while the ring holds it.
    pub fn value_of(&self, main: i64, sub: u32) -> Option<KeyValue> {
        let revision = self.get(main)?;
        let index = revision
            .events
            .binary_search_by_key(&sub, |event| event.sub)
            .ok()?;
        Some(revision.events[index].kv.clone())
    }

    /// Up to `max` revisions from `from` on, ascending. `None` when `from` has left the ring.
    pub fn read_from(&self, from: i64, max: usize) -> Option<Vec<Arc<Commit>>> {
        let ring = self.ring.read();
        if from < ring.floor {
            return None;
        }
        let start = ring.index_of(from);
        let end = ring.revisions.len().min(start.saturating_add(max));
        Some(ring.revisions.range(start..end).cloned().collect())
    }

    /// Every revision that is not on disk yet, ascending, until their cost passes `max_bytes`.
    pub fn unflushed(&self, max_bytes: usize) -> Vec<Arc<Commit>> {
        let ring = self.ring.read();
        let mut cost = 0;
        let pending = ring.revisions.range(ring.index_of(ring.flushed + 1)..);
        pending
            .take_while(|revision| {
                let fits = cost < max_bytes;
                cost += revision.cost;
                fits
            })
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn revision(main: i64, size: usize) -> Arc<Commit> {
        let kv = KeyValue {
            key: format!("k{main}").into_bytes().into(),
            value: vec![7; size].into(),
            mod_revision: main,
            create_revision: main,
            version: 1,
            lease: 0,
        };
        let second = Event {
            sub: 1,
            tombstone: true,
            kv: kv.clone(),
        };
        Commit::new(
            main,
            vec![
                Event {
                    sub: 0,
                    tombstone: false,
                    kv,
                },
                second,
            ],
        )
    }

    fn mains(revisions: &[Arc<Commit>]) -> Vec<i64> {
        revisions.iter().map(|revision| revision.main()).collect()
    }

    #[test]
    fn what_is_not_flushed_stays_beyond_the_limits() {
        let recent = Recent::new(
            Window {
                bytes: 1,
                revisions: 1,
            },
            5,
        );
        recent.push(&[revision(6, 10), revision(7, 10), revision(8, 10)]);
        assert_eq!(recent.floor(), 6);
        assert_eq!(mains(&recent.unflushed(usize::MAX)), [6, 7, 8]);
        assert_eq!(mains(&recent.unflushed(1)), [6]);
        assert!(recent.value_of(6, 1).is_some());
        recent.set_flushed(7);
        assert_eq!(recent.floor(), 8);
        assert_eq!(recent.value_of(7, 0), None);
        assert_eq!(recent.read_from(7, 10).map(|read| mains(&read)), None);
        assert_eq!(
            recent.read_from(8, 10).map(|read| mains(&read)),
            Some(vec![8])
        );
        assert_eq!(
            recent.read_from(9, 10).map(|read| mains(&read)),
            Some(vec![])
        );
        assert_eq!(recent.unflushed_bytes(), recent.bytes());
    }

    #[test]
    fn a_flush_mark_beyond_the_end_leaves_later_revisions_unflushed() {
        let recent = Recent::new(Window::default(), 1);
        recent.set_flushed(9);
        recent.push(&[revision(2, 1)]);
        assert_eq!(mains(&recent.unflushed(usize::MAX)), [2]);
        assert_ne!(recent.unflushed_bytes(), 0);
    }

    #[test]
    fn a_reset_store_starts_above_its_revision() {
        let recent = Recent::new(Window::default(), 1);
        recent.push(&[revision(2, 1)]);
        recent.reset(40);
        assert_eq!(
            (recent.floor(), recent.revision(), recent.bytes()),
            (41, 40, 0)
        );
        assert!(recent.get(2).is_none());
        recent.push(&[revision(41, 1)]);
        assert!(recent.get(41).is_some());
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_list(steps in prop::collection::vec((0u8..3, 0usize..300), 1..80)) {
            let window = Window { bytes: 3_000, revisions: 6 };
            let recent = Recent::new(window, 1);
            let (mut last, mut flushed) = (1, 1);
            for (kind, size) in steps {
                if kind < 2 {
                    last += 1;
                    recent.push(&[revision(last, size)]);
                } else {
                    flushed = last.min(flushed + size as i64 % 4);
                    recent.set_flushed(flushed);
                }
                let floor = recent.floor();
                prop_assert!(floor <= flushed + 1);
                let held = recent.read_from(floor, usize::MAX).unwrap();
                prop_assert_eq!(mains(&held), (floor..=last).collect::<Vec<_>>());
                let cost: usize = held.iter().map(|revision| revision.cost()).sum();
                prop_assert_eq!(cost, recent.bytes());
                let over = cost > window.bytes || held.len() > window.revisions;
                prop_assert!(!over || floor == flushed + 1);
                let waiting: usize = held
                    .iter()
                    .filter(|revision| revision.main() > flushed)
                    .map(|revision| revision.cost())
                    .sum();
                prop_assert_eq!(waiting, recent.unflushed_bytes());
            }
        }
    }
}
