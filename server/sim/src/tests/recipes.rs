//! Runs about recipes: each does something and finds nothing, and a client that does it wrong is
//! found. That a run is the same again is for `--check-determinism`, which is built for that.

use crate::run::{Order, Outcome};
use crate::seeds;
use crate::subject::{Mutation, RECIPES, Recipe};

fn run(recipe: Recipe, seed: u64, mutation: Option<Mutation>) -> Outcome {
    seeds::play(Order {
        seed,
        members: Some(1),
        fault: None,
        control: false,
        recipe: Some(recipe),
        mutation,
        trace: false,
    })
}

#[test]
fn each_recipe_is_used_and_keeps_its_promises() {
    for recipe in RECIPES {
        let outcome = run(recipe, 1, None);
        assert_eq!(outcome.problems, Vec::<String>::new(), "{recipe:?}");
        assert!(outcome.answered > 20, "{recipe:?}: {}", outcome.answered);
        assert!(outcome.story.is_none());
        // Thousands of seeds run in one process.
        let ground = outcome.ground.unwrap();
        assert_eq!(ground.strong_count(), 0, "{recipe:?} stays in memory");
    }
}

#[test]
fn a_client_that_jumps_the_queue_is_found_with_its_story() {
    let found = (1..=10).any(|seed| {
        let outcome = run(Recipe::Lock, seed, Some(Mutation::JumpsQueue));
        !outcome.problems.is_empty() && outcome.story.is_some()
    });
    assert!(found);
}
