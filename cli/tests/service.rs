//! `handfast service` as processes, against handfast and etcd.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{PATIENCE, Process, Server};

fn listed(server: &Server, name: &str) -> Vec<Value> {
    let all = server.json(&["service", "list", name]).remove(0);
    all.as_array().unwrap().clone()
}

/// Waits until the only instance is as asked.
fn until(server: &Server, name: &str, fits: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let listed = listed(server, name);
        if fits(&listed) {
            return listed;
        }
        assert!(Instant::now() < deadline, "{listed:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The next change that a `service watch --json` tells.
fn change(watch: &Process) -> (String, String) {
    let line = watch.wait_for("\"change\"").pop().unwrap();
    let told: Value = serde_json::from_str(&line).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&told["change"]), text(&told["instance"]["id"]))
}

fn told(change: &str, id: &str) -> (String, String) {
    (change.to_owned(), id.to_owned())
}

#[test]
fn an_instance_is_listed_for_as_long_as_its_command_runs() {
    for server in Server::all() {
        let watch = Process::start(server.command(&["--json", "service", "watch", "api"]));
        let script = "echo $HANDFAST_SERVICE $HANDFAST_INSTANCE $HANDFAST_ADDR; read x; exit 7";
        let mut command = server.command(&[
            "service",
            "register",
            "api",
            "--addr",
            ":80",
            "--id",
            "n1",
            "--weight",
            "3",
            "--meta",
            "team=blue",
            "--",
            "sh",
            "-c",
            script,
        ]);
        command.stdin(std::process::Stdio::piped());
        let mut instance = Process::start(command);
        instance.wait_for("api n1 127.0.0.1:80");
        assert_eq!(change(&watch), told("joined", "n1"));
        let one = &listed(&server, "api")[0];
        assert_eq!(
            (&one["addr"], &one["weight"]),
            (&json!("127.0.0.1:80"), &json!(3))
        );
        assert_eq!(one["metadata"], json!({ "team": "blue" }));
        assert!(
            server
                .say(&["service", "list", "api"])
                .contains("team=blue")
        );
        assert_eq!(server.say(&["service", "pick", "api"]), "127.0.0.1:80\n");

        drop(instance.child.stdin.take());
        assert_eq!(instance.end(), Some(7));
        assert_eq!(change(&watch), told("left", "n1"));
        assert!(listed(&server, "api").is_empty());
        let none = server.run(&["service", "pick", "api"]);
        assert_eq!(none.code, Some(1), "{none:?}");
        assert!(none.err.contains("no instance is registered"), "{none:?}");
    }
}

