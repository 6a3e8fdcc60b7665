//! End-to-end tests: black boxes, real processes, real peers.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]
