//! Clusters of real processes under faults: no promise is broken, and nothing is lost.
//!
//! `HANDFAST_SEED=7` makes one trial again, `HANDFAST_HISTORIES=100` makes more than ten, and
//! `HANDFAST_TESTS_SUBJECT=etcd` puts etcd in handfast's place to see whether the test is wrong.

use futures::future::join_all;
use handfast_checker::{Promise, Request, Run, check_all};
use handfast_tests::{
    Result,
    cluster::{
        Program, Setup, Wiring, namespaces_unavailable,
        trial::{Passed, Trial},
    },
    harness::Subject,
};

const HISTORIES: u64 = 10;
const OPERATIONS: u64 = 2_000;
/// A trial waits more than it works, so that two are made at a time.
const AT_A_TIME: usize = 2;

fn number(name: &str) -> Result<Option<u64>> {
    match std::env::var(name) {
        Ok(text) => Ok(Some(text.parse()?)),
        Err(_) => Ok(None),
    }
}

fn trial(seed: u64) -> Result<Trial> {
    // Every third has five members.
    let size = if seed.is_multiple_of(3) { 5 } else { 3 };
    Ok(Trial {
        seed,
        setup: Setup::new(Program::of(Subject::under_test())?, size),
        operations: OPERATIONS,
    })
}

async fn made(trial: Trial) -> Result<Passed> {
    let passed = trial.run().await?;
    println!("{passed}");
    Ok(passed)
}

/// Whether the checkers would find it if the answers from the past had been passed off as present.
fn finds_stale_reads(mut run: Run) -> bool {
    for operation in &mut run.operations {
        if let Request::Get(get) = &mut operation.request {
            get.serializable = false;
        }
    }
    check_all(&run).breaks(Promise::Linearizable)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_promise_is_broken_whatever_happens_to_members_and_links() -> Result<()> {
    let seeds: Vec<u64> = match number("HANDFAST_SEED")? {
        Some(seed) => vec![seed],
        None => (1..=number("HANDFAST_HISTORIES")?.unwrap_or(HISTORIES)).collect(),
    };
    let mut failures = Vec::new();
    let mut found_stale = false;
    for some in seeds.chunks(AT_A_TIME) {
        let trials = some.iter().map(|&seed| trial(seed));
        let trials = trials.collect::<Result<Vec<_>>>()?;
        for done in join_all(trials.into_iter().map(made)).await {
            match done {
                Ok(passed) => {
                    assert!(passed.operations >= OPERATIONS, "too little load");
                    // Once is enough, and it takes a while.
                    found_stale = found_stale || finds_stale_reads(passed.run);
                }
                Err(error) => failures.push(error.to_string()),
            }
        }
    }
    if failures.is_empty() && seeds.len() as u64 >= HISTORIES {
        assert!(
            found_stale,
            "no member was ever behind: the faults do not bite"
        );
    }
    match failures.as_slice() {
        [] => Ok(()),
        failures => Err(failures.join("\n\n").into()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_promise_is_broken_in_networks_of_the_kernel() -> Result<()> {
    if let Some(why) = namespaces_unavailable() {
        println!("skipped: {why}");
        return Ok(());
    }
    let seed = number("HANDFAST_SEED")?.unwrap_or(2);
    let setup = Setup::new(Program::of(Subject::under_test())?, 3).wiring(Wiring::Namespaces);
    made(Trial {
        seed,
        setup,
        operations: OPERATIONS,
    })
    .await
    .map(drop)
}
