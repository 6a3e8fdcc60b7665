//! The package for Node: built, compiled, tested, packed and tried as a user gets it.
//!
//! Owns the order of that. What each part does is in `bindings/node/package.json` and its scripts.

use std::{fs, path::PathBuf, process::Command};

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
    install()?;
    script("native", &[])?;
    script("build", &[])?;
    let mut tests = npm();
    tests.args(["run", "--silent", "test"]);
    let counts = report::counted(tests.env(parity::RESULTS, parity::results()))?;
    script("packed", &[])?;
    // The last of the languages.
    parity::check()?;
    Ok(counts)
}

/// Makes the packages as they are published, says how large they are, and tries them out.
///
/// # Errors
/// When Node is missing, or a part fails.
pub(crate) fn package() -> Result<()> {
    install()?;
    script("native", &["--release"])?;
    script("build", &[])?;
    let folder = root().join("target").join("npm");
    let folder = folder.to_string_lossy();
    script("packages", &[&folder])?;
    script("packed", &[&folder])
}

/// What the scripts need, if it is not there: exactly what the lock file says. That names no
/// registry, so that any will do.
fn install() -> Result<()> {
    let is_new = Command::new("node").args(["--eval", IS_NEW]).status();
    if !is_new.is_ok_and(|status| status.success()) || !provide::is_installed("npm") {
        return Err("needed: Node 20.19 or newer, with npm".into());
    }
    let changed = |file: &str| fs::metadata(folder().join(file)).and_then(|it| it.modified());
    // npm's own note of what it has installed.
    if let Ok(installed) = changed("node_modules/.package-lock.json")
        && changed("package-lock.json")? <= installed
    {
        return Ok(());
    }
    provide::run(npm().args(["ci", "--silent", "--no-audit", "--no-fund"]))
}

fn script(name: &str, arguments: &[&str]) -> Result<()> {
    let mut run = npm();
    run.args(["run", "--silent", name, "--"]).args(arguments);
    provide::run(&mut run)
}

fn folder() -> PathBuf {
    root().join("bindings").join("node")
}

fn npm() -> Command {
    let mut command = Command::new("npm");
    command.current_dir(folder()).env("CARGO", cargo());
    command
}
