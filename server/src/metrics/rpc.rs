//! How many calls of each method began and how they ended.
//!
//! Owns the list of methods and the counters, spread over several places in memory so that threads
//! that count at once do not take turns. It must not know what a method does.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tonic::{Code, Status};

use super::page::{Kind, Page};

/// Copies of the counters; more threads than that share some.
const SHARDS: usize = 8;

/// The status codes of gRPC, by number.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

macro_rules! methods {
    ($($name:ident: $service:literal $method:literal $kind:literal,)*) => {
        /// A method that is served.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Method {
            $($name,)*
        }

        /// Service, method and kind of call, in the order of [`Method`].
        const METHODS: &[[&str; 3]] = &[$([$service, $method, $kind],)*];
    };
}

methods! {
    Range: "etcdserverpb.KV" "Range" "unary",
    Put: "etcdserverpb.KV" "Put" "unary",
    DeleteRange: "etcdserverpb.KV" "DeleteRange" "unary",
    Txn: "etcdserverpb.KV" "Txn" "unary",
    Compact: "etcdserverpb.KV" "Compact" "unary",
    Watch: "etcdserverpb.Watch" "Watch" "bidi_stream",
    LeaseGrant: "etcdserverpb.Lease" "LeaseGrant" "unary",
    LeaseRevoke: "etcdserverpb.Lease" "LeaseRevoke" "unary",
    LeaseKeepAlive: "etcdserverpb.Lease" "LeaseKeepAlive" "bidi_stream",
    LeaseTimeToLive: "etcdserverpb.Lease" "LeaseTimeToLive" "unary",
    LeaseLeases: "etcdserverpb.Lease" "LeaseLeases" "unary",
    MemberAdd: "etcdserverpb.Cluster" "MemberAdd" "unary",
    MemberRemove: "etcdserverpb.Cluster" "MemberRemove" "unary",
    MemberUpdate: "etcdserverpb.Cluster" "MemberUpdate" "unary",
    MemberList: "etcdserverpb.Cluster" "MemberList" "unary",
    MemberPromote: "etcdserverpb.Cluster" "MemberPromote" "unary",
    Alarm: "etcdserverpb.Maintenance" "Alarm" "unary",
    Status: "etcdserverpb.Maintenance" "Status" "unary",
    Defragment: "etcdserverpb.Maintenance" "Defragment" "unary",
    Hash: "etcdserverpb.Maintenance" "Hash" "unary",
    HashKv: "etcdserverpb.Maintenance" "HashKV" "unary",
    Snapshot: "etcdserverpb.Maintenance" "Snapshot" "server_stream",
    MoveLeader: "etcdserverpb.Maintenance" "MoveLeader" "unary",
    Downgrade: "etcdserverpb.Maintenance" "Downgrade" "unary",
    HealthCheck: "grpc.health.v1.Health" "Check" "unary",
    HealthWatch: "grpc.health.v1.Health" "Watch" "server_stream",
}

/// The counters of one method.
#[derive(Debug, Default)]
struct Row {
    started: AtomicU64,
    handled: [AtomicU64; CODES.len()],
}

/// The counters of all methods.
#[derive(Debug)]
pub(crate) struct Calls {
    shards: [Vec<Row>; SHARDS],
}

impl Default for Calls {
    fn default() -> Calls {
        Calls {
            shards: std::array::from_fn(|_| METHODS.iter().map(|_| Row::default()).collect()),
        }
    }
}

/// Where this thread counts.
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
    }
    SHARD.with(|shard| *shard)
}

impl Calls {
    /// Counts a call that begins; its end is counted when what is returned is dropped.
    pub(crate) fn begin<C: Deref<Target = Calls>>(calls: C, method: Method) -> Call<C> {
        calls.shards[shard()][method as usize]
            .started
            .fetch_add(1, Ordering::Relaxed);
        Call {
            calls,
            method,
            code: Code::Cancelled,
        }
    }

    /// How many calls of a method have ended with this code.
    pub(crate) fn handled(&self, method: Method, code: Code) -> u64 {
        self.sum(method as usize, |row| &row.handled[code as usize])
    }

