//! The index against a `BTreeMap`, and how well it packs.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn meta(main: i64) -> Meta {
    Meta {
        create_revision: main,
        version: 1,
        lease: 0,
        revision: Revision::new(main, 0),
        slot: 0,
    }
}

fn key(number: u32) -> Vec<u8> {
    format!("/registry/pods/namespace-{number:08}").into_bytes()
}

fn chunks(index: &Index) -> usize {
    index.groups.iter().map(|group| group.chunks.len()).sum()
}

/// What every index must be, whatever was done to it.
fn assert_sound(index: &Index) {
    let mut keys = 0;
    let mut previous: Option<&[u8]> = None;
    for group in &index.groups {
        assert!(!group.chunks.is_empty() && group.chunks.len() <= MAX_CHUNKS);
        assert_eq!(
            group.keys,
            group.chunks.iter().map(Chunk::len).sum::<usize>()
        );
        keys += group.keys;
        for chunk in &group.chunks {
            assert!(!chunk.is_empty() && chunk.len() <= chunk::MAX_KEYS);
            for slot in 0..chunk.len() {
                assert!(previous.is_none_or(|previous| previous < chunk.key(slot)));
                assert!(chunk.meta(slot).create_revision <= chunk.created());
                previous = Some(chunk.key(slot));
            }
        }
    }
    assert_eq!(index.len(), keys);
}

fn fill(numbers: impl Iterator<Item = u32>) -> Index {
    let mut index = Index::default();
    for (at, number) in numbers.enumerate() {
        let main = at as i64 + 2;
        assert!(index.upsert(&key(number), |_| meta(main)).is_none());
    }
    assert_sound(&index);
    index
}

#[test]
fn packs_well_in_any_order_of_inserts() {
    const KEYS: u32 = 40_000;
    let scattered = (0..KEYS).map(|at| at.wrapping_mul(7919) % KEYS);
    let runs = (0..KEYS).map(|at| (at % 100) * 1000 + at / 100);
    let falling_runs = (0..KEYS).map(|at| (at % 100) * 1000 + 999 - at / 100);
    let from_both_ends = (0..KEYS).map(|at| if at % 2 == 0 { at } else { 1_000_000 - at });
    let orders: [(&str, Box<dyn Iterator<Item = u32>>, usize); 6] = [
        ("ascending", Box::new(0..KEYS), 120),
        ("descending", Box::new((0..KEYS).rev()), 60),
        ("scattered", Box::new(scattered), 60),
        ("ascending runs", Box::new(runs), 60),
        ("descending runs", Box::new(falling_runs), 60),
        ("both ends", Box::new(from_both_ends), 60),
    ];
    for (name, numbers, least_fill) in orders {
        let index = fill(numbers);
        let filled = index.len() / chunks(&index);
        assert!(filled >= least_fill, "{name}: {filled} keys per chunk");
    }
}

#[test]
fn emptying_leaves_nothing_behind() {
    const KEYS: u32 = 30_000;
    let mut index = fill(0..KEYS);
    for number in 0..KEYS {
        if number % 10 != 0 {
            assert!(index.remove(&key(number)).is_some());
        }
    }
    assert_sound(&index);
    assert!(index.len() / chunks(&index) >= 30, "sparse chunks join");
    for number in (0..KEYS).rev() {
        assert_eq!(index.remove(&key(number)).is_some(), number % 10 == 0);
    }
    assert_sound(&index);
    assert_eq!((index.len(), index.groups.len()), (0, 0));
    assert_eq!(index.count(Bound::Unbounded, Bound::Unbounded), 0);
    assert!(
        index
            .range(Bound::Unbounded, Bound::Unbounded)
            .next()
            .is_none()
    );
}

#[test]
fn keys_of_any_size_share_chunks() {
    let mut index = Index::default();
    let sizes = [0_usize, 1, 100_000, 5, 40_000, 3];
    for (at, size) in sizes.iter().cycle().take(600).enumerate() {
        let mut key = vec![b'x'; *size];
        key.extend_from_slice(&(at as u32).to_be_bytes());
        index.upsert(&key, |_| meta(2));
    }
    assert_sound(&index);
    assert_eq!(index.len(), 600);
    for chunk in index.groups.iter().flat_map(|group| &group.chunks) {
        let bytes: usize = (0..chunk.len()).map(|slot| chunk.key(slot).len()).sum();
        assert!(chunk.len() <= 2 || bytes <= 64 * 1024 + 200_000, "{bytes}");
    }
}

#[derive(Debug, Clone)]
enum Change {
    Put(u16),
    Remove(u16),
    RemoveSpan(u16, u16),
    /// Adjacent keys upwards or downwards: what splits have to cope with.
    Run(u16, u16, bool),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        4 => (0_u16..3000).prop_map(Change::Put),
        3 => (0_u16..3000).prop_map(Change::Remove),
        1 => (0_u16..3000, 0_u16..900).prop_map(|(from, count)| Change::RemoveSpan(from, count)),
        2 => (0_u16..3000, 0_u16..600, any::<bool>())
            .prop_map(|(from, count, up)| Change::Run(from, count, up)),
    ];
    prop::collection::vec(change, 1..60)
}

