//! The handfast command as a library function.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]
