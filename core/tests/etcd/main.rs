//! The client core against a real etcd.

#![allow(missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod faults;
mod kv;
mod lease;
mod members;
mod watch;
mod watch_faults;
