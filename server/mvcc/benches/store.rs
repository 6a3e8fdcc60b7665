//! Figures of the store at a million keys: processor time per operation, and memory.
//!
//! Prints; asserts nothing, for a shared machine would make that a coin toss. Run with
//! `cargo bench -p handfast-mvcc`; the first argument sets the number of keys.

use std::{
    hint::black_box,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use handfast_mvcc::{LogEntry, Payload, Store, StoreOptions};
use handfast_proto::{
    Message,
    command::{Command, command::Op},
    etcdserverpb::{CompactionRequest, PutRequest, RangeRequest},
};
use handfast_storage::{
    LogPosition,
    disk::RealDisk,
    state::{State, StateOptions},
};

const BATCH: usize = 256;
const VALUE_BYTES: usize = 100;

/// First argument of the process that only reopens the store.
const REOPEN: &str = "reopen";

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, first, dir, keys, ..] = &args[..]
        && first == REOPEN
    {
        return reopen(Path::new(dir), keys.parse().expect("a number of keys"));
    }
    let keys = std::env::args()
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(1_000_000);
    let dir = tempfile::tempdir().expect("a directory for the state file");
    println!("{keys} keys, {VALUE_BYTES} B values");
    let store = open(dir.path());
    let mut log = Log {
        store: &store,
        index: 0,
        flushing: Duration::ZERO,
    };

    let start = Cpu::now();
    log.put_all((0..keys).map(|at| scatter(at, keys)), 1);
    let applying = start.elapsed().saturating_sub(log.flushing);
    report("put, scattered order", applying, keys);
    report("flush", log.flushing, keys);
    println!("{:<42}{:>9} MiB", "resident after the puts", resident_mib());

    log.put_all(0..1_000, 1);
    reads(&store, keys);

    let start = Cpu::now();
    log.flushing = Duration::ZERO;
    log.put_all((0..keys / 10).map(|at| scatter(at * 10, keys)), 2);
    report(
        "put over an existing key",
        start.elapsed().saturating_sub(log.flushing),
        keys / 10,
    );
    let pinned = i64::try_from(keys).expect("fits") + 1_001;
    let page = RangeRequest {
        revision: pinned,
        limit: 500,
        ..list(b"/registry/", b"/registry0")
    };
    measure("page of 500 at an old revision", 100, || {
        store.range(&page).expect("readable")
    });

    let revision = store.revision();
    let start = Cpu::now();
    log.apply(vec![Op::Compact(CompactionRequest {
        revision,
        physical: false,
    })]);
    while store.sweep().expect("the sweep works") {}
    report("sweep, per superseded row", start.elapsed(), keys / 10);
    println!(
        "{:<42}{:>9} MiB",
        "resident after the sweep",
        resident_mib()
    );

    drop(store);
    // In a process of its own, so that its memory is its own.
    let own = std::env::current_exe().expect("a running program has a file");
    let status = std::process::Command::new(own)
        .arg(REOPEN)
        .arg(dir.path())
        .arg(keys.to_string())
        .status()
        .expect("it starts");
    assert!(status.success(), "the reopened store failed");
}

/// What a restart costs.
fn reopen(dir: &Path, keys: usize) {
    let (start, wall) = (Cpu::now(), Instant::now());
    let store = open(dir);
    report("open, main thread, per row", start.elapsed(), keys);
    println!("{:<42}{:>12.2?}", "open, by the clock", wall.elapsed());
    println!(
        "{:<42}{:>9} MiB",
        "resident after the restart",
        resident_mib()
    );
    measure("get, cold", 20_000, || get(&store, keys));
    println!("{:?}", store.stats());
}

