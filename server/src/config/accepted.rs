//! The settings of etcd that do nothing here, or that would promise what is not offered yet.
//!
//! Owns their names and the sentence that says why. Scripts written for etcd pass them, so most
//! are taken; one that asks for protection must fail instead of leaving the server open.

use super::setting::{Effect, Group, Kind, Setting};

const NO_TLS: &str = "TLS is not offered yet; put a TLS proxy or a private network in front";
const NO_DISCOVERY: &str = "discovery is not offered yet; use --join, or --initial-cluster";
const NO_AUTO_COMPACTION: &str =
    "history is not discarded by itself yet; run `handfast compact REVISION` now and then";
const NOT_LOGGED: &str = "slow requests are not logged yet";
const NO_LOGIN: &str = "logins are not offered yet; limit who can reach the port instead";
const OWN_STORAGE: &str = "the storage engine is another one and tunes itself";
const ALWAYS_COMPARED: &str = "members are compared as --corrupt-check-time says";
const NOT_MEASURED: &str = "nothing here needs it";

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
    let group = Group::Refused;
    Setting {
        name,
        kind,
        default,
        group,
        help: reason,
        effect: Effect::Refused(reason),
    }
}

pub(super) const ACCEPTED: &[Setting] = &[
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
        "use `handfast cluster recover --data-dir DIR --i-accept-data-loss` instead",
    ),
    ignored("pre-vote", Kind::Switch, "it is always on"),
    ignored(
        "snapshot-count",
        Kind::Number,
        "the log is cut at each flush; --snapshot-catchup-entries says how much stays",
    ),
    ignored("compaction-batch-limit", Kind::Number, OWN_STORAGE),
    ignored("auto-compaction-mode", Kind::Text, NO_AUTO_COMPACTION),
    ignored("auto-compaction-retention", Kind::Text, NO_AUTO_COMPACTION),
    ignored(
        "grpc-keepalive-min-time",
        Kind::Duration,
        "clients may ping as often as they like",
    ),
    ignored("warning-apply-duration", Kind::Duration, NOT_LOGGED),
    ignored("warning-unary-request-duration", Kind::Duration, NOT_LOGGED),
    ignored("metrics", Kind::Text, "metrics are not offered yet"),
    ignored(
        "enable-grpc-gateway",
        Kind::Switch,
        "the JSON gateway is not offered yet",
    ),
    ignored(
        "initial-election-tick-advance",
        Kind::Switch,
        "the first election is not delayed",
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
    ignored("feature-gates", Kind::Text, "there are no feature gates"),
    ignored("initial-corrupt-check", Kind::Switch, ALWAYS_COMPARED),
    ignored("compact-hash-check-enabled", Kind::Switch, ALWAYS_COMPARED),
    ignored("compact-hash-check-time", Kind::Duration, ALWAYS_COMPARED),
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