struct Both {
    index: Index,
    model: BTreeMap<Vec<u8>, i64>,
    revision: i64,
}

impl Both {
    fn put(&mut self, number: u16) {
        self.revision += 1;
        let key = key(number.into());
        let old = self.index.upsert(&key, |_| meta(self.revision));
        let expected = self.model.insert(key, self.revision);
        assert_eq!(old.map(|meta| meta.revision.main), expected);
    }

    fn remove(&mut self, number: u16) {
        let key = key(number.into());
        let old = self.index.remove(&key).map(|meta| meta.revision.main);
        assert_eq!(old, self.model.remove(&key));
    }

    fn run(&mut self, change: &Change) {
        match *change {
            Change::Put(number) => self.put(number),
            Change::Remove(number) => self.remove(number),
            Change::RemoveSpan(from, count) => {
                (from..from + count).for_each(|number| self.remove(number));
            }
            Change::Run(from, count, true) => {
                (from..from + count).for_each(|number| self.put(number));
            }
            Change::Run(from, count, false) => {
                (from..from + count)
                    .rev()
                    .for_each(|number| self.put(number));
            }
        }
    }
}

fn bound(kind: u8, key: &[u8]) -> Bound<&[u8]> {
    match kind {
        0 => Bound::Unbounded,
        1 => Bound::Included(key),
        _ => Bound::Excluded(key),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn agrees_with_a_tree(
        changes in changes(),
        queries in prop::collection::vec(
            (0_u8..3, 0_u32..3600, 0_u8..3, 0_u32..1200, 0_i64..4000),
            8,
        ),
    ) {
        let mut both = Both { index: Index::default(), model: BTreeMap::new(), revision: 1 };
        changes.iter().for_each(|change| both.run(change));
        let Both { index, model, .. } = &both;
        assert_sound(index);
        for (low_kind, low, high_kind, width, at) in queries {
            let (low, high) = (key(low), key(low + width + 1));
            let (low, high) = (bound(low_kind, &low), bound(high_kind, &high));
            let expected: Vec<(&[u8], i64)> =
                model.range::<[u8], _>((low, high)).map(|(key, main)| (&key[..], *main)).collect();
            let found: Vec<(&[u8], i64)> =
                index.range(low, high).map(|(key, meta)| (key, meta.revision.main)).collect();
            prop_assert_eq!(&found, &expected);
            prop_assert_eq!(index.count(low, high), expected.len());
            let settled = expected.iter().filter(|(_, main)| *main <= at).count();
            let (mut counted, mut from) = (0, None);
            loop {
                let low = from.map_or(low, Bound::Included);
                let (part, next) = index.count_settled((low, high), at, &Past::default());
                counted += part;
                if next.is_none() {
                    break;
                }
                from = next;
            }
            prop_assert_eq!(counted, settled);
        }
        for number in 0..3700 {
            let key = key(number);
            let found = index.get(&key).map(|meta| meta.revision.main);
            prop_assert_eq!(found, model.get(&key).copied());
        }
    }

    #[test]
    fn marks_tell_what_was_visible_and_what_may_go(
        gaps in prop::collection::vec((1_i64..4, any::<bool>()), 1..12),
        compacted in 0_i64..40,
    ) {
        // A history of one key: versions and deletions, of which the last one may be current.
        let mut main = 1;
        let mut history: Vec<(i64, bool)> = Vec::new();
        for (gap, deletes) in gaps {
            main += gap;
            let exists = history.last().is_some_and(|(_, tombstone)| !tombstone);
            history.push((main, deletes && exists));
        }
        let (current, marks) = match history.split_last() {
            Some((last, before)) if !last.1 => (Some(last.0), before),
            _ => (None, &history[..]),
        };
        let marks: std::collections::VecDeque<Mark> = marks
            .iter()
            .map(|&(main, tombstone)| match tombstone {
                true => Mark::tombstone(Revision::new(main, 0)),
                false => Mark::version(Revision::new(main, 0)),
            })
            .collect();
        let gone = unreadable(&marks, current, compacted);
        let left = marks.iter().skip(gone).copied().collect();
        for at in compacted.max(0)..=main {
            let last = history.iter().rev().find(|(main, _)| *main <= at);
            let expected = last.filter(|(_, tombstone)| !tombstone).map(|(main, _)| *main);
            let read = |marks: &std::collections::VecDeque<Mark>| match current {
                Some(current) if current <= at => Some(current),
                _ => visible(marks, at).map(|revision| revision.main),
            };
            prop_assert_eq!(read(&marks), expected);
            prop_assert_eq!(read(&left), expected, "after the sweep, at {}", at);
        }
        // Nothing may stay that cannot be read and is below the mark.
        if let Some(first) = left.front() {
            let Revision { main, .. } = first.revision();
            let readable = main >= compacted || read_at(&left, compacted) == Some(main);
            prop_assert!(readable, "{:?} is left at {}", first, compacted);
        }
    }
}

fn read_at(marks: &std::collections::VecDeque<Mark>, at: i64) -> Option<i64> {
    visible(marks, at).map(|revision| revision.main)
}
