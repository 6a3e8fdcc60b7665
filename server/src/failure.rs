//! Why a server did not start, or did not stop in order.
//!
//! Owns the sentences an operator reads then. What an RPC answers is in `error`.

use std::io;

use crate::config::ConfigError;

/// Why a server did not start, or did not stop in order.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address is not one that can be listened on.
    #[error("cannot listen on {address}: {problem}")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The system does not let us have an address.
    #[error("cannot listen on {url} ({source}); is another server running there?")]
    Listen {
        /// The address.
        url: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The data directory, the log or the state file cannot be used.
    #[error(transparent)]
    Storage(#[from] handfast_storage::Error),
    /// The stored data cannot be read, or not be written any more.
    #[error(transparent)]
    Store(#[from] handfast_mvcc::Error),
    /// Raft did not start.
    #[error(transparent)]
    Consensus(#[from] handfast_consensus::StartError),
    /// The system gives us no thread.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}
