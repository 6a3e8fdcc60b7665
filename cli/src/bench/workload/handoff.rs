//! One lock that waiters hand on to each other.
//!
//! Owns the waiting. An operation is one hand-over; its latency runs from the release being sent
//! to the next owner knowing that the lock is his.

pub(super) mod go;
pub(super) mod recipe;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use handfast_proto::etcdserverpb::WatchCreateRequest;
use handfast_proto::mvccpb::event::EventType;
use tonic::Status;

use super::super::target::refused;
use super::lease::grant_one;
use super::lock::{Place, revision};
use super::stream::Watcher;
use super::{Arena, Worker, workers};
use crate::exit::Failure;

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
            let own = stream.created().await?;
            stream.event(own, EventType::Delete).await?;
            stream.cancel(own);
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
