//! The list of settings.
//!
//! Owns every setting's name, default, help line and effect on [`Config`]. It must not know where
//! a value came from.

use std::path::PathBuf;

use super::settings::{Effect, Group, Kind, Setting};
use super::values::{Problem, boolean, choice, duration, members, milliseconds, number, urls};
use super::{
    AutoCompaction, ClusterState, Config, LogFormat, LogLevel, LogOutput, QUOTA_DEFAULT_BYTES, Url,
};

const NO_TLS: &str = "TLS is not offered yet; put a TLS proxy or a private network in front";
const NO_DISCOVERY: &str = "discovery is not offered yet; name the members with --initial-cluster";
const NO_LOGIN: &str = "logins are not offered yet; limit who can reach the port instead";
const OWN_STORAGE: &str = "the storage engine is another one and tunes itself";
const NOT_MEASURED: &str = "nothing here needs it";

type Set = fn(&mut Config, &str) -> Result<(), Problem>;

const fn active(
    group: Group,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
    set: Set,
) -> Setting {
    Setting {
        name,
        kind,
        default,
        group,
        help,
        effect: Effect::Active(set),
    }
}

const fn ignored(name: &'static str, kind: Kind, why: &'static str) -> Setting {
    let group = Group::Accepted;
    Setting {
        name,
        kind,
        default: "",
        group,
        help: why,
        effect: Effect::Ignored(why),
    }
}

const fn refused(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    reason: &'static str,
) -> Setting {
    let group = Group::Security;
    Setting {
        name,
        kind,
        default,
        group,
        help: reason,
        effect: Effect::Refused(reason),
    }
}

