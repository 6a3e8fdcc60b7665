//! How picks are spread.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::service::entry::Entry;

fn instance(id: usize, weight: u32) -> Arc<Instance> {
    let mut entry = Entry::new(format!("h{id}:1"));
    entry.weight = weight;
    Arc::new(Instance {
        id: format!("n{id:03}"),
        entry,
        lease: 1,
        token: 1,
        revision: 1,
        suspect: false,
    })
}

fn all(weights: &[u32]) -> Vec<Arc<Instance>> {
    let each = weights.iter().enumerate();
    each.map(|(id, weight)| instance(id, *weight)).collect()
}

/// What is picked, one after the other, by number.
fn picks(pick: &Pick, weights: &[u32], count: usize) -> Vec<usize> {
    let (mut picker, mut loads) = (Picker::default(), Loads::default());
    let (from, chance) = (all(weights), Chance::seeded(1));
    let mut next = || {
        let picked = picker.pick(pick, &from, &mut loads, &chance).unwrap();
        picked.id[1..].parse().unwrap()
    };
    (0..count).map(|_| next()).collect()
}

fn owners(from: &[Arc<Instance>], keys: usize) -> Vec<String> {
    let of = |key: usize| from[owner(from, format!("key{key}").as_bytes())].id.clone();
    (0..keys).map(of).collect()
}

fn counts(picked: &[usize], of: usize) -> Vec<usize> {
    let count = |id| picked.iter().filter(|it| **it == id).count();
    (0..of).map(count).collect()
}

#[test]
fn nobody_is_picked_from_nobody() {
    for pick in [Pick::RoundRobin, Pick::P2c, Pick::Sticky("k".into())] {
        let (mut picker, mut loads) = (Picker::default(), Loads::default());
        let picked = picker.pick(&pick, &[], &mut loads, &Chance::default());
        assert_eq!(picked, None);
    }
}

#[test]
fn smooth_weighted_picks_come_in_the_known_order() {
    assert_eq!(picks(&Pick::Weighted, &[5, 1, 1], 7), [0, 0, 1, 0, 2, 0, 0]);
    assert_eq!(picks(&Pick::Weighted, &[2, 1], 6), [0, 1, 0, 0, 1, 0]);
}

#[test]
fn a_change_of_the_list_neither_repeats_nor_skips() {
    let (mut picker, mut loads) = (Picker::default(), Loads::default());
    let chance = Chance::seeded(1);
    let mut next = |from: &[Arc<Instance>]| {
        let picked = picker.pick(&Pick::RoundRobin, from, &mut loads, &chance);
        picked.unwrap().id.clone()
    };
    let from = all(&[1; 4]);
    assert_eq!(next(&from), "n000");
    assert_eq!(next(&from), "n001");
    // The one just picked goes.
    let fewer = [from[0].clone(), from[2].clone(), from[3].clone()];
    assert_eq!(next(&fewer), "n002");
    assert_eq!(next(&from), "n003");
    assert_eq!(next(&fewer), "n000");
}

#[test]
fn a_sticky_key_stays_when_others_come_and_moves_when_its_own_goes() {
    let (mut picker, mut loads) = (Picker::default(), Loads::default());
    let chance = Chance::seeded(1);
    let mut at = |key: usize, from: &[Arc<Instance>]| {
        let pick = Pick::Sticky(format!("k{key}").into());
        picker
            .pick(&pick, from, &mut loads, &chance)
            .unwrap()
            .id
            .clone()
    };
    let (few, many) = (all(&[1; 3]), all(&[1; 6]));
    let before: Vec<_> = (0..30).map(|key| at(key, &few)).collect();
    let after: Vec<_> = (0..30).map(|key| at(key, &many)).collect();
    assert_eq!(before, after);
    let moved: Vec<_> = (0..30).map(|key| at(key, &few[1..])).collect();
    for (before, now) in before.iter().zip(&moved) {
        assert!(now != "n000" && (before == "n000" || before == now));
    }
    assert!((STICKY_KEYS..STICKY_KEYS + 100).all(|key| at(key, &few).len() == 4));
}

