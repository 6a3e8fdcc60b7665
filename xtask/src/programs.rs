//! The workspace's test programs, several at a time.
//!
//! Most of them wait for servers, leases and elections, so that one after the other they would
//! leave the machine idle. Owns which there are, their order, and what is shown of each; what they
//! print is kept in `target/tests`.

use std::{
    collections::VecDeque,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    Result, failures,
    metadata::cargo,
    report::{self, Counts},
    root,
};

/// Those that take longest, which begin first so that none of them is left alone at the end.
const LONGEST: [&str; 11] = [
    "handfast-tests cluster",
    "handfast etcd on handfast",
    "handfast-tests differential",
    "handfast etcd",
    "handfast-core etcd on handfast",
    "handfast-core etcd",
    "handfast-cli bench",
    "handfast-sim lib",
    "handfast-tests members",
    "handfast-mvcc lib",
    "handfast-examples cron",
];

/// How many run at once. They leave a machine of two cores idle half of the time even then.
const AT_ONCE: usize = 4;
/// How long one may run. What takes longer hangs.
const LIMIT: Duration = Duration::from_secs(900);
/// Says which part of the tests' ports is a program's own, as `part/parts`.
const PORTS: &str = "HANDFAST_TEST_PORTS";

/// A test program that is built.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// Package and target, such as `handfast-core etcd`.
    pub(crate) name: String,
    file: PathBuf,
    /// Where its package is.
    folder: PathBuf,
}

impl Program {
    /// Its run, as cargo would start it.
    pub(crate) fn job(&self) -> Job {
        let mut command = Command::new(&self.file);
        command.current_dir(&self.folder);
        command.env("CARGO_MANIFEST_DIR", &self.folder);
        command.env("CARGO", cargo());
        Job {
            name: self.name.clone(),
            command,
        }
    }
}

/// What is to be run, and how it is called.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) command: Command,
}

/// Builds all that the tests are and start, the server and the examples among it, and gives the
/// test programs. A plain build would compile the dependencies a second time, with other features.
///
/// # Errors
/// When something does not compile.
pub(crate) fn build() -> Result<Vec<Program>> {
    let mut build = Command::new(cargo());
    let messages = ["--message-format", "json-render-diagnostics"];
    build
        .args(["test", "--workspace", "--no-run", "--quiet"])
        .args(messages)
        .current_dir(root())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = build.output()?;
    if !output.status.success() {
        return Err("the tests cannot be built".into());
    }
    let mut programs = Vec::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        programs.extend(program(&serde_json::from_str(line)?));
    }
    Ok(programs)
}

/// The test program that one of cargo's messages tells of.
fn program(message: &Value) -> Option<Program> {
    let is_test = message["profile"]["test"].as_bool() == Some(true);
    let file = message["executable"].as_str().filter(|_| is_test)?;
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?;
    let package = message["package_id"].as_str()?.split(['#', '@']);
    let package = package.rev().nth(1).unwrap_or_default();
    // `path+file:///…/core#handfast-core@0.1.0`, or without a name if the folder has it.
    let package = package.rsplit('/').next()?;
    let target = &message["target"];
    let target = match target["kind"][0].as_str()? {
        kind @ ("lib" | "bin" | "cdylib") => kind,
        _ => target["name"].as_str()?,
    };
    Some(Program {
        name: format!("{package} {target}"),
        file: PathBuf::from(file),
        folder: folder.to_path_buf(),
    })
}