    fn sum(&self, method: usize, counter: impl Fn(&Row) -> &AtomicU64) -> u64 {
        let counters = self.shards.iter().map(|rows| counter(&rows[method]));
        counters.map(|value| value.load(Ordering::Relaxed)).sum()
    }

    /// Writes both families; codes that never came up are left out.
    pub(crate) fn report(&self, page: &mut Page) {
        let labels = |[service, method, kind]: [&'static str; 3]| {
            [
                ("grpc_method", method),
                ("grpc_service", service),
                ("grpc_type", kind),
            ]
        };
        let help = "Calls that have ended, whether well or not.";
        let mut handled = page.family("grpc_server_handled_total", Kind::Counter, help);
        for (at, method) in METHODS.iter().enumerate() {
            let [name, service, kind] = labels(*method);
            for (number, code) in CODES.into_iter().enumerate() {
                let count = self.sum(at, |row| &row.handled[number]);
                if count > 0 {
                    handled.sample(&[("grpc_code", code), name, service, kind], count);
                }
            }
        }
        let help = "Calls that have begun.";
        let mut started = page.family("grpc_server_started_total", Kind::Counter, help);
        for (at, method) in METHODS.iter().enumerate() {
            started.sample(&labels(*method), self.sum(at, |row| &row.started));
        }
    }
}

/// A call under way. One that is dropped before its outcome is known was cancelled.
#[derive(Debug)]
pub(crate) struct Call<C: Deref<Target = Calls>> {
    calls: C,
    method: Method,
    code: Code,
}

impl<C: Deref<Target = Calls>> Call<C> {
    /// Notes the outcome of the whole call, and passes it on.
    pub(crate) fn note<T>(&mut self, outcome: Result<T, Status>) -> Result<T, Status> {
        self.end(outcome.as_ref().map_or_else(Status::code, |_| Code::Ok));
        outcome
    }

    /// Notes the outcome of a part: the call goes on unless it is an error.
    pub(crate) fn check<T>(&mut self, part: Result<T, Status>) -> Result<T, Status> {
        if let Err(status) = &part {
            self.end(status.code());
        }
        part
    }

    /// Notes how the call ends.
    pub(crate) fn end(&mut self, code: Code) {
        self.code = code;
    }
}

impl<C: Deref<Target = Calls>> Drop for Call<C> {
    fn drop(&mut self) {
        self.calls.shards[shard()][self.method as usize].handled[self.code as usize]
            .fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_of_a_call_is_counted_under_its_code() {
        let calls = Calls::default();
        let _ = Calls::begin(&calls, Method::Put).note(Ok(()));
        let refused = Err::<(), _>(Status::data_loss("x"));
        let _ = Calls::begin(&calls, Method::Put).note(refused);
        drop(Calls::begin(&calls, Method::Put));
        let under_way = Calls::begin(&calls, Method::Watch);
        std::thread::scope(|threads| {
            threads.spawn(|| Calls::begin(&calls, Method::Put).note(Ok(())).unwrap());
        });
        let mut page = Page::default();
        calls.report(&mut page);
        let text = page.finish();
        let put = "grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"}";
        for (code, count) in [("OK", 2), ("DataLoss", 1), ("Canceled", 1)] {
            let line = format!("grpc_server_handled_total{{grpc_code=\"{code}\",{put} {count}\n");
            assert!(text.contains(&line), "{text}");
        }
        assert!(text.contains(&format!("grpc_server_started_total{{{put} 4\n")));
        let watch = "{grpc_method=\"Watch\",grpc_service=\"etcdserverpb.Watch\"";
        assert!(text.contains(&format!(
            "started_total{watch},grpc_type=\"bidi_stream\"}} 1\n"
        )));
        assert!(!text.contains("OK\",grpc_method=\"Watch\""));
        drop(under_way);
        assert_eq!(calls.handled(Method::Watch, Code::Cancelled), 1);
        assert_eq!(calls.handled(Method::Put, Code::Ok), 2);
    }
}
