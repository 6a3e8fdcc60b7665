//! What a server is told to do: one plain struct, and how flags, environment and file become it.
//!
//! Owns names, defaults, precedence and range checks of every setting. It must not know how a
//! command line is parsed (the `handfast` command does that), nor open sockets or data folders.

mod accepted;
mod catalog;
mod cluster;
mod derive;
mod given;
mod layers;
mod setting;
mod table;
#[cfg(test)]
mod tests;
mod url;
mod values;

use std::path::PathBuf;
use std::time::Duration;

pub use catalog::{setting, settings};
pub use cluster::{Founder, InitialClusterState, Join, JoinToken, PeerListener};
pub use given::Preset;
pub use layers::{Layers, Resolved};
pub use setting::{Effect, Group, Kind, Setting};
pub use url::{Scheme, Url};

/// Largest election timeout etcd accepts; longer ones make a dead leader look alive for minutes.
const ELECTION_TIMEOUT_MAX: Duration = Duration::from_secs(50);

/// Smallest allowed ratio of election timeout to heartbeat interval.
const HEARTBEATS_PER_ELECTION: u32 = 5;

/// Above this many bytes a request is still accepted, but the operator is warned.
const REQUEST_BYTES_RECOMMENDED_MAX: u64 = 10 * 1024 * 1024;

/// The storage quota that `--quota-backend-bytes 0` stands for.
const QUOTA_DEFAULT_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// Everything a server can be told. `Config::default()` is a working single node on
/// `127.0.0.1:2379` with its data in `./handfast.data`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Member name; must have an entry in `initial_cluster`. A member that has got another name
    /// before keeps that one when this is the default.
    pub name: String,
    /// Folder of everything the member keeps; created with mode 0700.
    pub data_dir: PathBuf,
    /// Folder of the log, when it shall be on another disk than `data_dir`.
    pub wal_dir: Option<PathBuf>,
    /// Keep the data in a temporary folder that is removed at the end.
    pub ephemeral: bool,
    /// Addresses for clients; TCP hosts are IP addresses or `localhost`.
    pub listen_client_urls: Vec<Url>,
    /// What clients are told to connect to (the member list shows it).
    pub advertise_client_urls: Vec<Url>,
    /// Addresses for other members; hosts are IP addresses or `localhost`.
    pub listen_peer_urls: Vec<Url>,
    /// Whether `listen_peer_urls` was chosen; see [`Config::peer_listener`].
    pub listen_peer_urls_explicit: bool,
    /// What other members are told to connect to.
    pub initial_advertise_peer_urls: Vec<Url>,
    /// Extra addresses that serve only metrics and health.
    pub listen_metrics_urls: Vec<Url>,
    /// Members at first start, `(name, peer URL)`; empty means just this one. A name may have
    /// several URLs; [`Config::founders`] puts them together.
    pub initial_cluster: Vec<(String, Url)>,
    /// Whether `initial_cluster` is founded now or exists.
    pub initial_cluster_state: InitialClusterState,
    /// Mixed into the cluster id, so that clusters with the same addresses differ.
    pub initial_cluster_token: String,
    /// Joins an existing cluster by itself at the first start.
    pub join: Option<Join>,
    /// Refuses membership changes that could cost the cluster its majority.
    pub strict_reconfig_check: bool,
    /// Most members at once that are not promoted yet.
    pub max_learners: usize,
    /// Lets the leader answer linearizable reads on its lease, without asking the others; then
    /// they are as right as the members' clocks are even.
    pub lease_read: bool,
    /// How often the leader compares the members' data; zero is never.
    pub corrupt_check_time: Duration,
    /// How often the leader reports to followers.
    pub heartbeat_interval: Duration,
    /// How long a follower waits for the leader before it stands for election.
    pub election_timeout: Duration,
    /// Entries kept behind the snapshot for followers that are a little behind.
    pub snapshot_catchup_entries: u64,
    /// Largest request, in bytes.
    pub max_request_bytes: u64,
    /// Most compares or operations in one transaction.
    pub max_txn_ops: usize,
    /// Most requests at once on one connection.
    pub max_concurrent_streams: u32,
    /// Storage quota in bytes; `None` is no quota.
    pub quota_backend_bytes: Option<u64>,
    /// Time without events after which a watch that asked for progress gets a notice.
    pub watch_progress_notify_interval: Duration,
    /// Idle time after which the server pings a client; zero is never.
    pub grpc_keepalive_interval: Duration,
    /// Time a client has to answer a ping.
    pub grpc_keepalive_timeout: Duration,
    /// Pause between two steps of a compaction.
    pub compaction_sleep_interval: Duration,
    /// Least severe log lines to print.
    pub log_level: LogLevel,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Where log lines go.
    pub log_output: LogOutput,
    /// Flush the log to the disk before a write is acknowledged; off only in tests.
    pub sync: bool,
}

