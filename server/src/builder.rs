//! How a server comes to life.
//!
//! Owns the order of a start: check the configuration, bind, open the data, agree, serve. What
//! runs afterwards is in `server`.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use handfast_consensus::{Consensus, Options};
use handfast_mvcc::{Clock, MonotonicClock, Store, StoreOptions};
use handfast_proto::command::MemberInfo;
use handfast_storage::data_dir::DataDir;
use handfast_storage::disk::{Disk, RealDisk};
use handfast_storage::state::{State, StateOptions};
use handfast_storage::wal::{Identity, Wal, WalOptions};

use crate::api::{Node, Settings, Streams};
use crate::config::{Config, Url};
use crate::dispatch::{Dispatch, Offer, Services};
use crate::failure::Error;
use crate::flusher::Flusher;
use crate::ids::Ids;
use crate::lanes::{Lanes, blocking};
use crate::limits;
use crate::listen::{Connections, Listener, Tuning};
use crate::server::{Parts, Server};

/// Describes a server; see [`Server::builder`].
#[derive(Debug, Clone, Default)]
pub struct Builder {
    config: Config,
    /// As it was given; read at the start, so that building cannot fail.
    listen: Option<String>,
    /// Whether `config` chose the addresses.
    configured: bool,
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
    /// Port 0 is a free one; see [`Server::endpoint`] for which.
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

    /// Starts the server. When this returns it serves, and leads its cluster of one.
    ///
    /// The server has threads of its own, so any runtime will do. Not cancel safe: a start that is
    /// dropped half way goes on, and the server then stops by itself.
    ///
    /// # Errors
    /// One sentence that says what to change: configuration, address, data directory, disk.
    pub async fn start(self) -> Result<Server, Error> {
        let mut config = self.settled()?;
        config.validate()?;
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        let lanes = Lanes::for_this_machine().map_err(Error::Thread)?;
        let guard = StopUnlessStarted(Some(lanes.clone()));
        let first = lanes.first().clone();
        let starting = first.spawn(async move {
            let listeners = bind(&mut config).await?;
            let opened = blocking({
                let config = config.clone();
                move || Opened::open(&config)
            })
            .await?;
            start(config, listeners, opened, lanes).await
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
async fn bind(config: &mut Config) -> Result<Vec<(Listener, Offer)>, Error> {
    let clients = config
        .listen_client_urls
        .iter()
        .map(|url| (url, Offer::Everything));
    let plain = config
        .listen_metrics_urls
        .iter()
        .map(|url| (url, Offer::Plain));
    let mut listeners = Vec::new();
    for (url, offer) in clients.chain(plain) {
        let listener = Listener::bind(url).await.map_err(|source| Error::Listen {
            url: url.to_string(),
            source,
        })?;
        listeners.push((listener, offer));
    }
    let bound = listeners
        .iter()
        .filter(|(_, offer)| *offer == Offer::Everything);
    config.listen_client_urls = bound.map(|(listener, _)| listener.url.clone()).collect();
    let first_port = config.listen_client_urls.first().map_or(0, Url::port);
    for url in &mut config.advertise_client_urls {
        if url.port() == 0 {
            *url = url.with_port(first_port);
        }
    }
    Ok(listeners)
}

/// The data of one member, opened and locked.
struct Opened {
    dir: DataDir,
    identity: Identity,
    wal: Wal,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
}

impl Opened {
    fn open(config: &Config) -> Result<Opened, Error> {
        let mut dir = match config.ephemeral {
            true => DataDir::ephemeral()?,
            false => DataDir::open(&config.data_dir)?,
        };
        let identity = match dir.identity() {
            Some(identity) => identity,
            None => {
                let ids = Ids::default();
                // Zero stands for "none" on the wire.
                let identity = Identity {
                    cluster_id: ids.draw().max(1),
                    member_id: ids.draw().max(1),
                };
                dir.set_identity(identity)?;
                identity
            }
        };
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let wal_dir = config.wal_dir.clone().unwrap_or_else(|| dir.wal_dir());
        let wal = Wal::open(Arc::clone(&disk), &wal_dir, identity, wal_options(config))?;
        let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::default());
        let store = open_store(disk, &dir.state_path(), config, &clock)?;
        Ok(Opened {
            dir,
            identity,
            wal,
            store,
            clock,
        })
    }
}

fn wal_options(config: &Config) -> WalOptions {
    let defaults = WalOptions {
        sync: config.sync,
        ..WalOptions::default()
    };
    if config.ephemeral {
        return WalOptions {
            segment_bytes: limits::EPHEMERAL_SEGMENT_BYTES,
            ..defaults
        };
    }
    defaults
}

fn open_store(
    disk: Arc<dyn Disk>,
    path: &Path,
    config: &Config,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<Store>, Error> {
    let state_options = StateOptions {
        sync: config.sync,
        ..StateOptions::default()
    };
    let state = State::open(disk, path, state_options)?;
    let options = StoreOptions {
        sync: config.sync,
        clock: Arc::clone(clock),
        ..StoreOptions::default()
    };
    Ok(Arc::new(Store::open(Arc::new(state), options)?))
}

/// From opened data to a serving member.
async fn start(
    config: Config,
    listeners: Vec<(Listener, Offer)>,
    opened: Opened,
    lanes: Lanes,
) -> Result<Server, Error> {
    let Opened {
        dir,
        identity,
        wal,
        store,
        clock,
    } = opened;
    let flusher = Flusher::start(Arc::clone(&store), config.compaction_sleep_interval)
        .map_err(Error::Thread)?;
    let settings = Settings::of(&config);
    let member = member(&config, identity.member_id);
    let options = Options {
        member: member.clone(),
        wal,
        store: Arc::clone(&store),
        clock,
        heartbeat_interval: config.heartbeat_interval,
        election_timeout: config.election_timeout,
        request_timeout: settings.request_timeout,
        max_request_bytes: settings.max_request_bytes,
        log_tail_entries: config.snapshot_catchup_entries,
    };
    let consensus = Consensus::start(options).await?;
    let node = Arc::new(Node {
        cluster_id: identity.cluster_id,
        member,
        consensus,
        store,
        settings,
        streams: Arc::new(Streams::default()),
        ids: Ids::default(),
    });
    let connections = Connections::new(lanes.clone());
    let (services, tuning) = (Services::new(&node), Tuning::of(&config));
    for (listener, offer) in listeners {
        tracing::info!(url = %listener.url, ?offer, "listening");
        let services = Arc::clone(&services);
        connections.serve(listener, Dispatch { services, offer }, &tuning);
    }
    let client_urls = config
        .listen_client_urls
        .iter()
        .map(Url::to_string)
        .collect();
    Ok(Server::run(Parts {
        node,
        connections,
        flusher,
        dir,
        client_urls,
        lanes,
    }))
}

fn member(config: &Config, id: u64) -> MemberInfo {
    let texts = |urls: &[Url]| urls.iter().map(Url::to_string).collect();
    MemberInfo {
        id,
        name: config.name.clone(),
        peer_urls: texts(&config.initial_advertise_peer_urls),
        client_urls: texts(&config.advertise_client_urls),
        is_learner: false,
    }
}
