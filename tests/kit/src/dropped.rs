//! An operation dropped at every await.
//!
//! Owns the count of polls. Knows nothing of what is dropped.

use crate::{
    End, Recipe, World,
    server::shared,
    util::{connect, poll_times, soon},
};

/// More polls than any operation needs.
const MOST: usize = 400;

/// Polls the operation up to k times, for every k until it gets to its end, and drops it then:
/// once with a session that is there, once with one that the operation must open.
pub async fn at_every_await<R: Recipe>() {
    let other = World::others(shared());
    for fresh in [true, false] {
        let kept = connect(shared());
        let mut done = false;
        for polls in 0..MOST {
            let case = format!("{} dropped after {polls} polls, fresh: {fresh}", R::STEM);
            // Shown only if it fails.
            println!("{case}");
            let world = World::new(shared(), &other, R::STEM);
            let hf = match fresh {
                true => connect(shared()),
                false => kept.clone(),
            };
            let mut recipe = soon(R::set_up(&world)).await;
            let polled = poll_times(recipe.run(&hf, &world), polls).await;
            done = polled.is_some();
            let end = match polled {
                None => End::Dropped,
                Some(Ok(())) => End::Done,
                Some(Err(error)) => panic!("{case}: {error}"),
            };
            soon(recipe.check(&world, &end)).await;
            if done {
                break;
            }
        }
        assert!(done, "{} never got to the end", R::STEM);
    }
}
