//! The simplest store that is right: a list of pairs for every revision.
//!
//! Owns its own reading of the rules, on purpose apart from the model that the checks use.

use crate::history::{
    Compare, CompareResult, Event, EventKind, Get, KeyRange, Kv, Request, Response, Target, TxnOp,
};

/// Every state there was; the first is revision 1.
pub(super) struct World {
    pub(super) states: Vec<Vec<Kv>>,
    pub(super) log: Vec<Event>,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            states: vec![Vec::new()],
            log: Vec::new(),
        }
    }

    pub(super) fn revision(&self) -> i64 {
        i64::try_from(self.states.len()).unwrap()
    }

    pub(super) fn at(&self, revision: i64) -> &[Kv] {
        &self.states[usize::try_from(revision - 1).unwrap()]
    }

    pub(super) fn now(&self) -> &[Kv] {
        self.at(self.revision())
    }

    /// Does a request; gives the header's revision and the answer.
    pub(super) fn serve(&mut self, request: &Request) -> (i64, Response) {
        let mut state = self.now().to_vec();
        let mut events = Vec::new();
        let next = self.revision() + 1;
        let response = match request {
            Request::Get(get) if get.revision > 0 => read(self.at(get.revision), get),
            Request::Get(get) => one(&mut state, &mut events, next, &TxnOp::Get(get.clone())),
            Request::Put(put) => one(&mut state, &mut events, next, &TxnOp::Put(put.clone())),
            Request::Delete(gone) => {
                one(&mut state, &mut events, next, &TxnOp::Delete(gone.clone()))
            }
            Request::Txn(txn) => {
                let succeeded = txn.compares.iter().all(|compare| holds(&state, compare));
                let ops = if succeeded { &txn.then } else { &txn.otherwise };
                let mut responses = Vec::new();
                for op in ops {
                    responses.push(one(&mut state, &mut events, next, op));
                }
                Response::Txn {
                    succeeded,
                    responses,
                }
            }
            Request::Revoke { lease } => {
                let keys: Vec<_> = state.iter().filter(|kv| kv.lease == *lease).collect();
                let keys: Vec<_> = keys.into_iter().map(|kv| kv.key.clone()).collect();
                for key in keys {
                    delete(&mut state, &mut events, next, &KeyRange::key(key));
                }
                Response::Revoke
            }
        };
        if !events.is_empty() {
            self.states.push(state);
            self.log.extend(events);
        }
        (self.revision(), response)
    }

    /// A read as a member gives it that is behind.
    pub(super) fn serve_late(&self, revision: i64, get: &Get) -> (i64, Response) {
        (revision, read(self.at(revision), get))
    }
}

fn read(state: &[Kv], get: &Get) -> Response {
    let inside = state.iter().filter(|kv| get.range.contains(&kv.key));
    let kvs: Vec<Kv> = inside.cloned().collect();
    let count = i64::try_from(kvs.len()).unwrap();
    let limit = usize::try_from(get.limit).unwrap();
    Response::Get {
        kvs: kvs[..if limit == 0 {
            kvs.len()
        } else {
            limit.min(kvs.len())
        }]
            .to_vec(),
        count: Some(count),
    }
}

fn one(state: &mut Vec<Kv>, events: &mut Vec<Event>, next: i64, op: &TxnOp) -> Response {
    match op {
        TxnOp::Get(get) => read(state, get),
        TxnOp::Put(put) => {
            let old = state.iter().find(|kv| kv.key == put.key).cloned();
            let kv = Kv {
                key: put.key.clone(),
                value: put.value.clone(),
                create_revision: old.as_ref().map_or(next, |old| old.create_revision),
                mod_revision: next,
                version: old.as_ref().map_or(1, |old| old.version + 1),
                lease: put.lease,
            };
            state.retain(|other| other.key != put.key);
            state.push(kv.clone());
            state.sort_by(|one, two| one.key.cmp(&two.key));
            events.push(Event {
                kind: EventKind::Put,
                kv,
                prev_kv: old.clone(),
            });
            Response::Put {
                prev_kv: if put.prev_kv { old } else { None },
            }
        }
        TxnOp::Delete(gone) => {
            let kvs = delete(state, events, next, &gone.range);
            Response::Delete {
                deleted: i64::try_from(kvs.len()).unwrap(),
                prev_kvs: if gone.prev_kv { kvs } else { Vec::new() },
            }
        }
    }
}

fn delete(state: &mut Vec<Kv>, events: &mut Vec<Event>, next: i64, range: &KeyRange) -> Vec<Kv> {
    let gone: Vec<Kv> = state
        .iter()
        .filter(|kv| range.contains(&kv.key))
        .cloned()
        .collect();
    state.retain(|kv| !range.contains(&kv.key));
    for kv in &gone {
        let mut after = Kv::seen(kv.key.clone(), "");
        after.mod_revision = next;
        events.push(Event {
            kind: EventKind::Delete,
            kv: after,
            prev_kv: Some(kv.clone()),
        });
    }
    gone
}

fn holds(state: &[Kv], compare: &Compare) -> bool {
    let mut kvs: Vec<Kv> = state.to_vec();
    kvs.retain(|kv| compare.range.contains(&kv.key));
    if kvs.is_empty() {
        if matches!(compare.target, Target::Value(_)) {
            return false;
        }
        kvs.push(Kv::default());
    }
    kvs.iter().all(|kv| {
        let number = |stored: i64, given: i64| stored.cmp(&given);
        let order = match &compare.target {
            Target::Version(given) => number(kv.version, *given),
            Target::CreateRevision(given) => number(kv.create_revision, *given),
            Target::ModRevision(given) => number(kv.mod_revision, *given),
            Target::Lease(given) => number(kv.lease, *given),
            Target::Value(given) => kv.value.cmp(given),
        };
        match compare.result {
            CompareResult::Equal => order.is_eq(),
            CompareResult::NotEqual => !order.is_eq(),
            CompareResult::Greater => order.is_gt(),
            CompareResult::Less => order.is_lt(),
        }
    })
}
