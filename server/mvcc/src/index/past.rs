//! Superseded versions and deletions.
//!
//! Owns which older revisions of a key can still be read: those since the compaction, and those the
//! sweep has not reached yet. Must not know what they contain: that is read back by revision.

use std::{
    collections::{BTreeMap, VecDeque, btree_map},
    ops::Bound,
};

use crate::Revision;

const TOMBSTONE: u32 = 1 << 31;

/// One superseded version, or one deletion.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    main: i64,
    /// The sub-revision, and in the highest bit whether it is a deletion.
    packed: u32,
}

/// The marks of every key that changed, ascending per key.
#[derive(Debug, Default)]
pub(crate) struct Past {
    keys: BTreeMap<Box<[u8]>, VecDeque<Mark>>,
    marks: usize,
}

impl Mark {
    pub(crate) fn version(revision: Revision) -> Self {
        debug_assert!(revision.sub < TOMBSTONE);
        Self {
            main: revision.main,
            packed: revision.sub,
        }
    }

    pub(crate) fn tombstone(revision: Revision) -> Self {
        debug_assert!(revision.sub < TOMBSTONE);
        Self {
            main: revision.main,
            packed: revision.sub | TOMBSTONE,
        }
    }

    pub(crate) fn revision(self) -> Revision {
        Revision::new(self.main, self.packed & !TOMBSTONE)
    }

    pub(crate) fn is_tombstone(self) -> bool {
        self.packed & TOMBSTONE != 0
    }
}

impl std::fmt::Debug for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.is_tombstone() {
            "tombstone"
        } else {
            "version"
        };
        let Revision { main, sub } = self.revision();
        write!(f, "{kind} {main}.{sub}")
    }
}

impl Past {
    /// How many marks there are.
    pub(crate) fn len(&self) -> usize {
        self.marks
    }

    /// Adds the newest marks of a key, ascending.
    pub(crate) fn extend(&mut self, key: &[u8], marks: impl IntoIterator<Item = Mark>) {
        let (known, before) = match self.keys.get_mut(key) {
            Some(known) => {
                let before = known.len();
                known.extend(marks);
                (known, before)
            }
            // Without a key of its own for each change of one that is known.
            None => (
                self.keys
                    .entry(key.into())
                    .or_insert(VecDeque::from_iter(marks)),
                0,
            ),
        };
        self.marks += known.len() - before;
    }

    /// The version of `key` that was current at `at`, if it was superseded or deleted since.
    pub(crate) fn at(&self, key: &[u8], at: i64) -> Option<Revision> {
        visible(self.keys.get(key)?, at)
    }

    /// The marks of `key`, ascending.
    pub(crate) fn marks(&self, key: &[u8]) -> Option<&VecDeque<Mark>> {
        self.keys.get(key)
    }

    /// The keys with marks between the bounds, ascending.
    pub(crate) fn range(
        &self,
        low: Bound<&[u8]>,
        high: Bound<&[u8]>,
    ) -> btree_map::Range<'_, Box<[u8]>, VecDeque<Mark>> {
        if is_inverted(low, high) {
            return self
                .keys
                .range::<[u8], _>((Bound::Excluded(&[][..]), Bound::Included(&[][..])));
        }
        self.keys.range::<[u8], _>((low, high))
    }

    /// Forgets the oldest `count` marks of a key.
    pub(crate) fn forget(&mut self, key: &[u8], count: usize) {
        let Some(marks) = self.keys.get_mut(key) else {
            return;
        };
        let count = count.min(marks.len());
        marks.drain(..count);
        self.marks -= count;
        if marks.is_empty() {
            self.keys.remove(key);
        } else if marks.capacity() > 2 * marks.len() + 8 {
            marks.shrink_to_fit();
        }
    }
}

/// The version among a key's marks that was current at `at`, unless it was deleted then.
pub(crate) fn visible(marks: &VecDeque<Mark>, at: i64) -> Option<Revision> {
    let index = marks
        .partition_point(|mark| mark.main <= at)
        .checked_sub(1)?;
    let mark = marks.get(index)?;
    (!mark.is_tombstone()).then(|| mark.revision())
}

/// Whether the newest of a key's marks is a deletion, so that they do not tell if it exists now.
pub(crate) fn ends_deleted(marks: &VecDeque<Mark>) -> bool {
    marks.back().is_some_and(|mark| mark.is_tombstone())
}

/// How many of a key's oldest marks nobody can read any more after a compaction at `compacted`.
///
/// `current` is the revision of the version that exists now, if one does. What was written at the
/// mark itself stays, deletions too, so that a watch from there on misses nothing.
pub(crate) fn unreadable(marks: &VecDeque<Mark>, current: Option<i64>, compacted: i64) -> usize {
    let old = marks.partition_point(|mark| mark.main <= compacted);
    let Some(last) = old.checked_sub(1).and_then(|index| marks.get(index)) else {
        return 0;
    };
    let superseded = old == marks.len() && current.is_some_and(|current| current <= compacted);
    if superseded || (last.is_tombstone() && last.main < compacted) {
        old
    } else {
        old - 1
    }
}

fn is_inverted(low: Bound<&[u8]>, high: Bound<&[u8]>) -> bool {
    match (low, high) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Excluded(low), Bound::Excluded(high)) => low >= high,
        (
            Bound::Included(low) | Bound::Excluded(low),
            Bound::Included(high) | Bound::Excluded(high),
        ) => low > high,
    }
}
