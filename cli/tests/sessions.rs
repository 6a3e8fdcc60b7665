//! `handfast sessions`: who is connected and what hangs on it, against handfast and etcd.

#![allow(clippy::unwrap_used)]

mod support;

use std::process::{Command, Stdio};

use serde_json::Value;
use support::{Process, Server};

/// The session of a process, as listed.
fn session_of(server: &Server, process: &Process) -> Value {
    let sessions = server.json(&["sessions"]).remove(0);
    let of = |session: &&Value| session["pid"] == process.child.id();
    let found = sessions.as_array().unwrap().iter().find(of).cloned();
    found.unwrap_or_else(|| panic!("no session of process {}: {sessions}", process.child.id()))
}

#[test]
fn a_session_is_listed_with_everything_that_hangs_on_it() {
    for server in Server::all() {
        assert_eq!(server.say(&["sessions"]), "no sessions\n");
        let holder = Process::start(server.command(&["lock", "jobs/nightly", "--ttl", "20s"]));
        holder.wait_for("token");
        let waiter = ["lock", "jobs/nightly", "--verbose"];
        let waiter = Process::start(server.command(&waiter));
        waiter.wait_for("waiting for lock");
        let leader = Process::start(server.command(&["elect", "boss", "-v", "n1"]));
        leader.wait_for("token");

        let session = session_of(&server, &holder);
        let has = &session["has"][0];
        assert_eq!(
            (&has["role"], &has["name"]),
            (&"holds".into(), &"jobs/nightly".into())
        );
        assert_eq!(
            (&session["program"], &session["ttl_s"]),
            (&"handfast".into(), &20.into())
        );
        assert!(session["ttl_left_s"].as_u64().unwrap() <= 20, "{session}");
        let has = &session_of(&server, &waiter)["has"][0];
        assert_eq!(
            (&has["role"], &has["position"]),
            (&"waits".into(), &2.into())
        );
        assert_eq!(session_of(&server, &leader)["has"][0]["role"], "leads");

        let text = server.say(&["sessions"]);
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.contains("waits for jobs/nightly (2.)"), "{text}");
        assert!(text.contains("leads boss"), "{text}");
    }
}

#[test]
fn what_recipes_put_there_is_recognized() {
    for server in Server::all() {
        let mut push = server.command(&["queue", "push", "img", "-", "--id", "17"]);
        let mut push = push
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        drop(push.stdin.take());
        assert!(push.wait().unwrap().success());
        let script = "echo started; while :; do sleep 0.05; done";
        let worker =
            Process::start(server.command(&["queue", "work", "img", "--", "sh", "-c", script]));
        worker.wait_for("started");
        let args = [
            "service",
            "register",
            "api",
            "--id",
            "n1",
            "--addr",
            "10.0.0.5:80",
            "--",
        ];
        let instance = [&args[..], &["sh", "-c", script]].concat();
        let instance = Process::start(server.command(&instance));
        instance.wait_for("started");

        let has = session_of(&server, &worker)["has"].clone();
        let claims = |it: &Value| it["role"] == "claims" && it["key"] == "img/claims/17";
        assert!(has.as_array().unwrap().iter().any(claims), "{has}");
        let has = &session_of(&server, &instance)["has"][0];
        assert_eq!(
            (&has["role"], &has["key"]),
            (&"serves".into(), &"api/n1".into())
        );

        let picture = &server.json(&["top", "--once"])[0];
        let queue = &picture["queues"][0];
        assert_eq!(
            (&queue["name"], &queue["items"]),
            (&"img".into(), &1.into())
        );
        assert_eq!(queue["claims"][0]["pid"], worker.child.id());
        let api = &picture["services"][0]["instances"][0];
        assert_eq!(
            (&api["address"], &api["status"]),
            (&"10.0.0.5:80".into(), &"up".into())
        );
        assert_eq!(
            picture["locks"],
            serde_json::json!([]),
            "a worker is no lock"
        );
        let said = server.say(&["why", "img"]);
        assert!(
            said.starts_with("queue img has a worker for every item"),
            "{said}"
        );
        assert!(said.contains(&format!(
            "17 is worked on by handfast (pid {}",
            worker.child.id()
        )));
    }
}

#[test]
fn a_killed_session_loses_its_lock_to_the_next_and_its_command_is_stopped() {
    for server in Server::all() {
        let script = "echo started; while :; do sleep 0.05; done";
        let mut first = Process::start(server.command(&["lock", "x", "--", "sh", "-c", script]));
        first.wait_for("started");
        let next = ["lock", "x", "--delay", "0", "--", "echo", "next"];
        let mut next = Process::start(server.command(&next));
        let host = session_of(&server, &first)["host"]
            .as_str()
            .unwrap()
            .to_owned();
        let which = format!("{host}:{}", first.child.id());
        let said = server.say(&["sessions", "kill", &which, "--why", "it hangs"]);
        assert!(said.contains("holds x") && said.contains(&host), "{said}");
        let told = first.wait_for("killed by").pop().unwrap();
        assert!(
            told.contains(&host) && told.ends_with(": it hangs"),
            "{told}"
        );
        assert_eq!(first.end(), Some(76));
        next.wait_for("next");
        assert_eq!(next.end(), Some(0));
    }
}

#[test]
fn a_session_can_be_killed_by_its_id_one_time() {
    let server = Server::handfast();
    let holder = Process::start(server.command(&["lock", "x"]));
    holder.wait_for("token");
    let id = session_of(&server, &holder)["lease"]
        .as_str()
        .unwrap()
        .to_owned();
    let killed = &server.json(&["sessions", "kill", &id])[0];
    assert_eq!(killed["had"], serde_json::json!(["holds x"]));
    let again = server.run(&["sessions", "kill", &id]);
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.err.contains("has ended already"), "{again:?}");
    let nobody = server.run(&["sessions", "kill", "no-such-host:1"]);
    assert_eq!(nobody.code, Some(1), "{nobody:?}");
    assert_eq!(server.run(&["sessions", "kill", "backup"]).code, Some(2));
}

#[test]
fn programs_that_leave_no_record_are_listed_on_demand() {
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
        assert_eq!(server.say(&["sessions"]), "no sessions\n");
        let sessions = &server.json(&["sessions", "--all"])[0];
        assert_eq!(sessions[0]["has"][0]["role"], "holds");
        assert_eq!(sessions[0]["host"], Value::Null);
        // A lease with nothing on it is listed, too.
        server.say(&["lease", "grant", "60s"]);
        let sessions = &server.json(&["sessions", "--all"])[0];
        assert_eq!(sessions.as_array().unwrap().len(), 2, "{sessions}");
    }
}

#[test]
fn nobody_there_is_exit_code_3() {
    let endpoint = format!("127.0.0.1:{}", support::free_port());
    for args in [&["sessions"][..], &["why", "x"], &["top", "--once"]] {
        let said =
            support::run(&[&["--endpoints", &endpoint, "--timeout", "300ms"], args].concat());
        assert_eq!(said.code, Some(3), "{args:?}: {said:?}");
    }
}
