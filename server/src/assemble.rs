//! A member put together: consensus on its data, handlers on consensus, connections on handlers.
//!
//! Owns how the parts depend on each other. Where the data comes from and which cluster it belongs
//! to is settled before.

use std::sync::Arc;

use handfast_consensus::peer::SharedTransport;
use handfast_consensus::{Consensus, Options, SpoolOptions, Start, recovery};
use handfast_mvcc::Store;
use handfast_proto::command::MemberInfo;
use handfast_storage::data_dir::DataDir;

use crate::announce;
use crate::api::{Node, Settings, Streams};
use crate::config::{Config, Url};
use crate::dispatch::Services;
use crate::failure::Error;
use crate::flusher::Flusher;
use crate::ids::Ids;
use crate::lanes::Lanes;
use crate::listen::{Connections, Spread, Tuning};
use crate::metrics::Metrics;
use crate::open::Opened;
use crate::server::{Parts, Server};

/// What a member is made of, beside its configuration.
pub(crate) struct Ingredients {
    pub(crate) opened: Opened,
    pub(crate) start: Start,
    pub(crate) transport: SharedTransport,
    pub(crate) lanes: Lanes,
    pub(crate) ids: Ids,
}

/// Starts a member; it serves no listener yet. Must be called on a lane.
pub(crate) async fn assemble(config: &Config, from: Ingredients) -> Result<Server, Error> {
    let lanes = from.lanes.clone();
    let mut settings = Settings::of(config);
    settings.inline = lanes.is_inline();
    let (options, dir, ids) = split(config, &settings, from);
    let (member, store) = (options.member.clone(), Arc::clone(&options.store));
    let cluster_id = options.cluster_id;
    let flusher = flusher(config, &store, &lanes)?;
    let consensus = Consensus::start(options).await?;
    let node = Arc::new(Node {
        cluster_id,
        member: member.clone(),
        consensus,
        store,
        settings,
        streams: Arc::new(Streams::default()),
        ids,
        metrics: Metrics::default(),
    });
    let clients = Connections::new(lanes.clone(), Spread::Every);
    let members = Connections::new(lanes.clone(), Spread::First);
    let mut server = Server::run(Parts {
        services: Services::new(&node, members.draining()),
        node: Arc::clone(&node),
        clients,
        members,
        tuning: Tuning::of(config),
        members_tuning: Tuning::for_members(config),
        flusher,
        client_urls: texts(&config.listen_client_urls),
        dir: dir.map(Arc::new),
        lanes,
    });
    server.spawn(announce::publish(Arc::clone(&node), member));
    if let Some(dir) = server.kept_dir() {
        let address = join_address(config);
        server.spawn(announce::leave_join_token(node, dir, address));
    }
    Ok(server)
}

/// What consensus needs, and what it does not.
fn split(
    config: &Config,
    settings: &Settings,
    from: Ingredients,
) -> (Options, Option<DataDir>, Ids) {
    let Ingredients {
        opened,
        start,
        transport,
        lanes,
        ids,
    } = from;
    let options = Options {
        member: member(config, &opened),
        cluster_id: opened.identity.cluster_id,
        start,
        transport,
        wal: opened.wal,
        store: opened.store,
        clock: opened.clock,
        spool: SpoolOptions {
            disk: opened.disk,
            path: opened.spool_path,
        },
        heartbeat_interval: config.heartbeat_interval,
        election_timeout: config.election_timeout,
        request_timeout: settings.request_timeout,
        max_request_bytes: settings.max_request_bytes,
        log_tail_entries: config.snapshot_catchup_entries,
        lease_read: config.lease_read,
        strict_reconfig: config.strict_reconfig_check,
        max_learners: config.max_learners,
        compare_rows_every: config.corrupt_check_time,
        blocking: !lanes.is_inline(),
    };
    (options, opened.dir, ids)
}

fn flusher(config: &Config, store: &Arc<Store>, lanes: &Lanes) -> Result<Flusher, Error> {
    let (store, pause) = (Arc::clone(store), config.compaction_sleep_interval);
    match lanes.flush_every() {
        Some(flush_every) => Ok(Flusher::start_inline(store, pause, flush_every)),
        None => Flusher::start(store, pause).map_err(Error::Thread),
    }
}

/// Where another member would join this one, if somebody means it to have others.
fn join_address(config: &Config) -> Option<String> {
    let urls = config.initial_advertise_peer_urls.iter();
    let addresses: Vec<String> = urls
        .filter_map(|url| url.to_string().strip_prefix("http://").map(str::to_owned))
        .collect();
    config
        .listen_peer_urls_explicit
        .then(|| addresses.join(","))
}

/// The members of its cluster, as the state of this one has them.
pub(crate) fn members_of(opened: &Opened) -> Vec<MemberInfo> {
    // What cannot be read is refused by consensus, in better words.
    recovery::members(opened.store.membership()).unwrap_or_default()
}

/// This member as it runs now.
fn member(config: &Config, opened: &Opened) -> MemberInfo {
    let id = opened.identity.member_id;
    let known = members_of(opened);
    let before = known.iter().find(|member| member.id == id);
    // Whoever joined under a name and is restarted without one keeps it.
    let unnamed = config.name == Config::default().name;
    let kept = before.filter(|before| unnamed && !before.name.is_empty());
    MemberInfo {
        id,
        name: kept.map_or_else(|| config.name.clone(), |before| before.name.clone()),
        // Where the others find it may have been changed since it was founded or added.
        peer_urls: match before {
            Some(before) => before.peer_urls.clone(),
            None => texts(&config.initial_advertise_peer_urls),
        },
        client_urls: texts(&config.advertise_client_urls),
        ..MemberInfo::default()
    }
}

fn texts(urls: &[Url]) -> Vec<String> {
    urls.iter().map(Url::to_string).collect()
}
