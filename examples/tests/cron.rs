//! Runs the cron stories: one works, one names the holder, and the lease frees a dead one's job.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use handfast_tests::{
    Result,
    harness::{Etcdctl, Running, Server, Subject, example},
};
use rustix::process::Signal;

/// The lease of the stories, less what passes between a renewal and the death of its sender: a
/// third of it, and some for a slow machine.
const EARLIEST: Duration = Duration::from_millis(2_500);

#[tokio::test]
async fn two_processes_with_plain_etcdctl() -> Result<()> {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("cron.sh");
    for subject in [Subject::under_test(), Subject::Etcd] {
        let server = Server::start(subject).await?;
        contend(&server, |name| {
            let mut command = Command::new(&script);
            command.arg(name).env("ETCDCTL_ENDPOINTS", server.address());
            command
        })?;
    }
    Ok(())
}

#[tokio::test]
async fn two_processes_of_the_rust_example() -> Result<()> {
    let program = example("cron")?;
    for subject in [Subject::under_test(), Subject::Etcd] {
        let server = Server::start(subject).await?;
        contend(&server, |name| {
            let mut command = Command::new(&program);
            command.args(["--endpoints", &server.endpoint(), "--name", name]);
            command
        })?;
    }
    Ok(())
}

#[test]
fn the_rust_example_plays_the_story_on_its_own_server() -> Result<()> {
    let output = Command::new(example("cron")?).output()?;
    let text = String::from_utf8(output.stdout)?;
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..4],
        [
            "anna works on job02",
            "bert waits, job02 is held by anna",
            "anna dies, and nobody tells the server",
            "bert works on job02",
        ]
    );
    assert!(
        lines[4].starts_with("the lease freed the job after "),
        "{text}"
    );
    Ok(())
}

/// Anna takes the job, Bert names her; she is killed, and he gets it when her lease has run out.
fn contend(server: &Server, worker: impl Fn(&str) -> Command) -> Result<()> {
    let start = |name| {
        let mut command = worker(name);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Running::new(command.spawn()?)
    };
    let mut anna = start("anna")?;
    assert_eq!(anna.line()?, "anna works on job02");
    let mut bert = start("bert")?;
    assert_eq!(bert.line()?, "bert waits, job02 is held by anna");
    assert_eq!(bert.printed(), None, "he must not work beside her");

    anna.signal(Signal::KILL)?;
    let died = Instant::now();
    anna.wait()?;
    assert_eq!(bert.line()?, "bert works on job02");
    assert!(
        died.elapsed() >= EARLIEST,
        "freed too early: {:?}",
        died.elapsed()
    );
    let holder = Etcdctl::new(server.address()).ok(&["get", "/cron/jobs/job02"])?;
    assert_eq!(holder, "/cron/jobs/job02\nbert\n");
    Ok(())
}
