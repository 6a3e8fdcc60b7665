//! Locks and elections for programs that run on several machines.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]
