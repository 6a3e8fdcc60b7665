//! Runnable stories: each file beside this folder is one, in Rust
//! (`cargo run -p handfast-examples --example cron`) or as a shell script; those in Python and for
//! Node have folders of their own.
//!
//! Owns nothing that others could call; the tests in `tests/` and of the bindings run every story.

#![forbid(unsafe_code)]
