//! Runnable stories: each file beside this folder is one, in Rust (`cargo run --example cron`),
//! as a shell script, or in Python.
//!
//! Owns nothing that others could call; the tests in `tests/` run every story.

#![forbid(unsafe_code)]
