//! `handfast top` on a terminal, and as text for scripts, against handfast and etcd.

#![allow(clippy::unwrap_used)]

mod support;

use std::process::Command;

use support::terminal::Terminal;
use support::{PATIENCE, Process, Server};

/// A way to end it.
type Leave = fn(&mut Terminal);

fn pid(process: &Process) -> String {
    process.child.id().to_string()
}

#[test]
fn a_lock_is_seen_from_its_first_holder_to_its_last_without_a_key_pressed() {
    for server in Server::all() {
        let top = Terminal::start(&server.command(&["top"]), 20, 110);
        top.wait_for(&["nobody holds a lock"]);
        let mut first = Process::start(server.command(&["lock", "jobs/nightly"]));
        first.wait_for("token");
        top.wait_for(&["jobs/nightly", "holds", &pid(&first), "handfast"]);
        let mut second = Process::start(server.command(&["lock", "jobs/nightly"]));
        top.wait_for(&["2.", &pid(&second)]);
        top.wait_for(&["1 Locks 1", "5 Sessions 2"]);
        first.signal("INT");
        assert_eq!(first.end(), Some(0));
        top.wait_for(&["jobs/nightly", "holds", &pid(&second)]);
        second.signal("INT");
        assert_eq!(second.end(), Some(0));
        top.wait_for(&["nobody holds a lock"]);
    }
}

#[test]
fn keys_lead_through_everything_and_the_window_may_change_its_size() {
    let server = Server::handfast();
    let leader = Process::start(server.command(&["elect", "boss", "-v", "n1"]));
    leader.wait_for("token");
    let instance = r#"{"Op":0,"Addr":"10.0.0.5:80"}"#;
    server.say(&["put", "img/items/1", "x"]);
    server.say(&["put", "img/tickets/1", "{}"]);
    server.say(&["put", "api/n1", instance]);
    let mut top = Terminal::start(&server.command(&["top"]), 20, 110);
    top.wait_for(&["1 Locks 0", "2 Elections 1"]);
    top.press("\t");
    top.wait_for(&["boss", "leads", &pid(&leader), "n1"]);
    top.press("3");
    top.wait_for(&["img", "run", "1"]);
    top.press("4");
    top.wait_for(&["api", "n1", "10.0.0.5:80", "for ever"]);
    top.press("5");
    top.wait_for(&[&pid(&leader), "leads boss"]);
    top.resize(8, 40);
    top.wait_until("drawn for 8 lines", |lines| {
        lines.len() == 8 && lines[7].contains("q leave")
    });
    top.resize(30, 120);
    top.wait_until("drawn for 30 lines", |lines| lines[29].contains("q leave"));
    top.press("q");
    assert_eq!(top.end(), Some(0));
}

