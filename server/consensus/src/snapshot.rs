//! Bringing the whole state to a member that is too far behind for the log.
//!
//! Owns the conversation: an offer, chunks of rows from wherever the receiver stopped, and the
//! installation. Neither side holds more than a chunk in memory, and both go on serving.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use handfast_mvcc::{SnapshotHeader, Store};
use handfast_proto::peer::{
    RowCursor, SnapshotChunk, SnapshotInstall, SnapshotOffer, SnapshotProgress, request, response,
};
use handfast_storage::{
    disk::Disk,
    spool::{Cursor, Spool},
};
use openraft::storage::{Snapshot, SnapshotMeta};
use parking_lot::Mutex;

use crate::{
    ask::{AskError, Peers},
    types::{LogId, RaftVote, TypeConfig, from_stored_message, stored_message},
    wire,
};

/// Bytes of rows in one chunk, about.
const CHUNK_BYTES: usize = 1 << 20;
/// How long the receiver may take for one chunk.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the receiver may take to replace its state.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(600);

/// Where the rows of a snapshot are: nothing is copied before it is sent or installed.
#[derive(Clone)]
pub(crate) enum SnapshotSource {
    /// In this member's durable state.
    Own(Arc<handfast_mvcc::Snapshot>),
    /// In the spool, as another member sent them.
    Received(Arc<Received>),
}

pub(crate) type StateSnapshot = Snapshot<
    openraft::type_config::alias::CommittedLeaderIdOf<TypeConfig>,
    u64,
    crate::types::Member,
    SnapshotSource,
>;

/// Where a member keeps a snapshot while it arrives.
#[derive(Clone)]
pub struct SpoolOptions {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The file, in a folder that exists.
    pub path: PathBuf,
}

/// Why a snapshot was not delivered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("the snapshot cannot be read: {0}")]
    Read(#[from] handfast_mvcc::Error),
    #[error("member {0:x} follows a newer leader")]
    Superseded(u64),
    #[error("a received snapshot cannot be sent on")]
    NotOurs,
}

/// Sends a snapshot to a member and has it installed; returns the vote the member then has.
///
/// Cancel safe: what has arrived stays there, and the next attempt goes on behind it.
pub(crate) async fn send(
    peers: &Peers,
    to: u64,
    vote: RaftVote,
    snapshot: StateSnapshot,
) -> Result<RaftVote, SendError> {
    let SnapshotSource::Own(state) = &snapshot.snapshot else {
        return Err(SendError::NotOurs);
    };
    let applied = snapshot.meta.last_log_id.as_ref().map(wire::encode_log_id);
    let offer = SnapshotOffer {
        vote: Some(wire::encode_vote(&vote)),
        applied,
        membership: stored_message(&snapshot.meta.last_membership),
        header: state.header.encode(),
    };
    tracing::info!(to = format!("{to:x}"), "sending a snapshot");
    let offer = request::Body::SnapshotOffer(offer);
    let mut next = progress(to, peers.ask(to, offer, CHUNK_TIMEOUT).await?)?;
    while let Some(chunk) = state.chunk(next, CHUNK_BYTES)? {
        let chunk = request::Body::SnapshotChunk(SnapshotChunk {
            applied,
            from: Some(cursor(chunk.from)),
            next: Some(cursor(chunk.next)),
            rows: chunk.rows,
        });
        next = progress(to, peers.ask(to, chunk, CHUNK_TIMEOUT).await?)?;
    }
    let install = request::Body::SnapshotInstall(SnapshotInstall {
        vote: Some(wire::encode_vote(&vote)),
        applied,
    });
    match peers.ask(to, install, INSTALL_TIMEOUT).await? {
        response::Body::SnapshotInstalled(installed) => {
            wire::decode_vote(installed.vote).map_err(|_| AskError::Unexpected(to).into())
        }
        _ => Err(AskError::Unexpected(to).into()),
    }
}

fn progress(to: u64, answer: response::Body) -> Result<Cursor, SendError> {
    let response::Body::SnapshotProgress(progress) = answer else {
        return Err(AskError::Unexpected(to).into());
    };
    if progress.higher_vote.is_some() {
        return Err(SendError::Superseded(to));
    }
    let next = progress.next.unwrap_or_default();
    Ok((next.main, next.sub))
}

fn cursor((main, sub): Cursor) -> RowCursor {
    RowCursor { main, sub }
}

/// What is known of the snapshot that is arriving.
struct Offered {
    applied: LogId,
    offer: SnapshotOffer,
    header: SnapshotHeader,
}

/// Receives snapshots, one at a time.
pub(crate) struct Receiver {
    options: SpoolOptions,
    offered: Mutex<Option<Offered>>,
    spool: Mutex<Option<Arc<Mutex<Spool>>>>,
    /// Whether raft has a complete snapshot in its hands: its rows must stay as they are.
    installing: Arc<AtomicBool>,
}

