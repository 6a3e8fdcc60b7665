//! `/metrics`, the whole page: every family, with the place its figures come from.
//!
//! Owns the names. Those that begin with `etcd_`, `grpc_`, `os_` and `process_` are what existing
//! dashboards ask for, so they and their types are part of the contract; `handfast_` is our own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use handfast_consensus::{RaftStatus, Role};
use handfast_mvcc::StoreStats;
use handfast_storage::wal::{FSYNC_BUCKETS, FsyncStats};
use tonic::Code;

use crate::api::Node;
use crate::error;
use crate::limits::API_VERSION;
use crate::metrics::{CHECKS, Kind, Method, Page, report_process};

/// All metrics of a member, as Prometheus reads them.
pub(super) fn page(node: &Node) -> String {
    let (raft, store) = (node.consensus.status(), node.store.stats());
    let mut page = Page::default();
    identity(&mut page, node);
    standing(&mut page, node, &raft);
    proposals(&mut page, node, &raft);
    followers(&mut page, &raft);
    health(&mut page, node);
    disk(&mut page, node, &store);
    keys(&mut page, node, &store);
    watches(&mut page, node);
    leases(&mut page, node, &store);
    traffic(&mut page, node);
    node.metrics.calls.report(&mut page);
    report_process(&mut page);
    page.finish()
}

fn identity(page: &mut Page, node: &Node) {
    let id = format!("{:x}", node.member.id);
    let one = |page: &mut Page, name, help, label: (&str, &str)| {
        page.family(name, Kind::Gauge, help).sample(&[label], 1);
    };
    let help = "1 for the id of this member, in hexadecimal.";
    one(page, "etcd_server_id", help, ("server_id", &id));
    let help = "1 for the version of etcd whose contract this member fulfils.";
    let label = ("server_version", API_VERSION);
    one(page, "etcd_server_version", help, label);
    let minor = API_VERSION
        .rsplit_once('.')
        .map_or(API_VERSION, |(minor, _)| minor);
    let help = "1 for the version that all members of the cluster fulfil.";
    one(
        page,
        "etcd_cluster_version",
        help,
        ("cluster_version", minor),
    );
    let help = "1 for the version of this software.";
    let label = ("version", crate::SERVER_VERSION);
    one(page, "handfast_version", help, label);
    let help = "Bytes that the state file may have; 0 is no limit.";
    page.gauge(
        "etcd_server_quota_backend_bytes",
        help,
        node.settings.quota_bytes,
    );
    let mut alarms = page.family(
        "etcd_server_alarms",
        Kind::Gauge,
        "1 for each alarm that is raised, with the member it is about.",
    );
    for alarm in node.store.alarms() {
        let member = format!("{:x}", alarm.member_id);
        let kind = error::alarm_name(alarm.kind);
        alarms.sample(&[("alarm_type", kind), ("server_id", &member)], 1);
    }
}

fn standing(page: &mut Page, node: &Node, raft: &RaftStatus) {
    let flag = |page: &mut Page, name, help, value: bool| {
        page.gauge(name, help, u8::from(value));
    };
    let help = "Whether this member knows of a leader.";
    flag(page, "etcd_server_has_leader", help, raft.leader.is_some());
    let help = "Whether this member leads.";
    flag(page, "etcd_server_is_leader", help, raft.is_leader);
    let help = "Whether this member is a learner.";
    flag(page, "etcd_server_is_learner", help, node.is_learner());
    let help = "Times a new leader was seen.";
    let seen = node.consensus.counts().leader_changes_seen;
    page.counter("etcd_server_leader_changes_seen_total", help, seen);
    let help = "1 for what this member is in its cluster.";
    let mut role = page.family("handfast_raft_role", Kind::Gauge, help);
    let roles = [
        (Role::Leader, "leader"),
        (Role::Follower, "follower"),
        (Role::Candidate, "candidate"),
        (Role::Learner, "learner"),
    ];
    for (is, name) in roles {
        role.sample(&[("role", name)], u8::from(raft.role == is));
    }
    page.gauge("handfast_raft_term", "The current term.", raft.term);
}

