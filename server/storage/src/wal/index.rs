//! Where entries lie on disk: one point per stretch of log, bounded in number. Must not do IO.

use std::collections::VecDeque;

/// Bytes of log between two points of a segment: what a read may have to skip.
const STRIDE_BYTES: u64 = 32 << 10;

/// Entries from `first` on are consecutive records from `offset` on, up to the next point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) first: u64,
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// The points, ascending by entry index.
#[derive(Debug, Default)]
pub(super) struct SparseIndex {
    points: VecDeque<Point>,
    /// The next entry does not continue the last point's stretch.
    broken: bool,
}

impl SparseIndex {
    /// Notes where an entry was written; entries come in log order.
    pub(super) fn push(&mut self, first: u64, segment: u64, offset: u64) {
        let continues = !self.broken
            && self.points.back().is_some_and(|point| {
                point.segment == segment && offset - point.offset < STRIDE_BYTES
            });
        if !continues {
            self.points.push_back(Point {
                first,
                segment,
                offset,
            });
            self.broken = false;
        }
    }

    /// Entries from index `end` on are gone.
    pub(super) fn truncate(&mut self, end: u64) {
        while self.points.back().is_some_and(|point| point.first >= end) {
            self.points.pop_back();
        }
        // What follows on disk are the removed entries, so the new ones need a point of their own.
        self.broken = true;
    }

    /// Entries before index `start` are gone; with `all`, so is every other one.
    pub(super) fn purge(&mut self, start: u64, all: bool) {
        if all {
            self.points.clear();
        }
        while self.points.get(1).is_some_and(|point| point.first <= start) {
            self.points.pop_front();
        }
    }

    /// The point to read entry `index` from, and the index up to which it serves.
    pub(super) fn locate(&self, index: u64) -> Option<(Point, u64)> {
        let after = self.points.partition_point(|point| point.first <= index);
        let point = self.points.get(after.checked_sub(1)?)?;
        let until = self.points.get(after).map_or(u64::MAX, |point| point.first);
        Some((*point, until))
    }

    /// The point of the oldest entries.
    pub(super) fn front(&self) -> Option<Point> {
        self.points.front().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_sparse_and_bounded_by_stretches() {
        let mut index = SparseIndex::default();
        for entry in 0..4096 {
            index.push(entry, 1, 4096 + entry * 64);
        }
        assert_eq!(index.points.len(), 8);
        let (point, until) = index.locate(600).unwrap();
        assert_eq!((point.first, until), (512, 1024));
    }

    #[test]
    fn rewritten_entries_get_a_point_of_their_own() {
        let mut index = SparseIndex::default();
        for entry in 0..10 {
            index.push(entry, 1, 4096 + entry * 64);
        }
        index.truncate(5);
        index.push(5, 1, 8192);
        let (old, until) = index.locate(4).unwrap();
        assert_eq!((old.offset, until), (4096, 5));
        assert_eq!(index.locate(5).unwrap().0.offset, 8192);
    }

    #[test]
    fn purging_keeps_the_stretch_that_is_still_needed() {
        let mut index = SparseIndex::default();
        for segment in 1..4 {
            index.push(segment * 10, segment, 4096);
        }
        index.purge(25, false);
        assert_eq!(index.front().unwrap().segment, 2);
        index.purge(30, false);
        assert_eq!(index.front().unwrap().segment, 3);
        index.purge(99, true);
        assert_eq!(index.front(), None);
    }
}
