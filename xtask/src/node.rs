//! The package for Node: built, compiled, tested, packed and tried as a user gets it.
//!
//! Owns the order of that. What each part does is in `bindings/node/package.json` and its scripts.

use std::process::Command;

use crate::{Result, metadata::cargo, parity, provide, report, report::Counts, root};

/// Ends well in a Node that is new enough.
const IS_NEW: &str = "\
const [major, minor] = process.versions.node.split('.').map(Number);
process.exit(major > 20 || (major === 20 && minor >= 19) ? 0 : 1);";

/// Runs everything; the counts are those of Node's test runner.
///
/// # Errors
/// When Node is missing, or a part fails.
pub(crate) fn step() -> Result<Counts> {
    let is_new = Command::new("node").args(["--eval", IS_NEW]).status();
    if !is_new.is_ok_and(|status| status.success()) || !provide::is_installed("npm") {
        return Err("needed: Node 20.19 or newer, with npm".into());
    }
    // Exactly what the lock file says; it names no registry, so that any will do.
    let install = ["ci", "--silent", "--no-audit", "--no-fund"];
    provide::run(npm().args(install))?;
    provide::run(npm().args(["run", "--silent", "native"]))?;
    provide::run(npm().args(["run", "--silent", "build"]))?;
    let mut tests = npm();
    tests.args(["run", "--silent", "test"]);
    let counts = report::counted(tests.env(parity::RESULTS, parity::results()))?;
    provide::run(npm().args(["run", "--silent", "packed"]))?;
    // The last of the languages.
    parity::check()?;
    Ok(counts)
}

fn npm() -> Command {
    let mut command = Command::new("npm");
    command
        .current_dir(root().join("bindings").join("node"))
        .env("CARGO", cargo());
    command
}
