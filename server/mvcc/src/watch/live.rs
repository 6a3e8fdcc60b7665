//! Delivery to synced watchers.
//!
//! Owns the walk over the revisions the hub noted for the stream: each is looked at once, whatever
//! the number of watchers. Knows nothing of watchers that are catching up.

use super::History;
use super::delivery::{Delivery, Live};
use super::respond::{Output, Sheet};
use crate::recent::Event;

/// How many revisions are taken from the ring at once when it is walked.
const WALK_STEP: usize = 64;

impl Delivery {
    /// Sends the synced watchers what was noted, one response per watcher and revision.
    pub(super) fn deliver_live(&mut self, history: &dyn History, output: &mut Output<'_>) {
        if !self.live.is_pending() {
            // Read before the notes: those taken then cover at least this revision.
            self.live.published = self.hub.published();
            let hits = std::mem::take(&mut self.live.notes.hits);
            self.live.notes = self.mailbox.take(hits);
            self.live.done = 0;
        }
        let end = self.live.end();
        while let Some(main) = self.live.notes.hits.get(self.live.done).copied() {
            let Some(commit) = self.hub.recent().get(main) else {
                return self.fall_behind(main);
            };
            if !self.deliver(main, commit.events(), history, output) {
                return;
            }
            self.live.done += 1;
        }
        while let Some((from, through)) = self.live.notes.walk {
            let Some(commits) = self.hub.recent().read_from(from, WALK_STEP) else {
                return self.fall_behind(from);
            };
            let end_of_step = commits.last().map_or(through, |commit| commit.main());
            for commit in commits.iter().filter(|commit| commit.main() <= through) {
                if !self.deliver(commit.main(), commit.events(), history, output) {
                    self.live.notes.walk = Some((commit.main(), through));
                    return;
                }
            }
            let rest = (end_of_step + 1, through);
            self.live.notes.walk = (end_of_step < through).then_some(rest);
        }
        self.position = self.position.max(end);
    }

    /// Sends the events of one revision. False when the budget ended before the last watcher; to
    /// call it again sends the rest, for the cursors know who had it.
    fn deliver(
        &mut self,
        main: i64,
        events: &[Event],
        history: &dyn History,
        output: &mut Output<'_>,
    ) -> bool {
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        for (number, event) in events.iter().enumerate() {
            self.watchers.find_synced(event, number as u32, &mut found);
        }
        found.sort_unstable();
        let mut sheet = Sheet::new(events, history);
        let mut complete = true;
        for selection in found.chunk_by(|a, b| a.0 == b.0) {
            if output.is_full() {
                complete = false;
                break;
            }
            self.send(selection, main, &mut sheet, output);
        }
        self.found = found;
        complete
    }

    /// The ring has lost `main` before it was delivered: all watchers catch up from there.
    fn fall_behind(&mut self, main: i64) {
        self.position = self.position.max(self.live.published);
        self.live = Live::default();
        for (slot, watcher) in self
            .watchers
            .iter_mut()
            .filter(|(_, watcher)| watcher.synced)
        {
            watcher.synced = false;
            watcher.next = watcher.next.max(main);
            self.catching_up.push(slot);
        }
    }
}