fn proposals(page: &mut Page, node: &Node, raft: &RaftStatus) {
    let counts = node.consensus.counts();
    let help = "Log index up to which the log is committed.";
    page.gauge("handfast_raft_commit_index", help, raft.commit_index);
    // A gauge although it is called a total: so it has always been.
    page.gauge(
        "etcd_server_proposals_committed_total",
        help,
        raft.commit_index,
    );
    let help = "Log index up to which this member has applied the log.";
    page.gauge("handfast_raft_applied_index", help, raft.applied_index);
    page.gauge(
        "etcd_server_proposals_applied_total",
        help,
        raft.applied_index,
    );
    let help = "Proposals whose outcome somebody waits for.";
    page.gauge(
        "etcd_server_proposals_pending",
        help,
        node.consensus.pending_proposals(),
    );
    let help = "Proposals that no leader accepted in time.";
    page.counter(
        "etcd_server_proposals_failed_total",
        help,
        counts.proposals_failed,
    );
    let help = "Confirmations of reads that took longer than they should.";
    page.counter(
        "etcd_server_slow_read_indexes_total",
        help,
        counts.slow_read_indexes,
    );
    let help = "Confirmations of reads that failed.";
    page.counter(
        "etcd_server_read_indexes_failed_total",
        help,
        counts.read_indexes_failed,
    );
    let help = "Messages to other members that were not delivered.";
    page.counter(
        "etcd_server_heartbeat_send_failures_total",
        help,
        counts.send_failures,
    );
}

/// On a leader, how far the others are behind it.
fn followers(page: &mut Page, raft: &RaftStatus) {
    let ids = raft
        .followers
        .iter()
        .map(|follower| format!("{:x}", follower.id));
    let ids: Vec<String> = ids.collect();
    let help = "Log entries that a follower lacks, as the leader knows.";
    let mut lag = page.family("handfast_raft_follower_lag_entries", Kind::Gauge, help);
    for (follower, id) in raft.followers.iter().zip(&ids) {
        let matched = follower.matched_index.unwrap_or(0);
        lag.sample(
            &[("follower", id)],
            raft.last_log_index.saturating_sub(matched),
        );
    }
    let help = "Seconds since a follower last answered the leader.";
    let name = "handfast_raft_follower_last_ack_seconds";
    let mut last = page.family(name, Kind::Gauge, help);
    for (follower, id) in raft.followers.iter().zip(&ids) {
        if let Some(ago) = follower.last_ack {
            last.sample(&[("follower", id)], ago.as_secs_f64());
        }
    }
}

fn health(page: &mut Page, node: &Node) {
    let metrics = &node.metrics;
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let [good, bad] = &metrics.health;
    let help = "Times /health found the member healthy.";
    page.counter("etcd_server_health_success", help, read(good));
    let help = "Times /health found the member ill.";
    page.counter("etcd_server_health_failures", help, read(bad));
    let asked = |at: usize| read(&metrics.checks[at].good) + read(&metrics.checks[at].bad) > 0;
    let help = "Whether a check of a probe was good the last time it was made.";
    let mut last = page.family("etcd_server_healthcheck", Kind::Gauge, help);
    for (at, [probe, name]) in CHECKS.into_iter().enumerate().filter(|(at, _)| asked(*at)) {
        let labels = [("name", name), ("type", probe)];
        last.sample(&labels, read(&metrics.checks[at].is_good));
    }
    let help = "Checks of probes, by outcome.";
    let mut total = page.family("etcd_server_healthchecks_total", Kind::Counter, help);
    for (at, [probe, name]) in CHECKS.into_iter().enumerate().filter(|(at, _)| asked(*at)) {
        let count = &metrics.checks[at];
        for (status, counter) in [("success", &count.good), ("error", &count.bad)] {
            let labels = [("name", name), ("status", status), ("type", probe)];
            total.sample(&labels, read(counter));
        }
    }
}

fn disk(page: &mut Page, node: &Node, store: &StoreStats) {
    let help = "How long the log took to become durable.";
    let syncs = node.consensus.fsync_stats();
    durations(page, "etcd_disk_wal_fsync_duration_seconds", help, &syncs);
    let help = "The longest time the log took to become durable since the start.";
    let longest = syncs.max.as_secs_f64();
    page.gauge("handfast_disk_wal_fsync_max_seconds", help, longest);
    let help = "How long a write of the state file took.";
    let name = "etcd_disk_backend_commit_duration_seconds";
    durations(page, name, help, &store.commits);
    let help = "Bytes of the state file.";
    page.gauge("etcd_mvcc_db_total_size_in_bytes", help, store.db_size);
    let help = "Bytes of the state file that hold data.";
    page.gauge(
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        help,
        store.db_size_in_use,
    );
}

