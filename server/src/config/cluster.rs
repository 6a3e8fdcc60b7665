//! How a member finds its cluster: founding members, an existing cluster, or a join token.
//!
//! Owns the values that say so and the checks that concern several members. It must not open
//! connections: whether the others answer is found out when the server starts.

use std::fmt;
use std::str::FromStr;

use super::{Config, ConfigError, Url};

/// Digits of the cluster id in a join token.
const CLUSTER_ID_DIGITS: usize = 16;

/// Digits of the secret in a join token.
const SECRET_DIGITS: usize = 32;

/// Whether `initial_cluster` is founded now, or exists and has this member in its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InitialClusterState {
    /// All members of `initial_cluster` start for the first time.
    #[default]
    New,
    /// The others run already and were told of this member (`handfast member add`).
    Existing,
}

/// The short way into an existing cluster: ask a member, show the token, be taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Join {
    /// Peer addresses of members; one that answers is enough.
    pub addresses: Vec<Url>,
    /// Proof that whoever starts this member may add one.
    pub token: JoinToken,
}

impl Join {
    /// Joins through any of `addresses` (peer URLs, not client URLs).
    pub fn new(addresses: Vec<Url>, token: JoinToken) -> Join {
        Join { addresses, token }
    }
}

/// What `handfast cluster token` prints: cluster id and secret, `0123456789abcdef-…32 digits…`.
///
/// Whoever has it can add a member, so it is never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken(String);

impl JoinToken {
    /// The whole token.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The cluster the token is for.
    pub fn cluster_id(&self) -> u64 {
        let digits = self.0.get(..CLUSTER_ID_DIGITS).unwrap_or_default();
        u64::from_str_radix(digits, 16).unwrap_or_default()
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({:016x}-…)", self.cluster_id())
    }
}

impl FromStr for JoinToken {
    type Err = String;

    fn from_str(text: &str) -> Result<JoinToken, String> {
        let text = text.trim();
        let whole = text.split_once('-').is_some_and(|(cluster, secret)| {
            let hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
            cluster.len() == CLUSTER_ID_DIGITS
                && secret.len() == SECRET_DIGITS
                && hex(cluster)
                && hex(secret)
        });
        // The text itself stays out of the message: it may be a secret with a slip in it.
        match whole {
            true => Ok(JoinToken(text.to_ascii_lowercase())),
            false => Err(format!(
                "this is not a join token (16 and 32 hexadecimal digits with a `-` between, but \
                 {} characters were given); print it with `handfast cluster token --data-dir DIR` \
                 on a member",
                text.chars().count()
            )),
        }
    }
}

/// A member of a cluster that is founded, as the flags describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Founder {
    /// Its `--name`.
    pub name: String,
    /// Its peer URLs, in the order they were given.
    pub peer_urls: Vec<Url>,
}

/// What to do about peers' connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerListener {
    /// Nobody asked for it, and no other member exists.
    Off,
    /// Listen if the port is free; a cluster of one works without.
    IfFree,
    /// Listen, or do not start.
    Required,
}

impl Config {
    /// The members of `initial_cluster`, each once, in the order of first mention; without that
    /// setting just this member.
    pub fn founders(&self) -> Vec<Founder> {
        if self.initial_cluster.is_empty() {
            return vec![Founder {
                name: self.name.clone(),
                peer_urls: self.initial_advertise_peer_urls.clone(),
            }];
        }
        let mut founders: Vec<Founder> = Vec::new();
        for (name, url) in &self.initial_cluster {
            match founders.iter_mut().find(|founder| founder.name == *name) {
                Some(founder) => founder.peer_urls.push(url.clone()),
                None => founders.push(Founder {
                    name: name.clone(),
                    peer_urls: vec![url.clone()],
                }),
            }
        }
        founders
    }

    /// Whether the settings speak of other members than this one.
    pub fn has_others(&self) -> bool {
        self.join.is_some() || self.initial_cluster.iter().any(|(n, _)| *n != self.name)
    }

    /// Whether the listener for peers may be left out when its port is taken, or altogether.
    ///
    /// A member that finds others in its data folder must listen whatever this says.
    pub fn peer_listener(&self) -> PeerListener {
        match () {
            () if self.listen_peer_urls_explicit || self.has_others() => PeerListener::Required,
            () if self.ephemeral => PeerListener::Off,
            () => PeerListener::IfFree,
        }
    }

