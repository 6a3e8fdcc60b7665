//! The server side of one watch RPC.
//!
//! Owns the requests of the stream, the ids it gives, progress notifications, and the order of
//! all that with events. How events are found is in `live` and `catch_up`.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use handfast_proto::etcdserverpb::watch_request::RequestUnion;
use handfast_proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};

use super::History;
use super::delivery::Delivery;
use super::hub::{Wake, WatchHub};
use super::respond::{Output, response};
use super::watcher::Watcher;
use crate::KeyRange;

/// Above this size in bytes a response is split for a watcher that asked for fragments, unless
/// the stream was told otherwise: the default request limit and half a MiB.
pub const DEFAULT_MAX_RESPONSE_BYTES: usize = 1_572_864 + (512 << 10);

/// The id of a response that belongs to no watcher, or to all.
const NO_WATCHER: i64 = -1;

// Clients compare these texts.
const REASON_EMPTY_RANGE: &str = "mvcc: watcher range is empty";
const REASON_DUPLICATE_ID: &str = "mvcc: duplicate watch ID provided on the WatchStream";
const REASON_COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";

enum Request {
    Create(WatchCreateRequest),
    Refuse(String),
    Cancel(i64),
    Progress,
}

/// One watch RPC.
///
/// Everything happens in [`WatchStream::poll`]; the other methods only note what is to be done,
/// so whoever calls them polls afterwards. A stream must not be handed requests without limit
/// while its responses cannot be sent.
pub struct WatchStream {
    delivery: Delivery,
    requests: VecDeque<Request>,
    tick_due: bool,
}

impl fmt::Debug for WatchStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchStream")
            .field("seat", &self.delivery.seat)
            .field("watchers", &self.watchers())
            .field("position", &self.delivery.position)
            .finish_non_exhaustive()
    }
}

impl WatchHub {
    /// Opens a stream. `wake` is called when there is something new to poll for; handing in a
    /// request or a tick does not call it.
    pub fn open_stream(self: &Arc<Self>, wake: Wake) -> WatchStream {
        let (seat, mailbox) = self.join(wake);
        let hub = Arc::clone(self);
        WatchStream {
            delivery: Delivery::new(hub, seat, mailbox, DEFAULT_MAX_RESPONSE_BYTES),
            requests: VecDeque::new(),
            tick_due: false,
        }
    }
}

impl WatchStream {
    /// Sets the size in bytes above which a response is split for who asked for fragments.
    #[must_use]
    pub fn with_max_response_bytes(mut self, bytes: usize) -> WatchStream {
        self.delivery.max_response_bytes = bytes;
        self
    }

