//! Delivery to watchers that are behind.
//!
//! Owns the replay of history in bounded steps, one scan for all watchers that are at the same
//! place, and the end of watchers whose history was compacted. Knows nothing of synced watchers.

use handfast_fault::{Fault, active};

use super::delivery::Delivery;
use super::respond::{Output, Sheet, response, unreadable};
use super::watcher::{Watcher, Watchers};
use super::{History, HistoryError};
use crate::recent::Event;

/// The most revisions with events in one response.
const MAX_REVISIONS: usize = 1000;

/// The most events looked at in one poll, so that a poll ends soon.
const MAX_EVENTS: usize = 10_000;

/// Up to this many watchers are asked one by one, which is cheaper than the lookup by key.
const FEW: usize = if cfg!(test) { 2 } else { 8 };

/// A piece of history and who wants what of it.
struct Piece<'a> {
    watchers: &'a Watchers,
    from: i64,
    participants: Vec<u32>,
    budget: usize,
    events: Vec<Event>,
    found: Vec<(u32, u32)>,
    looked_at: usize,
    cost: usize,
    revisions: usize,
    last_matched: i64,
    current: i64,
    /// The first revision that was not looked at, if the piece ended before the history did.
    stopped_at: Option<i64>,
}

impl<'a> Piece<'a> {
    fn new(watchers: &'a Watchers, catching_up: &[u32], from: i64, budget: usize) -> Piece<'a> {
        let takes_part = |slot: &u32| {
            watchers
                .get(*slot)
                .is_some_and(|watcher| watcher.next >= from)
        };
        Piece {
            watchers,
            from,
            participants: catching_up.iter().copied().filter(takes_part).collect(),
            budget,
            events: Vec::new(),
            found: Vec::new(),
            looked_at: 0,
            cost: 0,
            revisions: 0,
            last_matched: 0,
            current: 0,
            stopped_at: None,
        }
    }

    fn is_full(&self) -> bool {
        self.revisions >= MAX_REVISIONS
            || self.looked_at >= MAX_EVENTS
            || self.cost >= self.budget.max(1)
    }

    /// Takes the next event; false, without having taken it, when the piece is full. It fills up
    /// between revisions only.
    fn offer(&mut self, event: &Event) -> bool {
        let main = event.main();
        if main != self.current {
            if self.is_full() {
                self.stopped_at = Some(main);
                return false;
            }
            self.current = main;
        }
        self.looked_at += 1;
        let before = self.found.len();
        self.find(event);
        let matched = self.found.len() - before;
        if matched > 0 {
            self.cost += matched * event.cost();
            self.events.push(event.clone());
            if self.last_matched != main {
                self.last_matched = main;
                self.revisions += 1;
            }
        }
        true
    }

    fn find(&mut self, event: &Event) {
        let number = self.events.len() as u32;
        let (watchers, from) = (self.watchers, self.from);
        if self.participants.len() <= FEW {
            for slot in &self.participants {
                let Some(watcher) = watchers.get(*slot) else {
                    continue;
                };
                if watcher.wants(event) && watcher.range.contains(&event.kv.key) {
                    self.found.push((*slot, number));
                }
            }
            return;
        }
        let found = &mut self.found;
        watchers.interest.visit(&event.kv.key, |slots| {
            for slot in slots {
                let Some(watcher) = watchers.get(*slot) else {
                    continue;
                };
                if !watcher.synced && watcher.next >= from && watcher.wants(event) {
                    found.push((*slot, number));
                }
            }
        });
    }
}

impl Delivery {
    /// Replays a bounded amount of history to the watchers that are behind.
    pub(super) fn catch_up(&mut self, history: &dyn History, output: &mut Output<'_>) {
        let mut left = MAX_EVENTS;
        while left > 0 && !self.catching_up.is_empty() && !output.is_full() {
            let compacted = history.compact_revision();
            self.cancel_below(compacted, compacted, output);
            self.sync(self.hub.recent().revision());
            // Those the ring can serve go first: a long replay must not hold them up.
            let floor = self.hub.recent().floor();
            let looked_at = match self.lowest_cursor(floor) {
                Some(from) => self.replay_ring(from, history, output),
                None => 0,
            };
            let below = self.lowest_cursor(0).filter(|from| *from < floor);
            let read = match below {
                Some(from) => self.replay_disk(from, floor - 1, history, output),
                None => 0,
            };
            left = left.saturating_sub(looked_at + read + 1);
        }
    }

    fn lowest_cursor(&self, at_least: i64) -> Option<i64> {
        let watchers = self
            .catching_up
            .iter()
            .filter_map(|slot| self.watchers.get(*slot));
        watchers
            .map(|watcher| watcher.next)
            .filter(|next| *next >= at_least)
            .min()
    }

