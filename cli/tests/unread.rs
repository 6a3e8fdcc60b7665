//! What becomes of commands and of a server when nobody reads what they say: the terminal was
//! closed, or the program behind the pipe ended.

#![allow(clippy::unwrap_used)]

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use support::{PATIENCE, Process, Server, free_port, handfast, serve};

/// Waits until so many keys start with this.
fn wait_for_keys(server: &Server, prefix: &str, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = server.say(&["get", prefix, "--prefix", "--keys-only"]);
        if said.lines().filter(|line| !line.is_empty()).count() == count {
            return;
        }
        assert!(Instant::now() < deadline, "not {count} keys: {said}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The command line as `program` is to start it.
fn through(program: &[&str], command: &Command) -> Command {
    let mut outer = Command::new(program[0]);
    outer.args(&program[1..]).arg(command.get_program());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer.args(command.get_args());
    outer
}

#[test]
fn what_is_held_or_waited_for_is_given_back_although_nobody_can_be_told() {
    for server in Server::all() {
        let mut holder = Process::start_unread(server.command(&["lock", "x"]));
        wait_for_keys(&server, "x/", 1);
        let mut waiter = Process::start_unread(server.command(&["lock", "x", "--verbose"]));
        wait_for_keys(&server, "x/", 2);
        let mut worker = Process::start_unread(server.command(&["queue", "pop", "q"]));
        wait_for_keys(&server, "q/workers/", 1);
        for (process, code) in [(&mut worker, 130), (&mut waiter, 130), (&mut holder, 0)] {
            process.signal("INT");
            assert_eq!(process.end(), Some(code));
        }
        assert_eq!(server.say(&["get", "", "--prefix", "--keys-only"]), "");
    }
}

#[test]
fn a_server_without_a_reader_of_its_log_stops_in_order() {
    let data = tempfile::tempdir().unwrap();
    let endpoint = format!("127.0.0.1:{}", free_port());
    let mut server = Process::start_unread(serve(&endpoint, data.path()));
    let put = [
        "--endpoints",
        &endpoint,
        "--timeout",
        "60s",
        "put",
        "a",
        "b",
    ];
    assert!(handfast(&put).status().unwrap().success());
    server.signal("TERM");
    assert_eq!(server.end(), Some(0));
}

#[test]
fn a_server_whose_terminal_is_closed_removes_what_is_temporary() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = handfast(&["serve", "--ephemeral", "--listen", "127.0.0.1:0"]);
    command.env("TMPDIR", folder.path());
    // Whoever runs the tests may have started them with `nohup`.
    let mut server = Process::start(through(&["env", "--default-signal=HUP"], &command));
    server.wait_for("ready to serve client requests");
    server.signal("HUP");
    server.wait_for("SIGHUP: stopping");
    assert_eq!(server.end(), Some(0));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn what_nohup_started_outlives_the_terminal() {
    let server = Server::handfast();
    let command = server.command(&["lock", "x"]);
    let mut holder = Process::start(through(&["nohup"], &command));
    holder.wait_for("token");
    holder.signal("HUP");
    assert!(server.say(&["locks"]).contains('x'));
    holder.signal("INT");
    let said = holder.rest();
    assert!(said.iter().any(|line| line.contains("SIGINT")), "{said:?}");
    assert_eq!(holder.end(), Some(0));
}
