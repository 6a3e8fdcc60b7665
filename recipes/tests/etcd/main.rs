//! The recipes against a real server: etcd from the PATH, or what the environment names.
//!
//! `HANDFAST_TEST_ENDPOINT` uses a server that runs already (tests that must stop or restart the
//! server are then left out); `HANDFAST_TEST_SERVER_BIN` starts another binary with etcd's flags.

#![allow(clippy::unwrap_used)]

mod cancel;
mod cluster;
mod config;
mod config_publish;
mod config_snapshot;
mod conformance;
mod contention;
mod election;
mod faults;
mod interop;
mod lock;
// The client core's tests use the same.
#[allow(dead_code, unreachable_pub)]
#[path = "../../../core/tests/common/cluster.rs"]
mod members;
mod mirror;
mod multi;
mod once;
mod queue;
mod queue_conditions;
mod queue_costs;
mod queue_onward;
mod replies;
mod round_trips;
mod service;
mod service_go;
mod service_heal;
mod session;
mod told;
mod traps;
mod tried;

// Modules here call these by `crate::`.
use handfast_kit::{proxy, relay, server, util};
