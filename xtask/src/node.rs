//! The package for Node: built, compiled, tested, packed and tried as a user gets it.
//!
//! Owns the order of that. What each part does is in `bindings/node/package.json` and its scripts.

use std::process::Command;

use crate::{Result, metadata::cargo, provide, report, report::Counts, root};

/// Runs everything; the counts are those of Node's test runner.
///
/// # Errors
/// When Node is missing, or a part fails.
pub(crate) fn step() -> Result<Counts> {
    if !provide::is_installed("node") || !provide::is_installed("npm") {
        return Err("needed: Node 20.19 or newer, with npm".into());
    }
    // Exactly what the lock file says; it names no registry, so that any will do.
    let install = ["ci", "--silent", "--no-audit", "--no-fund"];
    provide::run(npm().args(install))?;
    provide::run(npm().args(["run", "--silent", "native"]))?;
    provide::run(npm().args(["run", "--silent", "build"]))?;
    let counts = report::counted(npm().args(["run", "--silent", "test"]))?;
    provide::run(npm().args(["run", "--silent", "packed"]))?;
    Ok(counts)
}

fn npm() -> Command {
    let mut command = Command::new("npm");
    command
        .current_dir(root().join("bindings").join("node"))
        .env("CARGO", cargo());
    command
}