/// Least severe log lines to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where log lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum LogOutput {
    Stderr,
    Stdout,
}

/// Why a configuration cannot be used. Each message is one sentence that names the setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No setting has this name.
    #[error("{origin}: there is no setting `{name}`{}", did_you_mean(.suggestion))]
    Unknown {
        /// Flag, variable or file the name came from.
        origin: String,
        /// The name that was given.
        name: String,
        /// The nearest existing name, if one is near.
        suggestion: Option<String>,
    },
    /// The value cannot be read, or is out of range.
    #[error("{origin}: {problem}")]
    Invalid {
        /// Flag, variable or file key the value came from.
        origin: String,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// The same setting was given in two places.
    #[error(
        "`{name}` is set twice, by {first} and by {second}: remove one, because it is not obvious \
         which you mean"
    )]
    Conflict {
        /// The setting.
        name: String,
        /// One place.
        first: String,
        /// The other.
        second: String,
    },
    /// A setting that would change what is promised to clients, and that this server lacks.
    #[error("{origin}: {reason}")]
    Unsupported {
        /// Flag, variable or file key.
        origin: String,
        /// What is missing, and the alternative.
        reason: String,
    },
    /// Two settings do not go together.
    #[error("{0}")]
    Inconsistent(String),
    /// The configuration file cannot be read.
    #[error("config file {}: {problem}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
}

/// Reads a duration such as `500ms`, `10s`, `1h30m` or `0`.
///
/// # Errors
/// A phrase that says how durations are written.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    values::duration(text)
}

fn did_you_mean(suggestion: &Option<String>) -> String {
    suggestion
        .as_ref()
        .map(|name| format!("; did you mean `{name}`?"))
        .unwrap_or_default()
}

impl Default for Config {
    fn default() -> Config {
        Config {
            name: "default".to_owned(),
            data_dir: PathBuf::from("handfast.data"),
            wal_dir: None,
            ephemeral: false,
            listen_client_urls: vec![Url::tcp("127.0.0.1", 2379)],
            advertise_client_urls: vec![Url::tcp("127.0.0.1", 2379)],
            listen_peer_urls: vec![Url::tcp("localhost", 2380)],
            listen_peer_urls_explicit: false,
            initial_advertise_peer_urls: vec![Url::tcp("localhost", 2380)],
            listen_metrics_urls: Vec::new(),
            initial_cluster: Vec::new(),
            initial_cluster_state: InitialClusterState::New,
            initial_cluster_token: "etcd-cluster".to_owned(),
            join: None,
            strict_reconfig_check: true,
            max_learners: 1,
            lease_read: false,
            corrupt_check_time: Duration::from_secs(600),
            heartbeat_interval: Duration::from_millis(100),
            election_timeout: Duration::from_millis(1000),
            snapshot_catchup_entries: 5_000,
            max_request_bytes: 1_572_864,
            max_txn_ops: 128,
            max_concurrent_streams: u32::MAX,
            quota_backend_bytes: Some(QUOTA_DEFAULT_BYTES),
            watch_progress_notify_interval: Duration::from_secs(600),
            grpc_keepalive_interval: Duration::from_secs(2 * 3600),
            grpc_keepalive_timeout: Duration::from_secs(20),
            compaction_sleep_interval: Duration::from_millis(10),
            log_level: LogLevel::Info,
            log_format: LogFormat::Text,
            log_output: LogOutput::Stderr,
            sync: true,
        }
    }
}

impl Config {
    /// Builds a configuration from flags and environment, reading the file they may name.
    ///
    /// Flags are `(name without dashes, value)`; of the environment only `ETCD_*` and
    /// `HANDFAST_*` are looked at. See [`Layers`] for precedence.
    pub fn from_layers(
        flags: Vec<(String, String)>,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Resolved, ConfigError> {
        Layers::new(flags, env).resolve()
    }

    /// Checks ranges and combinations; every way to start a server calls it.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_addresses()?;
        self.validate_timing()?;
        self.validate_limits()?;
        self.validate_cluster()
    }

