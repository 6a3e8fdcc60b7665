//! A watch stream in the background that sorts what arrives, and what should arrive.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use handfast_proto::{
    etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse, watch_request::RequestUnion},
    mvccpb::{Event, KeyValue, event::EventType},
};
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use crate::{Result, client::Client};

/// A server that has not sent an event after this long will not send it.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(15);

/// What has arrived on a stream so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrived {
    /// Replies to creation, in order.
    pub(super) created: Vec<WatchResponse>,
    /// Cancellations that are no refusals, in order.
    pub(super) canceled: Vec<WatchResponse>,
    /// Events by watcher, in order. An id that is used again starts an empty list.
    pub(super) events: HashMap<i64, Vec<Event>>,
    /// How the stream ended.
    pub(super) ended: Option<String>,
}

#[derive(Debug, Default)]
struct Inbox {
    arrived: Mutex<Arrived>,
    changed: Notify,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Arrived> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, response: WatchResponse) {
        let mut arrived = self.lock();
        if response.created {
            if !response.canceled {
                arrived.events.insert(response.watch_id, Vec::new());
            }
            arrived.created.push(response);
        } else if response.canceled {
            arrived.canceled.push(response);
        } else {
            arrived
                .events
                .entry(response.watch_id)
                .or_default()
                .extend(response.events);
        }
    }
}

/// One open stream. Dropping it ends the stream.
#[derive(Debug)]
pub(super) struct Stream {
    requests: mpsc::Sender<WatchRequest>,
    inbox: Arc<Inbox>,
    task: tokio::task::JoinHandle<()>,
}

impl Stream {
    /// Opens a stream; the first request makes the connection.
    #[must_use]
    pub(super) fn open(client: &Client) -> Self {
        let (requests, receiver) = mpsc::channel(16);
        let inbox = Arc::new(Inbox::default());
        let task = tokio::spawn(receive(client.clone(), receiver, Arc::clone(&inbox)));
        Self {
            requests,
            inbox,
            task,
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When the stream has ended.
    pub(super) async fn send(&self, request: RequestUnion) -> Result<()> {
        let request = WatchRequest {
            request_union: Some(request),
        };
        let sent = self.requests.send(request).await;
        sent.map_err(|_| "the watch stream has ended".into())
    }

    /// Looks at what has arrived.
    pub(super) fn look<T>(&self, at: impl FnOnce(&Arrived) -> T) -> T {
        at(&self.inbox.lock())
    }

    /// Waits until `enough` is true of what has arrived. False when it is not within the limit.
    pub(super) async fn wait(&self, enough: impl Fn(&Arrived) -> bool) -> bool {
        let waiting = async {
            loop {
                let changed = self.inbox.changed.notified();
                if self.look(&enough) {
                    return true;
                }
                if self.look(|arrived| arrived.ended.is_some()) {
                    return false;
                }
                changed.await;
            }
        };
        tokio::time::timeout(ARRIVAL_LIMIT, waiting)
            .await
            .unwrap_or(false)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(mut client: Client, requests: mpsc::Receiver<WatchRequest>, inbox: Arc<Inbox>) {
    let ended = match client.watch.watch(ReceiverStream::new(requests)).await {
        Err(status) => status.to_string(),
        Ok(responses) => {
            let mut responses = responses.into_inner();
            loop {
                match responses.message().await {
                    Ok(Some(response)) => inbox.take(response),
                    Ok(None) => break "the server closed the stream".to_owned(),
                    Err(status) => break status.to_string(),
                }
                inbox.changed.notify_waiters();
            }
        }
    };
    inbox.lock().ended = Some(ended);
    inbox.changed.notify_waiters();
}

/// A watcher that both servers accepted.
#[derive(Clone, Debug)]
pub(super) struct Watcher {
    /// The id that the servers gave, the same on both.
    pub(super) id: i64,
    /// The request, with absolute revisions.
    pub(super) request: WatchCreateRequest,
    /// The store's revision at its creation.
    pub(super) created_at: i64,
    /// Whether it starts below what was compacted then: it is cancelled instead of served.
    pub(super) is_compacted: bool,
    /// The compacted revision at its creation.
    pub(super) compacted: i64,
}

/// A deletion at the very revision that was compacted: see `accepted`.
pub(super) fn is_last_tombstone(event: &Event, compacted: i64) -> bool {
    let revision = event.kv.as_ref().map(|pair| pair.mod_revision);
    event.r#type == EventType::Delete as i32 && revision == Some(compacted)
}

impl Watcher {
    /// Which of the store's events this watcher must get.
    #[must_use]
    pub(super) fn expects(&self, event: &Event) -> bool {
        let Some(pair) = &event.kv else { return false };
        let start = match self.request.start_revision {
            0 => self.created_at + 1,
            asked => asked,
        };
        let dropped = self.request.filters.contains(&event.r#type);
        !self.is_compacted
            && !is_last_tombstone(event, self.compacted)
            && pair.mod_revision >= start
            && !dropped
            && self.covers(pair)
    }

    fn covers(&self, pair: &KeyValue) -> bool {
        let (from, to) = (&self.request.key, &self.request.range_end);
        let from: &[u8] = if from.is_empty() { b"\0" } else { from };
        match to.as_ref() {
            b"" => pair.key == from,
            b"\0" => pair.key.as_ref() >= from,
            to => pair.key.as_ref() >= from && pair.key.as_ref() < to,
        }
    }
}
