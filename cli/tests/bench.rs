//! `handfast bench` as a process: every workload runs, counts and cleans up.

#![allow(clippy::unwrap_used)]

mod support;

use support::Server;

const WORKLOADS: [&str; 10] = [
    "put",
    "get",
    "range",
    "txn",
    "watch",
    "lease-grant",
    "lease-keepalive",
    "lease-revoke",
    "lock",
    "handoff",
];

/// Options that keep a round small.
const SMALL: [&str; 9] = [
    "--warmup=0",
    "--ops=60",
    "--keys=50",
    "--watchers=20",
    "--leases=100",
    "--waiters=3",
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
        assert_eq!(names, WORKLOADS);
        for result in &results {
            let measured = &result["servers"][0];
            let round = &measured["rounds"][0];
            assert!(round["ops"].as_u64().unwrap() >= 60, "{result}");
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
        assert_eq!(server.say(&["lease", "list"]), "found 0 leases\n");
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
