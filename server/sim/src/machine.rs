//! One simulated machine: its disk, its clock, and the member that runs on it, if one does.
//!
//! Owns starting and stopping the real server on simulated ground. Knows nothing of the other
//! machines, nor when something shall happen.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use handfast_consensus::{Consensus, PeerService, RaftStatus};
use handfast_proto::command::MemberInfo;
use handfast_proto::peer::{Request, Response};
use handfast_server::config::{Config, Url};
use handfast_server::{Environment, Server};
#[cfg(test)]
use handfast_storage::disk::Disk;
use handfast_storage::sim::{Loss, SimDisk};
use handfast_storage::wal::Identity;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::clock::MachineClock;
use crate::dice::Dice;
use crate::net::{Host, Net, PeerNet, Place, SimStream};

/// How long an orderly stop may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// Where a member keeps its data.
const ROOT: &str = "/data";

/// Milliseconds a healthy disk takes for a sync.
pub(crate) const HEALTHY_SYNC_MS: Range<u64> = 0..3;

/// What all members of a cluster are configured with.
#[derive(Debug, Clone)]
pub(crate) struct Tuning {
    pub(crate) heartbeat: Duration,
    pub(crate) election: Duration,
    /// Small, so that members that were away need a snapshot.
    pub(crate) log_tail: u64,
    /// How long the log alone has what is applied.
    pub(crate) flush_every: Duration,
}

/// How fast the disk makes the log durable.
#[derive(Debug)]
pub(crate) struct Pace {
    state: Mutex<(Dice, Range<u64>, bool)>,
    changes: watch::Sender<u64>,
}

impl Pace {
    fn new(dice: Dice) -> Pace {
        Pace {
            state: Mutex::new((dice, HEALTHY_SYNC_MS, false)),
            changes: watch::Sender::new(0),
        }
    }

    /// Lets each sync take this many milliseconds.
    pub(crate) fn take_millis(&self, millis: Range<u64>) {
        self.state.lock().1 = millis;
    }

    /// Lets syncs hang, or go on.
    pub(crate) fn hang(&self, hang: bool) {
        self.state.lock().2 = hang;
        self.changes.send_modify(|count| *count += 1);
    }

    async fn wait(&self) {
        let pause = {
            let mut state = self.state.lock();
            let (dice, millis, _) = &mut *state;
            dice.millis(millis.clone())
        };
        sleep(pause).await;
        let mut changes = self.changes.subscribe();
        while self.state.lock().2 {
            // The sender lives as long as `self`.
            let _ = changes.changed().await;
        }
    }
}

/// A machine with room for one member.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) place: Place,
    pub(crate) clock: MachineClock,
    pub(crate) pace: Arc<Pace>,
    net: Net,
    tuning: Tuning,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    dice: Dice,
    disk: SimDisk,
    tenant: Option<Tenant>,
    server: Option<Server>,
    /// Cancelled when the process is gone, so that it sends nothing any more.
    life: CancellationToken,
    /// A start or an orderly stop is under way.
    busy: bool,
    starts: u64,
    /// The highest revision of any member that was killed here.
    reached: i64,
    /// Its disk is made to fail now.
    failing: bool,
    /// It was since the last start, so that the member may stop by itself.
    troubled: bool,
}

/// The member whose data is on the machine.
#[derive(Debug, Clone)]
pub(crate) struct Tenant {
    pub(crate) identity: Identity,
    pub(crate) founders: Option<Vec<MemberInfo>>,
}

impl Machine {
    pub(crate) fn new(place: Place, net: &Net, tuning: Tuning, dice: &Dice) -> Machine {
        let mut dice = dice.branch(&format!("machine {place}"));
        net.name(&format!("m{place}:2380"), place);
        net.name(&format!("m{place}:2379"), place);
        Machine {
            place,
            clock: MachineClock::new(dice.millis(1_000..1_000_000)),
            pace: Arc::new(Pace::new(dice.branch("pace"))),
            net: net.clone(),
            tuning,
            state: Mutex::new(State {
                dice,
                disk: SimDisk::new(),
                tenant: None,
                server: None,
                life: CancellationToken::new(),
                busy: false,
                starts: 0,
                reached: 0,
                failing: false,
                troubled: false,
            }),
        }
    }

