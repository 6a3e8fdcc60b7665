//! Leases with a key each that run out together.
//!
//! Owns their grant and the wait for their end. An operation is one key that goes; its latency is
//! the delay past the TTL, counted from the last renewal being sent.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use handfast_proto::etcdserverpb::{PutRequest, WatchCreateRequest, WatchResponse};
use handfast_proto::mvccpb::event::EventType;
use tonic::Status;

use super::super::target::{key, refused};
use super::lease::grant_for;
use super::renewal::renew_all;
use super::stream::Watcher;
use super::{Arena, Worker, for_each, workers};
use crate::exit::Failure;

/// Long enough to grant them all, and to write their keys.
const TTL: Duration = Duration::from_secs(3);

pub(super) async fn start(arena: &Rc<Arena>) -> Result<Vec<Worker>, Failure> {
    let count = arena.args.storm_leases;
    let granted = Rc::new(RefCell::new(vec![0; count]));
    let filled = Rc::clone(&granted);
    for_each(arena, count, move |arena, index| {
        let filled = Rc::clone(&filled);
        async move {
            let lease = grant_for(&arena, index, TTL.as_secs() as i64).await?;
            filled.borrow_mut()[index] = lease;
            let request = PutRequest {
                key: name(index),
                lease,
                ..PutRequest::default()
            };
            arena.kv(index).put(request).await.map(drop)
        }
    })
    .await?;
    let create = WatchCreateRequest {
        key: key("storm/"),
        range_end: key("storm0"),
        ..WatchCreateRequest::default()
    };
    let watching = async {
        let mut watcher = Watcher::watch(None, arena, 0, create).await?;
        watcher.created().await.map(|_| watcher)
    };
    let watcher = watching.await.map_err(|status| refused(&status))?;
    // All of them start anew within milliseconds of each other.
    let renewed = renew_all(arena, Rc::new(granted.take())).await?;
    let ends: Vec<Instant> = renewed.into_iter().map(|sent| sent + TTL).collect();
    let slot = Cell::new(Some((watcher, ends)));
    Ok(workers(arena, 1, move |arena, _| wait(arena, slot.take())))
}

async fn wait(arena: Rc<Arena>, prepared: Option<(Watcher, Vec<Instant>)>) -> Result<(), Status> {
    let Some((mut watcher, ends)) = prepared else {
        return Ok(());
    };
    let first = ends.iter().min().copied().unwrap_or_else(Instant::now);
    tokio::select! {
        early = watcher.next() => return Err(too_early(&early?)),
        () = tokio::time::sleep_until(first.into()) => arena.gauge.begin(),
    }
    let mut left = ends.len();
    while left > 0 {
        let response = watcher.next().await?;
        let now = Instant::now();
        for event in response.events {
            let Some(index) = event.kv.as_ref().and_then(|kv| index_of(&kv.key)) else {
                continue;
            };
            let end = ends
                .get(index)
                .filter(|_| event.r#type() == EventType::Delete);
            let Some(delay) = end.and_then(|end| now.checked_duration_since(*end)) else {
                return Err(Status::aborted("a lease ended before its time to live"));
            };
            arena.gauge.record_delay(delay);
            left -= 1;
        }
    }
    arena.gauge.finish();
    Ok(())
}

fn too_early(response: &WatchResponse) -> Status {
    match response.canceled {
        true => Status::aborted(response.cancel_reason.clone()),
        false => Status::aborted("a lease ended before its time to live"),
    }
}

fn name(index: usize) -> Bytes {
    key(format_args!("storm/{index:08}"))
}

/// The lease whose key this is.
fn index_of(key: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(key).ok()?;
    text.rsplit('/').next()?.parse().ok()
}
