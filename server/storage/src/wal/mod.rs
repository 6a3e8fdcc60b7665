//! The raft log: segmented files behind one thread that turns all queued appends into one write
//! and one sync. Must not know what payloads mean.

mod driver;
mod index;
mod log;
mod prepare;
mod read;
mod reader;
mod record;
mod recover;
mod restart;
mod segment;
mod shared;
mod syncs;
mod tail;
#[cfg(test)]
mod tests;
mod thread;

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use handfast_fault::{Fault, active};

use self::prepare::Preparer;
use self::record::{HEADER_BYTES, MAX_BODY_BYTES};
use self::segment::Segments;
use self::shared::{Failure, Notify, Op, Shared};
use self::thread::Writer;

pub use self::driver::WalDriver;
pub use self::restart::restart;
pub(crate) use self::syncs::SyncCounters;
pub use self::syncs::{FSYNC_BUCKETS, FsyncStats};

use crate::disk::Disk;
use crate::{Error, LogPosition};

/// Whose log this is; a log of another member is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Cluster id.
    pub cluster_id: u64,
    /// Member id.
    pub member_id: u64,
}

/// The persisted vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// Term voted in.
    pub term: u64,
    /// Candidate voted for.
    pub node_id: u64,
    /// Whether that candidate is known to lead.
    pub committed: bool,
}

/// One log entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands in the log.
    pub position: LogPosition,
    /// What was proposed; opaque here.
    pub payload: Bytes,
}

/// How to open a log.
#[derive(Clone, Debug)]
pub struct WalOptions {
    /// Size of a full-grown segment file; the first ones are smaller.
    pub segment_bytes: u64,
    /// Bytes of newest entries kept in memory.
    pub tail_cache_bytes: usize,
    /// False skips every sync: for data that is thrown away anyway.
    pub sync: bool,
    /// False makes segments inside the append that needs one instead of ahead of it, so that
    /// the order of disk operations is the same in every run of a simulation.
    pub prepare_ahead: bool,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            tail_cache_bytes: 8 << 20,
            sync: true,
            prepare_ahead: true,
        }
    }
}

/// What the log contains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalState {
    /// The saved vote.
    pub vote: Option<Vote>,
    /// The saved committed position; may lag behind what was saved last before a crash.
    pub committed: Option<LogPosition>,
    /// Last purged entry.
    pub purged: Option<LogPosition>,
    /// Last entry, or the last purged one when there is none behind it.
    pub last: Option<LogPosition>,
}

/// Called once, when an operation is durable or failed: on the log's thread, or on the caller's
/// when the operation is refused at once. Must not block.
pub type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// The open log. After an error of a write or a sync it refuses everything; a sync is never
/// repeated, because a second one may succeed without the data being there.
#[derive(Debug)]
pub struct Wal {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Wal {
    /// Opens the log in `dir`, or creates one. Cuts a last write that was torn.
    ///
    /// # Errors
    /// A log of another member or version, and damage to anything acknowledged, are refused.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        identity: Identity,
        options: WalOptions,
    ) -> Result<Self, Error> {
        let (shared, writer) = assemble(disk, dir, identity, &options, None)?;
        let thread = std::thread::Builder::new()
            .name("wal".to_owned())
            .spawn(move || writer.run())
            .map_err(Error::io("start a thread for", dir))?;
        Ok(Self::new(shared, Some(thread)))
    }

