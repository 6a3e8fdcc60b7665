//! Real servers for a test: start, stop, kill and restart a process on free loopback ports.
//!
//! Knows command lines and process signals. Must not know what the servers do.

mod binary;
mod etcdctl;
mod http;
mod server;

pub use binary::{Subject, example, find, handfast, target_directory};
pub use etcdctl::{Etcdctl, Output, Running};
pub use http::http_get;
pub(crate) use server::clean_environment;
pub use server::{Server, Setup};
