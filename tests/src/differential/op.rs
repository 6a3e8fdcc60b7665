//! One operation of a differential run, and one answer.

use handfast_proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, Compare, DeleteRangeRequest, DeleteRangeResponse,
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse,
    LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse, RequestOp, TxnRequest, TxnResponse, WatchCreateRequest,
    WatchResponse, compare::TargetUnion, request_op::Request,
};

/// Revisions near this number mean "relative to the store's revision at that moment", so that an
/// operation keeps its sense when others before it are dropped.
const RELATIVE: i64 = 1 << 40;

/// A request in which revisions may be relative.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Read.
    Range(RangeRequest),
    /// Write.
    Put(PutRequest),
    /// Delete.
    Delete(DeleteRangeRequest),
    /// Transaction.
    Txn(TxnRequest),
    /// Compaction.
    Compact(CompactionRequest),
    /// A lease that outlives the run.
    Grant(LeaseGrantRequest),
    /// A lease with a time too short to keep, revoked at once so that it cannot run out meanwhile.
    Brief(LeaseGrantRequest),
    /// Revocation of a lease.
    Revoke(i64),
    /// One keepalive.
    KeepAlive(i64),
    /// The time left of a lease.
    TimeToLive(LeaseTimeToLiveRequest),
    /// All leases.
    Leases,
    /// A watcher on the run's one stream.
    Watch(WatchCreateRequest),
    /// The end of the watcher with this id.
    Unwatch(i64),
}

/// What a server answered; equal answers are equal values after masking.
#[derive(Clone, Debug, PartialEq)]
#[allow(
    missing_docs,
    reason = "each holds the response of the request of the same name"
)]
pub enum Answer {
    Range(RangeResponse),
    Put(PutResponse),
    Delete(DeleteRangeResponse),
    Txn(TxnResponse),
    Compact(CompactionResponse),
    Grant(LeaseGrantResponse),
    Revoke(LeaseRevokeResponse),
    KeepAlive(LeaseKeepAliveResponse),
    TimeToLive(LeaseTimeToLiveResponse),
    Leases(LeaseLeasesResponse),
    Watch(WatchResponse),
    /// Several answers of one operation, or none.
    Many(Vec<Answer>),
    /// The code and the text of a refusal.
    Error(tonic::Code, String),
}

impl Answer {
    /// The store revision that the answer carries, if it does.
    #[must_use]
    pub(super) fn revision(&self) -> Option<i64> {
        let header = match self {
            Self::Range(answer) => &answer.header,
            Self::Put(answer) => &answer.header,
            Self::Delete(answer) => &answer.header,
            Self::Txn(answer) => &answer.header,
            Self::Compact(answer) => &answer.header,
            Self::Grant(answer) => &answer.header,
            Self::Revoke(answer) => &answer.header,
            Self::KeepAlive(answer) => &answer.header,
            Self::TimeToLive(answer) => &answer.header,
            Self::Leases(answer) => &answer.header,
            Self::Watch(answer) => &answer.header,
            Self::Many(answers) => return answers.iter().filter_map(Self::revision).max(),
            Self::Error(..) => return None,
        };
        header.as_ref().map(|header| header.revision)
    }
}

/// `steps` revisions before the current one; negative steps are in the future.
#[must_use]
pub(super) fn back(steps: i64) -> i64 {
    RELATIVE - steps
}

impl Op {
    /// The operation with every relative revision replaced, `current` being the store's revision.
    #[must_use]
    pub(super) fn at(&self, current: i64) -> Self {
        let mut op = self.clone();
        match &mut op {
            Self::Range(request) => resolve_range(request, current),
            Self::Txn(request) => resolve_txn(request, current),
            Self::Compact(request) => resolve(&mut request.revision, current),
            Self::Watch(request) => resolve(&mut request.start_revision, current),
            _ => {}
        }
        op
    }

