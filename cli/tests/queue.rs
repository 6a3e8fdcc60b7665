//! `handfast queue` as processes, against handfast and etcd.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};
use support::{Process, Said, Server};

/// Pushes text as an item.
fn push(server: &Server, item: &str, more: &[&str]) -> Said {
    let mut command = server.command(&[&["queue", "push", "q"], more].concat());
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(item.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap().into()
}

/// The items of the queue with what they are in.
fn states(server: &Server) -> Vec<(String, String)> {
    let list = &server.json(&["queue", "ls", "q"])[0];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|item| (text(&item["id"]), text(&item["state"])))
        .collect()
}

#[test]
fn items_are_pushed_looked_at_and_popped_in_order() {
    for server in Server::all() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from a file").unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(
            server.say(&["queue", "push", "q", path, "--id", "z"]),
            "z\n"
        );
        let said = push(&server, "from stdin", &["-", "--id", "a"]);
        assert_eq!((said.code, &*said.out), (Some(0), "a\n"), "{said:?}");
        let again = push(&server, "other", &["--id", "a"]);
        assert!(
            again.code == Some(0) && again.err.contains("pushed before"),
            "{again:?}"
        );

        assert_eq!(server.say(&["queue", "pop", "q"]), "from a file\n");
        assert_eq!(server.say(&["queue", "pop", "q", "--ack"]), "from a file\n");
        let popped = &server.json(&["queue", "pop", "q", "--ack"])[0];
        assert_eq!(
            (&popped["item"], &popped["attempt"]),
            (&json!("from stdin"), &json!(1))
        );
        let empty = server.run(&["queue", "pop", "q", "--wait", "100ms"]);
        assert_eq!(empty.code, Some(75), "{empty:?}");
        server.wait_for_no_lease();
        assert!(states(&server).is_empty());
    }
}

#[test]
fn a_worker_runs_a_command_for_each_item_and_ends_when_the_queue_is_drained() {
    for server in Server::all() {
        for id in ["1", "2", "3"] {
            push(&server, &format!("item {id}\n"), &["--id", id]);
        }
        assert_eq!(server.say(&["queue", "drain", "q"]), "drain\n");
        let refused = push(&server, "", &[]);
        assert!(
            refused.code == Some(1) && refused.err.contains("drained"),
            "{refused:?}"
        );
        let script = "echo $HANDFAST_QUEUE $HANDFAST_ITEM $HANDFAST_ATTEMPT; cat";
        let said = server.run(&["queue", "work", "q", "--", "sh", "-c", script]);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert_eq!(said.out, "q 1 1\nitem 1\nq 2 1\nitem 2\nq 3 1\nitem 3\n");
        assert_eq!(server.say(&["queue", "start", "q"]), "run\n");
        assert_eq!(push(&server, "", &[]).code, Some(0));
    }
}

#[test]
fn an_item_whose_command_fails_is_set_aside_and_can_be_put_back() {
    let server = Server::handfast();
    push(&server, "x", &["--id", "bad"]);
    let fail = [
        "--wait",
        "200ms",
        "--max-attempts",
        "2",
        "--",
        "sh",
        "-c",
        "exit 3",
    ];
    let said = server.run(&[&["queue", "work", "q"], &fail[..]].concat());
    assert_eq!(said.code, Some(75), "{said:?}");
    let told = "item bad failed 2 times and is set aside: exit code 3";
    assert!(said.err.contains(told), "{said:?}");
    let why = server.say(&["queue", "why", "q", "bad"]);
    assert!(
        why.contains("bad is dead") && why.contains("exit code 3"),
        "{why}"
    );
    let dead = &server.json(&["queue", "dead", "q"])[0][0];
    assert_eq!((&dead["item"], &dead["attempts"]), (&json!("x"), &json!(2)));

    assert_eq!(server.run(&["queue", "retry", "q", "other"]).code, Some(1));
    assert_eq!(server.say(&["queue", "retry", "q", "--all"]), "bad\n");
    let said = server.run(&["queue", "work", "q", "--once", "--", "sh", "-c", "exit 4"]);
    assert_eq!(said.code, Some(4), "{said:?}");
    let once = ["queue", "work", "q", "--once", "--", "true"];
    assert_eq!(server.run(&once).code, Some(0));
    assert!(states(&server).is_empty());
}

