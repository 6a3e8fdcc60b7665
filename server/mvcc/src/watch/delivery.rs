//! What there is to deliver on one stream.
//!
//! Owns the stream's watchers, its seat at the hub and how far each kind of delivery is: `live` and
//! `catch_up` work on it. Knows nothing of requests.

use std::sync::Arc;

use super::hub::{Mailbox, Notes, WatchHub};
use super::respond::{Output, Sheet, unreadable};
use super::watcher::{Watcher, Watchers};

/// The notes that were taken from the mailbox, and how far they are worked off.
#[derive(Default)]
pub(super) struct Live {
    pub(super) notes: Notes,
    pub(super) done: usize,
    /// Every revision up to here was looked at by the hub before the notes were taken.
    pub(super) published: i64,
}

impl Live {
    pub(super) fn is_pending(&self) -> bool {
        self.done < self.notes.hits.len() || self.notes.walk.is_some()
    }

    /// Where the stream is once these notes are worked off.
    pub(super) fn end(&self) -> i64 {
        let last_hit = self.notes.hits.last().copied().unwrap_or(0);
        let last_walked = self.notes.walk.map_or(0, |(_, through)| through);
        self.published.max(last_hit).max(last_walked)
    }
}

/// The delivery of one stream.
pub(super) struct Delivery {
    pub(super) hub: Arc<WatchHub>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) seat: u32,
    pub(super) watchers: Watchers,
    /// The slots of the watchers that are not synced.
    pub(super) catching_up: Vec<u32>,
    pub(super) live: Live,
    /// All synced watchers were sent what concerns them up to this revision.
    pub(super) position: i64,
    pub(super) max_response_bytes: usize,
    /// Scratch space: `(slot, number of the event)`.
    pub(super) found: Vec<(u32, u32)>,
}

impl Delivery {
    pub(super) fn new(
        hub: Arc<WatchHub>,
        seat: u32,
        mailbox: Arc<Mailbox>,
        max_response_bytes: usize,
    ) -> Delivery {
        let position = hub.published();
        Delivery {
            hub,
            mailbox,
            seat,
            watchers: Watchers::new(),
            catching_up: Vec::new(),
            live: Live::default(),
            position,
            max_response_bytes,
            found: Vec::new(),
        }
    }

    /// Sends one watcher its selection of a sheet and moves its cursor past `revision`. One that
    /// asked for the pairs before and cannot have them ends: it can go on elsewhere.
    pub(super) fn send(
        &mut self,
        selection: &[(u32, u32)],
        revision: i64,
        sheet: &mut Sheet<'_>,
        output: &mut Output<'_>,
    ) {
        let Some((slot, _)) = selection.first() else {
            return;
        };
        let Some(watcher) = self.watchers.get_mut(*slot) else {
            return;
        };
        let numbers = selection.iter().map(|(_, number)| *number);
        let events = numbers
            .map(|number| sheet.message(number, watcher.prev_kv))
            .collect::<Result<Vec<_>, _>>();
        let events = match events {
            Ok(events) => events,
            Err(reason) => {
                let (slot, id) = (*slot, watcher.id);
                self.catching_up.retain(|other| *other != slot);
                drop(self.drop_watcher(slot));
                self.watchers.release_id(id);
                return output.push_control(unreadable(id, &reason));
            }
        };
        watcher.busy = true;
        watcher.next = revision + 1;
        let split_above = watcher.fragment.then_some(self.max_response_bytes);
        output.push_events(watcher.id, revision, events, split_above);
    }

    /// Ends a watcher, leaving its id and its place in `catching_up` to the caller.
    pub(super) fn drop_watcher(&mut self, slot: u32) -> Option<Watcher> {
        let (watcher, last) = self.watchers.remove(slot)?;
        if last {
            self.hub.unregister(self.seat, &watcher.range);
        }
        Some(watcher)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let slots: Vec<u32> = self.watchers.iter_mut().map(|(slot, _)| slot).collect();
        // Backwards, for that is the order in which removal is cheap.
        for slot in slots.into_iter().rev() {
            self.drop_watcher(slot);
        }
        self.hub.leave(self.seat);
    }
}
