//! Builds the simulator and runs it: by hand for one seed or many, and in CI for enough of them.
//!
//! Owns how it is built, and how much of it CI runs. What a run does is in `server/sim`.

use std::process::Command;

use crate::{Result, metadata::cargo, provide, report::Counts, root};

/// Seeds that CI runs.
const SEEDS: &str = "500";
/// Seeds that CI runs about each recipe.
const RECIPE_SEEDS: &str = "200";
/// Seeds that CI runs twice, to compare the two.
const SEEDS_TWICE: &str = "6";

/// Runs the simulator with these arguments.
///
/// # Errors
/// When it cannot be built, or a seed fails.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    build()?;
    let status = simulator(arguments).status()?;
    match status.success() {
        true => Ok(()),
        false => Err("the simulator found something".into()),
    }
}

/// What CI runs: many seeds, a few of them twice, the same about each recipe, and the hunts for
/// every deliberate bug and for clients that do it wrong.
///
/// # Errors
/// When one of them fails.
pub(crate) fn step() -> Result<Counts> {
    build()?;
    let twice = ["--check-determinism", "--seeds", SEEDS_TWICE];
    let calls: [&[&str]; 6] = [
        &twice,
        &["--seeds", SEEDS],
        &["--fault", "all"],
        &[&["--recipe", "all"], &twice[..]].concat(),
        &["--recipe", "all", "--seeds", RECIPE_SEEDS],
        &["--recipe", "all", "--mutation", "all"],
    ];
    // All at once, so that no core waits for the last seed of each call.
    provide::run(&mut simulator(&calls.join(&"--then")))?;
    Ok(Counts {
        passed: calls.len() as u64,
        ..Counts::default()
    })
}

/// In a folder of its own: it is built with a flag that everything else goes without.
fn build() -> Result<()> {
    let arguments = [
        "build",
        "--package",
        "handfast-sim",
        "--profile",
        "sim",
        "--target-dir",
        "target/sim",
    ];
    let mut build = Command::new(cargo());
    build.args(arguments).arg("--quiet").current_dir(root());
    // Only so can tokio's own choices be made to follow the seed.
    build.env("RUSTFLAGS", "--cfg tokio_unstable");
    match build.status()?.success() {
        true => Ok(()),
        false => Err("the simulator does not build".into()),
    }
}

fn simulator(arguments: &[&str]) -> Command {
    let mut command = Command::new(root().join("target/sim/sim/sim"));
    command.args(arguments).current_dir(root());
    command
}
