//! One lock that waiters hand on to each other.
//!
//! Owns the waiting. An operation is one hand-over; its latency runs from the release being sent
//! to the next owner knowing that the lock is his.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use futures::channel::mpsc::{self, UnboundedSender};
use handfast_proto::etcdserverpb::watch_client::WatchClient;
use handfast_proto::etcdserverpb::watch_request::RequestUnion;
use handfast_proto::etcdserverpb::{
    WatchCancelRequest, WatchCreateRequest, WatchRequest, WatchResponse,
};
use handfast_proto::mvccpb::event::EventType;
use tonic::{Status, Streaming};

use super::super::target::refused;
use super::lease::grant_one;
use super::lock::{Place, revision};
use super::{Arena, Worker, workers};
use crate::exit::Failure;

/// The watch stream of one waiter.
struct Watcher {
    requests: UnboundedSender<WatchRequest>,
    responses: Streaming<WatchResponse>,
}

pub(super) async fn start(arena: &Rc<Arena>) -> Result<Vec<Worker>, Failure> {
    let lease = grant_one(arena, 0)
        .await
        .map_err(|status| refused(&status))?;
    let released: Rc<Cell<Option<Instant>>> = Rc::default();
    Ok(workers(arena, arena.args.waiters, move |arena, index| {
        contend(arena, index, lease, Rc::clone(&released))
    }))
}

async fn contend(
    arena: Rc<Arena>,
    index: usize,
    lease: i64,
    released: Rc<Cell<Option<Instant>>>,
) -> Result<(), Status> {
    let mut client = arena.kv(index);
    let mut watcher = None;
    let place = Place::new("handoff", index, lease);
    while arena.gauge.goes_on() {
        let mut answer = client.txn(place.join()).await?.into_inner();
        let token = revision(&answer);
        while let Some(front) = place.in_front(&answer, token)? {
            let start_revision = revision(&answer) + 1;
            let create = WatchCreateRequest {
                key: front,
                start_revision,
                ..WatchCreateRequest::default()
            };
            let mut stream = Watcher::watch(watcher.take(), &arena, index, create).await?;
            stream.wait_for_delete().await?;
            watcher = Some(stream);
            answer = client.txn(place.verify(token)).await?.into_inner();
        }
        if let Some(released) = released.take() {
            arena.gauge.record(released);
        }
        released.set(Some(Instant::now()));
        client.txn(place.leave(token)).await?;
    }
    Ok(())
}

impl Watcher {
    /// Starts a watch, on a new stream if there is none. The first request goes out with the call:
    /// etcd does not even answer it before it has one.
    async fn watch(
        existing: Option<Watcher>,
        arena: &Arena,
        index: usize,
        create: WatchCreateRequest,
    ) -> Result<Watcher, Status> {
        let create = RequestUnion::CreateRequest(create);
        if let Some(watcher) = existing {
            watcher.send(create);
            return Ok(watcher);
        }
        let (requests, receiver) = mpsc::unbounded();
        // The receiver is in our hands.
        let _ = requests.unbounded_send(WatchRequest {
            request_union: Some(create),
        });
        let mut client = WatchClient::new(arena.channel(index));
        let responses = client.watch(receiver).await?.into_inner();
        Ok(Watcher {
            requests,
            responses,
        })
    }

    async fn wait_for_delete(&mut self) -> Result<(), Status> {
        let mut own = None;
        loop {
            let Some(response) = self.responses.message().await? else {
                return Err(Status::aborted("the watch stream ended"));
            };
            if response.created {
                own = Some(response.watch_id);
            }
            if own != Some(response.watch_id) {
                continue;
            }
            if response.canceled {
                return Err(Status::aborted(response.cancel_reason));
            }
            if response
                .events
                .iter()
                .any(|event| event.r#type() == EventType::Delete)
            {
                let watch_id = response.watch_id;
                self.send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id }));
                return Ok(());
            }
        }
    }

    fn send(&self, request: RequestUnion) {
        // The stream holds the receiver; if it ended, the next answer says so.
        let _ = self.requests.unbounded_send(WatchRequest {
            request_union: Some(request),
        });
    }
}
