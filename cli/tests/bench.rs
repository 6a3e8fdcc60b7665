//! `handfast bench` as a process: every workload runs, counts and cleans up.

#![allow(clippy::unwrap_used)]

mod support;

use support::Server;
use support::cluster::{Cluster, Program};

/// Every workload, and how many operations a round of the small options has at least.
const WORKLOADS: [(&str, u64); 19] = [
    ("put", 60),
    ("get", 60),
    ("range", 60),
    ("txn", 60),
    ("watch", 60),
    ("watch-fresh", 60),
    ("lease-grant", 60),
    ("lease-keepalive", 60),
    ("lease-revoke", 60),
    ("lease-paced", 60),
    // One for each lease.
    ("lease-storm", 30),
    ("lock", 60),
    ("handoff", 60),
    ("handoff-recipe", 60),
    ("handoff-go", 60),
    // One for each election that is held at a time.
    ("election", 8),
    ("election-recipe", 8),
    ("queue", 60),
    ("queue-go", 60),
];

/// Options that keep a round small.
const SMALL: [&str; 14] = [
    "--warmup=0",
    "--ops=60",
    "--keys=50",
    "--watchers=20",
    "--leases=100",
    "--paced-leases=2000",
    "--storm-leases=30",
    "--candidates=3",
    "--waiters=3",
    "--depth=30",
    "--queue-workers=3",
    "--inflight=8",
    "--connections=2",
    "--value-size=32",
];

#[test]
fn every_workload_is_measured_on_every_server() {
    for server in Server::all() {
        let results = server.json(&[&["bench"], &SMALL[..]].concat());
        let names: Vec<&str> = results
            .iter()
            .map(|result| result["workload"].as_str().unwrap())
            .collect();
        assert_eq!(names, WORKLOADS.map(|(name, _)| name));
        for (result, (_, ops)) in results.iter().zip(WORKLOADS) {
            let measured = &result["servers"][0];
            let round = &measured["rounds"][0];
            assert!(round["ops"].as_u64().unwrap() >= ops, "{result}");
            assert!(
                measured["median"]["p50_us"].as_f64().unwrap() > 0.0,
                "{result}"
            );
            // The server runs here, so its process is found by its port.
            assert_eq!(measured["pid"], server.process.child.id(), "{result}");
            assert!(
                measured["median"]["server_cpu_us_per_op"].is_f64(),
                "{result}"
            );
        }
        assert_eq!(server.say(&["get", "--prefix", "--count-only"]), "0\n");
        server.wait_for_no_lease();
    }
}

#[test]
fn two_servers_take_turns_and_are_compared() {
    let (first, second) = (Server::handfast(), Server::handfast());
    let vs = ["bench", "put", "--rounds=3", "--vs", &second.endpoint];
    let result = &first.json(&[&vs[..], &SMALL[..]].concat())[0];
    assert_eq!(result["servers"][1]["endpoint"], second.endpoint);
    assert_eq!(result["servers"][1]["rounds"].as_array().unwrap().len(), 3);
    assert!(result["first_to_second"]["ops_per_s"].as_f64().unwrap() > 0.0);
    let text = first.say(&[&vs[..], &SMALL[..]].concat());
    assert!(
        text.contains("CPU µs/op") && text.contains("first / second"),
        "{text}"
    );
}

#[test]
fn a_cluster_is_measured_as_one() {
    let cluster = Cluster::of_three(Program::Handfast);
    let other = Server::handfast();
    let vs = ["bench", "put", "get", "--rounds=1", "--vs", &other.endpoint];
    let args = [&["--json"], &vs[..], &SMALL[..]].concat();
    let said = cluster.say(&args);
    let result: serde_json::Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    let measured = &result["servers"][0];
    assert_eq!(measured["endpoint"], cluster.endpoints());
    let mut pids: Vec<u32> = cluster
        .members
        .iter()
        .map(|member| member.process.as_ref().unwrap().child.id())
        .collect();
    pids.sort_unstable();
    assert_eq!(measured["pids"], serde_json::json!(pids));
    assert!(measured["median"]["server_cpu_us_per_op"].as_f64().unwrap() > 0.0);
    assert_eq!(result["servers"][1]["pids"][0], other.process.child.id());
    let heading = cluster.say(&[&vs[..], &SMALL[..]].concat());
    assert!(
        heading.contains("added up") && heading.contains(" +2 "),
        "{heading}"
    );
}

#[test]
fn workers_of_a_queue_may_push_while_they_take() {
    let server = Server::handfast();
    let both = ["bench", "queue", "queue-go", "--queue-at-once"];
    for result in server.json(&[&both[..], &SMALL[..]].concat()) {
        let ops = &result["servers"][0]["rounds"][0]["ops"];
        assert!(ops.as_u64().unwrap() >= 60, "{result}");
    }
}

#[test]
fn nothing_left_to_revoke_ends_the_round_with_all_of_them_counted() {
    let server = Server::handfast();
    // A warm-up would use them up.
    let args = ["bench", "lease-revoke", "--leases=40", "--warmup=5s"];
    let result = &server.json(&args)[0];
    assert_eq!(result["servers"][0]["rounds"][0]["ops"], 40, "{result}");
}

#[test]
fn registered_instances_are_back_after_a_kill_and_a_pause() {
    let small = ["--registrants=12", "--sessions=4", "--ttl=2s", "--away=2"];
    let said = support::run(&[&["--json", "bench", "registry"], &small[..]].concat());
    assert_eq!(said.code, Some(0), "{said:?}");
    let result: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let figures = result["figures"].as_array().unwrap();
    let figure = |name: &str| {
        let found = figures.iter().find(|figure| figure["figure"] == name);
        found.and_then(|figure| figure["medians"][0].as_f64())
    };
    for how in ["killed", "paused"] {
        let listed = figure(&format!("{how}: all listed again"));
        assert!(listed.is_some_and(|listed| listed > 0.0), "{result}");
        let least = figure(&format!("{how}: smallest list served"));
        assert!(least.is_some_and(|least| least > 0.0), "{result}");
        let lost = figure(&format!("{how}: leases lost"));
        assert!(lost.is_some_and(|lost| lost > 0.0), "{result}");
    }
}

#[test]
fn many_keys_survive_restarts_and_a_kill() {
    let small = ["--keys=2000", "--rounds=1", "--restarts=1"];
    let said = support::run(&[&["--json", "bench", "million"], &small[..]].concat());
    assert_eq!(said.code, Some(0), "{said:?}");
    let result: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(result["keys"], 2000);
    let figures = result["figures"].as_array().unwrap();
    for name in [
        "load: CPU",
        "RSS after the load",
        "restart to the first linearizable read",
        "restart after kill -9 to the first read",
        "beside a compaction: longest",
        "size on disk at the end",
    ] {
        let figure = figures.iter().find(|figure| figure["figure"] == name);
        let median = figure.and_then(|figure| figure["medians"][0].as_f64());
        assert!(
            median.is_some_and(|median| median > 0.0),
            "{name}: {result}"
        );
    }
}
