//! Raft: openraft behind one door.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]
