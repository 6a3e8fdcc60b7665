//! The metrics page, read as Prometheus would read it, and what its figures say.

use std::collections::BTreeMap;

use handfast_proto::etcdserverpb::{DeleteRangeRequest, LeaseRevokeRequest};

use crate::clients::{get, http, put, soon, start, watch};

/// One family: its type and its samples, each with the name and labels as they are written.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    samples: BTreeMap<String, f64>,
}

/// Reads a page by the rules of the format, and fails where it breaks one.
fn parse(page: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    assert!(page.ends_with('\n'));
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(help.ends_with('.'), "{line}");
            assert!(!families.contains_key(name), "{name} comes twice");
            current = name.to_owned();
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, current, "the type stands below the help");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            let family = families.entry(current.clone()).or_default();
            kind.clone_into(&mut family.kind);
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap();
        let name = sample.split('{').next().unwrap();
        let family = families.get_mut(&current).unwrap();
        let base = match &*family.kind {
            "histogram" => ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix))
                .unwrap(),
            _ => name,
        };
        assert_eq!(base, current, "{line}");
        check_labels(&sample[name.len()..]);
        let value: f64 = value.parse().unwrap();
        let before = family.samples.insert(sample.to_owned(), value);
        assert_eq!(before, None, "{sample} comes twice");
    }
    families
}

fn check_labels(labels: &str) {
    if labels.is_empty() {
        return;
    }
    let inner = labels.strip_prefix('{').unwrap();
    let inner = inner.strip_suffix('}').unwrap();
    for pair in inner.split("\",") {
        let (name, value) = pair.split_once("=\"").unwrap();
        assert!(
            name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'),
            "{labels}"
        );
        assert!(!value.trim_end_matches('"').contains('"'), "{labels}");
    }
}

async fn page(endpoint: &str) -> BTreeMap<String, Family> {
    let reply = http(endpoint, "GET /metrics").await;
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    parse(body)
}

#[tokio::test]
async fn every_family_has_the_name_and_type_that_dashboards_ask_for() {
    let (server, clients) = start().await;
    clients.put("a", "1").await;
    let page = page(&server.endpoint()).await;
    let expected: [(&str, &[&str]); 3] = [
        (
            "gauge",
            &[
                "etcd_server_has_leader",
                "etcd_server_is_leader",
                "etcd_server_is_learner",
                "etcd_server_proposals_committed_total",
                "etcd_server_proposals_applied_total",
                "etcd_server_proposals_pending",
                "etcd_server_quota_backend_bytes",
                "etcd_server_version",
                "etcd_cluster_version",
                "etcd_server_id",
                "etcd_server_alarms",
                "etcd_server_healthcheck",
                "etcd_mvcc_db_total_size_in_bytes",
                "etcd_mvcc_db_total_size_in_use_in_bytes",
                "etcd_debugging_mvcc_keys_total",
                "etcd_debugging_mvcc_watcher_total",
                "etcd_debugging_mvcc_watch_stream_total",
                "etcd_debugging_mvcc_slow_watcher_total",
                "etcd_debugging_mvcc_current_revision",
                "etcd_debugging_mvcc_compact_revision",
                "process_resident_memory_bytes",
                "process_open_fds",
                "process_max_fds",
                "os_fd_used",
                "os_fd_limit",
                "handfast_raft_role",
                "handfast_raft_term",
                "handfast_raft_commit_index",
                "handfast_raft_applied_index",
                "handfast_raft_follower_lag_entries",
                "handfast_raft_follower_last_ack_seconds",
            ],
        ),
        (
            "counter",
            &[
                "etcd_server_leader_changes_seen_total",
                "etcd_server_proposals_failed_total",
                "etcd_server_slow_read_indexes_total",
                "etcd_server_read_indexes_failed_total",
                "etcd_server_heartbeat_send_failures_total",
                "etcd_server_health_success",
                "etcd_server_health_failures",
                "etcd_server_healthchecks_total",
                "etcd_mvcc_put_total",
                "etcd_mvcc_delete_total",
                "etcd_mvcc_txn_total",
                "etcd_mvcc_range_total",
                "etcd_debugging_mvcc_events_total",
                "etcd_debugging_lease_granted_total",
                "etcd_debugging_lease_revoked_total",
                "etcd_debugging_lease_renewed_total",
                "etcd_debugging_server_lease_expired_total",
                "etcd_network_client_grpc_received_bytes_total",
                "etcd_network_client_grpc_sent_bytes_total",
                "grpc_server_started_total",
                "grpc_server_handled_total",
                "process_cpu_seconds_total",
            ],
        ),
        (
            "histogram",
            &[
                "etcd_disk_wal_fsync_duration_seconds",
                "etcd_disk_backend_commit_duration_seconds",
            ],
        ),
    ];
    for (kind, names) in expected {
        for name in names {
            let family = page
                .get(*name)
                .unwrap_or_else(|| panic!("{name} is missing"));
            assert_eq!(family.kind, kind, "{name}");
        }
    }
}

