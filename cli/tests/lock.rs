//! `handfast lock`, `locks`, `elect` and `leader` as processes, against handfast and etcd.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{Process, Server};

/// A script that says when it starts and when it was told to stop, and would go on for very long.
const STUBBORN: &str = "trap 'echo told to stop' TERM; echo started $HANDFAST_TOKEN; \
                        while :; do sleep 0.05; done";

/// The lease of a lock's only holder.
fn holders_lease(server: &Server, name: &str) -> String {
    server.json(&["locks", name])[0][0]["queue"][0]["lease"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// Whether the line of `locks` for this name shows nobody.
fn is_free(server: &Server, name: &str) -> bool {
    server.json(&["locks", name])[0][0]["queue"]
        .as_array()
        .unwrap()
        .is_empty()
}

fn is_running(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie has ended.
    stat.rsplit_once(')')
        .is_some_and(|(_, fields)| !fields.trim_start().starts_with('Z'))
}

#[test]
fn exit_code_and_variables_reach_through() {
    for server in Server::all() {
        let script = "echo $HANDFAST_LOCK $HANDFAST_PREVIOUS_DIED; \
                      test $HANDFAST_TOKEN = $ETCD_LOCK_REV && echo $ETCD_LOCK_KEY; exit 7";
        let said = server.run(&["lock", "jobs/x", "--", "sh", "-c", script]);
        assert_eq!(said.code, Some(7), "{said:?}");
        let lines: Vec<&str> = said.out.lines().collect();
        assert_eq!(lines[0], "jobs/x 0");
        assert!(lines[1].starts_with("jobs/x/"), "{said:?}");
        assert!(is_free(&server, "jobs/x"));
        let said = server.run(&["lock", "jobs/x", "--", "sh", "-c", "kill -TERM $$"]);
        assert_eq!(said.code, Some(128 + 15), "{said:?}");
        server.wait_for_no_lease();
    }
}

#[test]
fn commands_that_do_not_start_leave_the_lock_free() {
    let server = Server::handfast();
    let said = server.run(&["lock", "x", "--", "/no/such/command"]);
    assert_eq!(said.code, Some(127), "{said:?}");
    assert!(said.err.contains("/no/such/command"), "{said:?}");
    assert_eq!(server.run(&["lock", "x", "--", "/etc"]).code, Some(126));
    assert!(is_free(&server, "x"));
}

#[test]
fn a_lock_is_held_until_a_signal_and_others_are_told_by_whom() {
    for server in Server::all() {
        let mut holder = Process::start(server.command(&["--json", "lock", "x"]));
        let line = holder.wait_for("token").pop().unwrap();
        let held: serde_json::Value = serde_json::from_str(&line).unwrap();
        let pid = holder.child.id();

        let tried = server.run(&["lock", "x", "--try", "--", "true"]);
        assert_eq!(tried.code, Some(75), "{tried:?}");
        assert!(tried.err.contains(&format!("pid {pid}")), "{tried:?}");
        server.gives_up(&["lock", "x"], &format!("pid {pid}"));

        let locks = &server.json(&["locks"])[0];
        assert_eq!(locks[0]["queue"][0]["pid"], pid);
        assert_eq!(locks[0]["queue"][0]["token"], held["token"]);
        assert!(server.say(&["locks", "x"]).contains("holds"));

        holder.signal("INT");
        assert_eq!(holder.end(), Some(0));
        assert!(is_free(&server, "x"));
    }
}

#[test]
fn a_waiter_that_is_interrupted_leaves_the_queue() {
    let server = Server::handfast();
    let holder = Process::start(server.command(&["lock", "x"]));
    holder.wait_for("token");
    let mut waiter = Process::start(server.command(&["lock", "x", "--verbose", "--", "true"]));
    waiter.wait_for("waiting for lock x, place 2");
    waiter.signal("INT");
    assert_eq!(waiter.end(), Some(128 + 2));
    assert_eq!(
        server.json(&["locks", "x"])[0][0]["queue"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn signals_reach_the_command_and_the_lock_is_freed_after_it() {
    let server = Server::handfast();
    let script = "trap 'echo got it; exit 5' TERM; echo started; while :; do sleep 0.05; done";
    let mut holder = Process::start(server.command(&["lock", "x", "--", "sh", "-c", script]));
    holder.wait_for("started");
    holder.signal("TERM");
    holder.wait_for("got it");
    assert_eq!(holder.end(), Some(5));
    assert!(is_free(&server, "x"));
}

/// The first command writes as long as it lives; the second must not find it doing so.
fn overlaps(dir: &Path, server: &Server) -> (Process, Process) {
    let beat = dir.join("beat");
    let writer = format!(
        "echo started; while :; do date +%N > {}; done",
        beat.display()
    );
    let first = Process::start(server.command(&["lock", "x", "--", "sh", "-c", &writer]));
    first.wait_for("started");
    let reader = format!(
        "echo second $HANDFAST_PREVIOUS_DIED; a=$(cat {0}); sleep 0.5; b=$(cat {0}); \
         test \"$a\" = \"$b\" && echo alone",
        beat.display()
    );
    let args = ["lock", "x", "--verbose", "--", "sh", "-c", &reader];
    let second = Process::start(server.command(&args));
    second.wait_for("waiting for lock x, place 2");
    (first, second)
}

#[test]
fn when_the_lease_is_revoked_the_command_is_killed_before_a_rival_runs() {
    for server in Server::all() {
        let dir = tempfile::tempdir().unwrap();
        let (mut first, mut second) = overlaps(dir.path(), &server);
        server.say(&["lease", "revoke", &holders_lease(&server, "x")]);
        assert_eq!(first.end(), Some(76));
        assert!(first.rest().iter().any(|line| line.contains("was lost")));
        let lines = second.wait_for("alone");
        assert!(lines.iter().any(|line| line == "second 1"), "{lines:?}");
        assert_eq!(second.end(), Some(0));
    }
}

#[test]
fn a_broken_lock_tells_its_holder_why() {
    let server = Server::handfast();
    let dir = tempfile::tempdir().unwrap();
    let (mut first, mut second) = overlaps(dir.path(), &server);
    let said = server.say(&["lock", "break", "x", "--why", "it hangs"]);
    assert!(
        said.contains(&format!("pid {}", first.child.id())),
        "{said}"
    );
    assert_eq!(first.end(), Some(76));
    let lines = first.rest();
    assert!(
        lines.iter().any(|line| line.contains("it hangs")),
        "{lines:?}"
    );
    second.wait_for("alone");
    assert_eq!(second.end(), Some(0));
    assert_eq!(
        server.run(&["lock", "break", "x", "--why", "again"]).code,
        Some(1)
    );
}

#[test]
fn a_holder_that_dies_takes_its_command_along() {
    let server = Server::handfast();
    let script = "echo pid $$; while :; do sleep 0.05; done";
    // Time enough for a machine that has much else to do to let the guard and the command run.
    let args = ["lock", "x", "--ttl", "6s", "--", "sh", "-c", script];
    let mut holder = Process::start(server.command(&args));
    let line = holder.wait_for("pid ").pop().unwrap();
    let pid = line.trim_start_matches("pid ").to_owned();
    assert!(is_running(&pid));
    holder.signal("KILL");
    assert_eq!(holder.end(), None);
    // The next holder gets the lock when the TTL has passed; by then the command is long gone.
    let script = "echo $HANDFAST_PREVIOUS_DIED";
    let said = server.run(&["lock", "x", "--delay", "0", "--", "sh", "-c", script]);
    assert_eq!(said.out, "1\n", "{said:?}");
    assert!(!is_running(&pid));
}

#[test]
fn a_server_that_falls_silent_ends_the_command_before_the_lease() {
    let server = Server::handfast();
    let args = ["lock", "x", "--ttl", "3s", "--", "sh", "-c", STUBBORN];
    let mut holder = Process::start(server.command(&args));
    holder.wait_for("started");
    server.process.signal("STOP");
    // Told while there is time, killed when there is none: it ignores the first.
    holder.wait_for("told to stop");
    assert_eq!(holder.end(), Some(76));
    server.process.signal("CONT");
}

#[test]
fn max_hold_stops_the_command_and_frees_the_lock() {
    let server = Server::handfast();
    let script = "trap 'echo told to stop; exit 0' TERM; while :; do sleep 0.05; done";
    let args = ["lock", "x", "--max-hold", "200ms", "--", "sh", "-c", script];
    let said = server.run(&args);
    assert_eq!(
        (said.code, &*said.out),
        (Some(76), "told to stop\n"),
        "{said:?}"
    );
    assert!(said.err.contains("--max-hold"), "{said:?}");
    assert!(is_free(&server, "x"));
}

#[test]
fn etcdctl_and_handfast_exclude_each_other() {
    for server in Server::all() {
        if Command::new("etcdctl").arg("version").output().is_err() {
            eprintln!("skipped: no etcdctl on this machine");
            return;
        }
        let mut command = Command::new("etcdctl");
        command
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &server.endpoint, "lock", "x"]);
        let mut etcdctl = Process::start(command);
        etcdctl.wait_for("x/");
        assert_eq!(
            server.run(&["lock", "x", "--try", "--", "true"]).code,
            Some(75)
        );
        let args = ["lock", "x", "--verbose", "--", "echo", "mine"];
        let mut waiter = Process::start(server.command(&args));
        waiter.wait_for("waiting for lock x, place 2");
        etcdctl.signal("INT");
        waiter.wait_for("mine");
        assert_eq!(waiter.end(), Some(0));
        etcdctl.end();
    }
}

#[test]
fn the_word_break_can_still_be_a_name() {
    let server = Server::handfast();
    assert_eq!(
        server.say(&["lock", "--name", "break", "--", "echo", "held"]),
        "held\n"
    );
    for args in [
        &["lock", "break", "--", "echo"][..],
        &["lock", "break", "x"],
        &["lock"],
    ] {
        let said = server.run(args);
        assert_eq!(said.code, Some(2), "{args:?}: {said:?}");
    }
    assert!(
        server
            .run(&["lock", "break", "--", "echo"])
            .err
            .contains("--name break")
    );
}

#[test]
fn elections_have_one_leader_and_successors() {
    for server in Server::all() {
        assert_eq!(server.run(&["leader", "boss"]).code, Some(1));
        let watch = Process::start(server.command(&["leader", "boss", "--watch"]));
        watch.wait_for("nobody leads");
        let first = ["elect", "boss", "-v", "n1", "--", "sh", "-c", STUBBORN];
        let mut first = Process::start(server.command(&first));
        first.wait_for("started");
        watch.wait_for("n1");
        assert!(server.say(&["leader", "boss"]).starts_with("n1"));
        let second = [
            "elect", "boss", "-v", "n2", "--delay", "0", "--", "echo", "led",
        ];
        let mut second = Process::start(server.command(&second));
        let lease = server.json(&["leader", "boss"])[0]["lease"]
            .as_str()
            .unwrap()
            .to_owned();
        server.say(&["lease", "revoke", &lease]);
        second.wait_for("led");
        assert_eq!((first.end(), second.end()), (Some(76), Some(0)));
        watch.wait_for("nobody leads");
    }
}

#[test]
fn nobody_there_is_exit_code_3_also_for_locks() {
    let endpoint = format!("127.0.0.1:{}", support::free_port());
    for args in [
        &["lock", "x", "--", "true"][..],
        &["locks"],
        &["leader", "x"],
        &["elect", "x"],
    ] {
        let said =
            support::run(&[&["--endpoints", &endpoint, "--timeout", "300ms"], args].concat());
        assert_eq!(said.code, Some(3), "{args:?}: {said:?}");
    }
}

#[test]
fn several_locks_are_held_together_or_not_at_all() {
    for server in Server::all() {
        let script = "echo held $HANDFAST_LOCK; read line; exit 4";
        let args = [
            "lock", "b", "--also", "a", "--also", "c", "--", "sh", "-c", script,
        ];
        let mut command = server.command(&args);
        command.stdin(std::process::Stdio::piped());
        let mut holder = Process::start(command);
        holder.wait_for("held a, b, c");
        for name in ["a", "b", "c"] {
            let tried = server.run(&["lock", name, "--try", "--", "true"]);
            assert_eq!(tried.code, Some(75), "{name}: {tried:?}");
        }
        let tried = server.run(&["lock", "z", "--also", "c", "--try", "--", "true"]);
        assert_eq!(tried.code, Some(75), "{tried:?}");
        assert!(tried.err.contains("lock c is held"), "{tried:?}");
        assert!(is_free(&server, "z"));
        let pid = format!("pid {}", holder.child.id());
        server.gives_up(&["lock", "z", "--also", "a"], &pid);
        drop(holder.child.stdin.take());
        assert_eq!(holder.end(), Some(4));
        assert_eq!(
            server.say(&["lock", "c", "--also", "z", "--", "echo", "free"]),
            "free\n"
        );
        for name in ["a", "b", "c", "z"] {
            assert!(is_free(&server, name));
        }
    }
}

#[test]
fn too_many_locks_are_a_mistake_that_says_the_limit() {
    let server = Server::handfast();
    let names: Vec<String> = (0..61).map(|number| format!("n{number}")).collect();
    let mut args = vec!["lock", "first"];
    for name in &names {
        args.extend(["--also", name]);
    }
    let said = server.run(&args);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("at most 60"), "{said:?}");
}

#[test]
fn a_command_that_hangs_loses_the_lock_it_no_longer_beats_for() {
    let server = Server::handfast();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("beat");
    let file = file.to_str().unwrap();
    let beats = |rounds: u32, then: &str| {
        format!(
            "for i in $(seq {rounds}); do touch -d @$i \"$HANDFAST_BEAT_FILE\"; sleep 0.1; done; \
             {then}"
        )
    };
    let args = [
        "lock",
        "x",
        "--beat-file",
        file,
        "--beat",
        "1s",
        "--",
        "sh",
        "-c",
    ];
    // Works for longer than the interval.
    let working = beats(20, "echo done");
    let said = server.run(&[&args[..], &[&working]].concat());
    assert_eq!((said.code, &*said.out), (Some(0), "done\n"), "{said:?}");
    let hanging = beats(
        3,
        "trap 'echo told to stop; exit 0' TERM; while :; do sleep 0.05; done",
    );
    let said = server.run(&[&args[..], &[&hanging]].concat());
    assert_eq!(
        (said.code, &*said.out),
        (Some(76), "told to stop\n"),
        "{said:?}"
    );
    assert!(said.err.contains("--beat-file"), "{said:?}");
    assert!(is_free(&server, "x"));
    let said = server.run(&["lock", "x", "--beat", "1s", "--", "true"]);
    assert_eq!(said.code, Some(2), "{said:?}");
}

#[test]
fn what_a_dead_holder_left_is_repaired_first_or_the_next_is_told_again() {
    let server = Server::handfast();
    let die = || {
        let mut holder = Process::start(server.command(&["lock", "x", "--", "sh", "-c", STUBBORN]));
        holder.wait_for("started");
        server.say(&["lease", "revoke", &holders_lease(&server, "x")]);
        assert_eq!(holder.end(), Some(76));
    };
    let with = |repair: &str| {
        let args = ["lock", "x", "--delay", "0", "--if-died", repair];
        server.run(&[&args[..], &["--", "echo", "work"]].concat())
    };
    let quiet = with("echo never");
    assert_eq!((quiet.code, &*quiet.out), (Some(0), "work\n"), "{quiet:?}");
    die();
    let failed = with("echo repairing; exit 9");
    assert_eq!(
        (failed.code, &*failed.out),
        (Some(9), "repairing\n"),
        "{failed:?}"
    );
    assert!(failed.err.contains("--if-died"), "{failed:?}");
    assert!(is_free(&server, "x"));
    let repaired = with("echo $HANDFAST_PREVIOUS_DIED $HANDFAST_LOCK");
    assert_eq!(
        (repaired.code, &*repaired.out),
        (Some(0), "1 x\nwork\n"),
        "{repaired:?}"
    );
    assert_eq!(with("echo never").out, "work\n");
}

#[test]
fn a_command_runs_for_each_leader() {
    let server = Server::handfast();
    // All on one output: lines of two may be seen in another order than they were written in.
    let script = "echo \"now [$HANDFAST_LEADER] $HANDFAST_TOKEN\" >&2; \
                  test -n \"$HANDFAST_LEADER\"";
    let mut follower = Process::start(server.command(&["leader", "boss", "--exec", script]));
    follower.wait_for("now [] 0");
    follower.wait_for("ended with 1");
    let first = Process::start(server.command(&["elect", "boss", "-v", "n1"]));
    first.wait_for("token");
    follower.wait_for("now [n1] ");
    let mut second = Process::start(server.command(&["elect", "boss", "-v", "n2", "--verbose"]));
    second.wait_for("waiting for election boss, place 2");
    first.signal("INT");
    follower.wait_for("now [n2] ");
    // It learns that it leads after everybody can see it.
    second.wait_for("token");
    second.signal("INT");
    assert_eq!(second.end(), Some(0));
    follower.wait_for("now [] 0");
    follower.wait_for("ended with 1");
    follower.signal("TERM");
    assert_eq!(follower.end(), Some(128 + 15));
}

#[test]
fn an_election_can_be_limited_like_a_lock() {
    let server = Server::handfast();
    let script = "trap 'echo told to stop; exit 0' TERM; while :; do sleep 0.05; done";
    let args = [
        "elect",
        "boss",
        "--max-hold",
        "200ms",
        "--",
        "sh",
        "-c",
        script,
    ];
    let said = server.run(&args);
    assert_eq!(
        (said.code, &*said.out),
        (Some(76), "told to stop\n"),
        "{said:?}"
    );
    assert_eq!(server.run(&["leader", "boss"]).code, Some(1));
}

#[test]
fn one_name_is_listed_as_what_it_is_and_an_unknown_one_as_free() {
    for server in Server::all() {
        let mut leader = Process::start(server.command(&["elect", "boss", "-v", "n1"]));
        leader.wait_for("token");
        let all = server.json(&["locks"]);
        assert_eq!(all, server.json(&["locks", "boss"]));
        assert_eq!(all[0][0]["kind"], "election");
        let free = server.say(&["locks", "nope"]);
        assert_eq!(free, "nobody holds or waits for nope\n");
        server.say(&["lock", "break", "boss", "--why", "breaks leaders, too"]);
        assert_eq!(leader.end(), Some(76));
    }
}

#[test]
fn slips_of_the_command_line_are_answered_with_what_was_meant() {
    let says = |args: &[&str], text: &str| {
        let said = support::run(args);
        assert_eq!(said.code, Some(2), "{args:?}: {said:?}");
        assert!(said.err.contains(text), "{args:?}: {said:?}");
    };
    says(
        &["lock", "x", "true"],
        "a command to run comes last, after `--`",
    );
    says(&["queue", "work", "q", "true"], "after `--`");
    says(&["lock"], "handfast lock NAME [-- CMD...]");
    says(
        &["lock", "break", "x", "--why", " "],
        "the holder will ask why",
    );
    says(
        &["elect", "x", "--ttl", "10ms", "--", "true"],
        "at least 1s",
    );
    says(
        &["queue", "pop", "q", "--wait", "0"],
        "no time to ask a server",
    );
    let other = support::run(&["lock", "x", "--no-such-flag"]);
    assert!(!other.err.contains("comes last"), "{other:?}");
}

#[test]
fn a_wait_without_a_server_is_told_from_a_wait_for_somebody() {
    let nowhere = format!("127.0.0.1:{}", support::free_port());
    for what in ["lock", "elect"] {
        let args = ["--endpoints", &nowhere, what, "x", "--wait", "300ms"];
        let said = support::run(&[&args[..], &["--", "true"]].concat());
        assert_eq!(said.code, Some(3), "{said:?}");
        assert!(said.err.contains(&nowhere), "{said:?}");
    }
}