    pub(crate) fn peer_url(&self) -> String {
        format!("http://m{}:2380", self.place)
    }

    pub(crate) fn client_url(&self) -> String {
        format!("http://m{}:2379", self.place)
    }

    /// The member as its founders know it.
    pub(crate) fn info(&self, id: u64) -> MemberInfo {
        MemberInfo {
            id,
            name: format!("m{}", self.place),
            peer_urls: vec![self.peer_url()],
            client_urls: vec![self.client_url()],
            ..MemberInfo::default()
        }
    }

    /// Gives the machine to another member, with an empty disk.
    pub(crate) fn let_to(&self, tenant: Option<Tenant>) {
        let mut state = self.state.lock();
        state.tenant = tenant;
        state.disk = SimDisk::new();
    }

    /// The files of the member, which must be stopped.
    #[cfg(test)]
    pub(crate) fn backup(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let state = self.state.lock();
        let mut files = Vec::new();
        for folder in [ROOT.to_owned(), format!("{ROOT}/wal")] {
            let folder = PathBuf::from(folder);
            for name in state.disk.list(&folder).unwrap_or_default() {
                let path = folder.join(name);
                let content = state.disk.content(&path);
                files.extend(content.map(|content| (path, content)));
            }
        }
        files
    }

    /// Puts the files of a backup in the place of all there are.
    #[cfg(test)]
    pub(crate) fn restore(&self, files: &[(PathBuf, Vec<u8>)]) {
        let mut state = self.state.lock();
        state.disk = SimDisk::new();
        for (path, content) in files {
            state.disk.put(path, content);
        }
    }

    /// The id of the member whose data is here.
    pub(crate) fn member_id(&self) -> Option<u64> {
        let state = self.state.lock();
        state
            .tenant
            .as_ref()
            .map(|tenant| tenant.identity.member_id)
    }

    pub(crate) fn is_up(&self) -> bool {
        self.state.lock().server.is_some()
    }

    /// Whether the member is just being started or stopped.
    pub(crate) fn is_busy(&self) -> bool {
        self.state.lock().busy
    }

    /// Lets every sync fail.
    pub(crate) fn fail_syncs(&self) {
        self.fail(|disk| disk.fail_syncs(true));
    }

    /// Lets files grow no more.
    pub(crate) fn fill_disk(&self) {
        self.fail(|disk| disk.set_capacity(Some(0)));
    }

    fn fail(&self, how: impl FnOnce(&SimDisk)) {
        let mut state = self.state.lock();
        (state.failing, state.troubled) = (true, true);
        how(&state.disk);
    }

    /// Takes back what [`fail_syncs`](Self::fail_syncs) and [`fill_disk`](Self::fill_disk) did.
    pub(crate) fn repair_disk(&self) {
        let mut state = self.state.lock();
        state.failing = false;
        state.disk.fail_syncs(false);
        state.disk.set_capacity(None);
    }

    pub(crate) fn is_troubled(&self) -> bool {
        self.state.lock().troubled
    }

    /// How often a member was started here.
    pub(crate) fn starts(&self) -> u64 {
        self.state.lock().starts
    }

    pub(crate) fn consensus(&self) -> Option<Consensus> {
        self.state.lock().server.as_ref()?.consensus()
    }

    /// The highest revision that was ever applied here, as far as it was seen.
    pub(crate) fn highest_revision(&self) -> i64 {
        let state = self.state.lock();
        state.reached.max(revision(state.server.as_ref()))
    }

    pub(crate) fn status(&self) -> Option<RaftStatus> {
        self.consensus().map(|consensus| consensus.status())
    }

    /// Starts the member on what the disk kept; nothing happens when it runs. Must not be
    /// cancelled.
    ///
    /// # Errors
    /// Why it does not start.
    pub(crate) async fn start(self: &Arc<Self>) -> Result<(), String> {
        let Some((config, environment)) = self.prepare() else {
            return Ok(());
        };
        let builder = Server::builder().config(config).environment(environment);
        let started = builder.start().await;
        let mut state = self.state.lock();
        state.busy = false;
        let server = started.map_err(|error| error.to_string())?;
        let host = ServerHost {
            peers: server.peers(),
            machine: Arc::downgrade(self),
        };
        state.server = Some(server);
        drop(state);
        self.net.attach(self.place, Arc::new(host));
        Ok(())
    }

