//! The multi-version key-value state machine.
//!
//! Owns what a committed log entry does to keys and leases, and what a reader or watcher then sees.
//! Must not know of raft, of an async runtime or of gRPC: the log arrives through
//! [`Store::apply`], and everything else here is a read.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod apply;
mod cache;
mod clock;
mod cluster;
mod codec;
mod compact;
mod entry;
mod error;
mod feed;
mod fingerprint;
mod flush;
mod forbid;
mod hash;
mod header;
mod history;
mod index;
mod install;
mod key_range;
mod keyspace;
pub mod lease;
mod load;
mod meta;
mod options;
mod range;
pub mod recent;
mod recover;
mod revision;
mod select;
mod shared;
mod signal;
mod store;
pub mod survivor;
mod sweep;
mod txn;
pub mod validate;
pub mod watch;

pub use clock::{Clock, MonotonicClock};
pub use cluster::Alarm;
pub use entry::{Applied, LogEntry, Outcome, Payload};
pub use error::Error;
pub use fingerprint::{Fingerprint, HashPoint};
pub use hash::HashKv;
pub use header::SnapshotHeader;
pub use install::{Snapshot, SnapshotChunk};
pub use key_range::KeyRange;
pub use keyspace::Tally;
pub use options::StoreOptions;
pub use revision::Revision;
pub use signal::FlushSignal;
pub use store::{Store, StoreStats};
