//! Watches without the client core, which would hide what a server says twice.
//!
//! Owns short watches that begin in the past, so that each passes from there to the present.

use std::sync::Arc;

use handfast_checker::{Delivery, Event, EventKind, KeyRange, WatchId, WatchRequest};
use handfast_core::proto::etcdserverpb::{
    WatchCreateRequest, WatchRequest as Message, WatchResponse, watch_client::WatchClient,
    watch_request::RequestUnion,
};
use handfast_core::proto::mvccpb::{self, event::EventType};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;

use super::{KV_PREFIX, Patron, convert};

/// Opens one watch after the other until the run is over.
pub(super) async fn work(patron: Arc<Patron>) {
    let mut count = 0;
    loop {
        let pause = patron.draw(|dice| dice.millis(300..2_000));
        if !patron.pause(pause).await {
            return;
        }
        count += 1;
        let _busy = patron.at(format!("bare watch {count}"));
        let span = patron.draw(|dice| dice.millis(500..4_000));
        tokio::select! {
            biased;
            () = patron.stop.cancelled() => return,
            () = sleep(span) => {}
            _ = one(&patron, count) => {}
        }
    }
}

/// `None` when the connection ended.
async fn one(patron: &Patron, count: u32) -> Option<()> {
    let range = KeyRange::prefix(KV_PREFIX);
    let read = patron.client.range(range.key.clone()).prefix();
    let revision = read.serializable().count_only().await.ok()?.header.revision;
    let back = patron.draw(|dice| dice.range(0..40)) as i64;
    let start_revision = (revision - back).max(1);
    let channel = patron.client.channel(None).await.ok()?;
    let (send, requests) = mpsc::channel(1);
    let create = WatchCreateRequest {
        key: range.key.clone(),
        range_end: range.range_end.clone(),
        start_revision,
        ..WatchCreateRequest::default()
    };
    let request_union = Some(RequestUnion::CreateRequest(create));
    send.send(Message { request_union }).await.ok()?;
    let name = format!("client {}: bare watch {count}", patron.number);
    let request = WatchRequest {
        range,
        start_revision,
        ..WatchRequest::default()
    };
    let id = patron.recorder.watch(name, request);
    let mut client = WatchClient::new(channel);
    let answer = client.watch(ReceiverStream::new(requests)).await.ok()?;
    let mut stream = answer.into_inner();
    while let Some(message) = stream.message().await.ok()? {
        if !note(patron, id, message) {
            return None;
        }
    }
    drop(send);
    None
}

/// Whether the watch goes on.
fn note(patron: &Patron, id: WatchId, message: WatchResponse) -> bool {
    let revision = message.header.map_or(0, |header| header.revision);
    let delivery = if message.canceled && message.compact_revision > 0 {
        Delivery::Compacted {
            compact_revision: message.compact_revision,
        }
    } else if message.canceled {
        Delivery::Cancelled {
            why: message.cancel_reason,
        }
    } else if message.created {
        Delivery::Created { revision }
    } else if message.events.is_empty() {
        Delivery::Progress { revision }
    } else {
        Delivery::Events {
            revision,
            events: message.events.into_iter().filter_map(event).collect(),
            fragment: message.fragment,
        }
    };
    patron.recorder.delivered(patron.now(), id, delivery);
    !message.canceled
}

fn event(event: mvccpb::Event) -> Option<Event> {
    let kind = match event.r#type() {
        EventType::Put => EventKind::Put,
        EventType::Delete => EventKind::Delete,
    };
    Some(Event {
        kind,
        kv: convert::pair(event.kv?),
        prev_kv: event.prev_kv.map(convert::pair),
    })
}