    /// Takes a create, cancel or progress request. One with nothing in it is ignored.
    pub fn handle(&mut self, request: WatchRequest) {
        self.requests.push_back(match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => Request::Create(create),
            Some(RequestUnion::CancelRequest(cancel)) => Request::Cancel(cancel.watch_id),
            Some(RequestUnion::ProgressRequest(_)) => Request::Progress,
            None => return,
        });
    }

    /// Answers a create request that was refused before it came here, in its turn.
    pub fn refuse_create(&mut self, reason: impl Into<String>) {
        self.requests.push_back(Request::Refuse(reason.into()));
    }

    /// Notes that the progress-notify period passed.
    pub fn progress_tick(&mut self) {
        self.tick_due = true;
    }

    /// How many watchers run on this stream.
    pub fn watchers(&self) -> usize {
        self.delivery.watchers.len()
    }

    /// How many of them still read history.
    pub fn catching_up(&self) -> usize {
        self.delivery.catching_up.len()
    }

    /// Appends what is ready to `responses`, up to about `budget_bytes`.
    ///
    /// At least one response is appended if there is one. True when there is more to do at once:
    /// poll again as soon as these responses are on their way. After false, wait for the wake.
    /// Of the headers only the revision is set (0 for an end by compaction); the caller fills in
    /// cluster, member and term.
    pub fn poll(
        &mut self,
        history: &dyn History,
        responses: &mut Vec<WatchResponse>,
        budget_bytes: usize,
    ) -> bool {
        let mut output = Output::new(responses, budget_bytes);
        self.serve_requests(history, &mut output);
        if self.requests.is_empty() {
            self.delivery.deliver_live(history, &mut output);
            self.delivery.catch_up(history, &mut output);
            self.notify_progress(&mut output);
        }
        !self.requests.is_empty()
            || !self.delivery.catching_up.is_empty()
            || self.delivery.live.is_pending()
            || self.tick_due
            || self.delivery.mailbox.has_notes()
    }

    fn serve_requests(&mut self, history: &dyn History, output: &mut Output<'_>) {
        while !output.is_full() {
            let Some(request) = self.requests.pop_front() else {
                return;
            };
            match request {
                Request::Create(create) => self.create(&create, history, output),
                Request::Refuse(reason) => self.refuse(&reason, history, output),
                Request::Cancel(id) => self.cancel(id, history, output),
                Request::Progress => {
                    // A watcher made just before may be one step from being synced.
                    self.delivery.catch_up(history, output);
                    self.delivery.deliver_live(history, output);
                    if self.delivery.live.is_pending() {
                        self.requests.push_front(Request::Progress);
                        return;
                    }
                    self.answer_progress(output);
                }
            }
        }
    }

    fn current(&self, history: &dyn History) -> i64 {
        history.revision().max(self.delivery.hub.published())
    }

    fn create(
        &mut self,
        request: &WatchCreateRequest,
        history: &dyn History,
        output: &mut Output<'_>,
    ) {
        let range = own_range(request);
        let refusal = if range.is_empty() {
            Some(REASON_EMPTY_RANGE)
        } else if request.start_revision < 0 {
            Some(REASON_COMPACTED)
        } else if request.watch_id != 0 && self.delivery.watchers.has_id(request.watch_id) {
            Some(REASON_DUPLICATE_ID)
        } else {
            None
        };
        if let Some(reason) = refusal {
            return self.refuse(reason, history, output);
        }
        let id = match request.watch_id {
            0 => self.delivery.watchers.pick_id(),
            chosen => chosen,
        };
        let (slot, first) = self
            .delivery
            .watchers
            .insert(Watcher::new(id, range.clone(), request));
        if first {
            self.delivery.hub.register(self.delivery.seat, &range);
        }
        // Read after registering: what is committed later is noted for this stream.
        let current = self.current(history);
        if let Some(watcher) = self.delivery.watchers.get_mut(slot) {
            watcher.synced = watcher.start == 0 || watcher.start > current;
            if watcher.start == 0 {
                watcher.next = current + 1;
            }
            if !watcher.synced {
                self.delivery.catching_up.push(slot);
            }
        }
        let mut created = response(id, current, Vec::new());
        created.created = true;
        output.push_control(created);
    }

    fn refuse(&mut self, reason: &str, history: &dyn History, output: &mut Output<'_>) {
        let mut refused = response(NO_WATCHER, self.current(history), Vec::new());
        refused.created = true;
        refused.canceled = true;
        refused.cancel_reason = reason.to_owned();
        output.push_control(refused);
    }

    fn cancel(&mut self, id: i64, history: &dyn History, output: &mut Output<'_>) {
        let Some(slot) = self.delivery.watchers.release_id(id) else {
            return;
        };
        if let Some(slot) = slot {
            self.delivery.catching_up.retain(|other| *other != slot);
            self.delivery.drop_watcher(slot);
        }
        let mut canceled = response(id, self.current(history), Vec::new());
        canceled.canceled = true;
        output.push_control(canceled);
    }

    /// Answers a progress request, if every watcher is where the answer says.
    fn answer_progress(&mut self, output: &mut Output<'_>) {
        let mut watchers = self.delivery.watchers.iter().peekable();
        if watchers.peek().is_some() && watchers.all(|w| w.has_reached(self.delivery.position)) {
            output.push_control(response(NO_WATCHER, self.delivery.position, Vec::new()));
        }
    }

    fn notify_progress(&mut self, output: &mut Output<'_>) {
        if !self.tick_due || self.delivery.live.is_pending() {
            return;
        }
        self.tick_due = false;
        let position = self.delivery.position;
        for (_, watcher) in self
            .delivery
            .watchers
            .iter_mut()
            .filter(|(_, w)| w.progress_notify)
        {
            let busy = std::mem::take(&mut watcher.busy);
            if !busy && watcher.has_reached(position) {
                output.push_control(response(watcher.id, position, Vec::new()));
            }
        }
    }
}

/// The range of a request, in memory of its own: the request's is a slice of a network buffer.
fn own_range(request: &WatchCreateRequest) -> KeyRange {
    let key = if request.key.is_empty() {
        Bytes::from_static(b"\0")
    } else {
        Bytes::copy_from_slice(&request.key)
    };
    KeyRange::parse(&key, &Bytes::copy_from_slice(&request.range_end))
}
