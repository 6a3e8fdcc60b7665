//! What the packages of other languages share, each of which adds its own crossing.
//!
//! Owns the runtime of a process, errors as plain records, cancelling, the way of log records to
//! the host, and a server for tests with its faults. Knows no language and no FFI.
//!
//! * [`runtime`]: one tokio runtime for each process, and values that belong to it
//! * [`failure`]: code, message, retryable, details
//! * [`cancel`]: ends work from outside; panics become failures
//! * [`feed`]: watches, leaders and states, one at a time
//! * [`holding`], [`lease`]: what is held until it is given back
//! * [`once`]: work that the host does, once
//! * [`queue`]: workers that several objects share
//! * [`request`]: conditions as words
//! * [`logs`]: records of `tracing` on a thread of their own, bounded
//! * [`testing`]: an embedded server that can be stopped, paused and cut off

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod cancel;
pub mod failure;
pub mod feed;
pub mod holding;
pub mod lease;
pub mod logs;
pub mod once;
pub mod queue;
pub mod request;
pub mod runtime;
pub mod testing;

pub use cancel::Cancel;
pub use failure::{Detail, Failure};
pub use feed::Feed;
pub use holding::{Guard, Holding};