#[tokio::test]
async fn the_figures_are_those_of_what_was_done() {
    let (server, clients) = start().await;
    clients.put("a", "1").await;
    clients.put("b", "2").await;
    clients.get("a").await;
    let delete = DeleteRangeRequest {
        key: "b".into(),
        ..DeleteRangeRequest::default()
    };
    soon(clients.kv.clone().delete_range(delete)).await.unwrap();
    let refused = soon(clients.kv.clone().put(put("", ""))).await;
    assert!(refused.is_err());
    soon(clients.kv.clone().range(get("a"))).await.unwrap();
    clients.grant(60, 7).await;
    let revoke = LeaseRevokeRequest { id: 7 };
    soon(clients.lease.clone().lease_revoke(revoke))
        .await
        .unwrap();
    let mut watching = clients.open_watch();
    watching.create(watch("a")).await;
    clients.put("a", "3").await;
    watching.events(1).await;
    http(&server.endpoint(), "GET /readyz").await;
    http(&server.endpoint(), "GET /health").await;

    let page = page(&server.endpoint()).await;
    let unary = |method: &str| {
        format!("grpc_method=\"{method}\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"}}")
    };
    let probe = "{name=\"linearizable_read\",status=\"success\",type=\"readyz\"}";
    let cases = [
        ("etcd_mvcc_put_total".to_owned(), 3.0),
        ("etcd_mvcc_delete_total".to_owned(), 1.0),
        ("etcd_mvcc_range_total".to_owned(), 2.0),
        ("etcd_debugging_mvcc_keys_total".to_owned(), 1.0),
        ("etcd_debugging_mvcc_current_revision".to_owned(), 5.0),
        ("etcd_debugging_mvcc_watcher_total".to_owned(), 1.0),
        ("etcd_debugging_mvcc_watch_stream_total".to_owned(), 1.0),
        ("etcd_debugging_mvcc_events_total".to_owned(), 1.0),
        ("etcd_debugging_lease_granted_total".to_owned(), 1.0),
        ("etcd_debugging_lease_revoked_total".to_owned(), 1.0),
        ("etcd_server_has_leader".to_owned(), 1.0),
        ("etcd_server_is_leader".to_owned(), 1.0),
        ("etcd_server_health_success".to_owned(), 1.0),
        (format!("etcd_server_healthchecks_total{probe}"), 1.0),
        ("handfast_raft_role{role=\"leader\"}".to_owned(), 1.0),
        ("handfast_raft_role{role=\"learner\"}".to_owned(), 0.0),
        (
            format!("etcd_server_id{{server_id=\"{:x}\"}}", server.member_id()),
            1.0,
        ),
        (format!("grpc_server_started_total{{{}", unary("Put")), 4.0),
        (
            format!(
                "grpc_server_handled_total{{grpc_code=\"OK\",{}",
                unary("Put")
            ),
            3.0,
        ),
        (
            format!(
                "grpc_server_handled_total{{grpc_code=\"InvalidArgument\",{}",
                unary("Put")
            ),
            1.0,
        ),
    ];
    for (sample, expected) in cases {
        let family = sample.split('{').next().unwrap();
        let found = page[family].samples.get(&sample);
        assert_eq!(found, Some(&expected), "{sample}");
    }
}

#[tokio::test]
async fn histograms_add_up_and_counters_only_grow() {
    let (server, clients) = start().await;
    clients.put("a", "1").await;
    let before = page(&server.endpoint()).await;
    for _ in 0..5 {
        clients.put("a", "2").await;
    }
    let after = page(&server.endpoint()).await;
    let name = "etcd_disk_wal_fsync_duration_seconds";
    let count = format!("{name}_count");
    let samples = &after[name].samples;
    assert!(samples[&count] >= before[name].samples[&count] + 5.0);
    assert_eq!(
        samples[&format!("{name}_bucket{{le=\"+Inf\"}}")],
        samples[&count]
    );
    let mut classes: Vec<(f64, f64)> = samples
        .iter()
        .filter_map(|(sample, count)| {
            let bound = sample.split("le=\"").nth(1)?.strip_suffix("\"}")?;
            Some((bound.parse().ok()?, *count))
        })
        .collect();
    classes.sort_by(|one, other| one.0.total_cmp(&other.0));
    assert_eq!(classes.len(), 15);
    assert!(
        classes.is_sorted_by(|one, other| one.1 <= other.1),
        "{classes:?}"
    );
    for (family, before) in before.iter().filter(|(_, family)| family.kind == "counter") {
        for (sample, value) in &before.samples {
            let now = after[family].samples[sample];
            assert!(now >= *value, "{sample} fell from {value} to {now}");
        }
    }
}
