//! The multi-version key-value state machine.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]
