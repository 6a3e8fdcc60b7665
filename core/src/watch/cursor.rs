//! How far one watch has come.
//!
//! Owns the bookkeeping that makes a watch gapless: which revision to ask for next, what was
//! delivered already, and the parts of a response that was split. Knows nothing of streams.

use handfast_proto::{etcdserverpb::WatchResponse, mvccpb};

use super::event::{Event, WatchEvent};

#[derive(Debug)]
pub(super) struct Cursor {
    /// What to ask the server for; 0 means from now on.
    next: i64,
    /// The last revision of which changes were delivered; nothing at or below is delivered again.
    delivered: i64,
    /// Changes of a revision whose end has not come yet.
    partial: Vec<mvccpb::Event>,
}

/// A cursor as it was, to return to when a report could not be handed on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    next: i64,
    delivered: i64,
}

impl Cursor {
    pub(super) fn new(start_revision: i64) -> Self {
        Self {
            next: start_revision,
            delivered: (start_revision - 1).max(0),
            partial: Vec::new(),
        }
    }

    pub(super) fn next(&self) -> i64 {
        self.next
    }

    /// The server made the watch when the store was at `revision`.
    pub(super) fn created(&mut self, revision: i64) {
        self.partial.clear();
        if self.next == 0 {
            self.next = revision + 1;
            self.delivered = revision;
        }
    }

    /// Takes a response that is not about the watch itself; what it says, if anything.
    pub(super) fn take(&mut self, response: WatchResponse) -> Option<WatchEvent> {
        let split = response.fragment;
        if response.events.is_empty() && self.partial.is_empty() {
            let revision = response.header.map_or(0, |header| header.revision);
            return (!split).then(|| self.progress(revision)).flatten();
        }
        let mut changes = std::mem::take(&mut self.partial);
        changes.extend(response.events);
        if split {
            // The last revision may go on in the next part; what is before it is whole.
            let last = changes.last().map_or(0, revision_of);
            let whole = changes.partition_point(|change| revision_of(change) < last);
            self.partial = changes.split_off(whole);
        }
        let floor = self.delivered;
        let events: Vec<Event> = changes
            .into_iter()
            .filter(|change| revision_of(change) > floor)
            .filter_map(Event::read)
            .collect();
        let revision = events.last()?.kv.mod_revision;
        self.delivered = revision;
        // Not the header's revision: during a replay it is ahead of what was sent.
        self.next = self.next.max(revision + 1);
        Some(WatchEvent::Events { revision, events })
    }

    /// Nothing up to `revision` is still to come.
    pub(super) fn progress(&mut self, revision: i64) -> Option<WatchEvent> {
        // One that is behind says nothing new; one before the watch began says too little.
        if revision < self.next - 1 || revision == 0 || !self.partial.is_empty() {
            return None;
        }
        // `delivered` stays: some servers report progress ahead of changes they then send.
        self.next = revision + 1;
        Some(WatchEvent::Progress { revision })
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            next: self.next,
            delivered: self.delivered,
        }
    }

    pub(super) fn rewind(&mut self, mark: Mark) {
        self.next = mark.next;
        self.delivered = mark.delivered;
        self.partial.clear();
    }

    /// The stream broke: unfinished parts will be sent again.
    pub(super) fn broken(&mut self) {
        self.partial.clear();
    }
}

fn revision_of(change: &mvccpb::Event) -> i64 {
    change.kv.as_ref().map_or(0, |pair| pair.mod_revision)
}

#[cfg(test)]
mod tests {
    use super::*;
    use handfast_proto::{etcdserverpb::ResponseHeader, mvccpb::KeyValue};
    use proptest::prelude::*;

    fn response(header: i64, revisions: &[i64], fragment: bool) -> WatchResponse {
        let events = revisions
            .iter()
            .map(|revision| mvccpb::Event {
                kv: Some(KeyValue {
                    mod_revision: *revision,
                    ..Default::default()
                }),
                ..Default::default()
            })
            .collect();
        WatchResponse {
            header: Some(ResponseHeader {
                revision: header,
                ..Default::default()
            }),
            events,
            fragment,
            ..Default::default()
        }
    }

