//! Bytes on disk: the raft log ([`wal`]), the state file ([`state`]), what is received of another
//! member's state ([`spool`]) and the directory that holds them ([`data_dir`]). Knows neither
//! raft's rules nor what keys and revisions mean.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod chunk;
#[cfg(test)]
mod crash_tests;
pub mod data_dir;
pub mod disk;
mod error;
pub mod recovery;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod spool;
pub mod state;
pub mod wal;

pub use error::Error;

/// A place in the raft log. Ordered by term, then index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    /// Term in which the entry was proposed.
    pub term: u64,
    /// Position in the log; the first entry may have index 0.
    pub index: u64,
}
