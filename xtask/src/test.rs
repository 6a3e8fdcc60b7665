//! Everything that CI runs, in the order in which a mistake is found soonest.

use std::process::Command;

use crate::{
    Result, bench,
    metadata::cargo,
    node, parity,
    programs::{self, Job, Program},
    provide, report,
    report::{Counts, Report},
    root, sim, snippets, tidy,
};

/// One step: its name, and its work.
type Step = (&'static str, fn() -> Result<Counts>);

const STEPS: [Step; 13] = [
    ("machine", machine),
    ("format", format),
    ("tidy", tidy_step),
    ("deny", deny),
    ("clippy", clippy),
    ("build", build),
    ("tests", tests),
    (ON_HANDFAST, on_handfast),
    ("sim", sim::step),
    ("bench", bench_step),
    ("python", python),
    ("node", node::step),
    // After the packages of other languages, for it runs blocks of theirs.
    ("snippets", snippets::run),
];

/// A part of the step before it, to be named when it is wanted alone.
const ON_HANDFAST: &str = "on-handfast";

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
        let in_all = names.is_empty() && name != ON_HANDFAST;
        if in_all || names.contains(&name) {
            report.step(name, work);
        }
    }
    report.finish()
}

fn machine() -> Result<Counts> {
    provide::programs()?;
    provide::tools()?;
    Ok(Counts::default())
}

fn format() -> Result<Counts> {
    report::counted(in_root(&["fmt", "--all", "--check"]).arg("--quiet"))
}

fn tidy_step() -> Result<Counts> {
    tidy::run()?;
    Ok(Counts::default())
}

/// Licences, doubles and sources of everything the product is built from. Known vulnerabilities are
/// left out: their list is not in a registry.
fn deny() -> Result<Counts> {
    let mut deny = Command::new(provide::tools()?.join("cargo-deny"));
    deny.args(["check", "licenses", "bans", "sources"])
        .current_dir(root());
    report::counted(&mut deny)
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

/// Everything that the tests are and start.
fn build() -> Result<Counts> {
    programs::build()?;
    Ok(Counts::default())
}

/// The test target of client and recipes that has a server for each test.
const ETCD: &str = " etcd";
/// How many of its tests run at once: they wait for their servers most of the time.
const WAITING_TESTS: &str = "6";

/// Unit, integration, end-to-end and documentation tests of the workspace, and those of the client
/// side once more on handfast.
fn tests() -> Result<Counts> {
    let built = root().join("target").join("debug");
    let programs = programs::build()?;
    let mut jobs = jobs_on_handfast(&programs)?;
    for program in programs {
        let mut job = program.job();
        job.command.env("HANDFAST_BIN", built.join("handfast"));
        job.command.env("HANDFAST_EXAMPLES", built.join("examples"));
        if program.name.ends_with(ETCD) {
            job.command.env("RUST_TEST_THREADS", WAITING_TESTS);
        }
        jobs.push(job);
    }
    jobs.push(Job {
        name: "documentation".to_owned(),
        command: in_root(&["test", "--workspace", "--no-fail-fast", "--quiet", "--doc"]),
    });
    programs::run(jobs)
}

/// Tests of the client side that need what the server does not serve yet.
const NOT_SERVED_YET: [&str; 2] = [
    "members::a_member_is_defragmented",
    "members::a_snapshot_streams_to_its_end",
];

/// The tests of client and recipes once more, with handfast in the place of etcd.
fn on_handfast() -> Result<Counts> {
    programs::run(jobs_on_handfast(&programs::build()?)?)
}

/// Under the name of etcd, the binary takes etcd's flags.
fn jobs_on_handfast(programs: &[Program]) -> Result<Vec<Job>> {
    let folder = root().join("target").join("as-etcd");
    let etcd = folder.join("etcd");
    std::fs::create_dir_all(&folder)?;
    if etcd.symlink_metadata().is_ok() {
        std::fs::remove_file(&etcd)?;
    }
    std::os::unix::fs::symlink(root().join("target/debug/handfast"), &etcd)?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let first = std::iter::once(folder).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(first)?;
    let waiting = programs.iter().filter(|it| it.name.ends_with(ETCD));
    let jobs = waiting.map(|program| {
        let mut job = program.job();
        job.name.push_str(" on handfast");
        job.command.env("RUST_TEST_THREADS", WAITING_TESTS);
        job.command.env("PATH", &path);
        // What the packages say of theirs is said on handfast, too.
        job.command.env(parity::RESULTS, parity::results());
        let left_out = NOT_SERVED_YET.iter().flat_map(|test| ["--skip", test]);
        job.command.args(left_out);
        job
    });
    Ok(jobs.collect())
}

fn bench_step() -> Result<Counts> {
    bench::run(bench::Mode::Compare)?;
    Ok(Counts::default())
}

/// Builds the wheel, installs it as a user would, checks its types and runs its tests.
fn python() -> Result<Counts> {
    let bin = provide::tools()?;
    let wheels = root().join("target").join("wheels");
    if wheels.is_dir() {
        std::fs::remove_dir_all(&wheels)?;
    }
    let at = |program: &str| {
        let mut command = Command::new(bin.join(program));
        command.current_dir(root());
        command.env("HANDFAST_BIN", root().join("target/debug/handfast"));
        command.env("HANDFAST_WHEELS", &wheels);
        command.env(parity::RESULTS, parity::results());
        command
    };
    let manifest = "bindings/python/Cargo.toml";
    provide::run(
        at("maturin")
            .args(["build", "--quiet", "-m", manifest])
            .args(["--features", "as-tested", "-i"])
            .arg(bin.join("python"))
            .arg("--out")
            .arg(&wheels),
    )?;
    let install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--force-reinstall",
        "--no-index",
    ];
    let wheel = ["--find-links", "target/wheels", "handfast"];
    provide::run(at("python").args(install).args(wheel))?;
    // What users see of the types is one of the tests.
    provide::run(at("mypy").args(["--strict", "bindings/python/python/handfast"]))?;
    let mut tests = at("pytest");
    // Most of them wait; each file stays whole, for its tests share a server.
    tests.args(["--quiet", "--numprocesses", "3", "--dist", "loadfile"]);
    report::counted(tests.arg("bindings/python/tests"))
}

fn in_root(arguments: &[&str]) -> Command {
    let mut command = Command::new(cargo());
    command.args(arguments).current_dir(root());
    command
}
