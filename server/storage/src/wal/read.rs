//! Reading entries: from memory where they are new, otherwise from the segments. Must not write.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::Entry;
use super::index::Point;
use super::reader::Reader;
use super::record::Record;
use super::segment::Segment;
use super::shared::Shared;

const READ_CHUNK_BYTES: usize = 64 << 10;

/// The next thing a read has to do.
enum Step {
    Finished,
    /// Entries up to `until` are in this segment, from the point on.
    Disk {
        segment: Arc<Segment>,
        point: Point,
        until: u64,
    },
}

pub(super) fn read(shared: &Shared, range: Range<u64>, max_bytes: usize) -> io::Result<Vec<Entry>> {
    loop {
        let before = shape(shared);
        match attempt(shared, &range, max_bytes, before.0) {
            Ok(Some(entries)) => return Ok(entries),
            // The log was cut meanwhile: begin again rather than join what never stood together.
            Ok(None) => {}
            Err(error) if shape(shared) == before => return Err(error),
            // The segment may have been purged under the read.
            Err(_) => {}
        }
    }
}

/// Changes with every truncation and purge.
fn shape(shared: &Shared) -> (u64, u64) {
    let inner = shared.inner.lock();
    (inner.truncations, inner.log.held().start)
}

/// One pass; `None` when the log was truncated meanwhile.
fn attempt(
    shared: &Shared,
    range: &Range<u64>,
    max_bytes: usize,
    truncations: u64,
) -> io::Result<Option<Vec<Entry>>> {
    let mut entries = Vec::new();
    let mut budget = max_bytes;
    let mut want = range.start;
    loop {
        let step = {
            let inner = shared.inner.lock();
            if inner.truncations != truncations {
                return Ok(None);
            }
            let held = inner.log.held();
            if entries.is_empty() {
                want = want.max(held.start);
            }
            let end = range.end.min(held.end);
            // Entries purged since the last step end the read; the rest would leave a hole.
            let exhausted = !entries.is_empty() && budget == 0;
            if want >= end || exhausted || want < held.start {
                Step::Finished
            } else if want >= inner.tail_start() {
                inner.tail.read(want..end, &mut budget, &mut entries);
                Step::Finished
            } else {
                let end = end.min(inner.tail_start());
                let (point, until) = inner.index.locate(want).ok_or_else(|| lost(want))?;
                let segment = inner.segment(point.segment).ok_or_else(|| lost(want))?;
                Step::Disk {
                    segment,
                    point,
                    until: until.min(end),
                }
            }
        };
        match step {
            Step::Finished => return Ok(Some(entries)),
            Step::Disk {
                segment,
                point,
                until,
            } => {
                stretch(&segment, point, want..until, &mut budget, &mut entries)?;
                want = entries
                    .last()
                    .map_or(want, |entry| entry.position.index + 1);
            }
        }
    }
}

/// Reads entries of one stretch of consecutive records.
fn stretch(
    segment: &Segment,
    point: Point,
    range: Range<u64>,
    budget: &mut usize,
    entries: &mut Vec<Entry>,
) -> io::Result<()> {
    let mut reader = Reader::new(segment, point.offset, READ_CHUNK_BYTES)?;
    let mut expected = point.first;
    while expected < range.end {
        let at = reader.offset();
        let Some(located) = reader.next_record()? else {
            return Err(damaged(segment, at, expected));
        };
        let Record::Entry { position, payload } = located.record else {
            continue;
        };
        if position.index != expected {
            return Err(damaged(segment, at, expected));
        }
        expected += 1;
        if position.index < range.start {
            continue;
        }
        if !entries.is_empty() && payload.len() > *budget {
            *budget = 0;
            return Ok(());
        }
        *budget = budget.saturating_sub(payload.len());
        // Copied: a kept payload must not hold the whole chunk in memory.
        entries.push(Entry {
            position,
            payload: Bytes::copy_from_slice(payload),
        });
    }
    Ok(())
}

fn lost(index: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("log entry {index} has no place on disk"),
    )
}

fn damaged(segment: &Segment, offset: u64, index: u64) -> io::Error {
    let path = segment.path.display();
    let message = format!(
        "{path} is damaged at byte {offset}: log entry {index} cannot be read; \
         restore this member from its peers or from a snapshot"
    );
    io::Error::new(io::ErrorKind::InvalidData, message)
}
