//! Watching: who is told of which events, and when.
//!
//! Owns the registry of watched ranges ([`WatchHub`]) and the server side of one watch RPC
//! ([`WatchStream`]). Knows nothing of gRPC, of tasks or of how events are stored.
//!
//! A watcher is a cursor, never a queue: a stream that its client does not read costs its cursors
//! and a bounded list of revisions, and resumes from the ring or from history when it is polled.

mod catch_up;
mod delivery;
mod history;
mod hub;
mod interest;
mod interval;
mod live;
mod respond;
mod stream;
#[cfg(test)]
mod tests;
mod watcher;

pub use history::{History, HistoryError};
pub use hub::{Wake, WatchHub};
pub use stream::{DEFAULT_MAX_RESPONSE_BYTES, WatchStream};
