//! Taking and releasing a lock nobody else wants.
//!
//! Owns the transactions of a lock, which are those of the recipe: join the queue and learn who
//! is in front, verify, leave. Waiting is in `handoff`.

use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use handfast_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use handfast_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use handfast_proto::etcdserverpb::request_op::Request;
use handfast_proto::etcdserverpb::response_op::Response;
use handfast_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest, TxnResponse,
};
use tonic::Status;

use super::super::target::{key, refused};
use super::kv::op;
use super::lease::grant_one;
use super::{Arena, Worker, workers};
use crate::exit::Failure;

/// One contender's place in a queue.
pub(super) struct Place {
    /// All keys of the lock start with this.
    prefix: Bytes,
    prefix_end: Bytes,
    own: Bytes,
    lease: i64,
}

impl Place {
    pub(super) fn new(name: &str, contender: usize, lease: i64) -> Place {
        Place {
            prefix: key(format_args!("{name}/")),
            prefix_end: key(format_args!("{name}0")),
            own: key(format_args!("{name}/{contender:08}")),
            lease,
        }
    }

    /// Puts the own key and reads the newest two: the own one and the one to wait for.
    pub(super) fn join(&self) -> TxnRequest {
        let put = PutRequest {
            key: self.own.clone(),
            lease: self.lease,
            ..PutRequest::default()
        };
        let newest = RangeRequest {
            limit: 2,
            ..self.queue(SortOrder::Descend)
        };
        TxnRequest {
            compare: vec![self.created_at(0)],
            success: vec![
                op(Request::RequestPut(put)),
                op(Request::RequestRange(newest)),
            ],
            failure: Vec::new(),
        }
    }

    /// Puts the own key and reads the oldest one, as the recipe of etcd's Go client does.
    pub(super) fn join_and_see_owner(&self) -> TxnRequest {
        let owner = RangeRequest {
            limit: 1,
            ..self.queue(SortOrder::Ascend)
        };
        let mut join = self.join();
        join.success.truncate(1);
        join.success.push(op(Request::RequestRange(owner.clone())));
        join.failure = vec![
            op(Request::RequestRange(self.own())),
            op(Request::RequestRange(owner)),
        ];
        join
    }

    /// Reads who is in front, if the own key still has its place.
    pub(super) fn verify(&self, token: i64) -> TxnRequest {
        TxnRequest {
            compare: vec![self.created_at(token)],
            success: vec![op(Request::RequestRange(self.before(token)))],
            failure: Vec::new(),
        }
    }

    /// Reads who is in front.
    pub(super) fn before(&self, token: i64) -> RangeRequest {
        RangeRequest {
            limit: 1,
            max_create_revision: token - 1,
            ..self.queue(SortOrder::Descend)
        }
    }

    /// Reads the own key.
    pub(super) fn own(&self) -> RangeRequest {
        RangeRequest {
            key: self.own.clone(),
            ..RangeRequest::default()
        }
    }

    /// Deletes the own key, whatever it is.
    pub(super) fn delete(&self) -> DeleteRangeRequest {
        DeleteRangeRequest {
            key: self.own.clone(),
            ..DeleteRangeRequest::default()
        }
    }

    /// Gives the place up.
    pub(super) fn leave(&self, token: i64) -> TxnRequest {
        TxnRequest {
            compare: vec![self.created_at(token)],
            success: vec![op(Request::RequestDeleteRange(self.delete()))],
            failure: Vec::new(),
        }
    }

    /// The key in front of `token` that the answer shows; `None` means the lock is ours.
    pub(super) fn in_front(
        &self,
        answer: &TxnResponse,
        token: i64,
    ) -> Result<Option<Bytes>, Status> {
        if !answer.succeeded {
            return Err(Status::aborted("somebody else uses the keys of the bench"));
        }
        let ranges = answer.responses.iter().filter_map(|op| match &op.response {
            Some(Response::ResponseRange(range)) => Some(&range.kvs),
            _ => None,
        });
        let older = ranges.flatten().filter(|pair| pair.create_revision < token);
        Ok(older
            .max_by_key(|pair| pair.create_revision)
            .map(|pair| pair.key.clone()))
    }

    fn queue(&self, order: SortOrder) -> RangeRequest {
        RangeRequest {
            key: self.prefix.clone(),
            range_end: self.prefix_end.clone(),
            sort_target: SortTarget::Create as i32,
            sort_order: order as i32,
            ..RangeRequest::default()
        }
    }

    fn created_at(&self, revision: i64) -> Compare {
        Compare {
            result: CompareResult::Equal as i32,
            target: CompareTarget::Create as i32,
            key: self.own.clone(),
            target_union: Some(TargetUnion::CreateRevision(revision)),
            ..Compare::default()
        }
    }
}

/// The revision of a transaction that wrote.
pub(super) fn revision(answer: &TxnResponse) -> i64 {
    answer.header.map_or(0, |header| header.revision)
}

/// Takes and releases a lock of its own, again and again.
pub(super) async fn start(arena: &Rc<Arena>) -> Result<Vec<Worker>, Failure> {
    let lease = grant_one(arena, 0)
        .await
        .map_err(|status| refused(&status))?;
    Ok(workers(
        arena,
        arena.args.inflight,
        move |arena, index| async move {
            let mut client = arena.kv(index);
            let place = Place::new(&format!("lock/{index:08}"), index, lease);
            while arena.gauge.goes_on() {
                let start = Instant::now();
                let joined = client.txn(place.join()).await?.into_inner();
                let token = revision(&joined);
                if place.in_front(&joined, token)?.is_some() {
                    return Err(Status::aborted("somebody else uses the keys of the bench"));
                }
                client.txn(place.leave(token)).await?;
                arena.gauge.record(start);
            }
            Ok(())
        },
    ))
}