#[test]
fn an_item_that_is_to_be_tried_again_or_has_no_command_keeps_its_attempts() {
    let server = Server::handfast();
    push(&server, "x", &["--id", "a"]);
    let said = server.run(&["queue", "work", "q", "--once", "--", "sh", "-c", "exit 75"]);
    assert_eq!(said.code, Some(75), "{said:?}");
    let said = server.run(&["queue", "work", "q", "--", "/no/such/command"]);
    assert_eq!(said.code, Some(127), "{said:?}");
    let items = &server.json(&["queue", "ls", "q"])[0]["items"];
    assert_eq!(
        (&items[0]["attempts"], &items[0]["state"]),
        (&json!(0), &json!("ready"))
    );
}

#[test]
fn an_item_of_a_worker_that_is_killed_goes_to_another_and_people_see_who_has_it() {
    for server in Server::all() {
        push(&server, "x", &["--id", "a"]);
        let work = ["queue", "work", "q", "--ttl", "2s", "--", "sh", "-c"];
        let script = "echo started; exec sleep 1000";
        let mut first = Process::start(server.command(&[&work[..], &[script]].concat()));
        first.wait_for("started");
        let pid = first.child.id();
        let items = &server.json(&["queue", "ls", "q"])[0]["items"];
        assert_eq!(items[0]["claimed_by"]["pid"], pid);
        let why = server.say(&["queue", "why", "q", "a"]);
        assert!(why.contains(&format!("pid {pid}")), "{why}");
        first.child.kill().unwrap();
        let script = "echo $HANDFAST_ATTEMPT $HANDFAST_PREVIOUS_DIED";
        let once = ["queue", "work", "q", "--once", "--", "sh", "-c", script];
        let said = server.run(&once);
        assert_eq!((said.code, &*said.out), (Some(0), "2 1\n"), "{said:?}");
        first.end();
    }
}

#[test]
fn a_signal_reaches_the_command_and_ends_the_work_after_it() {
    let server = Server::handfast();
    push(&server, "x", &["--id", "a"]);
    push(&server, "x", &["--id", "b"]);
    let script = "trap 'echo got it; exit 0' TERM; echo started; while :; do sleep 0.05; done";
    let mut worker =
        Process::start(server.command(&["queue", "work", "q", "--", "sh", "-c", script]));
    worker.wait_for("started");
    worker.signal("TERM");
    worker.wait_for("got it");
    assert_eq!(worker.end(), Some(128 + 15));
    // It did what it was told, so its item is done.
    assert_eq!(states(&server), [("b".to_owned(), "ready".to_owned())]);
}

#[test]
fn a_waiting_worker_ends_with_a_signal_and_leaves_nothing() {
    let server = Server::handfast();
    let mut worker = Process::start(server.command(&["queue", "work", "q", "--", "true"]));
    while server.json(&["queue", "ls", "q"])[0]["workers"] == 0 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    worker.signal("INT");
    assert_eq!(worker.end(), Some(128 + 2));
    assert_eq!(server.say(&["get", "q/", "--prefix"]), "");
}

