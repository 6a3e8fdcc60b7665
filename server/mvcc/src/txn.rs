//! Transactions: which branch runs, and whether it may.
//!
//! Owns compares and the checks made before anything is written, all on the state before the
//! transaction, nested ones included. Must not write.

use std::cmp::Ordering;

use handfast_fault::{Fault, active};
use handfast_proto::{
    etcdserverpb::{
        Compare, PutRequest, RangeRequest, RequestOp, ResponseHeader, ResponseOp, TxnRequest,
        TxnResponse,
        compare::{CompareResult, CompareTarget, TargetUnion},
        request_op::Request,
        response_op::Response,
    },
    mvccpb::KeyValue,
};

use crate::{
    Error, KeyRange,
    keyspace::Keyspace,
    lease::Lessor,
    range,
    select::{Access, Walk, fetch},
};

/// Keys of a compared range looked at before the verdict is reconsidered.
const COMPARED_KEYS: usize = 256;

/// A transaction whose compares are decided, with all that is nested in the branch that runs.
pub(crate) struct Plan<'t> {
    pub(crate) succeeded: bool,
    pub(crate) steps: Vec<Step<'t>>,
}

/// One operation of the branch that runs.
pub(crate) enum Step<'t> {
    Op(&'t Request),
    Txn(Plan<'t>),
}

impl<'t> Plan<'t> {
    /// Evaluates all compares at revision `at`.
    pub(crate) fn new(
        access: &impl Access,
        at: i64,
        request: &'t TxnRequest,
    ) -> Result<Self, Error> {
        let mut succeeded = true;
        let ignored = usize::from(active(Fault::TxnSkipsCompare));
        let considered = request.compare.len().saturating_sub(ignored);
        for compare in &request.compare[..considered] {
            if !holds(access, at, compare)? {
                succeeded = false;
                break;
            }
        }
        let branch = if succeeded {
            &request.success
        } else {
            &request.failure
        };
        let step = |op: &'t RequestOp| match &op.request {
            Some(Request::RequestTxn(nested)) => Ok(Step::Txn(Self::new(access, at, nested)?)),
            Some(request) => Ok(Step::Op(request)),
            None => Err(Error::KeyNotFound),
        };
        Ok(Self {
            succeeded,
            steps: branch.iter().map(step).collect::<Result<_, Error>>()?,
        })
    }

    /// Checks puts first, then ranges, as etcd does: it decides which error is seen.
    pub(crate) fn check(&self, keyspace: &Keyspace, lessor: &Lessor) -> Result<(), Error> {
        self.each(&mut |request| match request {
            Request::RequestPut(put) => check_put(keyspace, lessor, put),
            _ => Ok(()),
        })?;
        self.check_ranges(keyspace, keyspace.head())
    }

    fn check_ranges(&self, keyspace: &Keyspace, head: i64) -> Result<(), Error> {
        self.each(&mut |request| match request {
            Request::RequestRange(range) => check_range(keyspace, head, range),
            _ => Ok(()),
        })
    }

    fn each(&self, visit: &mut dyn FnMut(&Request) -> Result<(), Error>) -> Result<(), Error> {
        self.steps.iter().try_for_each(|step| match step {
            Step::Op(request) => visit(request),
            Step::Txn(nested) => nested.each(visit),
        })
    }
}

/// Answers a transaction that holds only ranges, at one revision.
pub(crate) fn read_only(access: &impl Access, request: &TxnRequest) -> Result<TxnResponse, Error> {
    let at = access.with(Keyspace::head);
    let plan = Plan::new(access, at, request)?;
    access.with(|keyspace| {
        keyspace.check(at)?;
        plan.check_ranges(keyspace, at)
    })?;
    let answer = |step: &Step<'_>| match step {
        Step::Op(Request::RequestRange(range)) => {
            let response = range::evaluate(access, range, Some(at))?;
            Ok(ResponseOp {
                response: Some(Response::ResponseRange(response)),
            })
        }
        _ => Err(Error::Malformed(
            "a read-only transaction that is more than ranges".into(),
        )),
    };
    Ok(TxnResponse {
        header: Some(ResponseHeader {
            revision: at,
            ..ResponseHeader::default()
        }),
        succeeded: plan.succeeded,
        responses: plan
            .steps
            .iter()
            .map(answer)
            .collect::<Result<_, Error>>()?,
    })
}

