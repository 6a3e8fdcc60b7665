//! The client core against a real etcd.

#![allow(missing_docs, clippy::unwrap_used)]

mod cluster;
mod cluster_writes;
#[path = "../common/mod.rs"]
mod common;
mod faults;
mod kv;
mod lease;
mod members;
mod watch;
mod watch_faults;