#[test]
fn conditions_keep_items_back_and_why_tells_which() {
    for server in Server::all() {
        push(&server, "", &["--id", "c", "--after", "a,b"]);
        push(&server, "", &["--id", "a"]);
        push(&server, "", &["--id", "g", "--gate", "door"]);
        let why = server.say(&["queue", "why", "q", "c"]);
        assert!(why.contains("it comes after a, which is ready"), "{why}");
        assert!(why.contains("it comes after b, which is unknown"), "{why}");
        let circle = push(&server, "", &["--id", "b", "--after", "c"]);
        assert_eq!(circle.code, Some(2), "{circle:?}");
        assert!(circle.err.contains("wait for itself"), "{circle:?}");

        assert_eq!(
            server.say(&["queue", "condition", "q", "--count", "2"]),
            "2 items that are ready at once\n"
        );
        let pop = ["queue", "pop", "q", "--ack", "--wait", "100ms"];
        assert_eq!(server.run(&pop).code, Some(75));
        push(&server, "", &["--id", "b"]);
        let ids: Vec<Value> = (0..3)
            .map(|_| server.json(&["queue", "pop", "q", "--ack"])[0]["id"].clone())
            .collect();
        assert_eq!(ids, ["a", "b", "c"]);
        assert_eq!(server.run(&pop).code, Some(75), "the gate is shut");
        assert_eq!(server.say(&["queue", "open", "q", "door"]), "open\n");
        assert_eq!(
            server.say(&["queue", "condition", "q", "--start"]),
            "start\n"
        );
        assert_eq!(server.run(&pop).code, Some(75), "it was not started");
        assert_eq!(server.say(&["queue", "start", "q"]), "run\n");
        assert_eq!(server.json(&["queue", "pop", "q", "--ack"])[0]["id"], "g");
        assert_eq!(server.say(&["queue", "pause", "q"]), "pause\n");
        assert!(server.say(&["queue", "ls", "q"]).contains("control pause"));
    }
}

#[test]
fn a_large_item_that_nobody_reads_does_not_hang_the_worker() {
    let server = Server::handfast();
    push(&server, &"x".repeat(300_000), &["--id", "a"]);
    let said = server.run(&["queue", "work", "q", "--once", "--", "true"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(states(&server).is_empty());
}

#[test]
fn an_item_that_does_not_come_or_is_not_there_is_an_error_that_says_why() {
    for server in Server::all() {
        let none = server.run(&["queue", "why", "q", "nope"]);
        assert_eq!((none.code, &*none.out), (Some(1), ""), "{none:?}");
        assert!(none.err.contains("no item nope in queue q"), "{none:?}");
        let json = server.run(&["--json", "queue", "why", "q", "nope"]);
        assert!(
            json.code == Some(1) && json.out.contains("unknown"),
            "{json:?}"
        );

        let pop = ["queue", "pop", "q", "--wait", "50ms"];
        let says = |why: &str| {
            let said = server.run(&pop);
            assert_eq!(said.code, Some(75), "{said:?}");
            let told = format!("queue q: no item came within 50ms{why}");
            assert!(said.err.contains(&told), "{said:?}");
        };
        says("\n");
        push(&server, "x", &["--id", "g", "--gate", "door"]);
        says("; 1 blocked, and `handfast queue why q ID` says by what");
        server.say(&["queue", "open", "q", "door"]);
        server.say(&["queue", "condition", "q", "--count", "2"]);
        says("; 1 ready for this condition: 2 items");
        server.say(&["queue", "pause", "q"]);
        says("; it is paused");

        let retry = server.run(&["queue", "retry", "q", "--all"]);
        assert_eq!(retry.code, Some(0), "{retry:?}");
        assert!(retry.err.contains("no item failed too often"), "{retry:?}");
    }
}

#[test]
fn an_item_comes_from_standard_input_and_an_empty_one_is_mentioned() {
    let server = Server::handfast();
    let quiet = |said: &Said| said.code == Some(0) && said.err.is_empty();
    assert!(quiet(&push(&server, "x\n", &[])), "an item without a file");
    assert_eq!(server.say(&["queue", "pop", "q", "--ack"]), "x\n");
    let empty = push(&server, "", &[]);
    assert!(empty.err.contains("standard input is empty"), "{empty:?}");
    assert!(quiet(&push(&server, "", &["-"])), "it was meant");
    let missing = server.run(&["queue", "push", "q", "/no/such/file"]);
    assert_eq!(missing.code, Some(1), "{missing:?}");
}
