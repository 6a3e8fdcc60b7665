//! Hand-overs of a lock as the recipe of etcd's Go client does it.
//!
//! Owns its requests: it asks for the owner when it joins, for whoever is in front of it before
//! each wait, watches from the revision it has seen, and reads its own key in the end.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use handfast_proto::etcdserverpb::WatchCreateRequest;
use handfast_proto::mvccpb::event::EventType;
use tonic::Status;

use super::super::super::target::refused;
use super::super::lease::grant_one;
use super::super::lock::{Place, revision};
use super::super::stream::Watcher;
use super::super::{Arena, Worker, workers};
use crate::exit::Failure;

pub(in super::super) async fn start(arena: &Rc<Arena>) -> Result<Vec<Worker>, Failure> {
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
    let place = Place::new("handoff-go", index, lease);
    while arena.gauge.goes_on() {
        let joined = client.txn(place.join_and_see_owner()).await?.into_inner();
        let token = revision(&joined);
        if place.in_front(&joined, token)?.is_some() {
            loop {
                let seen = client.range(place.before(token)).await?.into_inner();
                let Some(front) = seen.kvs.into_iter().next() else {
                    break;
                };
                let create = WatchCreateRequest {
                    key: front.key,
                    start_revision: seen.header.map_or(0, |header| header.revision),
                    ..WatchCreateRequest::default()
                };
                let mut stream = Watcher::watch(watcher.take(), &arena, index, create).await?;
                let own = stream.created().await?;
                stream.event(own, EventType::Delete).await?;
                stream.cancel(own);
                watcher = Some(stream);
            }
            client.range(place.own()).await?;
        }
        if let Some(released) = released.take() {
            arena.gauge.record(released);
        }
        released.set(Some(Instant::now()));
        client.delete_range(place.delete()).await?;
    }
    Ok(())
}
