//! The client commands as processes, against handfast and against etcd.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write;
use std::process::{Command, Stdio};

use support::{Process, Said, Server, free_port, run};

/// Runs a client command that must work, with this text as its standard input.
fn say_with(server: &Server, args: &[&str], input: &str) -> Said {
    let mut command = server.command(args);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap().into()
}

#[test]
fn keys_are_written_read_and_deleted() {
    for server in Server::all() {
        assert_eq!(server.say(&["put", "a/1", "one"]), "OK\n");
        assert_eq!(server.say(&["put", "a/2", "-2"]), "OK\n");
        assert_eq!(server.say(&["put", "b", "bee"]), "OK\n");
        assert_eq!(server.say(&["get", "a/1"]), "a/1\none\n");
        assert_eq!(server.say(&["get", "missing"]), "");
        assert_eq!(
            server.say(&["get", "a/", "--prefix"]),
            "a/1\none\na/2\n-2\n"
        );
        assert_eq!(
            server.say(&["get", "a/2", "--from-key"]),
            "a/2\n-2\nb\nbee\n"
        );
        assert_eq!(server.say(&["get", "a/", "b", "--keys-only"]), "a/1\na/2\n");
        assert_eq!(server.say(&["get", "--prefix", "--count-only"]), "3\n");
        let newest = [
            "get",
            "--prefix",
            "--sort-by",
            "modify",
            "--order",
            "DESCEND",
            "--limit=1",
        ];
        assert_eq!(
            server.say(&[&newest[..], &["--print-value-only"]].concat()),
            "bee\n"
        );
        assert_eq!(
            server.say(&["put", "b", "wasp", "--prev-kv"]),
            "OK\nb\nbee\n"
        );
        assert_eq!(
            server.say(&["del", "a/", "--prefix", "--prev-kv"]),
            "2\na/1\none\na/2\n-2\n"
        );
        assert_eq!(server.say(&["del", "a/1"]), "0\n");
    }
}

#[test]
fn old_revisions_are_read_until_they_are_compacted() {
    for server in Server::all() {
        let first = server.json(&["put", "k", "old"])[0]["revision"]
            .as_i64()
            .unwrap();
        let second = server.json(&["put", "k", "new"])[0]["revision"]
            .as_i64()
            .unwrap();
        assert_eq!(
            server.say(&["get", "k", "--rev", &first.to_string()]),
            "k\nold\n"
        );
        let text = format!("compacted revision {second}\n");
        assert_eq!(server.say(&["compact", &second.to_string()]), text);
        let said = server.run(&["get", "k", "--rev", &first.to_string()]);
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.err.contains("compacted"), "{said:?}");
    }
}

#[test]
fn json_tells_text_from_other_bytes() {
    for server in Server::all() {
        server.say(&["put", "k", "text"]);
        let answer = &server.json(&["get", "k"])[0];
        assert_eq!(answer["count"], 1);
        assert_eq!(answer["kvs"][0]["key"], "k");
        assert_eq!(answer["kvs"][0]["value"], "text");
        assert_eq!(answer["kvs"][0]["version"], 1);
        let mut put = server.command(&["put", "k"]);
        let mut put = put
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        put.stdin.take().unwrap().write_all(b"\xff\x00").unwrap();
        assert!(put.wait().unwrap().success());
        assert_eq!(
            server.json(&["get", "k"])[0]["kvs"][0]["value_base64"],
            "/wA="
        );
    }
}

#[test]
fn transactions_come_from_flags_or_standard_input() {
    for server in Server::all() {
        let once = [
            "txn",
            "--when",
            "create(job) = 0",
            "--then",
            "put job mine",
            "--else",
            "get job",
        ];
        assert_eq!(server.say(&once), "SUCCESS\n\nOK\n");
        assert_eq!(server.say(&once), "FAILURE\n\njob\nmine\n");
        let text = "value(\"job\") = \"mine\"\n\nput \"job\" \"done it\"\nget job\n\n\n";
        let said = say_with(&server, &["txn"], text);
        assert_eq!(said.out, "SUCCESS\n\nOK\n\njob\ndone it\n", "{said:?}");
        let answer = &server.json(&["txn", "--then", "del job"])[0];
        assert_eq!(answer["succeeded"], true);
        assert_eq!(answer["responses"][0]["del"]["deleted"], 1);
        assert_eq!(
            server
                .run(&["txn", "--when", "job = 1", "--then", "get job"])
                .code,
            Some(2)
        );
    }
}

