//! What the end-to-end tests share: real processes, etcd beside handfast, seeds and comparison.
//!
//! Black boxes only: it speaks the wire contract and command lines, and must not know the insides
//! of the server.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod client;
pub mod cluster;
pub mod dice;
pub mod differential;
pub mod failover;
pub mod harness;
pub mod history;
pub mod masked;

/// What a test gives back: any error fails it with its message.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;
