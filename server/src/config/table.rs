//! The settings that do something.
//!
//! Owns their names, defaults, help lines and effects on [`Config`]. It must not know where a
//! value came from.

use std::path::PathBuf;

use super::setting::{Effect, Group, Kind, Setting};
use super::values::{
    Problem, boolean, choice, duration, join_addresses, list, members, milliseconds, number, urls,
};
use super::{
    Config, InitialClusterState, LogFormat, LogLevel, LogOutput, QUOTA_DEFAULT_BYTES, Url,
};

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

/// Stores what the parser makes of the text in a field.
macro_rules! set {
    ($field:ident, $parse:expr) => {
        |config: &mut Config, text: &str| {
            config.$field = $parse(text)?;
            Ok(())
        }
    };
}

pub(super) const ACTIVE: &[Setting] = &[
    active(
        Group::Basics,
        "listen",
        Kind::Text,
        "127.0.0.1:2379",
        "Where clients connect: PORT, :PORT (every address), HOST:PORT or a URL",
        set!(listen_client_urls, one_listener),
    ),
    active(
        Group::Basics,
        "data-dir",
        Kind::Path,
        "handfast.data",
        "Folder of everything the server keeps",
        set!(data_dir, path),
    ),
    active(
        Group::Basics,
        "ephemeral",
        Kind::Switch,
        "false",
        "Keep the data in a temporary folder that is removed at the end",
        set!(ephemeral, boolean),
    ),
    active(
        Group::Basics,
        "join",
        Kind::Text,
        "",
        "Join a cluster through the peer address of any member: HOST:PORT[,HOST:PORT]",
        // Only checked here: it is put together with the token when all settings are read.
        |_, text| join_addresses(text).map(drop),
    ),
    active(
        Group::Basics,
        "join-token",
        Kind::Text,
        "",
        "What `handfast cluster token` prints, or @FILE; others can read flags, so better \
         HANDFAST_JOIN_TOKEN",
        |_, _| Ok(()),
    ),
    active(
        Group::Member,
        "name",
        Kind::Text,
        "default",
        "Name of this member",
        set!(name, text),
    ),
    active(
        Group::Member,
        "listen-client-urls",
        Kind::Urls,
        "http://127.0.0.1:2379",
        "Addresses for clients (needs --advertise-client-urls)",
        set!(listen_client_urls, urls),
    ),
    active(
        Group::Member,
        "advertise-client-urls",
        Kind::Urls,
        "as listened on",
        "Addresses that clients are told",
        set!(advertise_client_urls, urls),
    ),
    active(
        Group::Member,
        "listen-peer-urls",
        Kind::Urls,
        "http://localhost:2380",
        "Addresses for other members: URLs, PORT, :PORT or HOST:PORT",
        set!(listen_peer_urls, listeners),
    ),
    active(
        Group::Member,
        "initial-advertise-peer-urls",
        Kind::Urls,
        "as in --initial-cluster, or as listened on",
        "Addresses that other members are told",
        set!(initial_advertise_peer_urls, urls),
    ),
    active(
        Group::Member,
        "initial-cluster",
        Kind::Text,
        "this member",
        "Members at the first start: n1=URL,n2=URL",
        set!(initial_cluster, members),
    ),
    active(
        Group::Member,
        "initial-cluster-state",
        Kind::Text,
        "new",
        "new, or existing when the others run already",
        set!(initial_cluster_state, cluster_state),
    ),
    active(
        Group::Member,
        "initial-cluster-token",
        Kind::Text,
        "etcd-cluster",
        "Tells clusters with the same addresses apart",
        set!(initial_cluster_token, text),
    ),
    active(
        Group::Member,
        "strict-reconfig-check",
        Kind::Switch,
        "true",
        "Refuse membership changes that could cost the majority",
        set!(strict_reconfig_check, boolean),
    ),
    active(
        Group::Member,
        "max-learners",
        Kind::Number,
        "1",
        "Most members at once that do not vote yet",
        set!(max_learners, number),
    ),
    active(
        Group::Member,
        "read-from-leader-lease",
        Kind::Switch,
        "false",
        "Answer reads on the leader's lease; needs even clocks",
        set!(lease_read, boolean),
    ),
    active(
        Group::Timing,
        "heartbeat-interval",
        Kind::Number,
        "100",
        "Milliseconds between two heartbeats of the leader",
        set!(heartbeat_interval, milliseconds),
    ),
    active(
        Group::Timing,
        "election-timeout",
        Kind::Number,
        "1000",
        "Milliseconds without a heartbeat until an election",
        set!(election_timeout, milliseconds),
    ),
    active(
        Group::Timing,
        "watch-progress-notify-interval",
        Kind::Duration,
        "10m",
        "Quiet time after which a watch hears where it stands",
        set!(watch_progress_notify_interval, duration),
    ),
    active(
        Group::Timing,
        "grpc-keepalive-interval",
        Kind::Duration,
        "2h",
        "Idle time after which a client is pinged",
        set!(grpc_keepalive_interval, duration),
    ),
    active(
        Group::Timing,
        "grpc-keepalive-timeout",
        Kind::Duration,
        "20s",
        "Time a client has to answer a ping",
        set!(grpc_keepalive_timeout, duration),
    ),
    active(
        Group::Limits,
        "max-request-bytes",
        Kind::Number,
        "1572864",
        "Largest request in bytes",
        set!(max_request_bytes, number),
    ),
    active(
        Group::Limits,
        "max-txn-ops",
        Kind::Number,
        "128",
        "Most operations in a transaction",
        set!(max_txn_ops, number),
    ),
    active(
        Group::Limits,
        "max-concurrent-streams",
        Kind::Number,
        "4294967295",
        "Most requests at once on a connection",
        set!(max_concurrent_streams, number),
    ),
    active(
        Group::Limits,
        "quota-backend-bytes",
        Kind::Number,
        "0",
        "Most bytes of data, as status reports it; 0 is 2 GiB, negative none",
        set!(quota_backend_bytes, quota),
    ),
    active(
        Group::History,
        "compaction-sleep-interval",
        Kind::Duration,
        "10ms",
        "Pause between two steps of a compaction",
        set!(compaction_sleep_interval, duration),
    ),
    active(
        Group::History,
        "snapshot-catchup-entries",
        Kind::Number,
        "5000",
        "Log entries kept for followers behind",
        set!(snapshot_catchup_entries, number),
    ),
    active(
        Group::History,
        "corrupt-check-time",
        Kind::Duration,
        "10m",
        "How often the members' data are compared; 0s is never (etcd's default)",
        set!(corrupt_check_time, duration),
    ),
    active(
        Group::History,
        "wal-dir",
        Kind::Path,
        "in the data folder",
        "Folder of the log, on another disk",
        set!(wal_dir, optional_path),
    ),
    active(
        Group::History,
        "unsafe-no-fsync",
        Kind::Switch,
        "false",
        "Do not flush to the disk (tests only)",
        set!(sync, negated),
    ),
    active(
        Group::Logging,
        "log-level",
        Kind::Text,
        "info",
        "trace, debug, info, warn or error",
        set!(log_level, log_level),
    ),
    active(
        Group::Logging,
        "log-format",
        Kind::Text,
        "text",
        "text or json",
        set!(log_format, log_format),
    ),
    active(
        Group::Logging,
        "log-outputs",
        Kind::Text,
        "stderr",
        "stderr or stdout",
        set!(log_output, log_output),
    ),
    active(
        Group::Logging,
        "listen-metrics-urls",
        Kind::Urls,
        "",
        "Extra addresses for health checks only",
        set!(listen_metrics_urls, urls),
    ),
];

