//! The Go client, through `etcdctl` when it is installed.

use std::process::Output;

use handfast_server::Server;
use tokio::process::Command;

use crate::clients::{soon, start};

/// Runs `etcdctl` against the server; `None` when there is none.
async fn run(server: &Server, arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new("etcdctl");
    command
        .env("ETCDCTL_API", "3")
        .arg("--endpoints")
        .arg(server.endpoint())
        .args(arguments);
    match soon(command.output()).await {
        Ok(output) => Some(output),
        Err(_) => {
            eprintln!("skipped: there is no etcdctl on this machine");
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_go_client_gets_along_with_the_server() {
    let (server, _clients) = start().await;
    let cases: &[(&[&str], &str)] = &[
        (&["put", "a", "1"], "OK\n"),
        (&["get", "a"], "a\n1\n"),
        (&["put", "a", "2", "--prev-kv"], "OK\na\n1\n"),
        (&["get", "a", "--rev", "2", "--print-value-only"], "1\n"),
        (&["get", "", "--prefix", "--keys-only"], "a\n\n"),
        (&["del", "a", "--prev-kv"], "1\na\n2\n"),
        (&["get", "a"], ""),
        (&["lease", "list"], "found 0 leases\n"),
        (&["compaction", "3"], "compacted revision 3\n"),
        (&["alarm", "list"], ""),
    ];
    for (arguments, expected) in cases {
        let Some(output) = run(&server, arguments).await else {
            return;
        };
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            *expected,
            "{arguments:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_go_client_finds_the_server_healthy_and_takes_a_lock() {
    let (server, _clients) = start().await;
    let id = format!("{:x}", server.member_id());
    let cases: &[(&[&str], &str)] = &[
        (&["endpoint", "health"], "is healthy"),
        (&["endpoint", "status"], &id),
        (&["endpoint", "status", "-w", "table"], "3.6.0"),
        (&["member", "list"], &id),
        (&["lease", "grant", "60"], "granted with TTL(60s)"),
        (&["lease", "list"], "found 1 leases"),
        (&["lock", "m", "--", "echo", "held"], "held"),
    ];
    for (arguments, expected) in cases {
        let Some(output) = run(&server, arguments).await else {
            return;
        };
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(
            output.status.success() && said.contains(expected),
            "{arguments:?}: {said}"
        );
    }
}
