//! Items put into a queue and taken out again.
//!
//! Owns two ways of doing it: the recipe of this product, and what the recipe of etcd's Go client
//! does, which sorts all items to find the first. The recipe is used as it is, client core and
//! all: what its workers see of the queue is part of the cost.

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use handfast::{Claim, Handfast, Queue};
use handfast_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use handfast_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use handfast_proto::etcdserverpb::request_op::Request;
use handfast_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest,
};
use handfast_proto::mvccpb::KeyValue;
use tonic::Status;

use super::super::target::key;
use super::kv::op;
use super::recipe::{programs, status};
use super::{Arena, Worker, for_each, workers};
use crate::exit::Failure;

/// A queue of its own for each round: the items of the one before are still there.
fn name() -> Bytes {
    static ROUNDS: AtomicU64 = AtomicU64::new(0);
    let round = ROUNDS.fetch_add(1, Ordering::Relaxed);
    key(format_args!("queue/{round:08}"))
}

/// Each worker is a program of its own, with connection, session and copy of the queue, unless
/// all shall be one program.
pub(super) async fn recipe(arena: &Rc<Arena>) -> Result<Vec<Worker>, Failure> {
    let count = match arena.args.queue_together {
        true => 1,
        false => arena.args.queue_workers,
    };
    let all = programs(arena, count).await?;
    let name = name();
    let queues: Vec<Queue> = all.iter().map(|one| one.queue(&name)).collect();
    let filler = queues[0].clone();
    for_each(arena, arena.args.depth, move |arena, _| {
        let filler = filler.clone();
        async move {
            let pushed = filler.push(arena.value.clone()).send().await;
            pushed.map(drop).map_err(status)
        }
    })
    .await?;
    Ok(workers(
        arena,
        arena.args.queue_workers,
        move |arena, index| {
            let (program, queue) = (&all[index % all.len()], &queues[index % all.len()]);
            take_turns(arena, program.clone(), queue.clone())
        },
    ))
}

/// Pushes one and goes on to the next: the queue keeps its length.
async fn take_turns(arena: Rc<Arena>, program: Handfast, queue: Queue) -> Result<(), Status> {
    let mut worker = queue.worker();
    let mut held: Option<Claim> = None;
    let mut tries = 0;
    while arena.gauge.goes_on() {
        let start = Instant::now();
        let push = async {
            let push = queue.push(arena.value.clone());
            push.send().await.map(drop).map_err(status)
        };
        let next = go_on(held.take(), &mut worker);
        let Some(next) = both(&arena, push, next).await? else {
            break;
        };
        held = next;
        arena.gauge.record(start);
        arena.gauge.tried(worker.tries() - tries);
        tries = worker.tries();
    }
    if let Some(claim) = held {
        claim.release().await.map_err(status)?;
    }
    drop((worker, queue));
    // The others may still need the session they share.
    if arena.args.queue_together {
        return Ok(());
    }
    program.close().await.map_err(status)
}

/// Acknowledges what is held, or the next item if nothing is, and claims another if there is one;
/// `None` when the queue has ended.
async fn go_on(
    held: Option<Claim>,
    worker: &mut handfast::Worker,
) -> Result<Option<Option<Claim>>, Status> {
    let claim = match held {
        Some(claim) => Some(claim),
        None => worker.next().await.map_err(status)?,
    };
    let Some(claim) = claim else { return Ok(None) };
    let next = claim.ack().commit_and_next(worker).await;
    Ok(Some(next.map_err(status)?.1))
}

/// A push and what takes an item: at once if that is asked for, else one after the other.
async fn both<T>(
    arena: &Arena,
    push: impl Future<Output = Result<(), Status>>,
    take: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    if arena.args.queue_at_once {
        return Ok(tokio::try_join!(push, take)?.1);
    }
    push.await?;
    take.await
}

/// As etcd's Go client does it.
pub(super) async fn go(arena: &Rc<Arena>) -> Result<Vec<Worker>, Failure> {
    let name = name();
    let prefix = name.clone();
    for_each(arena, arena.args.depth, move |arena, index| {
        let item = item(&prefix, usize::MAX, index);
        async move { enqueue(&arena, 0, item).await }
    })
    .await?;
    Ok(workers(
        arena,
        arena.args.queue_workers,
        move |arena, worker| {
            let prefix = name.clone();
            async move {
                for number in 0.. {
                    if !arena.gauge.goes_on() {
                        break;
                    }
                    let start = Instant::now();
                    let push = enqueue(&arena, worker, item(&prefix, worker, number));
                    let take = async {
                        while !dequeue(&arena, worker, &prefix).await? {}
                        Ok(())
                    };
                    both(&arena, push, take).await?;
                    arena.gauge.record(start);
                }
                Ok(())
            }
        },
    ))
}

fn item(prefix: &Bytes, worker: usize, number: usize) -> Bytes {
    let suffix = format!("/{worker:020}-{number:012}");
    Bytes::from([prefix, suffix.as_bytes()].concat())
}

async fn enqueue(arena: &Arena, worker: usize, key: Bytes) -> Result<(), Status> {
    let absent = Compare {
        result: CompareResult::Equal as i32,
        target: CompareTarget::Version as i32,
        key: key.clone(),
        target_union: Some(TargetUnion::Version(0)),
        ..Compare::default()
    };
    let put = PutRequest {
        key,
        value: arena.value.clone(),
        ..PutRequest::default()
    };
    let txn = TxnRequest {
        compare: vec![absent],
        success: vec![op(Request::RequestPut(put))],
        failure: Vec::new(),
    };
    arena.kv(worker).txn(txn).await.map(drop)
}

/// Takes the oldest item; `false` when another was faster, or there is none.
async fn dequeue(arena: &Arena, worker: usize, prefix: &Bytes) -> Result<bool, Status> {
    let first = RangeRequest {
        key: Bytes::from([prefix, &b"/"[..]].concat()),
        range_end: Bytes::from([prefix, &b"0"[..]].concat()),
        sort_target: SortTarget::Mod as i32,
        sort_order: SortOrder::Ascend as i32,
        limit: 1,
        ..RangeRequest::default()
    };
    let found = arena.kv(worker).range(first).await?.into_inner();
    let Some(KeyValue {
        key, mod_revision, ..
    }) = found.kvs.into_iter().next()
    else {
        return Ok(false);
    };
    let unchanged = Compare {
        result: CompareResult::Equal as i32,
        target: CompareTarget::Mod as i32,
        key: key.clone(),
        target_union: Some(TargetUnion::ModRevision(mod_revision)),
        ..Compare::default()
    };
    let delete = DeleteRangeRequest {
        key,
        ..DeleteRangeRequest::default()
    };
    let txn = TxnRequest {
        compare: vec![unchanged],
        success: vec![op(Request::RequestDeleteRange(delete))],
        failure: Vec::new(),
    };
    Ok(arena.kv(worker).txn(txn).await?.into_inner().succeeded)
}