/// Why a part of a snapshot was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    #[error("the snapshot cannot be kept: {0}")]
    Spool(#[from] handfast_storage::Error),
    #[error("the snapshot cannot be read: {0}")]
    Header(#[from] handfast_mvcc::Error),
    #[error("this chunk is not of the snapshot that was offered last")]
    NotOffered,
    #[error("an earlier snapshot is being installed")]
    Installing,
    #[error("{0}")]
    Malformed(String),
}

impl Receiver {
    pub(crate) fn new(options: SpoolOptions) -> Self {
        Self {
            options,
            offered: Mutex::new(None),
            spool: Mutex::new(None),
            installing: Arc::default(),
        }
    }

    /// Takes note of an offer, and says what is there of it already.
    pub(crate) fn offer(&self, offer: SnapshotOffer) -> Result<SnapshotProgress, ReceiveError> {
        if self.installing.load(Ordering::Acquire) {
            return Err(ReceiveError::Installing);
        }
        let header = SnapshotHeader::decode(&offer.header)?;
        let applied = offer.applied.map(wire::decode_log_id);
        let applied = applied.ok_or_else(|| malformed("an offer without a log id"))?;
        let spool = self.open()?;
        let next = Some(cursor(spool.lock().begin(header.offer())?));
        *self.offered.lock() = Some(Offered {
            applied,
            offer,
            header,
        });
        Ok(SnapshotProgress {
            next,
            higher_vote: None,
        })
    }

    /// Keeps a chunk, if it is the next one; says which is wanted next in any case.
    pub(crate) fn chunk(&self, chunk: &SnapshotChunk) -> Result<SnapshotProgress, ReceiveError> {
        let applied = chunk.applied.map(wire::decode_log_id);
        let offered = self.offered.lock();
        if offered.as_ref().map(|offered| offered.applied) != applied {
            return Err(ReceiveError::NotOffered);
        }
        let place = |cursor: Option<RowCursor>| {
            let cursor = cursor.ok_or_else(|| malformed("a chunk without its place"))?;
            Ok::<_, ReceiveError>((cursor.main, cursor.sub))
        };
        let (from, next) = (place(chunk.from)?, place(chunk.next)?);
        let spool = self.open()?;
        let mut spool = spool.lock();
        if spool.next() == from {
            spool.append(from, next, &chunk.rows)?;
        }
        Ok(SnapshotProgress {
            next: Some(cursor(spool.next())),
            higher_vote: None,
        })
    }

    /// The complete snapshot, for raft to install.
    pub(crate) fn complete(
        &self,
        install: &SnapshotInstall,
    ) -> Result<(RaftVote, StateSnapshot), ReceiveError> {
        let applied = install.applied.map(wire::decode_log_id);
        let mut offered = self.offered.lock();
        let Some(taken) = offered.take_if(|offered| Some(offered.applied) == applied) else {
            return Err(ReceiveError::NotOffered);
        };
        let vote =
            wire::decode_vote(install.vote).map_err(|error| malformed(&error.to_string()))?;
        let last_membership = from_stored_message(taken.offer.membership)
            .map_err(|error| malformed(&error.to_string()))?;
        let spool = self.open()?;
        self.installing.store(true, Ordering::Release);
        let snapshot = Snapshot {
            meta: SnapshotMeta {
                last_log_id: applied,
                last_membership,
            },
            snapshot: SnapshotSource::Received(Arc::new(Received {
                header: taken.header,
                spool,
                installing: Arc::clone(&self.installing),
            })),
        };
        Ok((vote, snapshot))
    }

    fn open(&self) -> Result<Arc<Mutex<Spool>>, ReceiveError> {
        let mut spool = self.spool.lock();
        if let Some(spool) = spool.as_ref() {
            return Ok(Arc::clone(spool));
        }
        let opened = Spool::open(Arc::clone(&self.options.disk), &self.options.path)?;
        let opened = Arc::new(Mutex::new(opened));
        *spool = Some(Arc::clone(&opened));
        Ok(opened)
    }
}

fn malformed(what: &str) -> ReceiveError {
    ReceiveError::Malformed(what.to_owned())
}

/// A snapshot that has arrived.
pub(crate) struct Received {
    header: SnapshotHeader,
    spool: Arc<Mutex<Spool>>,
    installing: Arc<AtomicBool>,
}

impl Drop for Received {
    /// Installed, or passed over by raft: either way the next one may come.
    fn drop(&mut self) {
        self.installing.store(false, Ordering::Release);
    }
}

impl Received {
    /// Replaces the store's content. Blocks for as long as that takes.
    pub(crate) fn install(&self, store: &Store) -> Result<(), ReceiveError> {
        let mut spool = self.spool.lock();
        {
            let mut rows = spool.rows();
            store.install(self.header.clone(), &mut rows)?;
        }
        spool.clear()?;
        Ok(())
    }
}
