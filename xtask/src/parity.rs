//! The page of the book that says what each language passes: compared with what the tests say.
//!
//! Owns where the results are, and the call of the script that makes the page of them. Knows
//! nothing of the scenarios.

use std::{path::PathBuf, process::Command};

use crate::{Result, provide, root};

/// Where the tests of a language write which scenarios it passed.
pub(crate) const RESULTS: &str = "HANDFAST_CONFORMANCE";

/// The folder of the results.
pub(crate) fn results() -> PathBuf {
    root().join("target").join("conformance")
}

/// Fails when the page is not what the latest results make of it.
///
/// # Errors
/// What to run then.
pub(crate) fn check() -> Result<()> {
    let mut script = Command::new("python3");
    script
        .args(["tests/conformance/parity.py", "--check"])
        .env(RESULTS, results())
        .current_dir(root());
    provide::run(&mut script)
}