pub(super) const TABLE: &[Setting] = &[
    active(
        Group::Basics,
        "listen",
        Kind::Text,
        "127.0.0.1:2379",
        "Where clients connect: PORT, :PORT (every address), HOST:PORT or a URL",
        |c, v| {
            c.listen_client_urls = vec![Url::parse_listen(v)?];
            Ok(())
        },
    ),
    active(
        Group::Basics,
        "data-dir",
        Kind::Path,
        "handfast.data",
        "Folder of everything the server keeps",
        |c, v| {
            c.data_dir = PathBuf::from(v);
            Ok(())
        },
    ),
    active(
        Group::Basics,
        "ephemeral",
        Kind::Switch,
        "false",
        "Keep the data in a temporary folder that is removed at the end",
        |c, v| {
            c.ephemeral = boolean(v)?;
            Ok(())
        },
    ),
    active(
        Group::Member,
        "name",
        Kind::Text,
        "default",
        "Name of this member",
        |c, v| {
            c.name = v.to_owned();
            Ok(())
        },
    ),
    active(
        Group::Member,
        "listen-client-urls",
        Kind::Urls,
        "http://127.0.0.1:2379",
        "Addresses for clients (needs --advertise-client-urls)",
        |c, v| {
            c.listen_client_urls = urls(v)?;
            Ok(())
        },
    ),
    active(
        Group::Member,
        "advertise-client-urls",
        Kind::Urls,
        "as listened on",
        "Addresses that clients are told",
        |c, v| {
            c.advertise_client_urls = urls(v)?;
            Ok(())
        },
    ),
    active(
        Group::Member,
        "listen-peer-urls",
        Kind::Urls,
        "http://localhost:2380",
        "Addresses for other members",
        |c, v| {
            c.listen_peer_urls = urls(v)?;
            Ok(())
        },
    ),
    active(
        Group::Member,
        "initial-advertise-peer-urls",
        Kind::Urls,
        "http://localhost:2380",
        "Addresses that other members are told",
        |c, v| {
            c.initial_advertise_peer_urls = urls(v)?;
            Ok(())
        },
    ),
    active(
        Group::Member,
        "initial-cluster",
        Kind::Text,
        "this member",
        "Members at the first start: n1=URL,n2=URL",
        |c, v| {
            c.initial_cluster = members(v)?;
            Ok(())
        },
    ),
    active(
        Group::Member,
        "initial-cluster-state",
        Kind::Text,
        "new",
        "new or existing",
        |c, v| {
            let states = [
                ("new", ClusterState::New),
                ("existing", ClusterState::Existing),
            ];
            c.initial_cluster_state = choice(v, &states)?;
            Ok(())
        },
    ),
    active(
        Group::Member,
        "initial-cluster-token",
        Kind::Text,
        "etcd-cluster",
        "Mixed into the cluster id",
        |c, v| {
            c.initial_cluster_token = v.to_owned();
            Ok(())
        },
    ),
    active(
        Group::Timing,
        "heartbeat-interval",
        Kind::Number,
        "100",
        "Milliseconds between two heartbeats of the leader",
        |c, v| {
            c.heartbeat_interval = milliseconds(v)?;
            Ok(())
        },
    ),
    active(
        Group::Timing,
        "election-timeout",
        Kind::Number,
        "1000",
        "Milliseconds without a heartbeat until an election",
        |c, v| {
            c.election_timeout = milliseconds(v)?;
            Ok(())
        },
    ),
    active(
        Group::Timing,
        "pre-vote",
        Kind::Switch,
        "true",
        "Ask for votes before raising the term",
        |c, v| {
            c.pre_vote = boolean(v)?;
            Ok(())
        },
    ),
    active(
        Group::Timing,
        "watch-progress-notify-interval",
        Kind::Duration,
        "10m",
        "Quiet time after which a watch hears where it stands",
        |c, v| {
            c.watch_progress_notify_interval = duration(v)?;
            Ok(())
        },
    ),
    active(
        Group::Timing,
        "grpc-keepalive-min-time",
        Kind::Duration,
        "5s",
        "Shortest time between two pings of a client",
        |c, v| {
            c.grpc_keepalive_min_time = duration(v)?;
            Ok(())
        },
    ),
    active(
        Group::Timing,
        "grpc-keepalive-interval",
        Kind::Duration,
        "2h",
        "Idle time after which a client is pinged",
        |c, v| {
            c.grpc_keepalive_interval = duration(v)?;
            Ok(())
        },
    ),
    active(
        Group::Timing,
        "grpc-keepalive-timeout",
        Kind::Duration,
        "20s",
        "Time a client has to answer a ping",
        |c, v| {
            c.grpc_keepalive_timeout = duration(v)?;
            Ok(())
        },
    ),
    active(
        Group::Limits,
        "max-request-bytes",
        Kind::Number,
        "1572864",
        "Largest request in bytes",
        |c, v| {
            c.max_request_bytes = number(v)?;
            Ok(())
        },
    ),
    active(
        Group::Limits,
        "max-txn-ops",
        Kind::Number,
        "128",
        "Most operations in a transaction",
        |c, v| {
            c.max_txn_ops = number(v)?;
            Ok(())
        },
    ),
    active(
        Group::Limits,
        "max-concurrent-streams",
        Kind::Number,
        "4294967295",
        "Most requests at once on a connection",
        |c, v| {
            c.max_concurrent_streams = number(v)?;
            Ok(())
        },
    ),
    active(
        Group::Limits,
        "quota-backend-bytes",
        Kind::Number,
        "0",
        "Most bytes of data; 0 is 2 GiB, negative is no limit",
        |c, v| {
            let bytes: i64 = number(v)?;
            c.quota_backend_bytes = match u64::try_from(bytes) {
                Ok(0) => Some(QUOTA_DEFAULT_BYTES),
                Ok(bytes) => Some(bytes),
                Err(_) => None,
            };
            Ok(())
        },
    ),
    active(
        Group::History,
        "auto-compaction-mode",
        Kind::Text,
        "periodic",
        "periodic (keep a time) or revision (keep a number)",
        // Meaning depends on the retention; `layers` puts the two together.
        |_, v| choice(v, &[("periodic", ()), ("revision", ())]),
    ),
    active(
        Group::History,
        "auto-compaction-retention",
        Kind::Text,
        "0",
        "History to keep: hours or 30m, or revisions; 0 keeps all",
        |c, v| {
            c.auto_compaction = periodic(v)?;
            Ok(())
        },
    ),
    active(
        Group::History,
        "compaction-batch-limit",
        Kind::Number,
        "1000",
        "Revisions removed per step of a compaction",
        |c, v| {
            c.compaction_batch_limit = number(v)?;
            Ok(())
        },
    ),
    active(
        Group::History,
        "compaction-sleep-interval",
        Kind::Duration,
        "10ms",
        "Pause between two steps of a compaction",
        |c, v| {
            c.compaction_sleep_interval = duration(v)?;
            Ok(())
        },
    ),
    active(
        Group::History,
        "snapshot-count",
        Kind::Number,
        "10000",
        "Log entries between two snapshots",
        |c, v| {
            c.snapshot_count = number(v)?;
            Ok(())
        },
    ),
    active(
        Group::History,
        "snapshot-catchup-entries",
        Kind::Number,
        "5000",
        "Log entries kept for followers behind",
        |c, v| {
            c.snapshot_catchup_entries = number(v)?;
            Ok(())
        },
    ),
    active(
        Group::History,
        "wal-dir",
        Kind::Path,
        "in the data folder",
        "Folder of the log, on another disk",
        |c, v| {
            c.wal_dir = (!v.is_empty()).then(|| PathBuf::from(v));
            Ok(())
        },
    ),
    active(
        Group::History,
        "unsafe-no-fsync",
        Kind::Switch,
        "false",
        "Do not flush to the disk (tests only)",
        |c, v| {
            c.sync = !boolean(v)?;
            Ok(())
        },
    ),
    active(
        Group::Logging,
        "log-level",
        Kind::Text,
        "info",
        "trace, debug, info, warn or error",
        |c, v| {
            let levels = [
                ("trace", LogLevel::Trace),
                ("debug", LogLevel::Debug),
                ("info", LogLevel::Info),
                ("warn", LogLevel::Warn),
                ("error", LogLevel::Error),
                ("dpanic", LogLevel::Error),
                ("panic", LogLevel::Error),
                ("fatal", LogLevel::Error),
            ];
            c.log_level = choice(v, &levels)?;
            Ok(())
        },
    ),
    active(
        Group::Logging,
        "log-format",
        Kind::Text,
        "text",
        "text or json",
        |c, v| {
            let formats = [
                ("text", LogFormat::Text),
                ("json", LogFormat::Json),
                ("console", LogFormat::Text),
            ];
            c.log_format = choice(v, &formats)?;
            Ok(())
        },
    ),
    active(
        Group::Logging,
        "log-outputs",
        Kind::Text,
        "stderr",
        "stderr or stdout",
        |c, v| {
            let outputs = [
                ("stderr", LogOutput::Stderr),
                ("stdout", LogOutput::Stdout),
                ("default", LogOutput::Stderr),
            ];
            c.log_output = choice(v, &outputs)?;
            Ok(())
        },
    ),
    active(
        Group::Logging,
        "warning-apply-duration",
        Kind::Duration,
        "100ms",
        "Log a request that applies slower",
        |c, v| {
            c.warning_apply_duration = duration(v)?;
            Ok(())
        },
    ),
    active(
        Group::Logging,
        "warning-unary-request-duration",
        Kind::Duration,
        "300ms",
        "Log a request that is slower in all",
        |c, v| {
            c.warning_unary_request_duration = duration(v)?;
            Ok(())
        },
    ),
    active(
        Group::Logging,
        "metrics",
        Kind::Text,
        "basic",
        "basic or extensive (adds latency histograms)",
        |c, v| {
            c.extensive_metrics = choice(v, &[("basic", false), ("extensive", true)])?;
            Ok(())
        },
    ),
    active(
        Group::Logging,
        "listen-metrics-urls",
        Kind::Urls,
        "",
        "Extra addresses for metrics and health only",
        |c, v| {
            c.listen_metrics_urls = urls(v)?;
            Ok(())
        },
    ),
    active(
        Group::Logging,
        "enable-grpc-gateway",
        Kind::Switch,
        "true",
        "Serve JSON under /v3/",
        |c, v| {
            c.enable_grpc_gateway = boolean(v)?;
            Ok(())
        },
    ),
    refused("cert-file", Kind::Path, "", NO_TLS),
    refused("key-file", Kind::Path, "", NO_TLS),
    refused("trusted-ca-file", Kind::Path, "", NO_TLS),
    refused("client-cert-auth", Kind::Switch, "false", NO_TLS),
    refused("client-crl-file", Kind::Path, "", NO_TLS),
    refused("client-cert-allowed-hostname", Kind::Text, "", NO_TLS),
    refused("auto-tls", Kind::Switch, "false", NO_TLS),
    refused("peer-cert-file", Kind::Path, "", NO_TLS),
    refused("peer-key-file", Kind::Path, "", NO_TLS),
    refused("peer-trusted-ca-file", Kind::Path, "", NO_TLS),
    refused("peer-client-cert-auth", Kind::Switch, "false", NO_TLS),
    refused("peer-crl-file", Kind::Path, "", NO_TLS),
    refused("peer-cert-allowed-cn", Kind::Text, "", NO_TLS),
    refused("peer-cert-allowed-hostname", Kind::Text, "", NO_TLS),
    refused("peer-auto-tls", Kind::Switch, "false", NO_TLS),
    refused("auth-token", Kind::Text, "simple", NO_LOGIN),
    refused("discovery", Kind::Text, "", NO_DISCOVERY),
    refused("discovery-token", Kind::Text, "", NO_DISCOVERY),
    refused("discovery-endpoints", Kind::Text, "", NO_DISCOVERY),
    refused("discovery-srv", Kind::Text, "", NO_DISCOVERY),
    refused("discovery-srv-name", Kind::Text, "", NO_DISCOVERY),
    refused(
        "listen-client-http-urls",
        Kind::Urls,
        "",
        "HTTP and gRPC share the client port; leave the flag out",
    ),
    refused(
        "force-new-cluster",
        Kind::Switch,
        "false",
        "there is no member to cut off: this version runs one member only",
    ),
    ignored(
        "strict-reconfig-check",
        Kind::Switch,
        "membership changes are always checked",
    ),
    ignored(
        "initial-election-tick-advance",
        Kind::Switch,
        "a single member elects itself at once",
    ),
    ignored("max-snapshots", Kind::Number, OWN_STORAGE),
    ignored("max-wals", Kind::Number, OWN_STORAGE),
    ignored("backend-batch-interval", Kind::Duration, OWN_STORAGE),
    ignored("backend-batch-limit", Kind::Number, OWN_STORAGE),
    ignored("backend-bbolt-freelist-type", Kind::Text, OWN_STORAGE),
    ignored(
        "bootstrap-defrag-threshold-megabytes",
        Kind::Number,
        OWN_STORAGE,
    ),
    ignored("memory-mlock", Kind::Switch, OWN_STORAGE),
    ignored(
        "max-learners",
        Kind::Number,
        "this version runs one member only",
    ),
    ignored("feature-gates", Kind::Text, "there are no feature gates"),
    ignored(
        "corrupt-check-time",
        Kind::Duration,
        "every record carries a checksum",
    ),
    ignored(
        "initial-corrupt-check",
        Kind::Switch,
        "every record carries a checksum",
    ),
    ignored(
        "compact-hash-check-enabled",
        Kind::Switch,
        "every record carries a checksum",
    ),
    ignored(
        "compact-hash-check-time",
        Kind::Duration,
        "every record carries a checksum",
    ),
    ignored(
        "peer-skip-client-san-verification",
        Kind::Switch,
        "there is no TLS",
    ),
    ignored("cipher-suites", Kind::Text, "there is no TLS"),
    ignored("tls-min-version", Kind::Text, "there is no TLS"),
    ignored("tls-max-version", Kind::Text, "there is no TLS"),
    ignored("self-signed-cert-validity", Kind::Number, "there is no TLS"),
    ignored("auth-token-ttl", Kind::Number, "there are no logins"),
    ignored("bcrypt-cost", Kind::Number, "there are no logins"),
    ignored("cors", Kind::Text, NOT_MEASURED),
    ignored("host-whitelist", Kind::Text, NOT_MEASURED),
    ignored("enable-pprof", Kind::Switch, "there is no Go profiler"),
    ignored("logger", Kind::Text, "there is one logger"),
    ignored(
        "enable-log-rotation",
        Kind::Switch,
        "the service manager keeps the log",
    ),
    ignored(
        "log-rotation-config-json",
        Kind::Text,
        "the service manager keeps the log",
    ),
    ignored("socket-reuse-port", Kind::Switch, NOT_MEASURED),
    ignored("socket-reuse-address", Kind::Switch, "it is always on"),
    ignored("raft-read-timeout", Kind::Duration, NOT_MEASURED),
    ignored("raft-write-timeout", Kind::Duration, NOT_MEASURED),
    ignored("downgrade-check-time", Kind::Duration, NOT_MEASURED),
    ignored(
        "enable-lease-checkpoint",
        Kind::Switch,
        "leases get their whole TTL anew",
    ),
    ignored(
        "enable-lease-checkpoint-persist",
        Kind::Switch,
        "leases get their whole TTL anew",
    ),
    ignored(
        "enable-distributed-tracing",
        Kind::Switch,
        "spans are not exported",
    ),
    ignored(
        "distributed-tracing-address",
        Kind::Text,
        "spans are not exported",
    ),
    ignored(
        "distributed-tracing-service-name",
        Kind::Text,
        "spans are not exported",
    ),
    ignored(
        "distributed-tracing-instance-id",
        Kind::Text,
        "spans are not exported",
    ),
    ignored(
        "distributed-tracing-sampling-rate",
        Kind::Number,
        "spans are not exported",
    ),
    ignored("enable-v2", Kind::Switch, "only API v3 is served"),
    ignored("v2-deprecation", Kind::Text, "only API v3 is served"),
    ignored("proxy", Kind::Text, "there is no proxy mode"),
];

/// A time to keep: a bare number is hours.
pub(super) fn periodic(text: &str) -> Result<AutoCompaction, Problem> {
    let keep = match text.parse::<u64>() {
        Ok(hours) => hours
            .checked_mul(3600)
            .map(std::time::Duration::from_secs)
            .ok_or_else(|| format!("`{text}` hours do not fit"))?,
        Err(_) => duration(text)?,
    };
    Ok(if keep.is_zero() {
        AutoCompaction::Off
    } else {
        AutoCompaction::Periodic(keep)
    })
}

/// A number of revisions to keep.
pub(super) fn by_revision(text: &str) -> Result<AutoCompaction, Problem> {
    let keep: u64 = number(text)?;
    Ok(if keep == 0 {
        AutoCompaction::Off
    } else {
        AutoCompaction::Revision(keep)
    })
}
