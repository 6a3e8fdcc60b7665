//! What a command does.
//!
//! Owns every change of keys and leases: nothing else writes. Depends on the command and on the
//! state before it only, so that members that apply the same log agree. Must not know the log.

use std::collections::BTreeMap;

use handfast_fault::{Fault, active};
use handfast_proto::{
    command::{LeaseExpire, LeaseGrant, LeaseRevoke, command::Op},
    etcdserverpb::{
        CompactionRequest, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse,
        ResponseHeader, ResponseOp, TxnRequest, TxnResponse, request_op::Request,
        response_op::Response,
    },
};

use crate::{
    Error, KeyRange, Outcome,
    cluster::Cluster,
    forbid,
    index::Meta,
    keyspace::Keyspace,
    lease::Lessor,
    range,
    select::{Walk, fetch},
    txn::{Plan, Step, check_lease},
};

/// Leases granted (with their time to live in seconds) and gone since the last flush.
pub(crate) type LeaseChanges = BTreeMap<i64, Option<i64>>;

/// What a command may change.
pub(crate) struct Writer<'s> {
    pub(crate) keyspace: &'s mut Keyspace,
    pub(crate) lessor: &'s Lessor,
    pub(crate) lease_changes: &'s mut LeaseChanges,
    pub(crate) cluster: &'s mut Cluster,
}