#[test]
fn however_it_ends_the_terminal_is_as_before() {
    let server = Server::handfast();
    let leave: [(&str, Leave); 3] = [
        ("q", |top| top.press("q")),
        ("ctrl-C", |top| top.press("\x03")),
        ("SIGTERM", |top| {
            let pid = top.child.id().to_string();
            assert!(Command::new("kill").arg(pid).status().unwrap().success());
        }),
    ];
    for (how, leave) in leave {
        let mut top = Terminal::start(&server.command(&["top"]), 20, 80);
        top.wait_for(&["nobody holds a lock"]);
        assert!(top.is_taken_over() && !top.is_cooked(), "{how}");
        leave(&mut top);
        assert_eq!(top.end(), Some(0), "{how}");
        assert!(top.is_cooked(), "{how}");
        let deadline = std::time::Instant::now() + PATIENCE;
        while top.is_taken_over() {
            assert!(std::time::Instant::now() < deadline, "{how}");
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_terminal_that_is_closed_ends_it_without_a_panic() {
    let server = Server::handfast();
    let mut top = Terminal::start(&server.command(&["top"]), 20, 80);
    top.wait_for(&["nobody holds a lock"]);
    top.hang_up();
    // 1 when it was just drawing.
    let code = top.end();
    assert!(matches!(code, Some(0 | 1)), "{code:?}");
}

#[test]
fn a_server_that_is_gone_is_told_and_what_was_seen_stays() {
    let server = Server::handfast();
    let holder = Process::start(server.command(&["lock", "x"]));
    holder.wait_for("token");
    // Narrow, for it is to be seen there, too.
    let top = Terminal::start(&server.command(&["top"]), 20, 40);
    top.wait_for(&["x", "holds"]);
    server.process.signal("KILL");
    top.wait_for(&["out of touch for"]);
    top.wait_for(&["x", "holds"]);
}

#[test]
fn scripts_get_it_once_as_text_or_json() {
    for server in Server::all() {
        let holder = Process::start(server.command(&["lock", "jobs/nightly"]));
        holder.wait_for("token");
        server.say(&["put", "img/items/1", "x"]);
        server.say(&["put", "img/tickets/1", "{}"]);
        let text = server.say(&["top", "--once"]);
        for line in ["Locks (1)", "Elections (0)", "Queues (1)", "Services (0)"] {
            assert!(text.lines().any(|it| it == line), "no {line} in: {text}");
        }
        assert!(text.contains("jobs/nightly"), "{text}");
        let picture = &server.json(&["top", "--once"])[0];
        let lock = &picture["locks"][0];
        assert_eq!(lock["queue"][0]["pid"], holder.child.id());
        assert!(
            lock["queue"][0]["ttl_left_s"].as_u64().unwrap() <= 10,
            "{lock}"
        );
        assert_eq!(picture["queues"][0]["waiting"], 1);
        assert_eq!(picture["sessions"][0]["has"][0]["role"], "holds");
        // Only what is below a prefix.
        let picture = &server.json(&["top", "--once", "img/"])[0];
        assert_eq!(picture["locks"], serde_json::json!([]), "nor its record");
        assert_eq!(picture["queues"][0]["items"], 1);
    }
}

#[test]
fn of_a_store_with_very_many_keys_only_what_is_recorded_is_read() {
    let server = Server::handfast();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = handfast_core::Client::builder()
            .endpoints(&*server.endpoint)
            .build();
        let client = client.unwrap();
        for part in 0..210 {
            let puts =
                (0..100).map(|key| handfast_core::Op::put(format!("many/{part}/{key}"), "x"));
            client
                .txn()
                .then(puts.collect::<Vec<_>>())
                .commit()
                .await
                .unwrap();
        }
    });
    let holder = Process::start(server.command(&["lock", "x"]));
    holder.wait_for("token");
    let waiter = Process::start(server.command(&["lock", "x", "--verbose"]));
    waiter.wait_for("place 2");
    let text = server.say(&["top", "--once"]);
    assert!(text.contains("only what handfast has records of"), "{text}");
    let top = Terminal::start(&server.command(&["top"]), 20, 110);
    top.wait_for(&["x", "holds", &pid(&holder)]);
    top.wait_for(&["2.", &pid(&waiter)]);
    // A name that was not there when it began.
    let other = Process::start(server.command(&["lock", "other"]));
    top.wait_for(&["other", "holds", &pid(&other)]);
}

#[test]
fn a_program_can_follow_changes_line_by_line() {
    let server = Server::handfast();
    let mut follower = Process::start(server.command(&["--json", "top"]));
    follower.wait_for("\"locks\":[]");
    let holder = Process::start(server.command(&["lock", "x"]));
    holder.wait_for("token");
    follower.wait_for("\"name\":\"x\"");
    follower.signal("INT");
    assert_eq!(follower.end(), Some(0));
}

#[test]
fn without_a_terminal_it_says_what_to_do() {
    let server = Server::handfast();
    let said = server.run(&["top"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("--once"), "{said:?}");
}

#[test]
fn what_etcdctl_holds_is_seen() {
    for server in Server::all() {
        if Command::new("etcdctl").arg("version").output().is_err() {
            eprintln!("skipped: no etcdctl on this machine");
            return;
        }
        let mut etcdctl = Command::new("etcdctl");
        etcdctl.env("ETCDCTL_API", "3");
        etcdctl.args(["--endpoints", &server.endpoint, "lock", "x"]);
        let etcdctl = Process::start(etcdctl);
        etcdctl.wait_for("x/");
        let picture = &server.json(&["top", "--once"])[0];
        let lock = &picture["locks"][0];
        assert_eq!(lock["name"], "x");
        assert_eq!(
            (&lock["kind_is_known"], &lock["kind"]),
            (&false.into(), &"lock".into())
        );
        assert!(lock["queue"][0]["ttl_s"].as_u64().unwrap() > 0, "{lock}");
    }
}
