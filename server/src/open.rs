//! The data of one member: where it is and how it is opened.
//!
//! Owns the choice between the machine's disk and a simulated one. It must not know who else is in
//! the cluster.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use handfast_mvcc::{Clock, MonotonicClock, Store, StoreOptions};
use handfast_storage::data_dir::DataDir;
use handfast_storage::disk::{Disk, RealDisk};
use handfast_storage::state::{State, StateOptions};
use handfast_storage::wal::{Identity, Wal, WalDriver, WalOptions};

use crate::config::Config;
use crate::environment::{Environment, LogWaker};
use crate::failure::Error;
use crate::limits;

/// Name of the file that a snapshot is received in.
const SPOOL: &str = "snapshot.spool";

/// The data of one member, opened and locked.
pub(crate) struct Opened {
    /// `None` when a simulation keeps the data.
    pub(crate) dir: Option<DataDir>,
    pub(crate) identity: Identity,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) spool_path: PathBuf,
    pub(crate) wal: Wal,
    /// What writes the log where it has no thread.
    pub(crate) log_driver: Option<(LogWaker, WalDriver)>,
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Opened {
    /// Opens the folder on the machine's disk; it must say whose data it is. Blocks.
    pub(crate) fn in_dir(
        config: &Config,
        dir: DataDir,
        identity: Identity,
    ) -> Result<Opened, Error> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let wal_dir = config.wal_dir.clone().unwrap_or_else(|| dir.wal_dir());
        let wal = Wal::open(Arc::clone(&disk), &wal_dir, identity, wal_options(config))?;
        let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::default());
        let store = open_store(Arc::clone(&disk), &dir.state_path(), config, &clock)?;
        Ok(Opened {
            identity,
            disk,
            spool_path: dir.spool_path(),
            wal,
            log_driver: None,
            store,
            clock,
            dir: Some(dir),
        })
    }

    /// Opens the folder on a simulated disk.
    pub(crate) fn simulated(config: &Config, environment: &Environment) -> Result<Opened, Error> {
        let (disk, root) = (Arc::clone(&environment.disk), &environment.root);
        let waker = LogWaker::default();
        let options = WalOptions {
            segment_bytes: limits::EPHEMERAL_SEGMENT_BYTES,
            prepare_ahead: false,
            ..wal_options(config)
        };
        let (wal, driver) = Wal::open_driven(
            Arc::clone(&disk),
            &root.join("wal"),
            environment.identity,
            options,
            waker.callback(),
        )?;
        let clock = Arc::clone(&environment.clock);
        let store = open_store(Arc::clone(&disk), &root.join("state.redb"), config, &clock)?;
        Ok(Opened {
            dir: None,
            identity: environment.identity,
            disk,
            spool_path: root.join(SPOOL),
            wal,
            log_driver: Some((waker, driver)),
            store,
            clock,
        })
    }

    /// Whether there is anything to go on from. The log may have been cut behind the state.
    pub(crate) fn has_history(&self) -> bool {
        self.wal.state().last.is_some() || self.store.applied().is_some()
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