#[test]
fn of_two_the_less_loaded_is_picked() {
    let (mut picker, mut loads) = (Picker::default(), Loads::default());
    let (from, chance) = (all(&[1, 1]), Chance::seeded(1));
    let mut pick = |loads: &mut Loads| {
        let picked = picker.pick(&Pick::P2c, &from, loads, &chance).unwrap();
        picked.id.clone()
    };
    // Both are drawn each time, so the load decides.
    loads.begin(&from[0]);
    assert!((0..20).all(|_| pick(&mut loads) == "n001"));
    loads.begin(&from[1]);
    loads.begin(&from[1]);
    assert!((0..20).all(|_| pick(&mut loads) == "n000"));
    // One call on a slow instance costs more than two on a fast one.
    let slow = (true, Duration::from_millis(100));
    loads.report(&from[0], Duration::ZERO, slow, true);
    let fast = (true, Duration::from_millis(1));
    loads.report(&from[1], Duration::ZERO, fast, true);
    assert!((0..20).all(|_| pick(&mut loads) == "n001"));
}

#[test]
fn rendezvous_is_the_same_in_every_version() {
    // Clients of different versions must agree, so this must never change.
    let from = all(&[1, 1, 1, 1]);
    assert_eq!(hash(b"key", b"n000"), hash(b"key", b"n000"));
    assert_ne!(hash(b"ab", b"c"), hash(b"a", b"bc"));
    let owners = owners(&from, 8);
    assert_eq!(owners, PINNED);
}

const PINNED: [&str; 8] = [
    "n002", "n001", "n002", "n001", "n000", "n002", "n002", "n003",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn weighted_picks_keep_to_the_weights_exactly(
        weights in prop::collection::vec(1u32..20, 1..8),
        rounds in 1usize..4,
    ) {
        let total: u32 = weights.iter().sum();
        let picked = picks(&Pick::Weighted, &weights, total as usize * rounds);
        let expected: Vec<_> = weights.iter().map(|it| *it as usize * rounds).collect();
        prop_assert_eq!(counts(&picked, weights.len()), expected);
    }

    #[test]
    fn round_robin_picks_each_once_a_round(count in 1usize..20, rounds in 1usize..4) {
        let picked = picks(&Pick::RoundRobin, &vec![1; count], count * rounds);
        prop_assert_eq!(counts(&picked, count), vec![rounds; count]);
    }

    #[test]
    fn only_the_keys_of_a_lost_instance_move(
        weights in prop::collection::vec(1u32..5, 2..10),
        lost in 0usize..10,
    ) {
        let from = all(&weights);
        let lost = lost % from.len();
        let mut fewer = from.clone();
        let gone = fewer.remove(lost).id.clone();
        for (before, after) in owners(&from, 300).iter().zip(owners(&fewer, 300)) {
            prop_assert!(*before == gone || *before == after);
            prop_assert!(after != gone);
        }
    }

    #[test]
    fn random_and_hashed_picks_keep_to_their_shares(
        weights in prop::collection::vec(1u32..5, 2..6),
    ) {
        let total: u32 = weights.iter().sum();
        let (from, tries) = (all(&weights), 4000);
        let hashed: Vec<usize> = owners(&from, tries)
            .iter()
            .map(|id| id[1..].parse().unwrap())
            .collect();
        let random = picks(&Pick::Random, &weights, tries);
        for (id, weight) in weights.iter().enumerate() {
            let by_weight = tries as f64 * f64::from(*weight) / f64::from(total);
            let alike = tries as f64 / weights.len() as f64;
            // Six times the spread that chance has.
            let near = |count: usize, expected: f64| {
                (count as f64 - expected).abs() < 6.0 * expected.sqrt()
            };
            prop_assert!(near(counts(&hashed, weights.len())[id], by_weight));
            prop_assert!(near(counts(&random, weights.len())[id], alike));
        }
    }
}
