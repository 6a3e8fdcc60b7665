//! One key with many watchers: each put is delivered to all of them.
//!
//! Owns the streams and the writer. An operation is one delivered event; its latency runs from
//! the put being sent to the event being read.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use futures::channel::mpsc::{self, UnboundedSender};
use handfast_proto::etcdserverpb::watch_client::WatchClient;
use handfast_proto::etcdserverpb::watch_request::RequestUnion;
use handfast_proto::etcdserverpb::{PutRequest, WatchCreateRequest, WatchRequest, WatchResponse};
use tokio::sync::Notify;
use tonic::{Status, Streaming};

use super::super::target::{key, refused};
use super::{Arena, Worker, workers};
use crate::exit::Failure;

/// What writer and readers share.
struct Fanout {
    sent: Cell<Instant>,
    /// Events of the present put that are still to come.
    missing: Cell<usize>,
    complete: Notify,
}

/// A stream with some watches; dropping the sender ends it.
struct Stream {
    _requests: UnboundedSender<WatchRequest>,
    responses: Streaming<WatchResponse>,
}

pub(super) async fn start(arena: &Rc<Arena>) -> Result<Vec<Worker>, Failure> {
    let watchers = arena.args.watchers;
    let streams = arena.channels.len().min(watchers);
    let mut opened = Vec::with_capacity(streams);
    for index in 0..streams {
        let share = watchers / streams + usize::from(index < watchers % streams);
        opened.push(
            open(arena, index, share)
                .await
                .map_err(|status| refused(&status))?,
        );
    }
    let fanout = Rc::new(Fanout {
        sent: Cell::new(Instant::now()),
        missing: Cell::new(0),
        complete: Notify::new(),
    });
    let writer_fanout = Rc::clone(&fanout);
    let mut started = workers(arena, 1, move |arena, _| {
        write(arena, Rc::clone(&writer_fanout))
    });
    for stream in opened {
        let slot = Cell::new(Some(stream));
        let fanout = Rc::clone(&fanout);
        started.extend(workers(arena, 1, move |arena, _| {
            read(arena, slot.take(), Rc::clone(&fanout))
        }));
    }
    Ok(started)
}

async fn open(arena: &Arena, index: usize, watches: usize) -> Result<Stream, Status> {
    let (requests, receiver) = mpsc::unbounded();
    for _ in 0..watches {
        let create = WatchCreateRequest {
            key: key("watched"),
            ..WatchCreateRequest::default()
        };
        let request = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        };
        // The receiver is in our hands.
        let _ = requests.unbounded_send(request);
    }
    let mut client = WatchClient::new(arena.channel(index)).max_decoding_message_size(usize::MAX);
    let mut responses = client.watch(receiver).await?.into_inner();
    let mut created = 0;
    while created < watches {
        let response = responses.message().await?.ok_or_else(ended)?;
        if response.canceled {
            return Err(Status::aborted(response.cancel_reason));
        }
        created += usize::from(response.created);
    }
    Ok(Stream {
        _requests: requests,
        responses,
    })
}

fn ended() -> Status {
    Status::aborted("the watch stream ended")
}

/// Puts, and waits until everybody has heard of it.
async fn write(arena: Rc<Arena>, fanout: Rc<Fanout>) -> Result<(), Status> {
    let mut client = arena.kv(0);
    while arena.gauge.goes_on() {
        let request = PutRequest {
            key: key("watched"),
            value: arena.value.clone(),
            ..PutRequest::default()
        };
        fanout.missing.set(arena.args.watchers);
        fanout.sent.set(Instant::now());
        client.put(request).await?;
        while fanout.missing.get() > 0 && arena.gauge.goes_on() {
            fanout.complete.notified().await;
        }
    }
    // Readers wait for events only; one more wakes them to see the end.
    let last = PutRequest {
        key: key("watched"),
        ..PutRequest::default()
    };
    client.put(last).await.map(drop)
}

async fn read(arena: Rc<Arena>, stream: Option<Stream>, fanout: Rc<Fanout>) -> Result<(), Status> {
    let Some(mut stream) = stream else {
        return Ok(());
    };
    while arena.gauge.goes_on() {
        let response = stream.responses.message().await?.ok_or_else(ended)?;
        for _ in &response.events {
            arena.gauge.record(fanout.sent.get());
        }
        let missing = fanout.missing.get().saturating_sub(response.events.len());
        fanout.missing.set(missing);
        if missing == 0 || !arena.gauge.goes_on() {
            fanout.complete.notify_one();
        }
    }
    Ok(())
}