    /// Things that are allowed but deserve a line in the log.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.max_request_bytes > REQUEST_BYTES_RECOMMENDED_MAX {
            warnings.push(format!(
                "--max-request-bytes is {}; requests above 10 MiB slow every other client down",
                self.max_request_bytes
            ));
        }
        if !self.sync {
            warnings.push(
                "--unsafe-no-fsync: acknowledged writes are lost when the machine stops".to_owned(),
            );
        }
        for url in self.listen_client_urls.iter().filter(|url| !url.is_local()) {
            warnings.push(format!(
                "everyone who can reach {url} can read and change everything: there are no \
                 passwords and no TLS yet, so keep it behind a firewall"
            ));
        }
        if self.peer_listener() != PeerListener::Off {
            for url in self.listen_peer_urls.iter().filter(|url| !url.is_local()) {
                warnings.push(format!(
                    "everyone who can reach {url} can speak as a member: there is no TLS between \
                     members yet, so keep it on a private network"
                ));
            }
        }
        if self.ephemeral && self.has_others() {
            warnings.push(
                "--ephemeral: when this member stops it cannot come back; then remove it with \
                 `handfast member remove`"
                    .to_owned(),
            );
        }
        warnings
    }

    fn validate_addresses(&self) -> Result<(), ConfigError> {
        if self.listen_client_urls.is_empty() {
            return Err(invalid(
                "--listen-client-urls",
                "at least one address is needed",
            ));
        }
        if self.advertise_client_urls.is_empty() {
            return Err(invalid(
                "--advertise-client-urls",
                "at least one address is needed",
            ));
        }
        let listening = [
            ("--listen-client-urls", &self.listen_client_urls),
            ("--listen-metrics-urls", &self.listen_metrics_urls),
        ];
        for (flag, urls) in listening {
            for url in urls {
                url.check_listenable()
                    .map_err(|problem| invalid(flag, &problem))?;
            }
        }
        Ok(())
    }

    fn validate_timing(&self) -> Result<(), ConfigError> {
        if self.heartbeat_interval.is_zero() {
            return Err(invalid(
                "--heartbeat-interval",
                "must be at least 1 (milliseconds)",
            ));
        }
        if self.election_timeout < self.heartbeat_interval * HEARTBEATS_PER_ELECTION {
            return Err(ConfigError::Inconsistent(format!(
                "--election-timeout ({} ms) must be at least {HEARTBEATS_PER_ELECTION} times \
                 --heartbeat-interval ({} ms)",
                self.election_timeout.as_millis(),
                self.heartbeat_interval.as_millis()
            )));
        }
        if self.election_timeout > ELECTION_TIMEOUT_MAX {
            return Err(invalid(
                "--election-timeout",
                &format!(
                    "must be at most {} (milliseconds)",
                    ELECTION_TIMEOUT_MAX.as_millis()
                ),
            ));
        }
        if self.watch_progress_notify_interval.is_zero() {
            return Err(invalid(
                "--watch-progress-notify-interval",
                "must be longer than 0s",
            ));
        }
        Ok(())
    }

    fn validate_limits(&self) -> Result<(), ConfigError> {
        let positive = [
            ("--max-request-bytes", self.max_request_bytes),
            ("--max-txn-ops", self.max_txn_ops as u64),
            ("--max-learners", self.max_learners as u64),
            (
                "--max-concurrent-streams",
                u64::from(self.max_concurrent_streams),
            ),
        ];
        for (flag, value) in positive {
            if value == 0 {
                return Err(invalid(flag, "must be at least 1"));
            }
        }
        Ok(())
    }

    fn validate_cluster(&self) -> Result<(), ConfigError> {
        if self.name.is_empty() {
            return Err(invalid("--name", "must not be empty"));
        }
        if self.data_dir.as_os_str().is_empty() {
            return Err(invalid("--data-dir", "must not be empty"));
        }
        if self.wal_dir.as_ref() == Some(&self.data_dir) {
            return Err(invalid(
                "--wal-dir",
                "must be another folder than --data-dir",
            ));
        }
        self.validate_peers()
    }
}

fn invalid(flag: &str, problem: &str) -> ConfigError {
    ConfigError::Invalid {
        origin: flag.to_owned(),
        problem: problem.to_owned(),
    }
}
