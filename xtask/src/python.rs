//! The wheel for Python as it is published: built, weighed and tried.
//!
//! Owns the limit of its size. What it must do is in `bindings/python/tests/test_wheel.py`, which
//! every run tries with a debug build.

use std::{fs, path::Path, process::Command};

use crate::{Result, provide, root};

/// In bytes: what is downloaded with every new environment.
const LARGEST: u64 = 8_000_000;

/// Builds the wheel into `target/published`, fails when it is too large, and tries it in an empty
/// environment.
///
/// # Errors
/// When a part fails.
pub(crate) fn wheel() -> Result<()> {
    let bin = provide::tools()?;
    let wheels = root().join("target").join("published");
    if wheels.is_dir() {
        fs::remove_dir_all(&wheels)?;
    }
    let at = |program: &str| {
        let mut command = Command::new(bin.join(program));
        command.current_dir(root()).env("HANDFAST_WHEELS", &wheels);
        command
    };
    let manifest = "bindings/python/Cargo.toml";
    let mut build = at("maturin");
    build.args(["build", "--quiet", "--profile", "wheel", "-m", manifest]);
    build.arg("-i").arg(bin.join("python"));
    provide::run(build.arg("--out").arg(&wheels))?;
    weigh(&wheels)?;
    let mut tests = at("pytest");
    provide::run(
        tests
            .args(["--quiet", "--noconftest"])
            .arg("bindings/python/tests/test_wheel.py"),
    )
}

/// Says how large the wheels are, and fails when one is too large.
fn weigh(wheels: &Path) -> Result<()> {
    for wheel in fs::read_dir(wheels)? {
        let wheel = wheel?;
        let (name, size) = (wheel.file_name(), wheel.metadata()?.len());
        println!("{}: {:.2} MB", name.display(), size as f64 / 1e6);
        if size > LARGEST {
            return Err(format!("{size} bytes; at most {LARGEST} are allowed").into());
        }
    }
    Ok(())
}
