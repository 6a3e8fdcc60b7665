//! `handfast once` as processes, against handfast and etcd.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;

use support::{Process, Server};

#[test]
fn a_command_runs_once_and_its_output_is_everybodys() {
    for server in Server::all() {
        let dir = tempfile::tempdir().unwrap();
        let marks = dir.path().join("marks");
        let script = format!("echo x >>{}; echo built by $HANDFAST_ONCE", marks.display());
        let args = ["once", "index", "--", "sh", "-c", &script];
        let mut runs: Vec<Process> = (0..5)
            .map(|_| Process::start(server.command(&args)))
            .collect();
        for run in &mut runs {
            assert_eq!(run.end(), Some(0));
            assert_eq!(run.rest(), ["built by index"]);
        }
        assert_eq!(server.say(&args), "built by index\n");
        assert_eq!(fs::read_to_string(&marks).unwrap(), "x\n");
        let told = &server.json(&["once", "index", "--get"])[0];
        assert_eq!(
            (&told["value"], &told["ran"]),
            (&"built by index\n".into(), &false.into())
        );
        // Nothing stays but the result.
        server.wait_for_no_lease();

        let forgotten = server.say(&["once", "index", "--forget"]);
        assert!(forgotten.contains("index is forgotten"), "{forgotten}");
        assert_eq!(server.run(&["once", "index", "--get"]).code, Some(1));
        server.say(&args);
        assert_eq!(fs::read_to_string(&marks).unwrap(), "x\nx\n");
    }
}

#[test]
fn a_failure_is_its_callers_and_the_next_one_runs() {
    let server = Server::handfast();
    let failed = server.run(&["once", "x", "--", "sh", "-c", "echo no disk; exit 5"]);
    assert_eq!((failed.code, failed.out.as_str()), (Some(5), ""));
    assert!(failed.err.contains("no disk"), "{failed:?}");
    assert_eq!(
        server.run(&["once", "x", "--", "/no/such/command"]).code,
        Some(127)
    );
    assert_eq!(server.say(&["once", "x", "--", "echo", "done"]), "done\n");
}

#[test]
fn another_takes_over_when_the_first_is_killed() {
    for server in Server::all() {
        let script = "echo started >&2; sleep 1000";
        let args = ["once", "x", "--ttl", "2s", "--", "sh", "-c", script];
        let mut first = Process::start(server.command(&args));
        first.wait_for("started");
        server.gives_up(&["once", "x"], &format!("pid {}", first.child.id()));
        let mut second = Process::start(server.command(&["once", "x", "--", "echo", "second"]));
        first.signal("KILL");
        assert_eq!(first.end(), None);
        assert_eq!(second.end(), Some(0));
        assert_eq!(second.rest(), ["second"]);
    }
}

#[test]
fn a_waiter_that_is_interrupted_goes_and_the_runner_passes_signals_on() {
    let server = Server::handfast();
    let script = "trap 'exit 9' TERM; echo started >&2; while :; do sleep 0.05; done";
    let mut first = Process::start(server.command(&["once", "x", "--", "sh", "-c", script]));
    first.wait_for("started");
    let mut waiter = Process::start(server.command(&["once", "x", "--", "true"]));
    // It waits when its lease is there, too.
    loop {
        let sessions = server.say(&["lease", "list"]);
        if sessions.starts_with("found 2") {
            break;
        }
    }
    waiter.signal("TERM");
    assert_eq!(waiter.end(), Some(128 + 15));
    first.signal("TERM");
    assert_eq!(first.end(), Some(9));
    assert_eq!(server.run(&["once", "x", "--get"]).code, Some(1));
}

#[test]
fn another_input_is_another_run() {
    let server = Server::handfast();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let build = |text: &str| {
        fs::write(&data, text).unwrap();
        let file = data.to_str().unwrap();
        server.say(&["once", "index", "--input-file", file, "--", "cat", file])
    };
    assert_eq!([build("1"), build("2"), build("1")], ["1\n", "2\n", "1\n"]);
    let same = ["once", "index", "--input", "2", "--", "echo", "not run"];
    assert_eq!(server.say(&same), "2\n");
}
