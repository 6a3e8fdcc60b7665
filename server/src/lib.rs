//! The handfast server as a library: etcd's v3 API on a durable node, inside any tokio program.
//!
//! Owns the wiring: configuration, listening, the RPC handlers and the life of a server. It must
//! not know how a change is agreed on (`handfast-consensus`), what it means to the stored data
//! (`handfast-mvcc`) or how bytes reach the disk (`handfast-storage`).
//!
//! ```no_run
//! # async fn run() -> Result<(), handfast_server::Error> {
//! let server = handfast_server::Server::builder().ephemeral().start().await?;
//! println!("listening on {}", server.endpoint());
//! server.shutdown().await?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod announce;
mod api;
mod assemble;
mod authority;
mod bootstrap;
mod builder;
pub mod config;
mod dispatch;
mod environment;
mod error;
mod failure;
mod flusher;
mod http1;
mod ids;
mod lanes;
mod limits;
mod listen;
mod metrics;
mod open;
mod peer;
mod recover;
mod server;

pub use bootstrap::BootstrapError;
pub use builder::Builder;
#[doc(hidden)]
pub use environment::{BeforeSync, Environment};
pub use failure::Error;
pub use limits::{API_VERSION, SERVER_VERSION};
pub use recover::{Inspected, RecoverOptions, Recovered, inspect, recover};
pub use server::Server;