/// Runs all jobs, those that take longest first, and shows what failed ones printed.
///
/// # Errors
/// When one cannot be started, or its output not be kept.
pub(crate) fn run(mut jobs: Vec<Job>) -> Result<Counts> {
    let place = |job: &Job| LONGEST.iter().position(|name| *name == job.name);
    jobs.sort_by_key(|job| place(job).unwrap_or(LONGEST.len()));
    let outputs = root().join("target").join("tests");
    fs::create_dir_all(&outputs)?;
    let waiting = Mutex::new(VecDeque::from(jobs));
    let next = || {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.pop_front()
    };
    let work = |part: usize| {
        let mut counts = Counts::default();
        while let Some(mut job) = next() {
            job.command.env(PORTS, format!("{part}/{AT_ONCE}"));
            counts += one(job, &outputs).map_err(|error| error.to_string())?;
        }
        Ok::<_, String>(counts)
    };
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..AT_ONCE)
            .map(|part| scope.spawn(move || work(part)))
            .collect();
        let mut counts = Counts::default();
        for thread in threads {
            counts += thread.join().map_err(|_| "a thread panicked")??;
        }
        Ok(counts)
    })
}

fn one(mut job: Job, outputs: &Path) -> Result<Counts> {
    let path = outputs.join(format!("{}.txt", job.name.replace(' ', "-")));
    let file = File::create(&path)?;
    let begun = Instant::now();
    let child = job
        .command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .map_err(|error| format!("{}: {error}", job.name))?;
    let status = ended(child)?;
    let took = begun.elapsed().as_secs_f64();
    let output = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
    let mut counts = report::counts_of(&output);
    let fine = status.is_some_and(|status| status.success());
    let name = &job.name;
    if fine {
        println!("{took:>6.1} s  {name}: {} passed", counts.passed);
        return Ok(counts);
    }
    let how = status.map_or_else(|| "it hangs".to_owned(), |status| status.to_string());
    if counts.failures.is_empty() {
        counts.failed += u64::from(counts.failed == 0);
        let last = output.lines().rfind(|line| !line.trim().is_empty());
        counts
            .failures
            .push(format!("{how}: {}", last.unwrap_or_default()));
    }
    for failure in &mut counts.failures {
        *failure = format!("{name}: {failure}");
    }
    let shown = failures::shown(&output, &root().to_string_lossy());
    println!("{took:>6.1} s  {name}: FAILED ({how})\n{shown}");
    Ok(counts)
}

/// Waits for its end; `None` if it had to be killed.
fn ended(mut child: Child) -> Result<Option<ExitStatus>> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if begun.elapsed() > LIMIT {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_messages_name_the_test_programs() {
        let message = |id: &str, kind: &str, test: bool| {
            serde_json::json!({
                "manifest_path": "/x/core/Cargo.toml",
                "package_id": id,
                "target": { "kind": [kind], "name": "etcd" },
                "profile": { "test": test },
                "executable": "/x/target/debug/deps/etcd-1",
            })
        };
        let id = "path+file:///x/core#handfast-core@0.1.0";
        let found = program(&message(id, "test", true)).unwrap();
        assert_eq!(found.name, "handfast-core etcd");
        assert_eq!(found.folder, Path::new("/x/core"));
        assert!(program(&message(id, "bin", false)).is_none());
        let id = "path+file:///x/xtask#0.1.0";
        let found = program(&message(id, "bin", true)).unwrap();
        assert_eq!(found.name, "xtask bin");
    }

    #[test]
    fn a_program_that_fails_is_counted_and_named() {
        let job = |name: &str, script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            Job {
                name: name.to_owned(),
                command,
            }
        };
        let passes = job("one fine", "echo 'test result: ok. 2 passed; 0 failed;'");
        let dies = job(
            "one dead",
            "echo 'test result: ok. 1 passed; 0 failed;'; exit 3",
        );
        let outputs = std::env::temp_dir();
        let fine = one(passes, &outputs).unwrap();
        assert_eq!((fine.passed, fine.failed), (2, 0));
        let dead = one(dies, &outputs).unwrap();
        assert_eq!((dead.passed, dead.failed), (1, 1));
        let last = "test result: ok. 1 passed; 0 failed;";
        assert_eq!(dead.failures, [format!("one dead: exit status: 3: {last}")]);
    }
}