    /// Hands the watchers over that have seen everything up to `through`, the newest revision.
    fn sync(&mut self, through: i64) {
        let watchers = &mut self.watchers;
        self.catching_up
            .retain(|slot| match watchers.get_mut(*slot) {
                Some(watcher) => {
                    watcher.synced = watcher.next > through;
                    if active(Fault::WatchRepeatsRevision) && watcher.synced && watcher.start > 0 {
                        (watcher.start, watcher.next, watcher.synced) = (0, through, false);
                    }
                    !watcher.synced
                }
                None => false,
            });
    }

    fn replay_ring(&mut self, from: i64, history: &dyn History, output: &mut Output<'_>) -> usize {
        let recent = self.hub.recent();
        let through = recent.revision();
        let Some(commits) = recent.read_from(from, MAX_REVISIONS) else {
            return 0;
        };
        let mut piece = Piece::new(&self.watchers, &self.catching_up, from, output.left());
        let mut end = through + 1;
        if commits.len() == MAX_REVISIONS {
            end = commits.last().map_or(end, |commit| commit.main() + 1);
        }
        let wanted = commits.iter().filter(|commit| commit.main() < end);
        for event in wanted.flat_map(|commit| commit.events()) {
            if !piece.offer(event) {
                break;
            }
        }
        let Piece {
            events,
            found,
            looked_at,
            stopped_at,
            ..
        } = piece;
        let end = stopped_at.unwrap_or(end);
        self.hand_out((from, end), &events, found, history, output);
        self.sync(through);
        looked_at
    }

    fn replay_disk(
        &mut self,
        from: i64,
        through: i64,
        history: &dyn History,
        output: &mut Output<'_>,
    ) -> usize {
        let mut piece = Piece::new(&self.watchers, &self.catching_up, from, output.left());
        let read = history.events(from, through, &mut |event| piece.offer(&event));
        let Piece {
            events,
            found,
            looked_at,
            stopped_at,
            ..
        } = piece;
        match read {
            Ok(()) => {
                let end = stopped_at.unwrap_or(through + 1);
                self.hand_out((from, end), &events, found, history, output);
            }
            Err(HistoryError::Compacted { compacted }) => {
                self.cancel_below(compacted.max(from + 1), compacted, output);
            }
            Err(HistoryError::Storage(reason)) => {
                tracing::error!(from, reason, "cannot read history for watchers");
                self.cancel_unreadable(&reason, through, output);
            }
        }
        looked_at
    }

    /// Sends what was found in the revisions `span.0..span.1` and moves the cursors of those who
    /// took part.
    fn hand_out(
        &mut self,
        span: (i64, i64),
        events: &[Event],
        mut found: Vec<(u32, u32)>,
        history: &dyn History,
        output: &mut Output<'_>,
    ) {
        let (from, end) = span;
        found.sort_unstable();
        let mut sheet = Sheet::new(events, history);
        for selection in found.chunk_by(|a, b| a.0 == b.0) {
            self.send(selection, end - 1, &mut sheet, output);
        }
        for slot in &self.catching_up {
            if let Some(watcher) = self.watchers.get_mut(*slot)
                && watcher.next >= from
            {
                let skipped = i64::from(active(Fault::WatchSkipsRevision));
                watcher.next = watcher.next.max(end + skipped);
            }
        }
    }

    /// Ends the watchers that need revisions below `lowest`, which compaction took.
    fn cancel_below(&mut self, lowest: i64, compacted: i64, output: &mut Output<'_>) {
        for watcher in self.take_behind(lowest) {
            self.watchers.block_id(watcher.id);
            let mut canceled = response(watcher.id, 0, Vec::new());
            canceled.canceled = true;
            canceled.compact_revision = compacted;
            output.push_control(canceled);
        }
    }

    fn cancel_unreadable(&mut self, reason: &str, through: i64, output: &mut Output<'_>) {
        for watcher in self.take_behind(through + 1) {
            self.watchers.release_id(watcher.id);
            output.push_control(unreadable(watcher.id, reason));
        }
    }

    fn take_behind(&mut self, lowest: i64) -> Vec<Watcher> {
        let watchers = &self.watchers;
        let is_behind = |slot: &u32| watchers.get(*slot).is_some_and(|w| w.next < lowest);
        let (behind, rest) = self
            .catching_up
            .iter()
            .copied()
            .partition::<Vec<u32>, _>(is_behind);
        self.catching_up = rest;
        behind
            .into_iter()
            .rev()
            .filter_map(|slot| self.drop_watcher(slot))
            .collect()
    }
}
