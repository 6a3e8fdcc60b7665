//! Grants, renewals and ends of leases.
//!
//! Owns the requests of these workloads, and the end of every lease a round has made.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use futures::channel::mpsc;
use handfast_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, PutRequest,
};
use tonic::Status;

use super::super::target::{key, revoked};
use super::{Arena, Worker, for_each, workers};
use crate::exit::Failure;

/// Long enough that no lease ends by itself while it is measured.
const TTL_SECONDS: i64 = 600;

/// Grants of leases.
pub(super) fn grant(arena: &Rc<Arena>) -> Vec<Worker> {
    workers(arena, arena.args.inflight, |arena, index| async move {
        while arena.gauge.goes_on() {
            let start = Instant::now();
            grant_one(&arena, index).await?;
            arena.gauge.record(start);
        }
        Ok(())
    })
}

/// Renewals: each connection has one stream, and `inflight` renewals are under way in all.
pub(super) async fn keep_alive(arena: &Rc<Arena>) -> Result<Vec<Worker>, Failure> {
    grant_many(arena).await?;
    let streams = arena.channels.len().min(arena.args.inflight);
    let window = arena.args.inflight / streams;
    Ok(workers(arena, streams, move |arena, index| {
        renew(arena, index, window)
    }))
}

async fn renew(arena: Rc<Arena>, index: usize, window: usize) -> Result<(), Status> {
    let ids = arena.leases.borrow().clone();
    let (requests, receiver) = mpsc::unbounded();
    let mut next = index;
    let mut send = || {
        let id = ids[next % ids.len()];
        next += 1;
        // The stream holds the receiver as long as it answers.
        let _ = requests.unbounded_send(LeaseKeepAliveRequest { id });
        Instant::now()
    };
    let mut under_way: VecDeque<Instant> = (0..window).map(|_| send()).collect();
    let mut answers = arena
        .lease(index)
        .lease_keep_alive(receiver)
        .await?
        .into_inner();
    while arena.gauge.goes_on() {
        let Some(answer) = answers.message().await? else {
            return Err(Status::aborted("the stream of renewals ended"));
        };
        if answer.ttl <= 0 {
            return Err(Status::not_found("a lease ended while it was renewed"));
        }
        // Answers come in the order of the requests.
        if let Some(start) = under_way.pop_front() {
            arena.gauge.record(start);
        }
        under_way.push_back(send());
    }
    Ok(())
}

/// Ends of leases that hold a key each.
pub(super) async fn revoke(arena: &Rc<Arena>) -> Result<Vec<Worker>, Failure> {
    grant_many(arena).await?;
    for_each(arena, arena.args.leases, |arena, index| async move {
        let lease = arena.leases.borrow()[index];
        let key = key(format_args!("leased/{index:08}"));
        let request = PutRequest {
            key,
            lease,
            ..PutRequest::default()
        };
        arena.kv(index).put(request).await.map(drop)
    })
    .await?;
    let left = Rc::new(Cell::new(arena.args.leases));
    Ok(workers(arena, arena.args.inflight, move |arena, index| {
        let left = Rc::clone(&left);
        async move {
            let mut client = arena.lease(index);
            while arena.gauge.goes_on() {
                let popped = arena.leases.borrow_mut().pop();
                let Some(id) = popped else { break };
                let start = Instant::now();
                client.lease_revoke(LeaseRevokeRequest { id }).await?;
                arena.gauge.record(start);
                left.set(left.get() - 1);
            }
            if left.get() == 0 {
                arena.gauge.finish();
            }
            Ok(())
        }
    }))
}

/// Ends every lease that is left.
pub(super) async fn revoke_all(arena: &Rc<Arena>) -> Result<(), Failure> {
    let count = arena.leases.borrow().len();
    for_each(arena, count, |arena, index| async move {
        let popped = arena.leases.borrow_mut().pop();
        let Some(id) = popped else { return Ok(()) };
        let request = LeaseRevokeRequest { id };
        revoked(arena.lease(index).lease_revoke(request).await)
    })
    .await
}

async fn grant_many(arena: &Rc<Arena>) -> Result<(), Failure> {
    for_each(arena, arena.args.leases, |arena, index| async move {
        grant_one(&arena, index).await.map(drop)
    })
    .await
}

/// Grants a lease that ends with the round.
pub(super) async fn grant_one(arena: &Arena, index: usize) -> Result<i64, Status> {
    let id = grant_for(arena, index, TTL_SECONDS).await?;
    arena.leases.borrow_mut().push(id);
    Ok(id)
}

/// Grants a lease that the caller ends.
pub(super) async fn grant_for(arena: &Arena, index: usize, ttl: i64) -> Result<i64, Status> {
    let request = LeaseGrantRequest { ttl, id: 0 };
    let granted = arena.lease(index).lease_grant(request).await?;
    Ok(granted.into_inner().id)
}
