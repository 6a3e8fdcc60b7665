//! Runnable stories: each file beside this folder is one, in Rust
//! (`cargo run -p handfast-examples --example cron`), as a shell script, or, in a folder of its own,
//! in Python or for Node.
//!
//! Owns nothing that others could call; the tests in `tests/` and of the bindings run every story.

#![forbid(unsafe_code)]