#[test]
fn an_id_is_taken_once_and_the_refusal_says_by_whom() {
    let server = Server::handfast();
    let args = ["service", "register", "api", "--addr", "h:80"];
    let mut first = Process::start(server.command(&args));
    first.wait_for("h:80 is listed for api at h:80");
    let said = server.run(&[&args[..], &["--", "true"]].concat());
    assert_eq!(said.code, Some(75), "{said:?}");
    let pid = format!("pid {}", first.child.id());
    assert!(said.err.contains(&pid), "{said:?}");
    // Its successor waits for it.
    let waiting = [&args[..], &["--wait", "30s"]].concat();
    let next = Process::start(server.command(&waiting));
    first.signal("TERM");
    assert_eq!(first.end(), Some(0));
    next.wait_for("h:80 is listed");
    let wrong = server.run(&[
        "service", "register", "api", "--addr", "nowhere", "--", "true",
    ]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    let missing = server.run(&[
        "service", "register", "api", "--addr", "h:1", "--", "/no/such",
    ]);
    assert_eq!(missing.code, Some(127), "{missing:?}");
    assert_eq!(listed(&server, "api").len(), 1);
}

#[test]
fn one_that_is_told_to_stop_drains_and_one_that_is_killed_died() {
    for server in Server::all() {
        let watch = Process::start(server.command(&["--json", "service", "watch", "api"]));
        let script = "trap 'echo stopping' TERM; echo started; \
                      while test ! -e \"$0\"; do sleep 0.05; done; exit 0";
        let dir = tempfile::tempdir().unwrap();
        let flag = dir.path().join("go").display().to_string();
        let of = |id: &str, flag: &str| {
            Process::start(server.command(&[
                "service", "register", "api", "--addr", "h:80", "--id", id, "--ttl", "2s", "--",
                "sh", "-c", script, flag,
            ]))
        };
        let mut polite = of("polite", &flag);
        polite.wait_for("started");
        assert_eq!(change(&watch), told("joined", "polite"));
        polite.signal("TERM");
        polite.wait_for("stopping");
        assert_eq!(change(&watch), told("updated", "polite"));
        assert_eq!(listed(&server, "api")[0]["status"], "draining");
        assert_eq!(server.run(&["service", "pick", "api"]).code, Some(1));
        std::fs::write(&flag, "").unwrap();
        assert_eq!(polite.end(), Some(0));
        assert_eq!(change(&watch), told("left", "polite"));

        let never = dir.path().join("never").display().to_string();
        let killed = of("killed", &never);
        killed.wait_for("started");
        assert_eq!(change(&watch), told("joined", "killed"));
        killed.signal("KILL");
        assert_eq!(change(&watch), told("died", "killed"));
    }
}

#[test]
fn an_instance_is_drained_from_outside_and_picks_follow() {
    let server = Server::handfast();
    let start = |id: &str| {
        let addr = format!("{id}:80");
        let args = ["service", "register", "api", "--id", id, "--addr", &addr];
        let process = Process::start(server.command(&args));
        process.wait_for("is listed");
        process
    };
    let (_one, _two) = (start("n1"), start("n2"));
    let picked = |key: &str| server.say(&["service", "pick", "api", "--hash", key]);
    let key = ["a", "b", "c", "d", "e", "f", "g", "h"]
        .into_iter()
        .find(|key| picked(key) == "n1:80\n")
        .unwrap();
    assert_eq!(picked(key), "n1:80\n");
    assert!(
        server
            .say(&["service", "drain", "api", "n1"])
            .contains("draining")
    );
    assert_eq!(picked(key), "n2:80\n");
    // Its own program keeps it so.
    until(&server, "api", |listed| listed[0]["status"] == "draining");
    server.say(&["service", "drain", "api", "n1", "--undo"]);
    assert_eq!(picked(key), "n1:80\n");
    let said = server.run(&["service", "drain", "api", "n3"]);
    assert_eq!(said.code, Some(1), "{said:?}");
}

#[test]
fn a_command_is_run_for_each_change() {
    let server = Server::handfast();
    let show = "echo saw $HANDFAST_CHANGE $HANDFAST_INSTANCE at $HANDFAST_ADDR $HANDFAST_STATUS";
    let watch = Process::start(server.command(&["service", "watch", "api", "--exec", show]));
    watch.wait_for("no instance of api is listed yet");
    let args = [
        "service", "register", "api", "--addr", "h:80", "--id", "n1", "--", "true",
    ];
    assert_eq!(server.run(&args).code, Some(0));
    watch.wait_for("saw joined n1 at h:80 up");
    watch.wait_for("saw left n1 at h:80");
    let waiting = Process::start(server.command(&["service", "pick", "api", "--wait", "30s"]));
    let _one = Process::start(server.command(&["service", "register", "api", "--addr", "z:1"]));
    waiting.wait_for("z:1");
}

#[test]
fn all_services_are_listed_with_how_many_serve() {
    for server in Server::all() {
        assert_eq!(server.say(&["service", "list"]), "no services\n");
        let instance = |op: &str| format!(r#"{{"Op":0,"Addr":"h:80","Metadata":{{{op}}}}}"#);
        server.say(&["put", "team/api/n1", &instance("")]);
        server.say(&["put", "team/api/n2", &instance(r#""status":"draining""#)]);
        server.say(&["put", "db/n1", &instance(r#""status":"warming""#)]);
        let all = &server.json(&["service", "list"])[0];
        let of = |name: &str, up: u32, warming: u32, draining: u32| {
            json!({ "service": name, "instances": up + warming + draining,
                    "up": up, "warming": warming, "draining": draining })
        };
        assert_eq!(all, &json!([of("db", 0, 1, 0), of("team/api", 1, 0, 1)]));
        let table = server.say(&["service", "list"]);
        let rows: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(rows[0][..2], ["SERVICE", "INSTANCES"]);
        assert_eq!(rows[2], ["team/api", "2", "1", "0", "1"]);
    }
}

#[test]
fn a_ttl_that_no_server_takes_is_refused_with_the_shortest_one() {
    let args = [
        "service", "register", "api", "--addr", "h:80", "--ttl", "0", "--", "true",
    ];
    let said = support::run(&args);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("at least 1s"), "{said:?}");
}
