//! Judges recorded histories of a cluster: was it linearizable, did watches miss nothing, was
//! anything owned twice?
//!
//! Owns the format of histories and the checks. It is pure: no clock, no network, no tasks; it
//! knows nothing of the product but the rules that its users rely on.
//!
//! A harness takes down what happens with a [`Recorder`], adds what it can read at the end, and
//! asks [`check_all`]:
//!
//! * every KV request, with the revision in its answer's header ([`Recorder::invoke`] and the
//!   calls that close it). An error that leaves the effect open must be closed as `unknown`, and
//!   only one that excludes it for certain as `failed`. Make every written value different;
//! * what watches deliver, what holders of locks and leaders are told, leases and keepalives;
//! * at the end: the log of all changes ([`EventLog::of`] a watch of all keys, from the first
//!   revision after [`Run::initial`]), what every member holds ([`Run::finals`]), and the keys
//!   that others write ([`Run::unrecorded`], such as those of locks and sessions).
//!
//! ```
//! use handfast_checker::{Kv, Promise, Recorder, Request, Response, check_all};
//!
//! let recorder = Recorder::new();
//! let put = recorder.invoke(10, 1, Request::put("color", "red"));
//! recorder.ok(20, put, 2, Response::Put { prev_kv: None });
//! let put = recorder.invoke(30, 1, Request::put("color", "blue"));
//! recorder.ok(40, put, 3, Response::Put { prev_kv: None });
//! assert!(check_all(&recorder.run()).is_good());
//!
//! // Another client is answered from the past.
//! let get = recorder.invoke(50, 2, Request::get("color"));
//! let mut red = Kv::seen("color", "red");
//! (red.create_revision, red.mod_revision, red.version) = (2, 2, 1);
//! recorder.ok(60, get, 2, Response::Get { kvs: vec![red], count: None });
//! let report = check_all(&recorder.run());
//! assert!(report.breaks(Promise::Linearizable), "{report}");
//! ```
//!
//! What the checks can and cannot say:
//!
//! * Revisions tie all keys together and leave little to search: where the log is given, the work
//!   grows with the length of the history only. Without the log, writes in doubt that nobody saw
//!   may make the search long; it then ends as [`Report::undecided`], which is not good but no
//!   violation either. Where no answer has a revision, each key (or group of keys that requests
//!   join) is judged for itself.
//! * A write in doubt may take effect at any time after its request, or never, but once.
//! * Keys on a lease may vanish at any time as far as the order goes, all of the lease in one
//!   revision. Whether it was too early is judged by the leases' own records.
//! * All times are of one clock, the harness's. What a client with a skewed clock believed is
//!   recorded at the true time at which it did.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answer;
mod history;
mod lease;
mod linear;
mod log;
#[cfg(test)]
mod naive;
mod observed;
pub mod recipe;
mod recorder;
mod report;
mod store;
mod tenure;
mod text;
mod watch;
mod words;
mod written;

pub use history::{
    Compare, CompareResult, Delete, Delivery, Ending, Event, EventKind, EventLog, Final, Get,
    KeyRange, Kv, LeaseRecord, Nanos, Note, Observation, Operation, Outcome, Put, Renewal, Request,
    Response, Run, Snapshot, Target, Tenure, TenureEnd, Txn, TxnOp, WatchRecord, WatchRequest,
};
pub use recorder::{OperationId, Recorder, TenureId, WatchId};
pub use report::{Promise, Report, Violation};

/// How much work the checks may spend before they give up, so that no history takes for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Steps of the search for an order of the operations.
    pub steps: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { steps: 20_000_000 }
    }
}

/// Makes all checks, within the default [`Budget`].
pub fn check_all(run: &Run) -> Report {
    check_within(run, Budget::default())
}

/// Makes all checks. What comes to no end is reported as undecided.
pub fn check_within(run: &Run, budget: Budget) -> Report {
    let mut report = Report {
        operations: run.operations.len(),
        tenures: run.locks.len() + run.leaderships.len() + run.observations.len(),
        ..Report::default()
    };
    let (log, wrong) = log::LogIndex::read(run).unzip();
    let log = log.as_ref();
    report.violations.extend(wrong.unwrap_or_default());
    if log.is_none() && !run.watches.is_empty() {
        let skipped = "whether watches missed something: there is no event log";
        report.skipped.push(skipped.to_owned());
    }
    let found = linear::check(run, log, budget.steps);
    report.violations.extend(found.violations);
    report.undecided.extend(found.undecided);
    report.steps = found.spent;
    report.violations.extend(written::check(run, log));
    let (wrong, events) = watch::check(run, log);
    report.violations.extend(wrong);
    report.events = events;
    let (exclusive, token) = (Promise::LockExclusive, Promise::LockToken);
    let wrong = tenure::check(&run.locks, log, exclusive, token);
    report.violations.extend(wrong);
    let (exclusive, token) = (Promise::LeaderExclusive, Promise::LeaderToken);
    let wrong = tenure::check(&run.leaderships, log, exclusive, token);
    report.violations.extend(wrong);
    let wrong = observed::check(&run.observations, log);
    report.violations.extend(wrong);
    report.violations.extend(lease::check(run, log));
    report
}