    /// Operations that ask for a little less, for making a failing list smaller.
    #[must_use]
    pub(super) fn simpler(&self) -> Vec<Self> {
        match self {
            Self::Txn(request) => simpler_txns(request).into_iter().map(Self::Txn).collect(),
            _ => Vec::new(),
        }
    }
}

fn resolve(revision: &mut i64, current: i64) {
    if *revision > RELATIVE / 2 {
        *revision = (current + (*revision - RELATIVE)).max(1);
    }
}

fn resolve_range(request: &mut RangeRequest, current: i64) {
    resolve(&mut request.revision, current);
    resolve(&mut request.min_mod_revision, current);
    resolve(&mut request.max_mod_revision, current);
    resolve(&mut request.min_create_revision, current);
    resolve(&mut request.max_create_revision, current);
}

fn resolve_txn(request: &mut TxnRequest, current: i64) {
    for compare in &mut request.compare {
        resolve_compare(compare, current);
    }
    for op in request.success.iter_mut().chain(&mut request.failure) {
        match &mut op.request {
            Some(Request::RequestRange(range)) => resolve_range(range, current),
            Some(Request::RequestTxn(txn)) => resolve_txn(txn, current),
            _ => {}
        }
    }
}

fn resolve_compare(compare: &mut Compare, current: i64) {
    if let Some(
        TargetUnion::ModRevision(revision)
        | TargetUnion::CreateRevision(revision)
        | TargetUnion::Version(revision),
    ) = &mut compare.target_union
    {
        resolve(revision, current);
    }
}

fn simpler_txns(request: &TxnRequest) -> Vec<TxnRequest> {
    let mut simpler = Vec::new();
    for index in 0..request.compare.len() {
        let mut less = request.clone();
        less.compare.remove(index);
        simpler.push(less);
    }
    for index in 0..request.success.len() {
        let less = |success| TxnRequest {
            success,
            ..request.clone()
        };
        simpler.extend(simpler_ops(&request.success, index).into_iter().map(less));
    }
    for index in 0..request.failure.len() {
        let less = |failure| TxnRequest {
            failure,
            ..request.clone()
        };
        simpler.extend(simpler_ops(&request.failure, index).into_iter().map(less));
    }
    simpler
}

/// The list without the operation at `index`, and with a smaller nested transaction there.
fn simpler_ops(ops: &[RequestOp], index: usize) -> Vec<Vec<RequestOp>> {
    let mut without = ops.to_vec();
    without.remove(index);
    let mut simpler = vec![without];
    if let Some(Request::RequestTxn(nested)) = &ops[index].request {
        for less in simpler_txns(nested) {
            let mut with = ops.to_vec();
            with[index] = RequestOp {
                request: Some(Request::RequestTxn(less)),
            };
            simpler.push(with);
        }
    }
    simpler
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_revisions_follow_the_store_and_plain_ones_stay() {
        let op = Op::Range(RangeRequest {
            revision: back(3),
            min_mod_revision: 4,
            max_mod_revision: back(-2),
            ..RangeRequest::default()
        });
        let Op::Range(at) = op.at(10) else {
            panic!("still a range")
        };
        assert_eq!(
            (at.revision, at.min_mod_revision, at.max_mod_revision),
            (7, 4, 12)
        );
        let Op::Range(early) = op.at(2) else {
            panic!("still a range")
        };
        assert_eq!(early.revision, 1, "never below the first revision");
    }

    #[test]
    fn a_transaction_gets_simpler_one_part_at_a_time() {
        let put = RequestOp {
            request: Some(Request::RequestPut(PutRequest::default())),
        };
        let nested = TxnRequest {
            success: vec![put.clone()],
            ..TxnRequest::default()
        };
        let nested = RequestOp {
            request: Some(Request::RequestTxn(nested)),
        };
        let txn = TxnRequest {
            compare: vec![Compare::default()],
            success: vec![put.clone(), nested],
            failure: vec![put],
        };
        // The compare, two operations, the operation within the nested one, the failure branch.
        assert_eq!(Op::Txn(txn).simpler().len(), 5);
    }
}