#[test]
fn leases_are_granted_renewed_and_revoked() {
    for server in Server::all() {
        let lease = server.json(&["lease", "grant", "60"])[0].clone();
        let id = lease["id"].as_str().unwrap();
        assert_eq!(lease["ttl"], 60);
        assert_eq!(server.say(&["put", "leased", "v", "--lease", id]), "OK\n");
        let renewed = server.say(&["lease", "keep-alive", id, "--once"]);
        assert_eq!(renewed, format!("lease {id} keepalived with TTL(60)\n"));
        let left = &server.json(&["lease", "ttl", id, "--keys"])[0];
        assert_eq!(
            (&left["granted_ttl"], &left["keys"][0]),
            (&60.into(), &"leased".into())
        );
        assert!(server.say(&["lease", "list"]).contains(id));
        assert_eq!(
            server.say(&["lease", "revoke", id]),
            format!("lease {id} revoked\n")
        );
        assert_eq!(server.say(&["get", "leased"]), "");
        assert_eq!(
            server.say(&["lease", "ttl", id]),
            format!("lease {id} already expired\n")
        );
        assert_eq!(server.run(&["lease", "revoke", id]).code, Some(1));
    }
}

#[test]
fn changes_are_followed_and_commands_run_for_them() {
    for server in Server::all() {
        let first = server.json(&["put", "w/1", "one"])[0]["revision"].to_string();
        let args = ["watch", "w/", "--prefix", "--rev", &first, "--", "sh", "-c"];
        let script = r#"echo "ran $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY=$ETCD_WATCH_VALUE""#;
        let mut command = server.command(&args);
        command.arg(script);
        let watch = Process::start(command);
        let lines = watch.wait_for("ran PUT w/1=one");
        assert_eq!(lines[..3], ["PUT", "w/1", "one"]);
        server.say(&["del", "w/1"]);
        watch.wait_for("ran DELETE w/1=");

        let json = Process::start(server.command(&["--json", "watch", "w/1", "--rev", &first]));
        let lines = json.wait_for("DELETE");
        let events: Vec<serde_json::Value> = lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(events[0]["type"], "PUT");
        assert_eq!(events[0]["value"], "one");
        assert_eq!(events[1]["key"], "w/1");
    }
}

#[test]
fn status_and_members_describe_the_server() {
    for server in Server::all() {
        let text = server.say(&["status"]);
        assert!(
            text.contains(&server.endpoint) && text.contains("healthy"),
            "{text}"
        );
        let status = &server.json(&["status"])[0][0];
        assert_eq!(
            (&status["healthy"], &status["role"]),
            (&true.into(), &"leader".into())
        );
        let members = &server.json(&["members"])[0];
        assert_eq!(members.as_array().unwrap().len(), 1);
        assert_eq!(members[0]["id"], status["member_id"]);
        assert!(server.say(&["members"]).contains("started"));
    }
}

#[test]
fn nobody_there_is_exit_code_3_and_names_the_address() {
    let endpoint = format!("127.0.0.1:{}", free_port());
    for args in [
        &["get", "k"][..],
        &["put", "k", "v"],
        &["watch", "k"],
        &["status"],
        &["members"],
    ] {
        let said = run(&[&["--endpoints", &endpoint, "--timeout", "300ms"], args].concat());
        assert_eq!(said.code, Some(3), "{args:?}: {said:?}");
        assert!(said.err.contains(&endpoint), "{args:?}: {said:?}");
    }
}

#[test]
fn wrong_command_lines_are_exit_code_2() {
    for args in [
        &["get"][..],
        &["get", ""],
        &["put"],
        &["lease", "revoke", "xyz"],
        &["nonsense"],
    ] {
        let said = run(args);
        assert_eq!(said.code, Some(2), "{args:?}: {said:?}");
        assert!(!said.err.is_empty());
    }
}

#[test]
fn endpoints_come_from_variables() {
    let server = Server::handfast();
    for variable in ["HANDFAST_ENDPOINTS", "ETCDCTL_ENDPOINTS"] {
        let mut command = support::handfast(&["put", "k", "v"]);
        let said: Said = command
            .env(variable, &server.endpoint)
            .output()
            .unwrap()
            .into();
        assert_eq!(said.out, "OK\n", "{said:?}");
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let server = Server::handfast();
    let value = "x".repeat(100_000);
    for number in 0..10 {
        server.say(&["put", &format!("big/{number}"), &value]);
    }
    let script =
        "\"$0\" --endpoints $1 get big/ --prefix | head -c 10; echo; echo ${PIPESTATUS[0]}";
    let output = Command::new("bash")
        .args(["-c", script, support::HANDFAST, &server.endpoint])
        .output()
        .unwrap();
    let said = Said::from(output);
    assert_eq!(
        (said.out.lines().last(), &*said.err),
        (Some("0"), ""),
        "{said:?}"
    );
}