    /// Opens the log like [`Wal::open`], but without any thread: nothing is written except in
    /// [`WalDriver::step`]. `wake` is called when a step has something to do; it must not call
    /// back into the log. Segments are made within the step that needs one.
    ///
    /// # Errors
    /// Those of [`Wal::open`].
    pub fn open_driven(
        disk: Arc<dyn Disk>,
        dir: &Path,
        identity: Identity,
        options: WalOptions,
        wake: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<(Self, WalDriver), Error> {
        let options = WalOptions {
            prepare_ahead: false,
            ..options
        };
        let (shared, writer) = assemble(disk, dir, identity, &options, Some(wake))?;
        Ok((Self::new(shared, None), WalDriver::new(writer)))
    }

    fn new(shared: Arc<Shared>, thread: Option<JoinHandle<()>>) -> Self {
        let wal = Self { shared, thread };
        if active(Fault::ReplayForgotten) {
            wal.truncate_after(None, Box::new(|_| {}));
        }
        wal
    }

    /// What the log contains, operations still in the queue included.
    pub fn state(&self) -> WalState {
        self.shared.inner.lock().log.state()
    }

    /// Appends entries whose indexes continue the log. They can be read when this returns and
    /// are durable when `done` is called. All appends waiting for the disk share one sync.
    ///
    /// # Errors
    /// `done` gets `InvalidInput` when the indexes leave a gap or a payload exceeds 1 GiB; then
    /// none of the entries was appended.
    pub fn append(&self, entries: Vec<Entry>, done: Done) {
        let mut done = Some(done);
        let mut invalid = None;
        let refused = self.shared.submit(|inner| {
            if let Err(error) = check(&entries, inner.log.next()) {
                invalid = Some(error);
                return None;
            }
            inner.serial += 1;
            let serial = inner.serial;
            for entry in &entries {
                inner.log.append(entry.position);
                inner.tail.push(serial, entry.clone());
            }
            Some(Op::Append {
                serial,
                entries,
                done: done.take(),
            })
        });
        let error = refused.map(|failure| failure.error()).or(invalid);
        if let (Some(done), Some(error)) = (done, error) {
            done(Err(error));
        }
    }

    /// Saves a vote, durable when `done` is called.
    pub fn save_vote(&self, vote: Vote, done: Done) {
        let mut done = Some(done);
        let refused = self.shared.submit(|inner| {
            inner.log.set_vote(vote);
            if active(Fault::VoteNotSaved) {
                return None;
            }
            Some(Op::Vote {
                vote,
                done: done.take(),
            })
        });
        if active(Fault::VoteNotSaved)
            && refused.is_none()
            && let Some(done) = done.take()
        {
            done(Ok(()));
        }
        refuse(refused, done);
    }

    /// Notes the committed position. Costs no sync of its own: becomes durable with the next
    /// append, vote or close. A position the log does not reach is ignored.
    pub fn save_committed(&self, position: LogPosition) {
        // Refusal needs no answer: losing a committed position is allowed.
        let _ = self.shared.submit(|inner| {
            if !inner.log.commit(position) {
                return None;
            }
            if let Some(Op::Committed(queued)) = inner.queue.last_mut() {
                *queued = position;
                return None;
            }
            Some(Op::Committed(position))
        });
    }

    /// Removes all entries behind `index`, or all entries; durable when `done` is called.
    pub fn truncate_after(&self, index: Option<u64>, done: Done) {
        let mut done = Some(done);
        let refused = self.shared.submit(|inner| {
            let last = inner.log.end_after(index);
            inner.log.truncate(last);
            inner.tail.truncate(last.map_or(0, |last| last.index + 1));
            inner.truncations += 1;
            Some(Op::Truncate {
                last,
                done: done.take(),
            })
        });
        refuse(refused, done);
    }

    /// Forgets entries up to and including `upto`, at once for readers; becomes durable with the
    /// next append, vote or close. Segments without any other entry are reused. With `upto`
    /// behind the end of the log, the log continues after it.
    pub fn purge(&self, upto: LogPosition) {
        // Refusal needs no answer: the entries are purged again after the next start.
        let _ = self.shared.submit(|inner| {
            if !inner.log.purge(upto) {
                return None;
            }
            inner.tail.purge(upto.index + 1);
            Some(Op::Purge(upto))
        });
    }

    /// Reads entries of an index range, in order: at most `max_bytes` of payload, but at least
    /// one entry if there is any. Purged ones are left out.
    ///
    /// # Errors
    /// `InvalidData` names the file and place when an entry is damaged.
    pub fn read(&self, range: Range<u64>, max_bytes: usize) -> io::Result<Vec<Entry>> {
        read::read(&self.shared, range, max_bytes)
    }

    /// Serial of the oldest operation that is not durable yet, queued or in the disk's hands;
    /// `None` when everything is. One that stays the same tells of a disk that hangs.
    pub fn unsynced_batch(&self) -> Option<u64> {
        self.shared.inner.lock().oldest_unsynced()
    }

    /// How long syncs took.
    pub fn fsync_stats(&self) -> FsyncStats {
        self.shared.syncs.stats()
    }

    /// Writes what is queued, calls everybody back and stops the thread; so does dropping. A
    /// driven log leaves that to the driver's next step.
    pub fn close(self) {}
}

impl Drop for Wal {
    fn drop(&mut self) {
        self.shared.close();
        let Some(thread) = self.thread.take() else {
            return;
        };
        // A callback may own the last handle; the thread cannot wait for itself.
        if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
            tracing::error!("the log's thread panicked");
        }
    }
}

/// Finds out what is on the disk and makes everything the log consists of except who runs it.
fn assemble(
    disk: Arc<dyn Disk>,
    dir: &Path,
    identity: Identity,
    options: &WalOptions,
    notify: Option<Notify>,
) -> Result<(Arc<Shared>, Writer), Error> {
    let mut segments = Segments::new(disk, dir, identity, options.segment_bytes, options.sync);
    let found = recover::recover(&mut segments)?;
    let log = found.log.clone();
    let shared = Arc::new(Shared::new(
        found.log,
        found.index,
        found.segments,
        options.tail_cache_bytes,
        notify,
    ));
    let ahead = options.prepare_ahead;
    let preparer = Preparer::start(segments, found.prepared, &found.active, ahead)
        .map_err(Error::io("start a thread for", dir))?;
    let place = (found.offset, found.previous);
    let writer = Writer::new(
        Arc::clone(&shared),
        preparer,
        found.active,
        place,
        log,
        options.sync,
    );
    Ok((shared, writer))
}

fn check(entries: &[Entry], next: Option<u64>) -> io::Result<()> {
    let mut next = next.or_else(|| entries.first().map(|entry| entry.position.index));
    for entry in entries {
        let index = entry.position.index;
        let problem = if Some(index) != next {
            format!("log entry {index} does not follow the last one (expected {next:?})")
        } else if entry.payload.len() >= MAX_BODY_BYTES - HEADER_BYTES {
            format!("log entry {index} is too large")
        } else {
            next = Some(index + 1);
            continue;
        };
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    Ok(())
}

fn refuse(refused: Option<Failure>, done: Option<Done>) {
    if let (Some(failure), Some(done)) = (refused, done) {
        done(Err(failure.error()));
    }
}
