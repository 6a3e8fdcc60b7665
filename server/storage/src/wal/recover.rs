//! Reads a log back from its segments: cuts a torn last write, refuses damage to anything that
//! had been acknowledged. Must not create records.

use std::collections::VecDeque;
use std::sync::Arc;

use super::index::SparseIndex;
use super::log::Log;
use super::reader::Reader;
use super::record::{Begin, Record};
use super::segment::{PAGE_BYTES, Segment, Segments};
use crate::Error;

const READ_CHUNK_BYTES: usize = 256 << 10;
const ZERO_CHUNK_BYTES: usize = 256 << 10;

/// A log as found on disk.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) log: Log,
    pub(super) index: SparseIndex,
    /// All segments that hold records, and the active one.
    pub(super) segments: VecDeque<Arc<Segment>>,
    /// The segment to write to next, also the last of `segments`.
    pub(super) active: Arc<Segment>,
    /// Where to write in it; the header's end when it has no records yet.
    pub(super) offset: u64,
    /// End of the last record and its checksum, for the next segment's first record.
    pub(super) previous: (u64, u32),
    /// Empty segments that were prepared behind the active one.
    pub(super) prepared: VecDeque<Segment>,
}

/// Opens everything in the directory, making the first segment of a new log.
pub(super) fn recover(segments: &mut Segments) -> Result<Recovered, Error> {
    let mut found = segments.open_all()?;
    if found.is_empty() {
        let bytes = segments.size_after(0);
        let dir = segments.dir().to_owned();
        found.push(
            segments
                .make(1, bytes)
                .map_err(Error::io("create a log in", &dir))?,
        );
    }
    for pair in found.windows(2) {
        if pair[0].number + 1 != pair[1].number {
            let detail = format!("the segment after {} is missing", pair[0].number);
            return Err(Error::corrupt(&pair[1].path, 0, detail));
        }
    }
    let mut replay = Replay::default();
    let mut used: VecDeque<Arc<Segment>> = VecDeque::new();
    let mut empty = VecDeque::new();
    for segment in found {
        if !replay.segment(&segment)? {
            empty.push_back(segment);
        } else if let Some(before) = empty.front() {
            let detail = "its first record is damaged, newer segments have records";
            return Err(Error::corrupt(&before.path, PAGE_BYTES, detail));
        } else {
            used.push_back(Arc::new(segment));
        }
    }
    replay.check(&used, &empty)?;
    let active = match used.back() {
        Some(last) => Arc::clone(last),
        None => {
            let first = empty.pop_front().expect("a log has at least one segment");
            used.push_back(Arc::new(first));
            Arc::clone(&used[0])
        }
    };
    for &(number, offset) in &replay.torn {
        let used = used.iter().map(Arc::as_ref);
        for segment in used
            .chain(&empty)
            .filter(|segment| segment.number == number)
        {
            clear_torn_write(segment, offset)?;
        }
    }
    let offset = if replay.first.is_some() {
        replay.end.0
    } else {
        PAGE_BYTES
    };
    Ok(Recovered {
        log: replay.log,
        index: replay.index,
        segments: used,
        active,
        offset,
        previous: replay.end,
        prepared: empty,
    })
}

#[derive(Debug, Default)]
struct Replay {
    log: Log,
    index: SparseIndex,
    /// Number of the first segment with records.
    first: Option<u64>,
    /// End and checksum of the last record.
    end: (u64, u32),
    /// Segments in which a torn write begins, and where.
    torn: Vec<(u64, u64)>,
}

impl Replay {
    /// Replays a segment; false when it has no records.
    fn segment(&mut self, segment: &Segment) -> Result<bool, Error> {
        let io = |error| Error::io("read", &segment.path)(error);
        let mut reader = Reader::new(segment, PAGE_BYTES, READ_CHUNK_BYTES).map_err(io)?;
        let mut end = None;
        while let Some(located) = reader.next_record().map_err(io)? {
            let (offset, crc) = (located.offset, located.crc);
            let begins = matches!(located.record, Record::Begin(_));
            if begins != (offset == PAGE_BYTES) {
                return Err(Error::corrupt(
                    &segment.path,
                    offset,
                    "a record is out of place",
                ));
            }
            self.record(&located.record, offset, segment)?;
            end = Some(crc);
        }
        let offset = reader.offset();
        let later = reader.latest_batch_behind().map_err(io)?;
        drop(reader);
        match later {
            Some(batch) if batch > offset => {
                let detail = format!("unreadable, but a later write at {batch} is whole");
                return Err(Error::corrupt(&segment.path, offset, detail));
            }
            Some(_) => self.torn.push((segment.number, offset)),
            None => {}
        }
        if let Some(crc) = end {
            self.first = self.first.or(Some(segment.number));
            self.end = (offset, crc);
        }
        Ok(end.is_some())
    }

    fn record(&mut self, record: &Record<'_>, at: u64, segment: &Segment) -> Result<(), Error> {
        let fits = match *record {
            Record::Begin(begin) => self.begin(&begin),
            Record::Entry { position, .. } => {
                self.index.push(position.index, segment.number, at);
                self.log.append(position)
            }
            Record::Vote(vote) => {
                self.log.set_vote(vote);
                true
            }
            Record::Committed(position) => self.log.commit(position),
            Record::Truncate { last } => {
                self.log.truncate(last);
                self.index.truncate(last.map_or(0, |last| last.index + 1));
                true
            }
            Record::Purge(upto) => {
                self.log.purge(upto);
                self.index.purge(upto.index + 1, self.log.held().is_empty());
                true
            }
        };
        if fits {
            return Ok(());
        }
        let detail = match record {
            Record::Begin(_) => "it does not continue the segment before it",
            _ => "a record does not continue the log",
        };
        Err(Error::corrupt(&segment.path, at, detail))
    }

    fn begin(&mut self, begin: &Begin) -> bool {
        if self.first.is_some() {
            return (begin.previous_end, begin.previous_crc) == self.end;
        }
        self.log = Log::resume(begin.state);
        true
    }

    /// Whether the entries that should be there are.
    fn check(&self, used: &VecDeque<Arc<Segment>>, empty: &VecDeque<Segment>) -> Result<(), Error> {
        let first = used.front().map(|first| (first.number, first.path.clone()));
        let first = first.or_else(|| empty.front().map(|s| (s.number, s.path.clone())));
        let Some((number, path)) = first else {
            return Ok(());
        };
        let state = self.log.state();
        let complete = match (state.purged, state.last) {
            _ if number == 1 => true,
            (Some(purged), Some(last)) if last.index > purged.index => self
                .index
                .front()
                .is_some_and(|point| point.first <= purged.index + 1),
            (purged, _) => purged.is_some(),
        };
        if complete {
            return Ok(());
        }
        let detail = "older segments are missing";
        Err(Error::corrupt(&path, 0, detail))
    }
}

/// Overwrites what a torn write left: its later records must not follow new ones by accident.
fn clear_torn_write(segment: &Segment, offset: u64) -> Result<(), Error> {
    tracing::warn!(
        segment = %segment.path.display(),
        offset,
        "cutting a write that the last stop of the machine interrupted; it was not acknowledged"
    );
    let zeros = vec![0; ZERO_CHUNK_BYTES];
    let mut at = offset;
    while at < segment.bytes {
        let part = zeros.len().min((segment.bytes - at) as usize);
        segment
            .file
            .write_at(&zeros[..part], at)
            .map_err(Error::io("write", &segment.path))?;
        at += part as u64;
    }
    segment
        .file
        .sync_data()
        .map_err(Error::io("sync", &segment.path))
}
