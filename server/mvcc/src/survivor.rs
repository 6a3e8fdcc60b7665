//! Making the data of one surviving member the start of a cluster of its own, offline.
//!
//! Owns the order of the steps, such that a recovery that is interrupted anywhere can be repeated,
//! and that nothing but a recovery takes its half for a whole. Must not know how log entries are
//! encoded or what a membership looks like: the caller translates.
//!
//! All entries of the survivor's log are applied, also those it does not know to be committed: the
//! lost majority may have acknowledged them, while whoever proposed the others got no answer and
//! has to reckon with both outcomes. What only the lost members had is lost; that is why revisions
//! are raised and all before is marked compacted, so that nobody who saw lost revisions goes on
//! from them unknowingly.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use handfast_storage::{
    Error as StorageError, LogPosition,
    data_dir::DataDir,
    disk::{Disk, RealDisk},
    recovery::{Complete, Mark, remove_if_there},
    state::{State, StateOptions},
    wal::{self, Identity, Wal, WalDriver, WalOptions},
};

use crate::{Error, LogEntry, Store, StoreOptions};

/// Bytes of log that are read at once.
const READ_BYTES: usize = 4 << 20;

/// Where the survivor's data lies and how it is opened.
#[derive(Debug)]
pub struct Survivor {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The data directory.
    pub root: PathBuf,
    /// Directory of the log.
    pub wal_dir: PathBuf,
    /// The state file.
    pub state_path: PathBuf,
    /// A snapshot that may be half received.
    pub spool_path: PathBuf,
    /// Whose data it is.
    pub identity: Identity,
    /// How to open and make the log.
    pub wal: WalOptions,
    /// How to open the state file.
    pub state: StateOptions,
    /// How to open the store.
    pub store: StoreOptions,
}

/// What it becomes.
pub struct Recovery<'a> {
    /// Whose data it shall be. A recovery that was begun with another one keeps that.
    pub identity: Identity,
    /// By how much the revision is raised; above 0.
    pub bump: i64,
    /// The membership of the one member, set at a log position, as the store keeps it.
    pub membership: &'a dyn Fn(Identity, LogPosition) -> Bytes,
    /// What the log says.
    pub entries: Translate<'a>,
}

/// Translates an entry of the log.
pub type Translate<'a> = &'a dyn Fn(wal::Entry) -> io::Result<Vec<LogEntry>>;

/// What a survivor's data holds.
#[derive(Debug)]
pub struct Seen {
    /// With everything that the log holds; nothing of it was written.
    pub store: Store,
    /// Index of the last log entry that is in the state file.
    pub applied_index: u64,
    /// Index of the last log entry.
    pub last_index: u64,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// Whose data it is now.
    pub identity: Identity,
    /// The last log entry applied.
    pub applied: LogPosition,
    /// The revision it goes on from.
    pub revision: i64,
    /// How many entries were applied that were not known to be committed; 0 when a recovery that
    /// was interrupted after that was finished.
    pub undecided: u64,
}

impl Survivor {
    /// The data of a stopped member, with defaults.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the directory holds no data.
    pub fn in_dir(dir: &DataDir) -> Result<Self, Error> {
        let identity = dir
            .identity()
            .ok_or_else(|| Error::Malformed("the data directory holds no data".into()))?;
        Ok(Self {
            disk: Arc::new(RealDisk),
            root: dir.path().to_owned(),
            wal_dir: dir.wal_dir(),
            state_path: dir.state_path(),
            spool_path: dir.spool_path(),
            identity,
            wal: WalOptions::default(),
            state: StateOptions::default(),
            store: StoreOptions::default(),
        })
    }

    /// Does all but the replacement of the directory's identity; [`Survivor::finish`] is due after
    /// that. Blocks for as long as a start does.
    ///
    /// # Errors
    /// Whatever keeps the data from being read or written. It can then be repeated.
    pub fn recover(&self, recovery: &Recovery<'_>) -> Result<Recovered, Error> {
        let disk = self.disk.as_ref();
        let mark = Mark::read(disk, &self.root)?.unwrap_or(Mark {
            identity: recovery.identity,
            state: None,
        });
        let (complete, undecided) = match mark.state {
            Some(complete) => (complete, 0),
            None => {
                mark.write(disk, &self.root)?;
                let (complete, undecided) = self.complete_state(mark.identity, recovery)?;
                let state = Some(complete);
                // From here on the old log is of no use, so its removal may be interrupted.
                Mark { state, ..mark }.write(disk, &self.root)?;
                (complete, undecided)
            }
        };
        remove_if_there(disk, &self.spool_path)?;
        // No term may come again, or two entries of one position could differ.
        let vote = wal::Vote {
            term: complete.term,
            node_id: mark.identity.member_id,
            committed: false,
        };
        wal::restart(
            Arc::clone(&self.disk),
            &self.wal_dir,
            mark.identity,
            self.wal.clone(),
            complete.applied,
            vote,
        )?;
        Ok(Recovered {
            identity: mark.identity,
            applied: complete.applied,
            revision: complete.revision,
            undecided,
        })
    }

