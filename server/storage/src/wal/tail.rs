//! The newest entries, in memory, bounded by bytes. Holds every entry that has no place on disk
//! yet. Must not do IO.

use std::collections::VecDeque;
use std::ops::Range;

use super::Entry;

/// What an entry costs besides its payload.
const ENTRY_OVERHEAD: usize = 96;

/// A run of entries that ends where the log ends.
#[derive(Debug)]
pub(super) struct Tail {
    /// With the serial of the append that brought each.
    entries: VecDeque<(u64, Entry)>,
    bytes: usize,
    limit: usize,
}

impl Tail {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            limit,
        }
    }

    /// Index of the first entry held; `next` (where the log ends) when there is none.
    pub(super) fn start(&self, next: u64) -> u64 {
        self.entries
            .front()
            .map_or(next, |(_, entry)| entry.position.index)
    }

    pub(super) fn push(&mut self, serial: u64, entry: Entry) {
        self.bytes += cost(&entry);
        self.entries.push_back((serial, entry));
    }

    /// Drops entries from index `end` on.
    pub(super) fn truncate(&mut self, end: u64) {
        while self
            .entries
            .back()
            .is_some_and(|(_, entry)| entry.position.index >= end)
        {
            if let Some((_, entry)) = self.entries.pop_back() {
                self.bytes -= cost(&entry);
            }
        }
    }

    /// Drops entries before index `start`.
    pub(super) fn purge(&mut self, start: u64) {
        while self
            .entries
            .front()
            .is_some_and(|(_, entry)| entry.position.index < start)
        {
            self.pop_front();
        }
    }

    /// Drops the oldest entries until the rest fits, but none of an append after `written`.
    pub(super) fn evict(&mut self, written: u64) {
        while self.bytes > self.limit
            && self
                .entries
                .front()
                .is_some_and(|&(serial, _)| serial <= written)
        {
            self.pop_front();
        }
    }

    /// Copies out entries of a range that lies within the tail, at most `max_bytes` of payload
    /// but at least one entry.
    pub(super) fn read(&self, range: Range<u64>, max_bytes: &mut usize, out: &mut Vec<Entry>) {
        let skip = range.start.saturating_sub(self.start(range.start)) as usize;
        let count = (range.end.saturating_sub(range.start)) as usize;
        for (_, entry) in self.entries.iter().skip(skip).take(count) {
            if !out.is_empty() && entry.payload.len() > *max_bytes {
                *max_bytes = 0;
                return;
            }
            *max_bytes = max_bytes.saturating_sub(entry.payload.len());
            out.push(entry.clone());
        }
    }

    fn pop_front(&mut self) {
        if let Some((_, entry)) = self.entries.pop_front() {
            self.bytes -= cost(&entry);
        }
        if self.entries.is_empty() {
            self.entries.shrink_to(1024);
        }
    }
}

fn cost(entry: &Entry) -> usize {
    entry.payload.len() + ENTRY_OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LogPosition;
    use bytes::Bytes;

    fn entry(index: u64) -> Entry {
        let position = LogPosition { term: 1, index };
        Entry {
            position,
            payload: Bytes::from(vec![0; 100]),
        }
    }

    #[test]
    fn eviction_spares_what_is_not_written() {
        let mut tail = Tail::new(0);
        for index in 0..10 {
            tail.push(index / 2, entry(index));
        }
        tail.evict(2);
        assert_eq!(tail.start(10), 6);
        tail.evict(4);
        assert_eq!(tail.start(10), 10);
        assert_eq!(tail.bytes, 0);
    }

    #[test]
    fn reading_honours_range_and_bytes() {
        let mut tail = Tail::new(1 << 20);
        for index in 5..15 {
            tail.push(1, entry(index));
        }
        let read = |range, mut bytes| {
            let mut out = Vec::new();
            tail.read(range, &mut bytes, &mut out);
            out.iter()
                .map(|entry| entry.position.index)
                .collect::<Vec<_>>()
        };
        assert_eq!(read(7..9, usize::MAX), [7, 8]);
        assert_eq!(read(7..15, 250), [7, 8]);
        assert_eq!(read(7..15, 0), [7]);
    }
}
