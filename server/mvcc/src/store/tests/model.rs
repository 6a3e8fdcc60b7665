//! The store's behaviour in the plainest form: every version of every key in a map, every read a
//! scan of all of it, every transaction on a copy.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use handfast_proto::{
    command::command::Op,
    etcdserverpb::{
        Compare, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest,
        RangeResponse, ResponseHeader, ResponseOp, TxnRequest, TxnResponse, compare::TargetUnion,
        request_op::Request, response_op::Response,
    },
    mvccpb::KeyValue,
};

use crate::{Alarm, Error, KeyRange, Outcome};

/// All versions of all keys; a deletion is a pair without a version number.
#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) revision: i64,
    pub(super) compacted: i64,
    pub(super) versions: Vec<KeyValue>,
    pub(super) leases: BTreeMap<i64, i64>,
    pub(super) alarms: BTreeSet<Alarm>,
    pub(super) secret: Option<Bytes>,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            revision: 1,
            compacted: -1,
            versions: Vec::new(),
            leases: BTreeMap::new(),
            alarms: BTreeSet::new(),
            secret: None,
        }
    }

    pub(super) fn apply(&mut self, op: &Op, term: u64) -> Result<Outcome, Error> {
        let mut next = self.clone();
        let outcome = next.run(op, term)?;
        *self = next;
        Ok(outcome)
    }

    fn run(&mut self, op: &Op, term: u64) -> Result<Outcome, Error> {
        let before = self.revision;
        match op {
            Op::Put(request) => {
                self.check_put(request, true)?;
                Ok(Outcome::Put(self.put(request, before)))
            }
            Op::DeleteRange(request) => Ok(Outcome::DeleteRange(self.delete(request, before))),
            Op::Txn(request) => {
                let pre = self.clone();
                pre.check_txn(request, true)?;
                pre.check_txn(request, false)?;
                let mut response = self.txn(request, &pre)?;
                response.header = header(self.revision);
                Ok(Outcome::Txn(response))
            }
            Op::Compact(request) => {
                let (requested, compacted) = (request.revision, self.compacted);
                if requested <= compacted {
                    return Err(Error::Compacted {
                        requested,
                        compacted,
                    });
                }
                if requested > before {
                    return Err(Error::FutureRevision {
                        requested,
                        current: before,
                    });
                }
                self.compacted = requested;
                Ok(Outcome::Compact)
            }
            Op::LeaseGrant(grant) => {
                if self.leases.contains_key(&grant.id) {
                    return Err(Error::LeaseExists(grant.id));
                }
                self.leases.insert(grant.id, grant.ttl_seconds);
                Ok(Outcome::LeaseGrant {
                    id: grant.id,
                    ttl_seconds: grant.ttl_seconds,
                })
            }
            Op::LeaseRevoke(revoke) if self.revoke(revoke.id) => Ok(Outcome::LeaseRevoke),
            Op::LeaseRevoke(revoke) => Err(Error::LeaseNotFound(revoke.id)),
            Op::LeaseExpire(expire) if expire.term < term => {
                Ok(Outcome::LeaseExpire { revoked: 0 })
            }
            Op::LeaseExpire(expire) => {
                let revoked = expire.ids.iter().filter(|id| self.revoke(**id)).count();
                Ok(Outcome::LeaseExpire { revoked })
            }
            Op::Alarm(command) => {
                let alarm = Alarm {
                    member_id: command.member_id,
                    kind: command.kind,
                };
                let answer = match (alarm.kind, command.raise) {
                    (0, _) => false,
                    (_, true) => {
                        self.alarms.insert(alarm);
                        true
                    }
                    (_, false) => self.alarms.remove(&alarm),
                };
                let alarms = if answer { vec![alarm] } else { vec![] };
                Ok(Outcome::Alarm(alarms))
            }
            Op::JoinSecret(command) => {
                if !command.secret.is_empty() {
                    self.secret.get_or_insert(command.secret.clone());
                }
                Ok(Outcome::Blank)
            }
        }
    }

    /// The pair of a key at a revision.
    fn at(&self, key: &[u8], revision: i64) -> Option<KeyValue> {
        let mut versions = self.versions.iter().rev();
        let last = versions.find(|kv| kv.key == key && kv.mod_revision <= revision)?;
        (last.version > 0).then(|| last.clone())
    }

    /// The pairs of a range at a revision, ascending.
    pub(super) fn list(&self, key: &Bytes, end: &Bytes, revision: i64) -> Vec<KeyValue> {
        let range = KeyRange::parse(key, end);
        let mut keys: Vec<_> = self.versions.iter().map(|kv| &kv.key).collect();
        keys.sort();
        keys.dedup();
        let inside = keys.into_iter().filter(|key| range.contains(key));
        inside.filter_map(|key| self.at(key, revision)).collect()
    }

    pub(super) fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Error> {
        let at = self.readable(request.revision)?;
        let all = self.list(&request.key, &request.range_end, at);
        let count = all.len() as i64;
        let mut kvs = all;
        let limit = if request.limit > 0 {
            request.limit as usize
        } else {
            usize::MAX
        };
        let (order, target) = (request.sort_order, request.sort_target);
        let filters = [
            (request.min_mod_revision, request.max_mod_revision),
            (request.min_create_revision, request.max_create_revision),
        ];
        if order == 0 && filters == [(0, 0), (0, 0)] {
            kvs.truncate(limit.saturating_add(1));
        }
        kvs.retain(|kv| {
            let inside = |value: i64, (min, max): (i64, i64)| {
                (min == 0 || value >= min) && (max == 0 || value <= max)
            };
            inside(kv.mod_revision, filters[0]) && inside(kv.create_revision, filters[1])
        });
        let rank = |a: &KeyValue, b: &KeyValue| match target {
            1 => a.version.cmp(&b.version),
            2 => a.create_revision.cmp(&b.create_revision),
            3 => a.mod_revision.cmp(&b.mod_revision),
            4 => a.value.cmp(&b.value),
            _ => a.key.cmp(&b.key),
        };
        // Both sorts keep equals in the order of their keys, as the store does.
        kvs.sort_by(|a, b| if order == 2 { rank(b, a) } else { rank(a, b) });
        let more = kvs.len() > limit;
        kvs.truncate(limit);
        if request.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
        if request.count_only {
            return Ok(RangeResponse {
                header: header(self.revision),
                count,
                ..Default::default()
            });
        }
        Ok(RangeResponse {
            header: header(self.revision),
            kvs,
            more,
            count,
        })
    }

    fn readable(&self, requested: i64) -> Result<i64, Error> {
        if requested > self.revision {
            return Err(Error::FutureRevision {
                requested,
                current: self.revision,
            });
        }
        let at = if requested <= 0 {
            self.revision
        } else {
            requested
        };
        if at < self.compacted {
            return Err(Error::Compacted {
                requested: at,
                compacted: self.compacted,
            });
        }
        Ok(at)
    }

    pub(super) fn read_only_txn(&self, request: &TxnRequest) -> Result<TxnResponse, Error> {
        self.check_txn(request, false)?;
        let mut response = self.clone().txn(request, self)?;
        response.header = header(self.revision);
        Ok(response)
    }

    fn write(&mut self, kv: KeyValue, before: i64) {
        self.revision = before + 1;
        self.versions.push(KeyValue {
            mod_revision: before + 1,
            ..kv
        });
    }

    fn check_put(&self, request: &PutRequest, lease_first: bool) -> Result<(), Error> {
        let no_lease = request.lease != 0 && !self.leases.contains_key(&request.lease);
        let no_key = (request.ignore_value || request.ignore_lease)
            && self.at(&request.key, self.revision).is_none();
        match (no_lease, no_key) {
            (true, true) if !lease_first => Err(Error::KeyNotFound),
            (true, _) => Err(Error::LeaseNotFound(request.lease)),
            (false, true) => Err(Error::KeyNotFound),
            (false, false) => Ok(()),
        }
    }

    fn put(&mut self, request: &PutRequest, before: i64) -> PutResponse {
        let old = self.at(&request.key, i64::MAX);
        let old_kv = old.clone().unwrap_or_default();
        let kv = KeyValue {
            key: request.key.clone(),
            create_revision: if old.is_some() {
                old_kv.create_revision
            } else {
                before + 1
            },
            version: old_kv.version + 1,
            value: if request.ignore_value {
                old_kv.value
            } else {
                request.value.clone()
            },
            lease: if request.ignore_lease {
                old_kv.lease
            } else {
                request.lease
            },
            ..KeyValue::default()
        };
        self.write(kv, before);
        let prev_kv = old.filter(|_| request.prev_kv);
        PutResponse {
            header: header(self.revision),
            prev_kv,
        }
    }

    fn delete(&mut self, request: &DeleteRangeRequest, before: i64) -> DeleteRangeResponse {
        let doomed = self.list(&request.key, &request.range_end, i64::MAX);
        for kv in &doomed {
            self.write(
                KeyValue {
                    key: kv.key.clone(),
                    ..KeyValue::default()
                },
                before,
            );
        }
        DeleteRangeResponse {
            header: header(self.revision),
            deleted: doomed.len() as i64,
            prev_kvs: if request.prev_kv { doomed } else { Vec::new() },
        }
    }

    fn revoke(&mut self, id: i64) -> bool {
        if self.leases.remove(&id).is_none() {
            return false;
        }
        let before = self.revision;
        let all = self.list(&Bytes::new(), &Bytes::from_static(b"\0"), i64::MAX);
        for kv in all.into_iter().filter(|kv| kv.lease == id) {
            self.write(
                KeyValue {
                    key: kv.key,
                    ..KeyValue::default()
                },
                before,
            );
        }
        true
    }

    fn check_txn(&self, request: &TxnRequest, puts: bool) -> Result<(), Error> {
        for op in self.branch(request).1 {
            match op.request.as_ref().unwrap() {
                Request::RequestPut(put) if puts => self.check_put(put, false)?,
                Request::RequestRange(range) if !puts && range.revision != 0 => {
                    let (requested, compacted) = (range.revision, self.compacted);
                    if requested > self.revision {
                        return Err(Error::FutureRevision {
                            requested,
                            current: self.revision,
                        });
                    }
                    if requested < compacted {
                        return Err(Error::Compacted {
                            requested,
                            compacted,
                        });
                    }
                }
                Request::RequestTxn(nested) => self.check_txn(nested, puts)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn branch<'t>(
        &self,
        request: &'t TxnRequest,
    ) -> (bool, &'t [handfast_proto::etcdserverpb::RequestOp]) {
        let succeeded = request.compare.iter().all(|compare| self.holds(compare));
        (
            succeeded,
            if succeeded {
                &request.success
            } else {
                &request.failure
            },
        )
    }

    /// `pre` is the state before the whole transaction: compares look at nothing else.
    fn txn(&mut self, request: &TxnRequest, pre: &Self) -> Result<TxnResponse, Error> {
        let (succeeded, ops) = pre.branch(request);
        let mut responses = Vec::new();
        for op in ops {
            let response = match op.request.as_ref().unwrap() {
                Request::RequestRange(range) => Response::ResponseRange(self.range(range)?),
                Request::RequestPut(put) => Response::ResponsePut(self.put(put, pre.revision)),
                Request::RequestDeleteRange(delete) => {
                    Response::ResponseDeleteRange(self.delete(delete, pre.revision))
                }
                Request::RequestTxn(nested) => Response::ResponseTxn(self.txn(nested, pre)?),
            };
            responses.push(ResponseOp {
                response: Some(response),
            });
        }
        Ok(TxnResponse {
            header: Some(ResponseHeader::default()),
            succeeded,
            responses,
        })
    }

    fn holds(&self, compare: &Compare) -> bool {
        let mut kvs = self.list(&compare.key, &compare.range_end, self.revision);
        if kvs.is_empty() {
            if compare.target == 3 {
                return false;
            }
            kvs.push(KeyValue::default());
        }
        kvs.iter().all(|kv| {
            let union = compare.target_union.clone();
            let order = match (compare.target, union) {
                (0, Some(TargetUnion::Version(given))) => kv.version.cmp(&given),
                (0, _) => kv.version.cmp(&0),
                (1, Some(TargetUnion::CreateRevision(given))) => kv.create_revision.cmp(&given),
                (1, _) => kv.create_revision.cmp(&0),
                (2, Some(TargetUnion::ModRevision(given))) => kv.mod_revision.cmp(&given),
                (2, _) => kv.mod_revision.cmp(&0),
                (3, Some(TargetUnion::Value(given))) => kv.value.cmp(&given),
                (3, _) => kv.value.cmp(&Bytes::new()),
                (4, Some(TargetUnion::Lease(given))) => kv.lease.cmp(&given),
                (4, _) => kv.lease.cmp(&0),
                _ => std::cmp::Ordering::Equal,
            };
            match compare.result {
                0 => order.is_eq(),
                1 => order.is_gt(),
                2 => order.is_lt(),
                3 => order.is_ne(),
                _ => true,
            }
        })
    }
}

fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader {
        revision,
        ..ResponseHeader::default()
    })
}
