//! Choosing an instance for a call.
//!
//! Owns the ways to choose. Picks repeat under a seed; nothing here asks a server or a clock.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use handfast_core::Chance;

use super::{entry::Instance, load::Loads};

/// How many keys keep to their instance.
const STICKY_KEYS: usize = 16_384;

/// A way to choose an instance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Pick {
    /// One after the other.
    RoundRobin,
    /// One after the other, by weight, and as evenly spread as can be.
    Weighted,
    /// Any, all alike.
    Random,
    /// The less loaded of two random ones, by weight: calls under way and how long calls take.
    /// Needs the outcomes [reported](super::Picked::report).
    #[default]
    P2c,
    /// The one this key belongs to, by weight. When an instance goes, only its keys move; when
    /// one comes, only the keys it gets. The same for every client with the same list.
    Hash(Bytes),
    /// The one this client chose for the key before, as long as it can be picked.
    Sticky(Bytes),
}

/// What picks remember.
#[derive(Debug, Default)]
pub(super) struct Picker {
    last: String,
    sticky: BTreeMap<Bytes, Arc<str>>,
    /// The keys of `sticky`, oldest first.
    order: VecDeque<Bytes>,
}

impl Picker {
    /// Chooses among `from`, which is in the order of ids; `None` only when it is empty.
    pub(super) fn pick(
        &mut self,
        pick: &Pick,
        from: &[Arc<Instance>],
        loads: &mut Loads,
        chance: &Chance,
    ) -> Option<Arc<Instance>> {
        if from.is_empty() {
            return None;
        }
        let chosen = match pick {
            Pick::RoundRobin => self.next(from),
            Pick::Weighted => smooth(from, loads),
            Pick::Random => any(from, chance),
            Pick::P2c => less_loaded(from, loads, chance),
            Pick::Hash(key) => owner(from, key),
            Pick::Sticky(key) => return Some(self.sticky(key, from, loads)),
        };
        from.get(chosen).cloned()
    }

    fn next(&mut self, from: &[Arc<Instance>]) -> usize {
        // By id, so that a change of the list neither repeats nor skips anybody.
        let next = from.partition_point(|instance| instance.id <= self.last);
        let next = if next == from.len() { 0 } else { next };
        self.last.clone_from(&from[next].id);
        next
    }

    fn sticky(&mut self, key: &Bytes, from: &[Arc<Instance>], loads: &mut Loads) -> Arc<Instance> {
        if let Some(id) = self.sticky.get(key)
            && let Ok(index) = from.binary_search_by(|instance| instance.id.as_str().cmp(id))
        {
            return Arc::clone(&from[index]);
        }
        let chosen = Arc::clone(&from[smooth(from, loads)]);
        if self
            .sticky
            .insert(key.clone(), chosen.id.as_str().into())
            .is_none()
        {
            self.order.push_back(key.clone());
        }
        while self.order.len() > STICKY_KEYS {
            if let Some(oldest) = self.order.pop_front() {
                self.sticky.remove(&oldest);
            }
        }
        chosen
    }
}

/// Each gains its weight, the richest is chosen and pays for all.
fn smooth(from: &[Arc<Instance>], loads: &mut Loads) -> usize {
    let mut total = 0;
    let mut richest = (0, i64::MIN);
    for (index, instance) in from.iter().enumerate() {
        let weight = i64::from(instance.weight);
        let load = loads.of(instance);
        load.credit += weight;
        total += weight;
        if load.credit > richest.1 {
            richest = (index, load.credit);
        }
    }
    loads.of(&from[richest.0]).credit -= total;
    richest.0
}

fn any(from: &[Arc<Instance>], chance: &Chance) -> usize {
    below(from.len(), chance)
}

/// A number below `count`, which is not 0.
fn below(count: usize, chance: &Chance) -> usize {
    let drawn = chance.factor(0.0, 1.0) * count as f64;
    (drawn as usize).min(count - 1)
}

fn less_loaded(from: &[Arc<Instance>], loads: &mut Loads, chance: &Chance) -> usize {
    let one = below(from.len(), chance);
    if from.len() == 1 {
        return one;
    }
    let other = (one + 1 + below(from.len() - 1, chance)) % from.len();
    let usual = loads.usual_latency();
    let mut cost =
        |index: usize| loads.of(&from[index]).cost(usual) / f64::from(from[index].weight);
    if cost(other) < cost(one) { other } else { one }
}

/// Rendezvous: everybody draws for the key, and the best draw wins.
fn owner(from: &[Arc<Instance>], key: &[u8]) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    for (index, instance) in from.iter().enumerate() {
        // In (0, 1), so the logarithm is finite and below zero.
        let draw = ((hash(key, instance.id.as_bytes()) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        let score = -f64::from(instance.weight) / draw.ln();
        if score > best.1 {
            best = (index, score);
        }
    }
    best.0
}

/// FNV-1a over both, mixed. Written down here since all clients, in any version, must agree.
fn hash(key: &[u8], id: &[u8]) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    // What stands between the two keeps "ab" + "c" from being "a" + "bc".
    let parts = key.iter().chain(&[0xff]).chain(id).copied();
    let mut mixed = parts.fold(0xcbf2_9ce4_8422_2325, step);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests;
