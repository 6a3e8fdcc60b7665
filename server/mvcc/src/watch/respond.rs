//! Responses and their size.
//!
//! Owns how events become messages: the pair before, splitting into fragments, and the budget of
//! one poll. Knows nothing of cursors.

use handfast_proto::Message;
use handfast_proto::etcdserverpb::{ResponseHeader, WatchResponse};
use handfast_proto::mvccpb::{self, KeyValue, event::EventType};

use super::{History, HistoryError};
use crate::recent::Event;

/// What a response costs besides its events, in bytes.
const RESPONSE_OVERHEAD: usize = 64;

/// Tag and length of one event in a response, and the response's other fields, at most, in bytes.
const EVENT_FRAME: usize = 8;
const RESPONSE_FRAME: usize = 128;

/// What one poll has produced, and how much it may.
pub(super) struct Output<'a> {
    responses: &'a mut Vec<WatchResponse>,
    spent: usize,
    budget: usize,
}

impl<'a> Output<'a> {
    pub(super) fn new(responses: &'a mut Vec<WatchResponse>, budget: usize) -> Output<'a> {
        Output {
            responses,
            spent: 0,
            budget,
        }
    }

    /// Whether the budget is used up. Never before the first response, so every poll gets on.
    pub(super) fn is_full(&self) -> bool {
        self.spent > 0 && self.spent >= self.budget
    }

    pub(super) fn left(&self) -> usize {
        self.budget.saturating_sub(self.spent)
    }

    /// Appends a response without events.
    pub(super) fn push_control(&mut self, response: WatchResponse) {
        self.push(response, 0);
    }

    fn push(&mut self, response: WatchResponse, event_bytes: usize) {
        self.spent += RESPONSE_OVERHEAD + event_bytes;
        self.responses.push(response);
    }

    /// Appends the response for some events, split if it is larger than `split_above` bytes.
    pub(super) fn push_events(
        &mut self,
        id: i64,
        revision: i64,
        events: Vec<mvccpb::Event>,
        split_above: Option<usize>,
    ) {
        let size = |event: &mvccpb::Event| event.encoded_len() + EVENT_FRAME;
        let Some(limit) = split_above else {
            let bytes = events.iter().map(rough_size).sum();
            return self.push(response(id, revision, events), bytes);
        };
        let mut part = Vec::new();
        let mut part_bytes = RESPONSE_FRAME;
        for event in events {
            let bytes = size(&event);
            if !part.is_empty() && part_bytes + bytes > limit {
                let mut full = response(id, revision, std::mem::take(&mut part));
                full.fragment = true;
                self.push(full, part_bytes);
                part_bytes = RESPONSE_FRAME;
            }
            part.push(event);
            part_bytes += bytes;
        }
        self.push(response(id, revision, part), part_bytes);
    }
}

/// The end of a watcher that cannot be given what it asked for.
pub(super) fn unreadable(id: i64, reason: &str) -> WatchResponse {
    WatchResponse {
        canceled: true,
        cancel_reason: format!("etcdserver: cannot read history: {reason}"),
        ..response(id, 0, Vec::new())
    }
}

/// A response of a watcher at a revision; the API layer fills the rest of the header.
pub(super) fn response(id: i64, revision: i64, events: Vec<mvccpb::Event>) -> WatchResponse {
    WatchResponse {
        header: Some(ResponseHeader {
            revision,
            ..ResponseHeader::default()
        }),
        watch_id: id,
        events,
        ..WatchResponse::default()
    }
}

fn rough_size(event: &mvccpb::Event) -> usize {
    let pair = |kv: &Option<KeyValue>| kv.as_ref().map_or(0, |kv| kv.key.len() + kv.value.len());
    64 + pair(&event.kv) + pair(&event.prev_kv)
}

/// Some events of which any number of watchers gets a selection.
pub(super) struct Sheet<'a> {
    events: &'a [Event],
    history: &'a dyn History,
    /// The pairs before, looked up at most once for all watchers.
    previous: Vec<Option<Option<KeyValue>>>,
}

impl<'a> Sheet<'a> {
    pub(super) fn new(events: &'a [Event], history: &'a dyn History) -> Sheet<'a> {
        Sheet {
            events,
            history,
            previous: Vec::new(),
        }
    }

    /// The message for event `number`; its keys and values are shared, not copied.
    ///
    /// # Errors
    /// Why the pair before it cannot be read.
    pub(super) fn message(&mut self, number: u32, prev_kv: bool) -> Result<mvccpb::Event, String> {
        let event = &self.events[number as usize];
        let kind = if event.tombstone {
            EventType::Delete
        } else {
            EventType::Put
        };
        let prev_kv = if prev_kv {
            self.previous(number as usize)?
        } else {
            None
        };
        Ok(mvccpb::Event {
            r#type: kind as i32,
            kv: Some(event.kv.clone()),
            prev_kv,
        })
    }

    fn previous(&mut self, number: usize) -> Result<Option<KeyValue>, String> {
        let event = &self.events[number];
        if event.is_creation() {
            return Ok(None);
        }
        if self.previous.is_empty() {
            self.previous.resize(self.events.len(), None);
        }
        if let Some(known) = &self.previous[number] {
            return Ok(known.clone());
        }
        let read = read_previous(event, self.history)?;
        Ok(self.previous[number].insert(read).clone())
    }
}

fn read_previous(event: &Event, history: &dyn History) -> Result<Option<KeyValue>, String> {
    match history.previous(event) {
        Ok(pair) => Ok(pair),
        Err(HistoryError::Compacted { .. }) => Ok(None),
        Err(HistoryError::Storage(reason)) => {
            tracing::error!(
                revision = event.main(),
                reason,
                "cannot read the pair before an event"
            );
            Err(reason)
        }
    }
}
