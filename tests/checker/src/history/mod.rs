//! What was seen of a run: the format that every check reads and every harness writes.
//!
//! Owns the records and their form in a file. Knows nothing of what is right or wrong.

mod held;
mod kv;
mod operation;
mod run;
mod watch;

pub use held::{Ending, LeaseRecord, Observation, Renewal, Tenure, TenureEnd};
pub use kv::{KeyRange, Kv};
pub use operation::{
    Compare, CompareResult, Delete, Get, Operation, Outcome, Put, Request, Response, Target, Txn,
    TxnOp,
};
pub use run::{EventLog, Final, Run, Snapshot};
pub use watch::{Delivery, Event, EventKind, Note, WatchRecord, WatchRequest};

/// A time of the harness in nanoseconds since some start, the same for all clients of a run.
pub type Nanos = u64;
