//! The store as a whole, against a naive model and against itself.

mod crashes;
mod etcd;
mod fingerprint;
mod install;
mod model;
mod properties;
mod readers;
mod recover;
mod replay;
mod strategies;
mod survivor;
mod transfer;
mod watchers;

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use handfast_proto::{
    Message,
    command::{self, Command, JoinSecret, LeaseExpire, LeaseGrant, LeaseRevoke, command::Op},
    etcdserverpb::{
        CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
        request_op::Request,
    },
};
use handfast_storage::{
    LogPosition,
    disk::RealDisk,
    state::{State, StateOptions},
};

use crate::{Applied, LogEntry, Payload, Store, StoreOptions};

/// A store on a real file that goes away with it, and the log it was fed.
struct Fixture {
    dir: tempfile::TempDir,
    store: Option<Arc<Store>>,
    options: StoreOptions,
    log: Vec<LogEntry>,
}

impl Fixture {
    fn new() -> Self {
        Self::with(StoreOptions {
            sync: false,
            ..StoreOptions::default()
        })
    }

    /// So little memory that values, events and rows are read back from the file.
    fn small() -> Self {
        Self::with(StoreOptions {
            sync: false,
            value_cache_bytes: 2_000,
            recent_bytes: 1_000,
            ..StoreOptions::default()
        })
    }

    fn with(options: StoreOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Some(Arc::new(open(dir.path(), &options)));
        Self {
            dir,
            store,
            options,
            log: Vec::new(),
        }
    }

    fn store(&self) -> &Arc<Store> {
        self.store.as_ref().unwrap()
    }

    /// Logs and applies commands as one batch of the given term.
    fn apply_in(&mut self, term: u64, ops: Vec<Op>) -> Vec<Applied> {
        let first = self.log.len() as u64 + 1;
        let entries: Vec<LogEntry> = (first..)
            .zip(ops)
            .map(|(index, op)| LogEntry {
                position: LogPosition { term, index },
                payload: Payload::Command(Command { op: Some(op) }.encode_to_vec().into()),
            })
            .collect();
        self.log.extend(entries.iter().cloned());
        self.store().apply(entries)
    }

    fn apply(&mut self, ops: Vec<Op>) -> Vec<Applied> {
        self.apply_in(1, ops)
    }

    fn one(&mut self, op: Op) -> Applied {
        self.apply(vec![op]).pop().unwrap()
    }

    /// Opens the file anew, as after a crash, and replays what it lacks. Returns the answers of
    /// the replay and the index of the first entry replayed.
    fn reopen(&mut self) -> (usize, Vec<Applied>) {
        let old = self.store.take().unwrap();
        assert_eq!(Arc::strong_count(&old), 1);
        drop(old);
        let store = open(self.dir.path(), &self.options);
        let durable = store.applied().map_or(0, |position| position.index) as usize;
        let answers = store.apply(self.log[durable..].to_vec());
        self.store = Some(Arc::new(store));
        (durable, answers)
    }

    fn sweep_all(&self) {
        while self.store().sweep().unwrap() {}
    }
}

fn open(dir: &Path, options: &StoreOptions) -> Store {
    let state_options = StateOptions {
        sync: false,
        ..StateOptions::default()
    };
    let state = State::open(Arc::new(RealDisk), &dir.join("state.redb"), state_options).unwrap();
    Store::open(Arc::new(state), options.clone()).unwrap()
}

/// Everything that can be seen of an answer.
fn seen(applied: &Applied) -> String {
    format!("{} {:?}", applied.revision, applied.result)
}

fn bytes(text: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(text.as_ref())
}

fn put(key: &str, value: &str) -> Op {
    Op::Put(put_request(key, value))
}

fn put_request(key: &str, value: &str) -> PutRequest {
    PutRequest {
        key: bytes(key),
        value: bytes(value),
        ..PutRequest::default()
    }
}

fn delete(key: &str, end: &str) -> Op {
    Op::DeleteRange(delete_request(key, end))
}

fn delete_request(key: &str, end: &str) -> DeleteRangeRequest {
    DeleteRangeRequest {
        key: bytes(key),
        range_end: bytes(end),
        prev_kv: false,
    }
}

fn range(key: &str, end: &str) -> RangeRequest {
    RangeRequest {
        key: bytes(key),
        range_end: bytes(end),
        ..RangeRequest::default()
    }
}

fn compact(revision: i64) -> Op {
    Op::Compact(CompactionRequest {
        revision,
        physical: false,
    })
}

fn grant(id: i64) -> Op {
    Op::LeaseGrant(LeaseGrant {
        id,
        ttl_seconds: 60,
    })
}

fn revoke(id: i64) -> Op {
    Op::LeaseRevoke(LeaseRevoke { id })
}

fn expire(ids: &[i64], term: u64) -> Op {
    Op::LeaseExpire(LeaseExpire {
        ids: ids.to_vec(),
        term,
    })
}

fn alarm(raise: bool, member_id: u64, kind: i32) -> Op {
    Op::Alarm(command::Alarm {
        raise,
        member_id,
        kind,
    })
}

fn join_secret(secret: &str) -> Op {
    Op::JoinSecret(JoinSecret {
        secret: bytes(secret),
    })
}

fn txn(success: Vec<Request>) -> TxnRequest {
    TxnRequest {
        success: ops(success),
        ..TxnRequest::default()
    }
}

fn ops(requests: Vec<Request>) -> Vec<RequestOp> {
    requests
        .into_iter()
        .map(|request| RequestOp {
            request: Some(request),
        })
        .collect()
}
