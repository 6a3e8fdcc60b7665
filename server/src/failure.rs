//! Why a server did not start, did not go on, or did not stop in order.
//!
//! Owns the sentences an operator reads then. What an RPC answers is in `error`.

use std::io;

use handfast_consensus::Failure;

use crate::bootstrap::BootstrapError;
use crate::config::ConfigError;

/// Why a server did not start, did not go on, or did not stop in order.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An address is not one that can be listened on.
    #[error("cannot listen on {address}: {problem}")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The member does not fit the cluster that it is told to be part of.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Raft did not start.
    #[error(transparent)]
    Consensus(#[from] handfast_consensus::StartError),
    /// The member's state differs from the one that the other members agree on.
    #[error("{0}")]
    Corrupt(String),
    /// The member cannot go on: its disk or its data is broken.
    #[error("{0}")]
    Fatal(String),
    /// The system does not let us have an address.
    #[error("cannot listen on {url} ({source}); is another server running there?")]
    Listen {
        /// The address.
        url: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A lost majority cannot be recovered from this data.
    #[error("{0}")]
    Recover(String),
    /// The member was removed from its cluster.
    #[error("{0}")]
    Removed(String),
    /// The data directory, the log or the state file cannot be used.
    #[error(transparent)]
    Storage(#[from] handfast_storage::Error),
    /// The stored data cannot be read, or not be written any more.
    #[error(transparent)]
    Store(#[from] handfast_mvcc::Error),
    /// The system gives us no thread.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::Removed(sentence) => Error::Removed(sentence),
            Failure::Corrupt(sentence) => Error::Corrupt(sentence),
            Failure::Fatal(sentence) => Error::Fatal(sentence),
            other => Error::Fatal(format!("{other:?}")),
        }
    }
}