fn durations(page: &mut Page, name: &'static str, help: &str, stats: &FsyncStats) {
    let bounds = FSYNC_BUCKETS.iter().map(Duration::as_secs_f64);
    let classes: Vec<_> = bounds.zip(stats.buckets).collect();
    page.family(name, Kind::Histogram, help).histogram(
        &classes,
        stats.total.as_secs_f64(),
        stats.count,
    );
}

fn keys(page: &mut Page, node: &Node, store: &StoreStats) {
    let help = "Keys put, one by one, by transactions too.";
    page.counter("etcd_mvcc_put_total", help, store.done.puts);
    let help = "Keys deleted.";
    page.counter("etcd_mvcc_delete_total", help, store.done.deletes);
    let help = "Transactions that may write.";
    page.counter("etcd_mvcc_txn_total", help, store.done.txns);
    let help = "Ranges read at this member.";
    let ranges = node.metrics.calls.handled(Method::Range, Code::Ok);
    page.counter("etcd_mvcc_range_total", help, ranges);
    page.gauge(
        "etcd_debugging_mvcc_keys_total",
        "Keys that exist.",
        store.keys,
    );
    let help = "The newest revision.";
    page.gauge("etcd_debugging_mvcc_current_revision", help, store.revision);
    let help = "The revision of the last compaction, -1 when there was none.";
    page.gauge(
        "etcd_debugging_mvcc_compact_revision",
        help,
        store.compact_revision,
    );
    let help = "Bytes that were applied but are only in the log yet.";
    page.gauge("handfast_mvcc_unflushed_bytes", help, store.unflushed_bytes);
    let help = "Bytes of values in memory.";
    page.gauge("handfast_mvcc_cached_bytes", help, store.cached_bytes);
}

fn watches(page: &mut Page, node: &Node) {
    let watching = &node.metrics.watching;
    let help = "Watch streams that are open.";
    let streams = node.store.watch().streams();
    page.gauge("etcd_debugging_mvcc_watch_stream_total", help, streams);
    let help = "Watchers on these streams.";
    let watchers = watching.watchers.load(Ordering::Relaxed);
    page.gauge("etcd_debugging_mvcc_watcher_total", help, watchers);
    let help = "Watchers that still read history.";
    let slow = watching.catching_up.load(Ordering::Relaxed);
    page.gauge("etcd_debugging_mvcc_slow_watcher_total", help, slow);
    let help = "Events sent to watchers.";
    let events = watching.events.load(Ordering::Relaxed);
    page.counter("etcd_debugging_mvcc_events_total", help, events);
}

fn traffic(page: &mut Page, node: &Node) {
    let metrics = &node.metrics;
    let help = "Bytes received from clients.";
    let received = metrics.client_traffic.received();
    page.counter(
        "etcd_network_client_grpc_received_bytes_total",
        help,
        received,
    );
    let help = "Bytes sent to clients.";
    let sent = metrics.client_traffic.sent();
    page.counter("etcd_network_client_grpc_sent_bytes_total", help, sent);
    let help = "Bytes received over connections that other members opened.";
    let received = metrics.member_traffic.received();
    page.counter(
        "handfast_network_member_received_bytes_total",
        help,
        received,
    );
    let help = "Bytes sent over connections that other members opened.";
    let sent = metrics.member_traffic.sent();
    page.counter("handfast_network_member_sent_bytes_total", help, sent);
}

fn leases(page: &mut Page, node: &Node, store: &StoreStats) {
    let help = "Leases granted.";
    page.counter(
        "etcd_debugging_lease_granted_total",
        help,
        store.done.leases_granted,
    );
    let help = "Leases gone, because they were revoked or ran out.";
    page.counter(
        "etcd_debugging_lease_revoked_total",
        help,
        store.done.leases_revoked,
    );
    let help = "Renewals granted by this member as the leader.";
    page.counter(
        "etcd_debugging_lease_renewed_total",
        help,
        node.store.leases().renewed(),
    );
    let help = "Leases that ran out.";
    page.counter(
        "etcd_debugging_server_lease_expired_total",
        help,
        store.done.leases_expired,
    );
    let help = "Leases that exist.";
    page.gauge("handfast_leases", help, node.store.leases().len());
}
