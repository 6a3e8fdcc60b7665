//! Judges recorded histories of a cluster: was it linearizable, did watches miss nothing, was
//! anything owned twice?
//!
//! Owns the format of histories and the checks. It is pure: no clock, no network, no tasks; it
//! knows nothing of the product but the rules that its users rely on.
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
