//! A watcher without the client core: it asks one member and shows what is on the wire.
//!
//! Whatever the core mends or leaves out is seen here. When its stream ends it asks the same
//! member again, from the revision after the last it had.

use std::time::Duration;

use handfast_checker::{Delivery, Event, EventKind, WatchRequest};
use handfast_proto::{
    etcdserverpb::{
        WatchCreateRequest, WatchProgressRequest, WatchRequest as WireRequest, WatchResponse,
        watch_request::RequestUnion,
    },
    mvccpb,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{Scene, convert, watching::Progress};
use crate::{Result, client::Client};

const AGAIN: Duration = Duration::from_millis(200);
/// An idle stream is asked how far it is.
const ASK_PROGRESS: Duration = Duration::from_millis(600);
/// A stream that says nothing for so long, though asked, is opened anew.
const SILENCES: u32 = 8;

/// The watcher of one member.
pub(super) struct Bare {
    scene: Scene,
    client: Client,
    request: WatchRequest,
    progress: Progress,
    /// The revision to go on from.
    next: i64,
    /// Whether the record has no creation yet.
    is_first: bool,
}

impl Bare {
    pub(super) fn new(
        scene: &Scene,
        endpoint: &str,
        request: WatchRequest,
        progress: Progress,
    ) -> Result<Self> {
        Ok(Self {
            scene: scene.clone(),
            client: Client::lazy(endpoint)?,
            next: request.start_revision,
            request,
            progress,
            is_first: true,
        })
    }

    pub(super) async fn work(mut self) {
        loop {
            // A broken stream is what a trial is about; the record shows where it went on.
            let _ = self.stream().await;
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn stream(&mut self) -> Result<(), Status> {
        let create = WatchCreateRequest {
            key: self.request.range.key.clone(),
            range_end: self.request.range.range_end.clone(),
            start_revision: self.next,
            prev_kv: self.request.prev_kv,
            fragment: true,
            ..WatchCreateRequest::default()
        };
        let (sender, receiver) = mpsc::channel(4);
        // The channel is empty and its receiver there.
        let _ = sender.try_send(wire(RequestUnion::CreateRequest(create)));
        let requests = ReceiverStream::new(receiver);
        let opened = timeout(ASK_PROGRESS * SILENCES, self.client.watch.watch(requests)).await;
        let mut responses = opened.map_err(|_| silent())??.into_inner();
        let mut silences = 0;
        loop {
            match timeout(ASK_PROGRESS, responses.message()).await {
                Ok(message) => {
                    silences = 0;
                    let message = message?.ok_or_else(silent)?;
                    if !self.take(message) {
                        return Ok(());
                    }
                }
                Err(_) if silences >= SILENCES => return Err(silent()),
                Err(_) => {
                    silences += 1;
                    if !self.scene.asks_progress {
                        continue;
                    }
                    let ask = RequestUnion::ProgressRequest(WatchProgressRequest {});
                    let _ = sender.try_send(wire(ask));
                }
            }
        }
    }

    /// Takes a message down; whether the watch goes on.
    fn take(&mut self, message: WatchResponse) -> bool {
        let revision = message.header.as_ref().map_or(0, |header| header.revision);
        if message.created && !message.canceled {
            if self.is_first {
                self.is_first = false;
                self.deliver(Delivery::Created { revision });
            } else {
                self.deliver(Delivery::Resumed { from: self.next });
            }
            return true;
        }
        if message.canceled {
            self.cancelled(&message);
            return false;
        }
        if message.events.is_empty() && !message.fragment {
            self.deliver(Delivery::Progress { revision });
            self.reached(revision);
            return true;
        }
        let events: Vec<Event> = message.events.into_iter().map(event).collect();
        let last = events.last().map_or(0, Event::revision);
        let fragment = message.fragment;
        self.deliver(Delivery::Events {
            revision,
            events,
            fragment,
        });
        if !fragment {
            self.reached(last);
        }
        true
    }

    fn cancelled(&mut self, message: &WatchResponse) {
        if message.compact_revision == 0 {
            // The member gave up for now, such as without a leader: asked again, it goes on.
            return;
        }
        let compact_revision = message.compact_revision;
        self.deliver(Delivery::Compacted { compact_revision });
        self.next = compact_revision;
        self.is_first = true;
        let request = WatchRequest {
            start_revision: self.next,
            ..self.request.clone()
        };
        let name = self.progress.name().to_owned();
        self.progress
            .again(self.scene.recorder.watch(name, request));
    }

    fn reached(&mut self, revision: i64) {
        self.next = self.next.max(revision + 1);
        self.progress.reached(revision);
    }

    fn deliver(&self, delivery: Delivery) {
        let now = self.scene.now();
        self.scene
            .recorder
            .delivered(now, self.progress.id(), delivery);
    }
}

fn wire(request: RequestUnion) -> WireRequest {
    WireRequest {
        request_union: Some(request),
    }
}

fn silent() -> Status {
    Status::deadline_exceeded("the watch is silent")
}

/// A change as the record has it.
fn event(event: mvccpb::Event) -> Event {
    Event {
        kind: match event.r#type() {
            mvccpb::event::EventType::Put => EventKind::Put,
            mvccpb::event::EventType::Delete => EventKind::Delete,
        },
        kv: event.kv.map(convert::pair).unwrap_or_default(),
        prev_kv: event.prev_kv.map(convert::pair),
    }
}