fn text(text: &str) -> Result<String, Problem> {
    Ok(text.to_owned())
}

fn path(text: &str) -> Result<PathBuf, Problem> {
    Ok(PathBuf::from(text))
}

fn optional_path(text: &str) -> Result<Option<PathBuf>, Problem> {
    Ok((!text.is_empty()).then(|| PathBuf::from(text)))
}

fn one_listener(text: &str) -> Result<Vec<Url>, Problem> {
    Ok(vec![Url::parse_listen(text)?])
}

/// URLs as etcd writes them, or the short forms.
fn listeners(text: &str) -> Result<Vec<Url>, Problem> {
    list(text).map(Url::parse_listen).collect()
}

fn cluster_state(text: &str) -> Result<InitialClusterState, Problem> {
    let states = [
        ("new", InitialClusterState::New),
        ("existing", InitialClusterState::Existing),
    ];
    choice(text, &states)
}

fn negated(text: &str) -> Result<bool, Problem> {
    Ok(!boolean(text)?)
}

fn quota(text: &str) -> Result<Option<u64>, Problem> {
    let bytes: i64 = number(text)?;
    Ok(u64::try_from(bytes).ok().map(|bytes| {
        if bytes == 0 {
            QUOTA_DEFAULT_BYTES
        } else {
            bytes
        }
    }))
}

fn log_format(text: &str) -> Result<LogFormat, Problem> {
    let formats = [
        ("text", LogFormat::Text),
        ("json", LogFormat::Json),
        ("console", LogFormat::Text),
    ];
    choice(text, &formats)
}

fn log_output(text: &str) -> Result<LogOutput, Problem> {
    let outputs = [
        ("stderr", LogOutput::Stderr),
        ("stdout", LogOutput::Stdout),
        ("default", LogOutput::Stderr),
    ];
    choice(text, &outputs)
}

fn log_level(text: &str) -> Result<LogLevel, Problem> {
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
    choice(text, &levels)
}
