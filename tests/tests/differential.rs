//! handfast against Debian's etcd: the same operations must have the same answers and history.
//!
//! `HANDFAST_SEED=7 cargo test -p handfast-tests --test differential` plays one seed again.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use handfast_tests::{
    Result,
    differential::{Played, compare, describe, generate, minimal},
    harness::Subject,
};

const SEEDS: std::ops::RangeInclusive<u64> = 1..=20;
const OPERATIONS: usize = 1_040;
/// What the seeds must add up to, so that a change of the generator cannot hollow the test out.
const AT_LEAST: usize = 20_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_operations_answer_as_etcd_does() -> Result<()> {
    let seeds: Vec<u64> = match std::env::var("HANDFAST_SEED") {
        Ok(seed) => vec![seed.parse()?],
        Err(_) => SEEDS.collect(),
    };
    let mut total = Played::default();
    let mut compacted = 0;
    // One list waits for an answer nearly always; two leave less of the machine idle.
    let mut playing = stream::iter(&seeds)
        .map(|&seed| async move { one(seed).await.map(|played| (seed, played)) })
        .buffer_unordered(2);
    while let Some((seed, played)) = playing.try_next().await? {
        println!("seed {seed}: {played:?}");
        total.operations += played.operations;
        total.refused += played.refused;
        total.watched += played.watched;
        compacted += usize::from(played.compacted > 0);
    }
    if seeds.len() > 1 {
        assert!(
            total.operations >= AT_LEAST,
            "only {} operations",
            total.operations
        );
        assert!(
            total.refused * 10 < total.operations * 6,
            "mostly refusals: {total:?}"
        );
        assert!(total.watched > 1_000, "watchers saw too little: {total:?}");
        assert!(compacted > 5, "too few runs compacted: {compacted}");
    }
    Ok(())
}

async fn one(seed: u64) -> Result<Played> {
    let subject = Subject::under_test();
    let ops = generate(seed, OPERATIONS);
    let difference = match compare(subject, &ops).await? {
        Ok(played) => return Ok(played),
        Err(difference) => difference,
    };
    eprintln!(
        "seed {seed} differs at operation {}: {}",
        difference.at, difference.what
    );
    let shrunk = minimal(subject, &ops, difference).await?;
    let list: Vec<String> = shrunk
        .ops
        .iter()
        .map(|op| format!("  {}", describe(op)))
        .collect();
    Err(format!(
        "seed {seed} tells the servers apart with {} operations:\n{}\n{}",
        list.len(),
        list.join("\n"),
        shrunk.difference.what
    )
    .into())
}