    /// Checks what only matters when the data folder is empty; the server calls it then.
    ///
    /// # Errors
    /// [`ConfigError::Inconsistent`] when an existing cluster is meant but nobody of it is named.
    pub fn check_first_start(&self) -> Result<(), ConfigError> {
        let alone = !self.has_others();
        if alone && self.initial_cluster_state == InitialClusterState::Existing {
            return Err(ConfigError::Inconsistent(
                "--initial-cluster-state is `existing`, but --initial-cluster names no other \
                 member to ask; name all of them, as `handfast member add` prints it"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    pub(super) fn validate_peers(&self) -> Result<(), ConfigError> {
        // First, because the other two settings may follow from them.
        self.validate_join()?;
        self.validate_initial_cluster()?;
        let flag = "--listen-peer-urls";
        for url in &self.listen_peer_urls {
            check_peer(flag, url)?;
            url.check_listenable()
                .map_err(|problem| invalid(flag, problem))?;
        }
        if self.listen_peer_urls.is_empty() && self.peer_listener() == PeerListener::Required {
            return Err(invalid(
                flag,
                "at least one address is needed, because there are other members".to_owned(),
            ));
        }
        let advertised = "--initial-advertise-peer-urls";
        if self.initial_advertise_peer_urls.is_empty() {
            return Err(invalid(
                advertised,
                "at least one address is needed".to_owned(),
            ));
        }
        for url in &self.initial_advertise_peer_urls {
            check_peer(advertised, url)?;
            if url.is_unspecified() {
                return Err(invalid(
                    advertised,
                    format!("{url} is every address of a machine; name the one others reach"),
                ));
            }
        }
        Ok(())
    }

    fn validate_join(&self) -> Result<(), ConfigError> {
        let Some(join) = &self.join else {
            return Ok(());
        };
        if !self.initial_cluster.is_empty() {
            return Err(ConfigError::Inconsistent(
                "--join and --initial-cluster do not go together: --join asks the cluster for its \
                 members, so leave --initial-cluster out"
                    .to_owned(),
            ));
        }
        if join.addresses.is_empty() {
            return Err(invalid("--join", "no address was given".to_owned()));
        }
        let own = |url: &&Url| {
            let same = |other: &Url| other.reaches_the_same(url);
            self.initial_advertise_peer_urls.iter().any(same)
        };
        if let Some(url) = join.addresses.iter().find(own) {
            return Err(invalid(
                "--join",
                format!(
                    "{url} is this member's own address (--initial-advertise-peer-urls); name \
                     the peer address of another member"
                ),
            ));
        }
        Ok(())
    }

    fn validate_initial_cluster(&self) -> Result<(), ConfigError> {
        let flag = "--initial-cluster";
        let mut before: Vec<&(String, Url)> = Vec::new();
        for entry in &self.initial_cluster {
            let (name, url) = entry;
            if name.is_empty() {
                return Err(invalid(flag, format!("the name before `={url}` is empty")));
            }
            check_peer(flag, url)?;
            if let Some((first, _)) = before.iter().find(|(_, u)| u.reaches_the_same(url)) {
                return Err(invalid(
                    flag,
                    format!("`{first}` and `{name}` both have {url}; each URL belongs to one"),
                ));
            }
            before.push(entry);
        }
        if self.initial_cluster.is_empty() {
            return Ok(());
        }
        let own: Vec<&Url> = self
            .initial_cluster
            .iter()
            .filter(|(name, _)| *name == self.name)
            .map(|(_, url)| url)
            .collect();
        if own.is_empty() {
            return Err(ConfigError::Inconsistent(format!(
                "--initial-cluster has no entry for this member, `{}` (--name)",
                self.name
            )));
        }
        self.check_own_urls(&own)
    }

    /// Others would look for this member where it does not say it is.
    fn check_own_urls(&self, own: &[&Url]) -> Result<(), ConfigError> {
        let advertised = &self.initial_advertise_peer_urls;
        let listed = |url: &Url| own.iter().any(|other| other.reaches_the_same(url));
        let told = |url: &Url| advertised.iter().any(|other| other.reaches_the_same(url));
        if advertised.iter().all(listed) && own.iter().all(|url| told(url)) {
            return Ok(());
        }
        Err(ConfigError::Inconsistent(format!(
            "--initial-cluster says that `{}` is at {}, but --initial-advertise-peer-urls is {}; \
             make them the same",
            self.name,
            joined(own.iter().copied()),
            joined(advertised.iter()),
        )))
    }
}

fn joined<'a>(urls: impl Iterator<Item = &'a Url>) -> String {
    urls.map(Url::to_string).collect::<Vec<_>>().join(",")
}

fn check_peer(flag: &str, url: &Url) -> Result<(), ConfigError> {
    if url.scheme().is_encrypted() {
        return Err(ConfigError::Unsupported {
            origin: flag.to_owned(),
            reason: format!(
                "{url} asks for TLS between members, which is not offered yet; use http:// on a \
                 private network"
            ),
        });
    }
    match url.socket_file() {
        None => Ok(()),
        Some(_) => Err(invalid(
            flag,
            format!("{url} is a socket file, but members talk over TCP: http://HOST:PORT"),
        )),
    }
}

fn invalid(flag: &str, problem: String) -> ConfigError {
    ConfigError::Invalid {
        origin: flag.to_owned(),
        problem,
    }
}
