//! The first event of a watch that was just made at the present revision.
//!
//! Owns the order of put, watch and put. An operation is one such event; its latency runs from the
//! put being sent to the event being read.

use std::rc::Rc;
use std::time::Instant;

use handfast_proto::etcdserverpb::{PutRequest, WatchCreateRequest};
use handfast_proto::mvccpb::event::EventType;
use tonic::Status;

use super::super::target::key;
use super::stream::Watcher;
use super::{Arena, Worker, workers};

/// One worker: with more, others would move the revision on before the watch is made.
pub(super) fn start(arena: &Rc<Arena>) -> Vec<Worker> {
    workers(arena, 1, |arena, _| watch_again_and_again(arena))
}

async fn watch_again_and_again(arena: Rc<Arena>) -> Result<(), Status> {
    let mut client = arena.kv(0);
    let put = |name: &str| PutRequest {
        key: key(name),
        value: arena.value.clone(),
        ..PutRequest::default()
    };
    let mut watcher = None;
    while arena.gauge.goes_on() {
        // What happened at the present revision must not be an event of the watch.
        let elsewhere = client.put(put("fresh/elsewhere")).await?.into_inner();
        let create = WatchCreateRequest {
            key: key("fresh/watched"),
            start_revision: elsewhere.header.map_or(0, |header| header.revision),
            ..WatchCreateRequest::default()
        };
        let mut stream = Watcher::watch(watcher.take(), &arena, 0, create).await?;
        let own = stream.created().await?;
        let start = Instant::now();
        let event = async {
            stream.event(own, EventType::Put).await?;
            arena.gauge.record(start);
            Ok(())
        };
        futures::try_join!(client.put(put("fresh/watched")), event)?;
        stream.cancel(own);
        watcher = Some(stream);
    }
    Ok(())
}
