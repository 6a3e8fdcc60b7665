//! How a server comes to life.
//!
//! Owns the order of a start: check the configuration, bind, open the data, find the cluster,
//! agree, serve. What runs afterwards is in `server`.

use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use handfast_consensus::Start;
use handfast_consensus::peer::SharedTransport;
use handfast_proto::command::MemberInfo;
use handfast_storage::data_dir::DataDir;

use crate::assemble::{Ingredients, assemble, members_of};
use crate::bootstrap::Wishes;
use crate::config::{Config, PeerListener, Url};
use crate::dispatch::Offer;
use crate::environment::Environment;
use crate::failure::Error;
use crate::ids::Ids;
use crate::lanes::Lanes;
use crate::listen::Listener;
use crate::open::Opened;
use crate::peer::{Pace, PeerTransport};
use crate::server::Server;

/// Describes a server; see [`Server::builder`].
#[derive(Debug, Clone, Default)]
pub struct Builder {
    config: Config,
    /// As it was given; read at the start, so that building cannot fail.
    listen: Option<String>,
    /// Whether `config` chose the addresses.
    configured: bool,
    environment: Option<Environment>,
}

impl Server {
    /// Describes a server: by default one like `etcd` without flags, on `127.0.0.1:2379` and with
    /// its data in `./handfast.data`.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl Builder {
    /// Keeps the data in a temporary folder that is removed at the end, and listens on a free
    /// port of the loopback interface unless told otherwise.
    #[must_use]
    pub fn ephemeral(mut self) -> Builder {
        self.config.ephemeral = true;
        self
    }

    /// Keeps the data in this folder, which is created when missing.
    #[must_use]
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Builder {
        self.config.data_dir = path.into();
        self.config.ephemeral = false;
        self
    }

    /// Listens for clients on this address only, `127.0.0.1:2379` or `unix:///run/handfast.sock`.
    /// Port 0 is a free one; see [`Server::endpoint`] for which. A server whose port nobody knows
    /// beforehand is nobody's neighbour: it opens no port for other members either, unless a
    /// configuration names one.
    #[must_use]
    pub fn listen(mut self, address: impl ToString) -> Builder {
        self.listen = Some(address.to_string());
        self
    }

    /// Names the member.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.config.name = name.into();
        self
    }

    /// Replaces everything said so far by a whole configuration, except [`Builder::listen`].
    #[must_use]
    pub fn config(mut self, config: Config) -> Builder {
        self.config = config;
        self.configured = true;
        self
    }

    /// Runs on a simulated machine instead of this one; see [`Environment`]. The configuration's
    /// addresses and folders then have no meaning.
    #[doc(hidden)]
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Builder {
        self.environment = Some(environment);
        self
    }

    /// Starts the server. When this returns it serves. A member of a cluster of one leads it by
    /// then; one of several may still have to find the others.
    ///
    /// The server has threads of its own, so any runtime will do. Not cancel safe: a start that is
    /// dropped half way goes on, and the server then stops by itself.
    ///
    /// # Errors
    /// One sentence that says what to change: configuration, address, data directory, disk, or what
    /// the other members have to say.
    pub async fn start(self) -> Result<Server, Error> {
        let mut config = self.settled()?;
        config.validate()?;
        if let Some(environment) = self.environment {
            return start_simulated(config, environment).await;
        }
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        let lanes = Lanes::for_this_machine().map_err(Error::Thread)?;
        let guard = StopUnlessStarted(Some(lanes.clone()));
        let first = lanes.first().clone();
        let starting = first.spawn(async move {
            let listeners = bind(&mut config)?;
            start(config, listeners, lanes).await
        });
        let server = match starting.await {
            Ok(started) => started?,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => return Err(Error::Thread(io::Error::other("the runtime has ended"))),
            },
        };
        guard.disarm();
        Ok(server)
    }

    /// The configuration with the addresses this builder decides.
    fn settled(&self) -> Result<Config, Error> {
        let mut config = self.config.clone();
        let url = match &self.listen {
            Some(address) => parse_address(address)?,
            None if config.ephemeral && !self.configured => Url::tcp("127.0.0.1", 0),
            None => return Ok(config),
        };
        let unknown = url.socket_file().is_none() && url.port() == 0;
        if unknown && config.peer_listener() != PeerListener::Required {
            config.listen_peer_urls.clear();
        }
        config.listen_client_urls = vec![url.clone()];
        config.advertise_client_urls = vec![url];
        Ok(config)
    }
}

/// Ends the threads of a start that failed or was given up.
struct StopUnlessStarted(Option<Lanes>);