fn reads(store: &Store, keys: usize) {
    let hot = one(&key(keys / 2));
    measure("get, hot", 1_000_000, || {
        store.range(&hot).expect("readable")
    });
    measure("get, random", 100_000, || get(store, keys));
    let near = list(&key(0), &key(1_000.min(keys)));
    measure("list of 1000 in the cache", 1_000, || {
        store.range(&near).expect("readable")
    });
    let thousand = RangeRequest {
        limit: 1_000,
        ..list(&key(keys / 3), b"\0")
    };
    measure("list of 1000, first", 1, || {
        store.range(&thousand).expect("readable")
    });
    measure("list of 1000", 1_000, || {
        store.range(&thousand).expect("readable")
    });
    let keys_only = RangeRequest {
        keys_only: true,
        ..thousand.clone()
    };
    measure("list of 1000, keys only", 1_000, || {
        store.range(&keys_only).expect("readable")
    });
    let count = RangeRequest {
        count_only: true,
        ..list(&key(keys / 10), &key(keys / 10 * 9))
    };
    measure("count of four fifths", 10_000, || {
        store.range(&count).expect("readable")
    });
}

fn get(store: &Store, keys: usize) -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let at = scatter(NEXT.fetch_add(1, Ordering::Relaxed) % keys, keys);
    store.range(&one(&key(at))).expect("readable").kvs.len()
}

struct Log<'s> {
    store: &'s Store,
    index: u64,
    flushing: Duration,
}

impl Log<'_> {
    fn put_all(&mut self, numbers: impl Iterator<Item = usize>, fill: u8) {
        let value = Bytes::from(vec![fill; VALUE_BYTES]);
        let mut batch = Vec::with_capacity(BATCH);
        for number in numbers {
            let (key, value) = (key(number), value.clone());
            batch.push(Op::Put(PutRequest {
                key,
                value,
                ..PutRequest::default()
            }));
            if batch.len() == BATCH {
                self.apply(std::mem::take(&mut batch));
                if self.store.stats().unflushed_bytes >= 8 << 20 {
                    self.flush();
                }
            }
        }
        self.apply(batch);
        self.flush();
    }

    fn flush(&mut self) {
        let start = Cpu::now();
        self.store.flush().expect("the flush works");
        self.flushing += start.elapsed();
    }

    fn apply(&mut self, ops: Vec<Op>) {
        let entries = ops
            .into_iter()
            .map(|op| {
                self.index += 1;
                let payload = Command { op: Some(op) }.encode_to_vec().into();
                let position = LogPosition {
                    term: 1,
                    index: self.index,
                };
                LogEntry {
                    position,
                    payload: Payload::Command(payload),
                }
            })
            .collect();
        black_box(self.store.apply(entries));
    }
}

fn open(dir: &Path) -> Store {
    let state = State::open(
        Arc::new(RealDisk),
        &dir.join("state.redb"),
        StateOptions::default(),
    );
    let state = Arc::new(state.expect("the state file opens"));
    Store::open(state, StoreOptions::default()).expect("the store opens")
}

/// A key of 29 bytes, as in Kubernetes.
fn key(number: usize) -> Bytes {
    Bytes::from(format!("/registry/pods/default/{number:06x}").into_bytes())
}

/// A permutation of the numbers below `count`.
fn scatter(at: usize, count: usize) -> usize {
    (at * 611_953 + 7) % count
}

fn one(key: &Bytes) -> RangeRequest {
    RangeRequest {
        key: key.clone(),
        ..RangeRequest::default()
    }
}

fn list(key: &[u8], end: &[u8]) -> RangeRequest {
    let (key, range_end) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(end));
    RangeRequest {
        key,
        range_end,
        ..RangeRequest::default()
    }
}

fn measure<T>(name: &str, count: usize, mut run: impl FnMut() -> T) {
    let start = Cpu::now();
    for _ in 0..count {
        black_box(run());
    }
    report(name, start.elapsed(), count);
}

fn report(name: &str, total: Duration, count: usize) {
    let each = total / u32::try_from(count.max(1)).expect("few enough");
    println!("{name:<42}{each:>12.2?}");
}

/// Time this thread was on a processor: other load on the machine does not count.
struct Cpu(Duration);

impl Cpu {
    fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
        Self(Duration::from_nanos(nanos.unwrap_or(0)))
    }

    fn elapsed(&self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }
}

fn resident_mib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096 / (1 << 20)
}
