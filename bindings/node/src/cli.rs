//! The `handfast` command line in Node's process.
//!
//! Owns getting Node out of its way.

use std::ffi::OsString;

use napi_derive::napi;

/// Runs the command line `args`, with the program's name first, and returns its exit code.
#[napi]
pub fn cli_main(args: Vec<String>) -> i32 {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: no handler is installed, the one that is there is taken away. Node's own, which
        // runs before the command's, would end the process in the middle of an orderly stop.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    handfast_cli::cli_main(args.into_iter().map(OsString::from).collect())
}
