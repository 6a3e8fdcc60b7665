//! Settings that follow from others when they are not given.
//!
//! Owns those rules. It must not know how values are read, nor where they came from but for the
//! name to show.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};

use super::given::{Given, Preset};
use super::values;
use super::{Config, ConfigError, Join, Url};

/// Where other members connect unless something else is said.
const PEER_PORT: u16 = 2380;

/// Where Linux keeps the machine's name.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

type AllGiven = BTreeMap<String, Given>;
type Read<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// Fills in what depends on other settings; answers with notes for the operator.
pub(super) fn derive(
    config: &mut Config,
    given: &AllGiven,
    preset: Preset,
    read: Read<'_>,
) -> Result<Vec<String>, ConfigError> {
    derive_clients(config, given)?;
    let notes = derive_join(config, given, read)?;
    derive_peers(config, given)?;
    if preset == Preset::Etcd && !given.contains_key("data-dir") {
        config.data_dir = PathBuf::from(format!("{}.etcd", config.name));
    }
    if config.ephemeral
        && let Some(data_dir) = given.get("data-dir")
    {
        return Err(ConfigError::Inconsistent(format!(
            "--ephemeral keeps the data in a temporary folder, so it does not go with {}",
            data_dir.origin
        )));
    }
    Ok(notes)
}

fn derive_clients(config: &mut Config, given: &AllGiven) -> Result<(), ConfigError> {
    if let (Some(short), Some(long)) = (given.get("listen"), given.get("listen-client-urls")) {
        return Err(ConfigError::Conflict {
            name: "listen-client-urls".to_owned(),
            first: short.origin.clone(),
            second: long.origin.clone(),
        });
    }
    if given.contains_key("advertise-client-urls") {
        return Ok(());
    }
    if given.contains_key("listen-client-urls") {
        return Err(ConfigError::Inconsistent(
            "--advertise-client-urls is required when --listen-client-urls is set explicitly"
                .to_owned(),
        ));
    }
    config.advertise_client_urls = config.listen_client_urls.iter().map(reachable).collect();
    Ok(())
}

fn derive_join(
    config: &mut Config,
    given: &AllGiven,
    read: Read<'_>,
) -> Result<Vec<String>, ConfigError> {
    let (join, token) = match (given.get("join"), given.get("join-token")) {
        (None, None) => return Ok(Vec::new()),
        (None, Some(token)) if token.origin.starts_with("--") => {
            return Err(ConfigError::Inconsistent(
                "--join-token needs --join HOST:PORT, the peer address of a member of the cluster"
                    .to_owned(),
            ));
        }
        (None, Some(token)) => {
            let note = format!("{} has no effect without --join", token.origin);
            return Ok(vec![note]);
        }
        (Some(join), None) => {
            return Err(ConfigError::Inconsistent(format!(
                "{} needs a join token: run `handfast cluster token --data-dir DIR` on a member, \
                 and give it as --join-token or in HANDFAST_JOIN_TOKEN",
                join.origin
            )));
        }
        (Some(join), Some(token)) => (join, token),
    };
    let invalid = |from: &Given, problem| ConfigError::Invalid {
        origin: from.origin.clone(),
        problem,
    };
    let addresses = values::join_addresses(&join.value).map_err(|p| invalid(join, p))?;
    let text = match token.value.strip_prefix('@') {
        Some(file) => read(Path::new(file))
            .map_err(|error| invalid(token, format!("{file} cannot be read: {error}")))?,
        None => token.value.clone(),
    };
    let token = text.parse().map_err(|p| invalid(token, p))?;
    config.join = Some(Join::new(addresses, token));
    Ok(Vec::new())
}

fn derive_peers(config: &mut Config, given: &AllGiven) -> Result<(), ConfigError> {
    config.listen_peer_urls_explicit = given.contains_key("listen-peer-urls");
    let advertised = given.contains_key("initial-advertise-peer-urls");
    if !advertised && !config.initial_cluster.is_empty() {
        let entries = config.initial_cluster.iter();
        let own = entries.filter(|(name, _)| *name == config.name);
        let own: Vec<Url> = own.map(|(_, url)| url.clone()).collect();
        // Without an entry of its own the member is refused; that message is the better one.
        if !own.is_empty() {
            config.initial_advertise_peer_urls = own;
        }
    } else if !advertised && config.listen_peer_urls_explicit {
        config.initial_advertise_peer_urls =
            config.listen_peer_urls.iter().map(reachable).collect();
    }
    if config.has_others() && !config.listen_peer_urls_explicit {
        derive_listener(config, advertised)?;
    }
    if config.join.is_some() && !given.contains_key("name") {
        config.name = own_name(&config.initial_advertise_peer_urls);
    }
    Ok(())
}

/// With others about, the loopback default would only do on one machine.
fn derive_listener(config: &mut Config, advertised: bool) -> Result<(), ConfigError> {
    if let Some(join) = config.join.as_ref().filter(|_| !advertised) {
        let own = join.addresses.iter().find_map(route_towards);
        if let Some(ip) = own.filter(|ip| !ip.is_loopback()) {
            config.listen_peer_urls = vec![Url::tcp(&ip.to_string(), PEER_PORT)];
        }
        config.initial_advertise_peer_urls = config.listen_peer_urls.clone();
        return Ok(());
    }
    let named = |url: &&Url| !url.is_numeric();
    if let Some(url) = config.initial_advertise_peer_urls.iter().find(named) {
        // A slip in the addresses is told first.
        config.validate_peers()?;
        return Err(ConfigError::Inconsistent(format!(
            "--listen-peer-urls is needed: others reach this member at {url}, and a name does not \
             tell which address to listen on; write for example \
             --listen-peer-urls http://0.0.0.0:{}",
            url.port()
        )));
    }
    config.listen_peer_urls = config.initial_advertise_peer_urls.clone();
    Ok(())
}

/// A name for a member that was given none: members of one cluster should be told apart.
fn own_name(advertised: &[Url]) -> String {
    let host = std::fs::read_to_string(HOST_NAME).unwrap_or_default();
    let host = match host.trim() {
        "" => "member",
        host => host,
    };
    match advertised.first().map(Url::port) {
        Some(port) if port != PEER_PORT => format!("{host}-{port}"),
        _ => host.to_owned(),
    }
}

/// What to tell others about a listening address: `0.0.0.0` cannot be connected to from afar.
fn reachable(url: &Url) -> Url {
    if !url.is_unspecified() {
        return url.clone();
    }
    let own = route_towards(&Url::tcp("192.0.2.1", 9));
    Url::tcp(
        &own.map_or_else(|| "127.0.0.1".to_owned(), |ip| ip.to_string()),
        url.port(),
    )
}

/// The address of this machine that packets to `url` would carry.
fn route_towards(url: &Url) -> Option<IpAddr> {
    let any = if url.host().contains(':') {
        "::"
    } else {
        "0.0.0.0"
    };
    // Connecting a UDP socket sends nothing; it only asks for the route's own address.
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((url.host(), url.port())).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