    /// Declares the recovery complete: the data can be used again.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn finish(&self) -> Result<(), Error> {
        Ok(Mark::remove(self.disk.as_ref(), &self.root)?)
    }

    /// What a recovery would start from: the state with the whole log carried into it, in memory
    /// only. After a recovery that was interrupted late, the state alone.
    ///
    /// # Errors
    /// Whatever keeps the data from being read.
    pub fn look(&self, entries: Translate<'_>) -> Result<Seen, Error> {
        let store = self.open_store()?;
        let applied_index = store.applied().map_or(0, |position| position.index);
        let mut seen = Seen {
            store,
            applied_index,
            last_index: applied_index,
        };
        let begun = Mark::read(self.disk.as_ref(), &self.root)?;
        if begun.is_none_or(|mark| mark.state.is_none()) {
            let (wal, _driver) = self.open_log()?;
            self.replay(&wal, &seen.store, entries)?;
            seen.last_index = wal.state().last.map_or(0, |last| last.index);
        }
        Ok(seen)
    }

    /// Only the driver could write it, and it never steps.
    fn open_log(&self) -> Result<(Wal, WalDriver), Error> {
        let disk = Arc::clone(&self.disk);
        let options = self.wal.clone();
        let idle = Arc::new(|| {});
        let opened = Wal::open_driven(disk, &self.wal_dir, self.identity, options, idle)?;
        Ok(opened)
    }

    fn open_store(&self) -> Result<Store, Error> {
        let disk = Arc::clone(&self.disk);
        let state = State::open(disk, &self.state_path, self.state.clone())?;
        Store::open(Arc::new(state), self.store.clone())
    }

    /// Carries the log into the state, and makes the state that of the new cluster.
    fn complete_state(
        &self,
        identity: Identity,
        recovery: &Recovery<'_>,
    ) -> Result<(Complete, u64), Error> {
        let (wal, _driver) = self.open_log()?;
        let store = self.open_store()?;
        self.replay(&wal, &store, recovery.entries)?;
        let membership = |position| (recovery.membership)(identity, position);
        let revision = store.recover(&membership, recovery.bump)?;
        let applied = store.applied().unwrap_or_default();
        let log = wal.state();
        let committed = log.committed.map_or(0, |position| position.index);
        let last = log.last.map_or(0, |position| position.index);
        let voted = log.vote.map_or(0, |vote| vote.term);
        let complete = Complete {
            applied,
            term: voted.max(applied.term),
            revision,
        };
        Ok((complete, last.saturating_sub(committed)))
    }

    fn replay(&self, wal: &Wal, store: &Store, entries_of: Translate<'_>) -> Result<(), Error> {
        let unreadable = |source| {
            Error::Storage(StorageError::Io {
                action: "read the log in",
                path: self.wal_dir.clone(),
                source,
            })
        };
        let mut next = store.applied().map_or(0, |position| position.index + 1);
        if let Some(purged) = wal.state().purged
            && purged.index + 1 > next
            && store.applied().is_none_or(|applied| applied < purged)
        {
            return Err(gap(&self.wal_dir, purged.index + 1, next));
        }
        loop {
            let read = wal.read(next..u64::MAX, READ_BYTES).map_err(unreadable)?;
            let Some(last) = read.last() else {
                return Ok(());
            };
            next = last.position.index + 1;
            let mut entries = Vec::new();
            for entry in read {
                entries.extend(entries_of(entry).map_err(unreadable)?);
            }
            store.apply(entries);
            if let Some(reason) = store.halted() {
                return Err(Error::Halted(reason));
            }
        }
    }
}

fn gap(wal_dir: &Path, begins: u64, wanted: u64) -> Error {
    Error::Malformed(format!(
        "the log in {} begins at entry {begins}, the state needs {wanted}: choose another survivor",
        wal_dir.display()
    ))
}

/// Recovers a data directory from beginning to end, whatever an interrupted recovery left. The
/// old join token goes.
///
/// # Errors
/// Those of [`Survivor::recover`].
pub fn recover(dir: &mut DataDir, recovery: &Recovery<'_>) -> Result<Recovered, Error> {
    let survivor = Survivor::in_dir(dir)?;
    let recovered = survivor.recover(recovery)?;
    dir.replace_identity(recovered.identity)?;
    dir.remove_join_token()?;
    survivor.finish()?;
    Ok(recovered)
}
