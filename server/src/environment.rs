//! The seam by which a simulation takes the place of the machine under a server.
//!
//! Owns what a server would otherwise take from the operating system: disk, clock, randomness, the
//! way to other members and the moment at which the log is written. With an [`Environment`] a
//! server opens no socket, starts no thread and runs entirely on the caller's runtime, so that the
//! same seed gives the same run. It must not know what is simulated, nor how.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use handfast_consensus::peer::SharedTransport;
use handfast_mvcc::Clock;
use handfast_proto::command::MemberInfo;
use handfast_storage::disk::Disk;
use handfast_storage::wal::{Identity, WalDriver};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// Awaited before each write of the log: a slow disk is a hook that takes its time.
pub type BeforeSync = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// What a server runs on in place of the machine; see [`Builder::environment`].
///
/// [`Builder::environment`]: crate::Builder::environment
#[derive(Clone)]
pub struct Environment {
    /// Holds the log, the state file and snapshots under way.
    pub disk: Arc<dyn Disk>,
    /// The folder on `disk` for all of them; it takes the place of the data directory, but has
    /// neither lock nor identity file.
    pub root: PathBuf,
    /// Who this member is.
    pub identity: Identity,
    /// The members that found the cluster, the same list on each of them. `None` when this one
    /// joins a cluster that exists and was told its identity there. Looked at only while the log
    /// is empty: otherwise the member goes on where it was.
    pub founders: Option<Vec<MemberInfo>>,
    /// What leases and timeouts run on; must follow tokio's clock.
    pub clock: Arc<dyn Clock>,
    /// The way to other members.
    pub transport: SharedTransport,
    /// Seed of everything this server draws by chance.
    pub seed: u64,
    /// Awaited before each write of the log.
    pub before_sync: BeforeSync,
    /// Longest time an applied change waits until it is written to the state file; until then the
    /// log alone has it.
    pub flush_every: Duration,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("root", &self.root)
            .field("identity", &self.identity)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// Wakes the task that writes the log.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogWaker(Arc<Notify>);

impl LogWaker {
    /// What the log calls when there is something to write.
    pub(crate) fn callback(&self) -> Arc<dyn Fn() + Send + Sync> {
        let notify = Arc::clone(&self.0);
        Arc::new(move || notify.notify_one())
    }

    /// Writes the log on a task, each time it asks for it, until it is closed.
    pub(crate) fn drive(self, mut driver: WalDriver, before_sync: BeforeSync) -> AbortHandle {
        let driving = tokio::spawn(async move {
            loop {
                self.0.notified().await;
                before_sync().await;
                if !driver.step() {
                    return;
                }
            }
        });
        driving.abort_handle()
    }
}