    fn prepare(&self) -> Option<(Config, Environment)> {
        let mut state = self.state.lock();
        if state.server.is_some() || state.busy {
            return None;
        }
        let tenant = state.tenant.clone()?;
        state.busy = true;
        state.starts += 1;
        state.troubled = state.failing;
        state.life = CancellationToken::new();
        let transport = PeerNet::new(&self.net, self.place, state.life.clone());
        let seed = state.dice.next();
        let pace = Arc::clone(&self.pace);
        let environment = Environment {
            disk: Arc::new(state.disk.clone()),
            root: PathBuf::from(ROOT),
            identity: tenant.identity,
            founders: tenant.founders,
            clock: Arc::new(self.clock.clone()),
            transport: Arc::new(transport),
            seed,
            before_sync: Arc::new(move || {
                let pace = Arc::clone(&pace);
                Box::pin(async move { pace.wait().await })
            }),
            flush_every: self.tuning.flush_every,
        };
        let mut config = Config::default();
        let name = format!("m{}", self.place);
        config.name = name.clone();
        config.advertise_client_urls = vec![Url::tcp(&name, 2379)];
        config.initial_advertise_peer_urls = vec![Url::tcp(&name, 2380)];
        config.heartbeat_interval = self.tuning.heartbeat;
        config.election_timeout = self.tuning.election;
        config.snapshot_catchup_entries = self.tuning.log_tail;
        Some((config, environment))
    }

    /// Stops the member within one instant, and the machine with it: unsynced data fares as
    /// `loss` says.
    pub(crate) fn kill(&self, loss: Loss) {
        let mut state = self.state.lock();
        let State {
            disk,
            server,
            dice,
            life,
            reached,
            ..
        } = &mut *state;
        *reached = (*reached).max(revision(server.as_ref()));
        life.cancel();
        disk.stop();
        disk.restart(loss, dice.next());
        let server = server.take();
        drop(state);
        self.net.detach(self.place);
        if let Some(server) = server {
            // Its tasks cannot reach disk or network any more.
            tokio::spawn(server.kill());
        }
    }

    /// Stops the member in order. Must not be cancelled.
    ///
    /// # Errors
    /// When it did not end in time.
    pub(crate) async fn stop(&self) -> Result<(), String> {
        let server = {
            let mut state = self.state.lock();
            let Some(server) = state.server.take() else {
                return Ok(());
            };
            state.busy = true;
            server
        };
        let ended = timeout(STOP_TIMEOUT, server.shutdown()).await;
        // All of it was synced, or it was not an orderly stop.
        self.kill(Loss::Everything);
        self.state.lock().busy = false;
        match ended {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("m{} stopped badly: {error}", self.place)),
            Err(_) => Err(format!("m{} did not stop in {STOP_TIMEOUT:?}", self.place)),
        }
    }
}

fn revision(server: Option<&Server>) -> i64 {
    let consensus = server.and_then(Server::consensus);
    consensus.map_or(0, |consensus| consensus.store().revision())
}

/// A running server as the network sees it; the machine alone keeps it alive.
struct ServerHost {
    /// Answers to the last, also while the server stops in order.
    peers: PeerService,
    machine: Weak<Machine>,
}

impl Host for ServerHost {
    fn call(&self, request: Request) -> BoxFuture<'static, Response> {
        let peers = self.peers.clone();
        async move { peers.call(request).await }.boxed()
    }

    fn replicate(&self, requests: BoxStream<'static, Request>) -> BoxStream<'static, Response> {
        self.peers.replicate(requests).boxed()
    }

    fn accept(&self, stream: SimStream) {
        if let Some(machine) = self.machine.upgrade()
            && let Some(server) = &machine.state.lock().server
        {
            server.serve_connection(stream);
        }
    }
}