impl Writer<'_> {
    /// Runs a command that the log has at `term`.
    ///
    /// # Errors
    /// Those of the command; then it changed nothing. [`Error::Storage`] and [`Error::Halted`] are
    /// no answer but the end of this store: what was changed is unknown.
    pub(crate) fn run(&mut self, op: &Op, term: u64) -> Result<Outcome, Error> {
        forbid::check(self.cluster.kinds(), op)?;
        let outcome = match op {
            Op::Put(request) => self.put(request).map(Outcome::Put),
            Op::DeleteRange(request) => self.delete_range(request).map(Outcome::DeleteRange),
            Op::Txn(request) => self.txn(request).map(Outcome::Txn),
            Op::Compact(request) => self.compact(request),
            Op::LeaseGrant(request) => self.lease_grant(request),
            Op::LeaseRevoke(request) => self.lease_revoke(request),
            Op::LeaseExpire(request) => Ok(self.lease_expire(request, term)),
            Op::Alarm(command) => {
                let alarm = self.cluster.alarm(command);
                Ok(Outcome::Alarm(alarm.into_iter().collect()))
            }
            Op::JoinSecret(command) => {
                self.cluster.join_secret(command);
                Ok(Outcome::Blank)
            }
        };
        if !matches!(outcome, Err(Error::Storage(_) | Error::Halted(_))) {
            self.keyspace.commit();
        }
        outcome
    }

    fn put(&mut self, request: &PutRequest) -> Result<PutResponse, Error> {
        check_lease(self.lessor, request.lease)?;
        let keeps = request.ignore_value || request.ignore_lease;
        let previous = if keeps || request.prev_kv {
            self.keyspace.current(&request.key)?
        } else {
            None
        };
        if keeps && previous.is_none() {
            return Err(Error::KeyNotFound);
        }
        let (mut value, mut lease) = (&request.value, request.lease);
        if let Some(previous) = &previous {
            if request.ignore_value {
                value = &previous.value;
            }
            if request.ignore_lease {
                lease = previous.lease;
            }
        }
        let replaced = self.keyspace.put(&request.key, value, lease);
        let old_lease = replaced.map_or(0, |meta| meta.lease);
        if old_lease != lease {
            self.detach(old_lease, &request.key);
            if lease != 0 {
                self.lessor.attach(lease, &request.key);
            }
        }
        Ok(PutResponse {
            header: Some(self.header()),
            prev_kv: previous.filter(|_| request.prev_kv),
        })
    }

    fn delete_range(&mut self, request: &DeleteRangeRequest) -> Result<DeleteRangeResponse, Error> {
        let range = KeyRange::parse(&request.key, &request.range_end);
        let head = self.keyspace.head();
        let mut doomed = Vec::new();
        Walk::new(&range, head).collect(&*self.keyspace, usize::MAX, &mut doomed)?;
        if request.prev_kv {
            fetch(&*self.keyspace, head, true, &mut doomed)?;
        }
        for item in &doomed {
            self.delete(&item.kv.key);
        }
        let deleted = i64::try_from(doomed.len()).unwrap_or(i64::MAX);
        let prev_kvs = if request.prev_kv {
            doomed.into_iter().map(|item| item.kv).collect()
        } else {
            Vec::new()
        };
        Ok(DeleteRangeResponse {
            header: Some(self.header()),
            deleted,
            prev_kvs,
        })
    }

    fn txn(&mut self, request: &TxnRequest) -> Result<TxnResponse, Error> {
        let keyspace = &*self.keyspace;
        let plan = Plan::new(keyspace, keyspace.head(), request)?;
        plan.check(keyspace, self.lessor)?;
        self.keyspace.done.txns += 1;
        let mut response = self.execute(&plan)?;
        response.header = Some(self.header());
        Ok(response)
    }

    /// Runs a branch; the header is left empty, as that of a nested transaction is.
    fn execute(&mut self, plan: &Plan<'_>) -> Result<TxnResponse, Error> {
        let mut responses = Vec::with_capacity(plan.steps.len());
        for step in &plan.steps {
            let response = match step {
                Step::Op(Request::RequestRange(request)) => {
                    Response::ResponseRange(range::evaluate(&*self.keyspace, request, None)?)
                }
                Step::Op(Request::RequestPut(request)) => Response::ResponsePut(self.put(request)?),
                Step::Op(Request::RequestDeleteRange(request)) => {
                    Response::ResponseDeleteRange(self.delete_range(request)?)
                }
                Step::Op(Request::RequestTxn(_)) => unreachable!("a plan resolves nested ones"),
                Step::Txn(nested) => Response::ResponseTxn(self.execute(nested)?),
            };
            responses.push(ResponseOp {
                response: Some(response),
            });
        }
        let header = Some(ResponseHeader::default());
        Ok(TxnResponse {
            header,
            succeeded: plan.succeeded,
            responses,
        })
    }

    fn compact(&mut self, request: &CompactionRequest) -> Result<Outcome, Error> {
        let requested = request.revision;
        let Keyspace {
            revision: current,
            compacted,
            ..
        } = *self.keyspace;
        if requested <= compacted {
            return Err(Error::Compacted {
                requested,
                compacted,
            });
        }
        if requested > current {
            return Err(Error::FutureRevision { requested, current });
        }
        self.keyspace.compacted = requested;
        Ok(Outcome::Compact)
    }

    fn lease_grant(&mut self, request: &LeaseGrant) -> Result<Outcome, Error> {
        let LeaseGrant { id, ttl_seconds } = *request;
        self.lessor.grant(id, ttl_seconds)?;
        self.lease_changes.insert(id, Some(ttl_seconds));
        self.keyspace.done.leases_granted += 1;
        Ok(Outcome::LeaseGrant { id, ttl_seconds })
    }

    fn lease_revoke(&mut self, request: &LeaseRevoke) -> Result<Outcome, Error> {
        if self.revoke(request.id) {
            Ok(Outcome::LeaseRevoke)
        } else {
            Err(Error::LeaseNotFound(request.id))
        }
    }

    /// A leader that was voted out may have judged by deadlines that were extended since.
    fn lease_expire(&mut self, request: &LeaseExpire, term: u64) -> Outcome {
        let mut revoked = 0;
        if request.term >= term || active(Fault::ExpireUnderOldTerm) {
            for id in &request.ids {
                revoked += usize::from(self.revoke(*id));
                self.keyspace.commit();
            }
        }
        self.keyspace.done.leases_expired += revoked as u64;
        Outcome::LeaseExpire { revoked }
    }

    fn revoke(&mut self, id: i64) -> bool {
        let Some(keys) = self.lessor.revoke(id) else {
            return false;
        };
        self.lease_changes.insert(id, None);
        self.keyspace.done.leases_revoked += 1;
        for key in &keys {
            let attached = self
                .keyspace
                .index
                .get(key)
                .is_some_and(|meta| meta.lease == id);
            debug_assert!(attached, "the lessor and the index agree");
            if attached {
                self.keyspace.delete(key);
            }
        }
        true
    }

    fn delete(&mut self, key: &[u8]) {
        if let Some(Meta { lease, .. }) = self.keyspace.delete(key) {
            self.detach(lease, key);
        }
    }

    fn detach(&self, lease: i64, key: &[u8]) {
        if lease != 0 {
            self.lessor.detach(lease, key);
        }
    }

    fn header(&self) -> ResponseHeader {
        ResponseHeader {
            revision: self.keyspace.head(),
            ..ResponseHeader::default()
        }
    }
}
