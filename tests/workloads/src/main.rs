//! Fixed workloads of the storage layers, whose instructions `cargo xtask bench` counts.
//!
//! `workloads list` names them, `workloads NAME OPERATIONS` runs one. Everything is the same in
//! every run: keys, values, batches. Must not measure time.

use std::{
    path::Path,
    sync::{Arc, mpsc},
};

use bytes::Bytes;
use handfast_mvcc::{LogEntry, Payload, Store, StoreOptions};
use handfast_proto::{
    Message as _,
    command::{Command, command::Op},
    etcdserverpb::{
        Compare, PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest, WatchRequest,
        compare::TargetUnion, request_op::Request, watch_request::RequestUnion,
    },
};
use handfast_storage::{
    LogPosition,
    disk::RealDisk,
    state::{State, StateOptions},
    wal::{Entry, Identity, Wal, WalOptions},
};

/// Entries that reach the log or the store in one call, as under load.
const BATCH: u64 = 16;
const KEYS: u64 = 1_000;
const VALUE: [u8; 256] = [b'v'; 256];
const WATCHERS: usize = 100;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
type Workload = fn(&Path, u64) -> Result<()>;

const WORKLOADS: [(&str, Workload); 5] = [
    ("log-append", log_append),
    ("apply", apply),
    ("range", range),
    ("txn", txn),
    ("watch-publish", watch_publish),
];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let operations = arguments.get(1).and_then(|count| count.parse::<u64>().ok());
    let name = arguments.first().map(String::as_str);
    let workload = WORKLOADS.iter().find(|(known, _)| Some(*known) == name);
    match (workload, operations) {
        (Some((_, run)), Some(operations)) => run(tempfile::tempdir()?.path(), operations),
        // Anything else only lists them.
        _ => {
            WORKLOADS.iter().for_each(|(name, _)| println!("{name}"));
            Ok(())
        }
    }
}

/// Entries of one put each into the log, without waiting for a disk.
fn log_append(folder: &Path, operations: u64) -> Result<()> {
    let identity = Identity {
        cluster_id: 1,
        member_id: 1,
    };
    let options = WalOptions {
        sync: false,
        ..WalOptions::default()
    };
    let wal = Wal::open(Arc::new(RealDisk), folder, identity, options)?;
    for first in (1..=operations).step_by(BATCH as usize) {
        let entries = (first..first + BATCH).map(|index| {
            let payload = command(Op::Put(put(index)));
            Entry {
                position: LogPosition { term: 1, index },
                payload,
            }
        });
        let (sender, done) = mpsc::channel();
        let report = Box::new(move |result| drop(sender.send(result)));
        wal.append(entries.collect(), report);
        done.recv()??;
    }
    wal.close();
    Ok(())
}

/// Puts through the state machine, flushed as the server does.
fn apply(folder: &Path, operations: u64) -> Result<()> {
    let mut machine = Machine::open(folder)?;
    for first in (0..operations).step_by(BATCH as usize) {
        machine.apply((first..first + BATCH).map(|number| Op::Put(put(number))))?;
    }
    machine.store.flush()?;
    Ok(())
}

/// Reads of 50 pairs each.
fn range(folder: &Path, operations: u64) -> Result<()> {
    let machine = Machine::filled(folder)?;
    for number in 0..operations {
        let request = RangeRequest {
            key: key(number),
            range_end: Bytes::from_static(b"\0"),
            limit: 50,
            ..RangeRequest::default()
        };
        let answer = machine.store.range(&request)?;
        assert!(!answer.kvs.is_empty(), "the store is filled");
    }
    Ok(())
}

/// Compare and put: the transaction of every lock and of optimistic updates.
fn txn(folder: &Path, operations: u64) -> Result<()> {
    let mut machine = Machine::filled(folder)?;
    for first in (0..operations).step_by(BATCH as usize) {
        machine.apply((first..first + BATCH).map(|number| {
            let exists = Compare {
                result: 1,
                target: 1,
                key: key(number),
                target_union: Some(TargetUnion::CreateRevision(0)),
                ..Compare::default()
            };
            let op = |request| RequestOp {
                request: Some(request),
            };
            let get = RangeRequest {
                key: key(number),
                ..RangeRequest::default()
            };
            Op::Txn(TxnRequest {
                compare: vec![exists],
                success: vec![op(Request::RequestPut(put(number)))],
                failure: vec![op(Request::RequestRange(get))],
            })
        }))?;
    }
    Ok(())
}

/// Puts of one key that 100 streams watch.
fn watch_publish(folder: &Path, operations: u64) -> Result<()> {
    let mut machine = Machine::filled(folder)?;
    let mut streams = Vec::new();
    let mut responses = Vec::new();
    for _ in 0..WATCHERS {
        let mut stream = machine.store.watch().open_stream(Arc::new(|| ()));
        let create = WatchCreateRequest {
            key: key(0),
            ..WatchCreateRequest::default()
        };
        let create = Some(RequestUnion::CreateRequest(create));
        stream.handle(WatchRequest {
            request_union: create,
        });
        stream.poll(&*machine.store, &mut responses, usize::MAX);
        streams.push(stream);
    }
    let mut events = 0;
    // One put in 20 operations: each is worth a hundred events.
    for _ in 0..operations / 20 {
        machine.apply([Op::Put(put(0))])?;
        for stream in &mut streams {
            responses.clear();
            while stream.poll(&*machine.store, &mut responses, usize::MAX) {}
            events += responses
                .iter()
                .map(|response| response.events.len())
                .sum::<usize>();
        }
    }
    assert_eq!(
        events,
        WATCHERS * (operations / 20) as usize,
        "every watcher gets every event"
    );
    Ok(())
}

struct Machine {
    store: Arc<Store>,
    index: u64,
}

impl Machine {
    fn open(folder: &Path) -> Result<Self> {
        let options = StateOptions {
            sync: false,
            ..StateOptions::default()
        };
        let state = State::open(Arc::new(RealDisk), &folder.join("state"), options)?;
        let options = StoreOptions {
            sync: false,
            ..StoreOptions::default()
        };
        let store = Arc::new(Store::open(Arc::new(state), options)?);
        Ok(Self { store, index: 0 })
    }

    fn filled(folder: &Path) -> Result<Self> {
        let mut machine = Self::open(folder)?;
        machine.apply((0..KEYS).map(|number| Op::Put(put(number))))?;
        machine.store.flush()?;
        Ok(machine)
    }

    fn apply(&mut self, ops: impl IntoIterator<Item = Op>) -> Result<()> {
        let entries = ops.into_iter().map(|op| {
            self.index += 1;
            let position = LogPosition {
                term: 1,
                index: self.index,
            };
            LogEntry {
                position,
                payload: Payload::Command(command(op)),
            }
        });
        for applied in self.store.apply(entries.collect()) {
            applied.result?;
        }
        Ok(())
    }
}

fn command(op: Op) -> Bytes {
    Command { op: Some(op) }.encode_to_vec().into()
}

fn put(number: u64) -> PutRequest {
    PutRequest {
        key: key(number),
        value: Bytes::from_static(&VALUE),
        ..PutRequest::default()
    }
}

fn key(number: u64) -> Bytes {
    format!("key/{:08}", number % KEYS).into()
}
