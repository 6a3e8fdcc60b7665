//! Bytes on disk: the raft log and the state file.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]
