//! The log's writer: takes everything queued, writes it with one write and one sync, then calls
//! everybody back. A thread runs it, or a [`WalDriver`](super::WalDriver). Batches arise from
//! waiting for the disk; there is no timer. Must not answer reads.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use handfast_fault::{Fault, active};

use super::Done;
use super::log::Log;
use super::prepare::Preparer;
use super::record::{self, Begin, Encoder};
use super::segment::{PAGE_BYTES, Segment};
use super::shared::{Failure, Op, Shared};

/// Room the largest record without payload takes.
const SMALL_RECORD_BYTES: u64 = 256;

/// A change of where entries lie, applied once it is durable.
#[derive(Debug)]
enum Moved {
    Entry {
        index: u64,
        segment: u64,
        offset: u64,
    },
    Truncate {
        end: u64,
    },
    Purge {
        start: u64,
        all: bool,
    },
    Segment(Arc<Segment>),
}

/// Writes batches; owned by the log's thread.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) preparer: Preparer,
    pub(super) active: Arc<Segment>,
    /// Where the next write goes in the active segment.
    pub(super) offset: u64,
    /// End and checksum of the last record written.
    pub(super) previous: (u64, u32),
    /// The log as far as it has been encoded.
    pub(super) log: Log,
    pub(super) sync: bool,
    pub(super) encoder: Encoder,
    moved: Vec<Moved>,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        preparer: Preparer,
        active: Arc<Segment>,
        (offset, previous): (u64, (u64, u32)),
        log: Log,
        sync: bool,
    ) -> Self {
        let mut encoder = Encoder::default();
        encoder.restart(record::seed(active.number), offset);
        let moved = Vec::new();
        Self {
            shared,
            preparer,
            active,
            offset,
            previous,
            log,
            sync,
            encoder,
            moved,
        }
    }

    /// Serves the queue until the log is closed.
    pub(super) fn run(mut self) {
        let mut ops = Vec::new();
        while self.shared.take(&mut ops) {
            self.serve(&mut ops);
        }
    }

    /// Carries out one drain of the queue: one write, one sync, then the callbacks.
    pub(super) fn serve(&mut self, ops: &mut Vec<Op>) {
        let mut calls = Vec::new();
        let mut written = 0;
        let result = self.write(ops, &mut calls, &mut written);
        ops.clear();
        match result {
            Ok(()) => {
                self.publish(written);
                for done in calls {
                    done(Ok(()));
                }
            }
            Err(error) => {
                tracing::error!(%error, "the log cannot be written; it refuses everything now");
                let failure = Failure::new(&error);
                // The refused state comes first: a caller must not see its call fail and
                // then have another one accepted.
                calls.extend(self.shared.fail(failure.clone()));
                for done in calls {
                    done(Err(failure.error()));
                }
            }
        }
    }

    fn write(
        &mut self,
        ops: &mut Vec<Op>,
        calls: &mut Vec<Done>,
        written: &mut u64,
    ) -> io::Result<()> {
        let mut failed = Ok(());
        if active(Fault::AckBeforeSync) {
            failed = self.active.file.sync_data();
        }
        for op in ops.drain(..) {
            let (op, done) = op.split();
            calls.extend(done);
            if failed.is_ok() {
                failed = self.encode(&op, written);
            }
        }
        failed?;
        self.commit(self.sync && !active(Fault::AckBeforeSync))
    }

    fn encode(&mut self, op: &Op, written: &mut u64) -> io::Result<()> {
        match op {
            Op::Append {
                serial, entries, ..
            } => {
                for entry in entries {
                    self.make_room(record::entry_bytes(entry.payload.len()) as u64)?;
                    self.moved.push(Moved::Entry {
                        index: entry.position.index,
                        segment: self.active.number,
                        offset: self.encoder.end(),
                    });
                    self.encoder.entry(entry.position, &entry.payload);
                    self.log.append(entry.position);
                }
                *written = *serial;
                return Ok(());
            }
            _ => self.make_room(SMALL_RECORD_BYTES)?,
        }
        match op {
            Op::Append { .. } => {}
            Op::Vote { vote, .. } => {
                self.encoder.vote(*vote);
                self.log.set_vote(*vote);
            }
            Op::Truncate { last, .. } => {
                self.encoder.truncate(*last);
                self.log.truncate(*last);
                self.moved.push(Moved::Truncate {
                    end: last.map_or(0, |last| last.index + 1),
                });
            }
            Op::Committed(position) => {
                if self.log.commit(*position) {
                    self.encoder.committed(*position);
                }
            }
            Op::Purge(upto) => {
                self.encoder.purge(*upto);
                self.log.purge(*upto);
                let all = self.log.held().is_empty();
                self.moved.push(Moved::Purge {
                    start: upto.index + 1,
                    all,
                });
            }
        }
        Ok(())
    }

    /// Goes to the next segment when a record of that size does not fit. One that fits into no
    /// segment makes its file grow.
    fn make_room(&mut self, bytes: u64) -> io::Result<()> {
        let fresh = self.encoder.end() == PAGE_BYTES;
        let full = self.encoder.end() + bytes > self.active.bytes;
        let only_begun = self.encoder.end() <= PAGE_BYTES + SMALL_RECORD_BYTES;
        if full && !fresh && !only_begun {
            // Durable before the next segment has a record: a torn end is always in the last.
            self.commit(self.sync)?;
            let next = Arc::new(self.preparer.next(&self.active)?);
            self.moved.push(Moved::Segment(Arc::clone(&next)));
            self.active = next;
            self.offset = PAGE_BYTES;
            self.encoder
                .restart(record::seed(self.active.number), PAGE_BYTES);
        }
        if self.encoder.end() == PAGE_BYTES {
            let (previous_end, previous_crc) = self.previous;
            let state = self.log.state();
            self.encoder.begin(Begin {
                previous_end,
                previous_crc,
                state,
            });
        }
        Ok(())
    }

    /// Writes what is encoded, and syncs it.
    fn commit(&mut self, sync: bool) -> io::Result<()> {
        if self.encoder.is_empty() {
            return Ok(());
        }
        let end = self.encoder.end();
        let crc = self.encoder.last_crc();
        let bytes = self.encoder.finish(PAGE_BYTES, self.active.bytes);
        self.active.file.write_at(bytes, self.offset)?;
        if sync {
            let start = Instant::now();
            self.active.file.sync_data()?;
            self.shared.syncs.add(start.elapsed());
        }
        self.offset = end;
        self.previous = (end, crc);
        self.encoder.restart(record::seed(self.active.number), end);
        Ok(())
    }

    /// Lets readers find what has been written, and retires segments nobody needs any more.
    fn publish(&mut self, written: u64) {
        let mut retired = Vec::new();
        {
            let mut inner = self.shared.inner.lock();
            inner.durable = inner.taken;
            let mut purged = false;
            for moved in self.moved.drain(..) {
                match moved {
                    Moved::Entry {
                        index,
                        segment,
                        offset,
                    } => {
                        inner.index.push(index, segment, offset);
                    }
                    Moved::Truncate { end } => inner.index.truncate(end),
                    Moved::Purge { start, all } => {
                        inner.index.purge(start, all);
                        purged = true;
                    }
                    Moved::Segment(segment) => inner.segments.push_back(segment),
                }
            }
            inner.tail.evict(written);
            if purged {
                let active = self.active.number;
                let needed = inner.index.front().map_or(active, |point| point.segment);
                while inner
                    .segments
                    .front()
                    .is_some_and(|first| first.number < needed.min(active))
                {
                    retired.extend(inner.segments.pop_front());
                }
            }
        }
        for segment in retired {
            self.preparer.retire(segment);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Finds something only when a callback panicked: nobody may wait for ever.
        let failure = Failure::closed();
        for done in self.shared.fail(failure.clone()) {
            done(Err(failure.error()));
        }
    }
}
