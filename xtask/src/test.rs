//! Everything that CI runs, in the order in which a mistake is found soonest.

use std::process::Command;

use crate::{
    Result, bench,
    metadata::cargo,
    provide, report,
    report::{Counts, Report},
    root, snippets, tidy,
};

/// One step: its name, and its work.
type Step = (&'static str, fn() -> Result<Counts>);

const STEPS: [Step; 10] = [
    ("machine", machine),
    ("format", format),
    ("tidy", tidy_step),
    ("deny", deny),
    ("clippy", clippy),
    ("build", build),
    ("tests", tests),
    ("snippets", snippets::run),
    ("bench", bench_step),
    ("python", python),
];

/// Runs all steps, or only those that are named.
///
/// # Errors
/// When a step fails, or a name is unknown.
pub(crate) fn run(names: &[&str]) -> Result<()> {
    let known: Vec<&str> = STEPS.iter().map(|(name, _)| *name).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        return Err(format!("no step {unknown}; there are: {}", known.join(" ")).into());
    }
    let mut report = Report::default();
    for (name, work) in STEPS {
        if names.is_empty() || names.contains(&name) {
            report.step(name, work);
        }
    }
    report.finish()
}

fn machine() -> Result<Counts> {
    provide::programs()?;
    provide::python()?;
    Ok(Counts::default())
}

fn format() -> Result<Counts> {
    report::counted(in_root(&["fmt", "--all", "--check"]).arg("--quiet"))
}

fn tidy_step() -> Result<Counts> {
    tidy::run()?;
    Ok(Counts::default())
}

/// Licences, doubles and sources. Building cargo-deny takes longer than all of the tests on two
/// cores, so it runs where it is installed; tidy checks the same rules in a plainer way everywhere.
fn deny() -> Result<Counts> {
    if !provide::is_installed("cargo-deny") {
        println!("cargo-deny is not installed; tidy has checked licences, doubles and sources");
        return Ok(Counts::default());
    }
    report::counted(&mut in_root(&[
        "deny", "check", "licenses", "bans", "sources",
    ]))
}

fn clippy() -> Result<Counts> {
    let arguments = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ];
    report::counted(&mut in_root(&arguments))
}

/// Everything that the tests are and start, the server and the examples among it. A plain build
/// would compile the dependencies a second time, with other features.
fn build() -> Result<Counts> {
    report::counted(&mut in_root(&[
        "test",
        "--workspace",
        "--no-run",
        "--quiet",
    ]))
}

/// Unit, integration, end-to-end and documentation tests of the workspace.
fn tests() -> Result<Counts> {
    let mut command = in_root(&["test", "--workspace", "--no-fail-fast"]);
    let built = root().join("target").join("debug");
    command.env("HANDFAST_BIN", built.join("handfast"));
    command.env("HANDFAST_EXAMPLES", built.join("examples"));
    report::counted(&mut command)
}

fn bench_step() -> Result<Counts> {
    bench::run(bench::Mode::Compare)?;
    Ok(Counts::default())
}

/// Builds the bindings into the environment, checks their types and runs their tests.
fn python() -> Result<Counts> {
    let Some(python) = provide::python()? else {
        println!("there are no Python bindings yet");
        return Ok(Counts::default());
    };
    let bin = python.parent().unwrap_or(&python).to_path_buf();
    let at = |program: &str| {
        let mut command = Command::new(bin.join(program));
        command.current_dir(provide::bindings());
        command.env("VIRTUAL_ENV", bin.parent().unwrap_or(&bin));
        command.env("HANDFAST_BIN", root().join("target/debug/handfast"));
        command
    };
    provide::run(at("maturin").args(["develop", "--quiet"]))?;
    provide::run(at("mypy").args(["--strict", "python"]))?;
    report::counted(at("python").args(["-m", "pytest", "--quiet"]))
}

fn in_root(arguments: &[&str]) -> Command {
    let mut command = Command::new(cargo());
    command.args(arguments).current_dir(root());
    command
}