fn check_put(keyspace: &Keyspace, lessor: &Lessor, put: &PutRequest) -> Result<(), Error> {
    let needs_key = put.ignore_value || put.ignore_lease;
    if needs_key && keyspace.index.get(&put.key).is_none() {
        return Err(Error::KeyNotFound);
    }
    check_lease(lessor, put.lease)
}

/// Whether a put may name this lease; 0 names none.
pub(crate) fn check_lease(lessor: &Lessor, lease: i64) -> Result<(), Error> {
    if lease != 0 && !lessor.contains(lease) {
        Err(Error::LeaseNotFound(lease))
    } else {
        Ok(())
    }
}

/// A negative revision is compared as it is, unlike in a plain range (etcd).
fn check_range(keyspace: &Keyspace, head: i64, range: &RangeRequest) -> Result<(), Error> {
    let requested = range.revision;
    if requested == 0 {
        Ok(())
    } else if requested > head {
        Err(Error::FutureRevision {
            requested,
            current: head,
        })
    } else if requested < keyspace.compacted {
        Err(Error::Compacted {
            requested,
            compacted: keyspace.compacted,
        })
    } else {
        Ok(())
    }
}

/// Whether every key of the compare's range satisfies it; a missing key compares as zeros, but
/// its value satisfies nothing.
fn holds(access: &impl Access, at: i64, compare: &Compare) -> Result<bool, Error> {
    let range = KeyRange::parse(&compare.key, &compare.range_end);
    let by_value = CompareTarget::try_from(compare.target) == Ok(CompareTarget::Value);
    let mut walk = Walk::new(&range, at);
    let mut items = Vec::new();
    let mut any = false;
    while !walk.is_done() {
        items.clear();
        access.with(|keyspace| walk.step(keyspace, COMPARED_KEYS, &mut items))?;
        fetch(access, at, by_value, &mut items)?;
        any |= !items.is_empty();
        if !items.iter().all(|item| satisfies(compare, &item.kv)) {
            return Ok(false);
        }
    }
    Ok(any || (!by_value && satisfies(compare, &KeyValue::default())))
}

fn satisfies(compare: &Compare, kv: &KeyValue) -> bool {
    let given = compare.target_union.as_ref();
    let order = match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Version) => kv.version.cmp(&match given {
            Some(TargetUnion::Version(version)) => *version,
            _ => 0,
        }),
        Ok(CompareTarget::Create) => kv.create_revision.cmp(&match given {
            Some(TargetUnion::CreateRevision(revision)) => *revision,
            _ => 0,
        }),
        Ok(CompareTarget::Mod) => kv.mod_revision.cmp(&match given {
            Some(TargetUnion::ModRevision(revision)) => *revision,
            _ => 0,
        }),
        Ok(CompareTarget::Lease) => kv.lease.cmp(&match given {
            Some(TargetUnion::Lease(lease)) => *lease,
            _ => 0,
        }),
        Ok(CompareTarget::Value) => kv.value[..].cmp(match given {
            Some(TargetUnion::Value(value)) => &value[..],
            _ => &[],
        }),
        Err(_) => Ordering::Equal,
    };
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => order.is_eq(),
        Ok(CompareResult::NotEqual) => order.is_ne(),
        Ok(CompareResult::Greater) => order.is_gt(),
        Ok(CompareResult::Less) => order.is_lt(),
        Err(_) => true,
    }
}