    fn revisions(event: Option<WatchEvent>) -> Vec<i64> {
        match event {
            Some(WatchEvent::Events { events, revision }) => {
                let all: Vec<i64> = events.iter().map(|event| event.kv.mod_revision).collect();
                assert_eq!(all.last(), Some(&revision));
                all
            }
            Some(WatchEvent::Progress { .. }) | None => Vec::new(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_replay_resumes_after_its_last_change_not_its_header() {
        let mut cursor = Cursor::new(3);
        cursor.created(5000);
        assert_eq!(cursor.next(), 3);
        assert_eq!(
            revisions(cursor.take(response(5000, &[3, 4], false))),
            [3, 4]
        );
        assert_eq!(cursor.next(), 5);
    }

    #[test]
    fn a_watch_from_now_on_resumes_after_its_creation() {
        let mut cursor = Cursor::new(0);
        cursor.created(7);
        assert_eq!(cursor.next(), 8);
        cursor.created(20);
        assert_eq!(cursor.next(), 8, "a second creation is a resumption");
    }

    #[test]
    fn a_revision_split_over_parts_is_delivered_whole() {
        let mut cursor = Cursor::new(1);
        assert_eq!(revisions(cursor.take(response(9, &[1, 2, 2], true))), [1]);
        assert_eq!(revisions(cursor.take(response(9, &[2], true))), [0i64; 0]);
        assert!(cursor.progress(9).is_none(), "progress within a revision");
        assert_eq!(
            revisions(cursor.take(response(9, &[2, 3], false))),
            [2, 2, 2, 2, 3]
        );
    }

    #[test]
    fn parts_before_a_break_are_forgotten() {
        let mut cursor = Cursor::new(1);
        cursor.take(response(9, &[1, 2], true));
        cursor.broken();
        assert_eq!(cursor.next(), 2);
        assert_eq!(revisions(cursor.take(response(9, &[2, 2], false))), [2, 2]);
    }

    #[test]
    fn progress_moves_the_resume_point_but_hides_no_change() {
        let mut cursor = Cursor::new(0);
        cursor.created(5);
        assert_eq!(
            cursor.progress(9),
            Some(WatchEvent::Progress { revision: 9 })
        );
        assert_eq!(cursor.next(), 10);
        assert!(cursor.progress(8).is_none());
        assert_eq!(revisions(cursor.take(response(9, &[9], false))), [9]);
        assert_eq!(cursor.next(), 10);
    }

    proptest! {
        /// However a history is cut into responses and parts, with breaks anywhere, every change is
        /// delivered once and in order, and no revision is torn.
        #[test]
        fn nothing_is_lost_doubled_or_torn(
            sizes in prop::collection::vec(1usize..4, 1..12),
            cuts in prop::collection::vec((1usize..5, any::<bool>(), any::<bool>()), 1..60),
        ) {
            let history: Vec<i64> = sizes
                .iter()
                .enumerate()
                .flat_map(|(index, size)| vec![index as i64 + 1; *size])
                .collect();
            let mut cursor = Cursor::new(1);
            let mut delivered = Vec::new();
            let mut sent = 0;
            for (take, whole, breaks) in cuts {
                if breaks {
                    cursor.broken();
                    sent = history.partition_point(|revision| *revision < cursor.next());
                }
                let mut end = (sent + take).min(history.len());
                if whole {
                    while end < history.len() && history[end] == history[end - 1] {
                        end += 1;
                    }
                }
                let ends_revision = end == history.len() || history[end] != history[end - 1];
                let part = &history[sent..end];
                sent = end;
                if part.is_empty() {
                    continue;
                }
                let event = cursor.take(response(99, part, !(whole && ends_revision)));
                let batch = revisions(event);
                if let Some(last) = batch.last() {
                    let wanted = history.iter().filter(|revision| *revision == last).count();
                    let got = batch.iter().filter(|revision| *revision == last).count();
                    prop_assert_eq!(wanted, got, "a torn revision");
                }
                delivered.extend(batch);
            }
            prop_assert_eq!(&delivered[..], &history[..delivered.len()]);
        }
    }
}
