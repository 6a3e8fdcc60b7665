//! The watchers of one stream.
//!
//! Owns their cursors, options and ids, and the lookup of watchers by key. Knows nothing of what
//! is sent when.

use std::collections::HashMap;

use handfast_proto::etcdserverpb::WatchCreateRequest;
use handfast_proto::etcdserverpb::watch_create_request::FilterType;

use super::interest::Interest;
use crate::KeyRange;
use crate::recent::Event;

/// A cursor into the history of a range.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) id: i64,
    pub(super) range: KeyRange,
    /// The revision the client asked to start from, 0 for "from now on".
    pub(super) start: i64,
    /// The first revision that was not looked at for this watcher.
    pub(super) next: i64,
    /// Whether the stream's live walk serves it; otherwise it is catching up.
    pub(super) synced: bool,
    no_put: bool,
    no_delete: bool,
    pub(super) prev_kv: bool,
    pub(super) fragment: bool,
    pub(super) progress_notify: bool,
    /// Whether it got events since the last progress tick.
    pub(super) busy: bool,
}

impl Watcher {
    /// A watcher for a request; its cursor and whether it is synced are the caller's to set.
    pub(super) fn new(id: i64, range: KeyRange, request: &WatchCreateRequest) -> Watcher {
        let filtered = |filter: FilterType| request.filters.contains(&(filter as i32));
        Watcher {
            id,
            range,
            start: request.start_revision,
            next: request.start_revision,
            synced: false,
            no_put: filtered(FilterType::Noput),
            no_delete: filtered(FilterType::Nodelete),
            prev_kv: request.prev_kv,
            fragment: request.fragment,
            progress_notify: request.progress_notify,
            busy: false,
        }
    }

    /// Whether an event in its range is one to send, as far as cursor and filters go.
    pub(super) fn wants(&self, event: &Event) -> bool {
        let filtered = if event.tombstone {
            self.no_delete
        } else {
            self.no_put
        };
        !filtered && self.next <= event.main()
    }

    /// Whether a progress notification at `revision` would be true and in order for it.
    pub(super) fn has_reached(&self, revision: i64) -> bool {
        self.synced && self.start <= revision
    }
}

/// Watchers by slot, by id and by key.
#[derive(Debug)]
pub(super) struct Watchers {
    slots: Vec<Option<Watcher>>,
    free: Vec<u32>,
    /// The slot of an id; `None` for a watcher that compaction ended, which keeps its id.
    ids: HashMap<i64, Option<u32>>,
    next_id: i64,
    pub(super) interest: Interest,
}

impl Watchers {
    pub(super) fn new() -> Watchers {
        Watchers {
            slots: Vec::new(),
            free: Vec::new(),
            ids: HashMap::new(),
            next_id: 0,
            interest: Interest::new(),
        }
    }

    /// The next free id counted by the server.
    pub(super) fn pick_id(&mut self) -> i64 {
        while self.ids.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        self.next_id - 1
    }

    pub(super) fn has_id(&self, id: i64) -> bool {
        self.ids.contains_key(&id)
    }

    /// Adds a watcher; true if no other one has exactly its range.
    pub(super) fn insert(&mut self, watcher: Watcher) -> (u32, bool) {
        let slot = self.free.pop().unwrap_or(self.slots.len() as u32);
        let first = self.interest.insert(&watcher.range, slot);
        self.ids.insert(watcher.id, Some(slot));
        match self.slots.get_mut(slot as usize) {
            Some(place) => *place = Some(watcher),
            None => self.slots.push(Some(watcher)),
        }
        (slot, first)
    }

    /// Frees an id. `None` if it is unknown, else the slot its watcher had, if it still runs.
    pub(super) fn release_id(&mut self, id: i64) -> Option<Option<u32>> {
        self.ids.remove(&id)
    }

    /// Keeps an id from being used again although its watcher ended.
    pub(super) fn block_id(&mut self, id: i64) {
        self.ids.insert(id, None);
    }

    /// Takes a watcher out; true if no other one has exactly its range. Its id stays taken.
    pub(super) fn remove(&mut self, slot: u32) -> Option<(Watcher, bool)> {
        let watcher = self.slots.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        let last = self.interest.remove(&watcher.range, slot);
        Some((watcher, last))
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Watcher> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Watcher> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// How many watchers run.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The running watchers.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Watcher> {
        self.slots.iter().flatten()
    }

    /// The running watchers with their slots.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Watcher)> {
        let slots = self.slots.iter_mut().enumerate();
        slots.filter_map(|(slot, watcher)| Some((slot as u32, watcher.as_mut()?)))
    }

    /// Finds the synced watchers an event concerns, as `(slot, number)`.
    pub(super) fn find_synced(&self, event: &Event, number: u32, found: &mut Vec<(u32, u32)>) {
        self.interest.visit(&event.kv.key, |slots| {
            for slot in slots {
                if self.get(*slot).is_some_and(|w| w.synced && w.wants(event)) {
                    found.push((*slot, number));
                }
            }
        });
    }
}