impl StopUnlessStarted {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for StopUnlessStarted {
    fn drop(&mut self) {
        if let Some(lanes) = self.0.take() {
            lanes.stop();
        }
    }
}

fn parse_address(address: &str) -> Result<Url, Error> {
    let url = if address.contains("://") {
        address.to_owned()
    } else {
        format!("http://{address}")
    };
    Url::from_str(&url).map_err(|problem| Error::Address {
        address: address.to_owned(),
        problem,
    })
}

/// Binds every address, and writes the ports that the system chose into the configuration.
fn bind(config: &mut Config) -> Result<Vec<(Listener, Offer)>, Error> {
    let mut listeners = Vec::new();
    for url in config.listen_client_urls.clone() {
        listeners.push((bind_one(&url)?, Offer::Everything));
    }
    for url in config.listen_metrics_urls.clone() {
        listeners.push((bind_one(&url)?, Offer::Plain));
    }
    for url in config.listen_peer_urls.clone() {
        match config.peer_listener() {
            PeerListener::Off => {}
            // Of two that only reserve the same address both succeed, and one fails too late.
            PeerListener::IfFree => match bind_one(&url) {
                Ok(listener) => listeners.push((listener, Offer::Members)),
                Err(error) => tracing::warn!(
                    "{error}; going on without it, so no other member can join this one (choose \
                     another address with --listen-peer-urls)"
                ),
            },
            PeerListener::Required => {
                let listener = Listener::reserve(&url).map_err(|source| refused(&url, source))?;
                listeners.push((listener, Offer::Members));
            }
        }
    }
    config.listen_client_urls = bound(&listeners, Offer::Everything);
    fill_ports(
        &mut config.advertise_client_urls,
        &config.listen_client_urls,
    );
    let peers = bound(&listeners, Offer::Members);
    fill_ports(&mut config.initial_advertise_peer_urls, &peers);
    Ok(listeners)
}

fn bind_one(url: &Url) -> Result<Listener, Error> {
    Listener::bind(url).map_err(|source| refused(url, source))
}

fn refused(url: &Url, source: io::Error) -> Error {
    Error::Listen {
        url: url.to_string(),
        source,
    }
}

/// Where the listeners of one kind turned out to be.
fn bound(listeners: &[(Listener, Offer)], kind: Offer) -> Vec<Url> {
    let of_kind = listeners.iter().filter(|(_, offer)| *offer == kind);
    of_kind.map(|(listener, _)| listener.url.clone()).collect()
}

fn fill_ports(advertised: &mut [Url], bound: &[Url]) {
    let first_port = bound.first().map_or(0, Url::port);
    for url in advertised.iter_mut().filter(|url| url.port() == 0) {
        *url = url.with_port(first_port);
    }
}

/// From bound sockets to a serving member.
async fn start(
    config: Config,
    listeners: Vec<(Listener, Offer)>,
    lanes: Lanes,
) -> Result<Server, Error> {
    let pace = Pace::of(config.election_timeout);
    let transport: SharedTransport = Arc::new(PeerTransport::new(pace, lanes.first().clone()));
    let wishes = Wishes::of(&config);
    let mut dir = lanes
        .blocking({
            let config = config.clone();
            move || match config.ephemeral {
                true => DataDir::ephemeral(),
                false => DataDir::open(&config.data_dir),
            }
        })
        .await?;
    let mut first_start = None;
    let identity = match dir.identity() {
        Some(identity) => identity,
        None => {
            config.check_first_start()?;
            let decision = wishes.first_start(transport.as_ref()).await?;
            // Before anything else, so that a start that is cut short ends as the same member.
            dir.set_identity(decision.identity)?;
            first_start = Some(decision.start);
            decision.identity
        }
    };
    let opened = lanes
        .blocking({
            let config = config.clone();
            move || Opened::in_dir(&config, dir, identity)
        })
        .await?;
    let start = match first_start {
        Some(start) => start,
        None if opened.has_history() => {
            let known = members_of(&opened);
            check_reachable(&known, &config, &listeners)?;
            wishes
                .check_return(identity, &known, transport.as_ref())
                .await?;
            Start::Resume
        }
        None => wishes.start_over(identity),
    };
    let ingredients = Ingredients {
        opened,
        start,
        transport,
        lanes,
        ids: Ids::default(),
    };
    let mut server = assemble(&config, ingredients).await?;
    for (listener, offer) in listeners {
        let url = listener.url.clone();
        let listener = listener.open().map_err(|source| refused(&url, source))?;
        server.listen(listener, offer);
    }
    Ok(server)
}

/// Starts a member on a simulated machine, on the caller's runtime.
async fn start_simulated(config: Config, environment: Environment) -> Result<Server, Error> {
    let mut opened = Opened::simulated(&config, &environment)?;
    let log_task = opened
        .log_driver
        .take()
        .map(|(waker, driver)| waker.drive(driver, Arc::clone(&environment.before_sync)));
    let start = match environment.founders {
        _ if opened.has_history() => Start::Resume,
        Some(founders) => Start::Found(founders),
        None => Start::Join,
    };
    let ingredients = Ingredients {
        opened,
        start,
        transport: environment.transport,
        lanes: Lanes::inline(environment.flush_every),
        ids: Ids::seeded(environment.seed),
    };
    let started = assemble(&config, ingredients).await;
    match started {
        Ok(mut server) => {
            server.keep(log_task);
            Ok(server)
        }
        Err(error) => {
            if let Some(task) = log_task {
                task.abort();
            }
            Err(error)
        }
    }
}

/// A member that has others cannot do without a listener for them.
fn check_reachable(
    known: &[MemberInfo],
    config: &Config,
    listeners: &[(Listener, Offer)],
) -> Result<(), Error> {
    let listens = listeners.iter().any(|(_, offer)| *offer == Offer::Members);
    if listens || known.len() < 2 {
        return Ok(());
    }
    let url = config.listen_peer_urls.first();
    Err(Error::Listen {
        url: url.map_or_else(|| "--listen-peer-urls".to_owned(), Url::to_string),
        source: io::Error::new(
            io::ErrorKind::AddrInUse,
            "the other members of the cluster must reach this one",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_a_port_that_nobody_knows_listens_to_no_other_member() {
        let embedded = Server::builder().data_dir("data").listen("127.0.0.1:0");
        assert_eq!(embedded.settled().unwrap().listen_peer_urls, []);
        let known = Server::builder().data_dir("data").listen("127.0.0.1:2379");
        assert_eq!(known.settled().unwrap().listen_peer_urls.len(), 1);
        let asked = Config {
            listen_peer_urls_explicit: true,
            ..Config::default()
        };
        let asked = Server::builder().config(asked).listen("127.0.0.1:0");
        assert_eq!(asked.settled().unwrap().listen_peer_urls.len(), 1);
    }
}
