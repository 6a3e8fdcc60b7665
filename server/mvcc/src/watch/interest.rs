//! Who is interested in a key.
//!
//! Owns the two lookups behind that question: single keys by hash, ranges by interval tree. Used
//! twice: by the hub, whose members are streams, and by each stream, whose members are watchers.

use std::collections::HashMap;

use bytes::Bytes;

use super::interval::{End, Intervals};
use crate::KeyRange;

#[derive(Debug)]
pub(super) struct Interest {
    keys: HashMap<Bytes, Vec<u32>>,
    ranges: Intervals,
}

impl Interest {
    pub(super) fn new() -> Interest {
        Interest {
            keys: HashMap::new(),
            ranges: Intervals::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.ranges.is_empty()
    }

    /// Adds a member; true if it is the first one of exactly this range.
    pub(super) fn insert(&mut self, range: &KeyRange, member: u32) -> bool {
        match range {
            KeyRange::One(key) => {
                let members = self.keys.entry(key.clone()).or_default();
                members.push(member);
                members.len() == 1
            }
            _ => match span(range) {
                Some((start, end)) => self.ranges.insert(&start, &end, member),
                None => false,
            },
        }
    }

    /// Removes a member; true if it was the last one of exactly this range.
    pub(super) fn remove(&mut self, range: &KeyRange, member: u32) -> bool {
        let KeyRange::One(key) = range else {
            return span(range)
                .is_some_and(|(start, end)| self.ranges.remove(&start, &end, member));
        };
        let Some(members) = self.keys.get_mut(key) else {
            return false;
        };
        if let Some(place) = members.iter().rposition(|present| *present == member) {
            members.swap_remove(place);
        }
        let last = members.is_empty();
        if last {
            self.keys.remove(key);
        }
        last
    }

    /// Visits the members of every range that contains `key`. A member of several is visited as
    /// often.
    pub(super) fn visit(&self, key: &[u8], mut visit: impl FnMut(&[u32])) {
        if let Some(members) = self.keys.get(key) {
            visit(members);
        }
        self.ranges.visit(key, &mut visit);
    }
}

fn span(range: &KeyRange) -> Option<(Bytes, End)> {
    match range {
        KeyRange::Span { start, end } => Some((start.clone(), End::Before(end.clone()))),
        KeyRange::From(start) => Some((start.clone(), End::Open)),
        KeyRange::All => Some((Bytes::new(), End::Open)),
        KeyRange::One(_) | KeyRange::Empty => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(0u8..4, 0..3).prop_map(Bytes::from)
    }

    fn range() -> impl Strategy<Value = KeyRange> {
        (bytes(), bytes()).prop_map(|(key, end)| KeyRange::parse(&key, &end))
    }

    fn found(interest: &Interest, key: &[u8]) -> Vec<u32> {
        let mut found = Vec::new();
        interest.visit(key, |members| found.extend_from_slice(members));
        found.sort_unstable();
        found
    }

    proptest! {
        #[test]
        fn agrees_with_asking_every_range(
            steps in prop::collection::vec((any::<bool>(), range(), 0usize..64), 1..200),
            keys in prop::collection::vec(bytes(), 1..12),
        ) {
            let mut interest = Interest::new();
            let mut model: Vec<(KeyRange, u32)> = Vec::new();
            for (number, (add, range, pick)) in steps.into_iter().enumerate() {
                let count = |model: &[(KeyRange, u32)], range: &KeyRange| {
                    model.iter().filter(|(present, _)| present == range).count()
                };
                if add && !range.is_empty() {
                    let member = number as u32;
                    prop_assert_eq!(interest.insert(&range, member), count(&model, &range) == 0);
                    model.push((range, member));
                } else if !model.is_empty() {
                    let (range, member) = model.swap_remove(pick % model.len());
                    prop_assert_eq!(interest.remove(&range, member), count(&model, &range) == 0);
                }
                for key in &keys {
                    let mut expected: Vec<u32> = model
                        .iter()
                        .filter(|(range, _)| range.contains(key))
                        .map(|(_, member)| *member)
                        .collect();
                    expected.sort_unstable();
                    prop_assert_eq!(found(&interest, key), expected);
                }
                prop_assert_eq!(interest.is_empty(), model.is_empty());
            }
        }
    }
}
