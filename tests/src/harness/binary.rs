//! Where the programs under test are.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::Result;

/// Which server a test talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The `handfast` binary of this workspace.
    Handfast,
    /// The `etcd` of the machine (Debian's package in CI).
    Etcd,
}

impl Subject {
    /// The server under test: handfast, or etcd with `HANDFAST_TESTS_SUBJECT=etcd`, which shows
    /// whether a failing test is wrong itself.
    #[must_use]
    pub fn under_test() -> Self {
        match env::var("HANDFAST_TESTS_SUBJECT").as_deref() {
            Ok("etcd") => Self::Etcd,
            _ => Self::Handfast,
        }
    }

    /// The program and its first arguments.
    ///
    /// # Errors
    /// When the program cannot be found or built.
    pub fn command(self) -> Result<(PathBuf, &'static [&'static str])> {
        match self {
            Self::Handfast => Ok((handfast()?, &["serve"])),
            Self::Etcd => Ok((find("etcd")?, &[])),
        }
    }
}

/// The `handfast` binary: `HANDFAST_BIN`, or built once per test process from this workspace.
///
/// # Errors
/// When the build fails.
pub fn handfast() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    if let Some(path) = env::var_os("HANDFAST_BIN") {
        return Ok(PathBuf::from(path));
    }
    BUILT
        .get_or_init(|| build(&["--package", "handfast-cli"]))
        .clone()?;
    Ok(target_directory().join("debug").join("handfast"))
}

/// The program of `examples/` with this name: in `HANDFAST_EXAMPLES`, or built once per test
/// process.
///
/// # Errors
/// When the build fails.
pub fn example(name: &str) -> Result<PathBuf> {
    static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    if let Some(folder) = env::var_os("HANDFAST_EXAMPLES") {
        return Ok(PathBuf::from(folder).join(name));
    }
    let all = || build(&["--package", "handfast-examples", "--examples"]);
    BUILT.get_or_init(all).clone()?;
    Ok(target_directory().join("debug").join("examples").join(name))
}

fn build(what: &[&str]) -> Result<(), String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--quiet"])
        .args(what)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let status = command
        .status()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("cargo build {what:?} failed"))
    }
}

/// Cargo's target directory, in which the running program is; cargo marks it with a file.
#[must_use]
pub fn target_directory() -> PathBuf {
    let here = env::current_exe().unwrap_or_default();
    let is_it = |folder: &&Path| folder.join("CACHEDIR.TAG").is_file();
    match here.ancestors().find(is_it) {
        Some(target) => target.to_path_buf(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
    }
}

/// Looks `program` up in `PATH`.
///
/// # Errors
/// When it is in none of the directories; the message says which package has it.
pub fn find(program: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .map(|at| at.join(program))
        .find(|file| file.is_file());
    found.ok_or_else(|| {
        format!("{program} is not in PATH; `cargo xtask test` installs Debian's package").into()
    })
}
