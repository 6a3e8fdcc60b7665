//! Cancelling where more is to be looked at than the kit does.

use std::time::Duration;

use handfast::Handfast;

use crate::{
    server::shared,
    util::{client, connect, name, poll_times, queue_of, soon},
};

const MOST: usize = 200;

/// After a cancel: another session can have the lock, and then nothing is left.
async fn nothing_is_left(other: &Handfast, name: &str) {
    let guard = soon(other.lock(name).acquire()).await.unwrap();
    soon(guard.release()).await.unwrap();
    queue_of(&client(shared()), name, 0).await;
    let record = client(shared())
        .get(format!("_handfast/own/{name}"))
        .await
        .unwrap();
    assert!(record.is_none(), "a record is left: {record:?}");
}

#[tokio::test]
async fn a_release_that_is_dropped_goes_on() {
    let (hf, other) = (connect(shared()), connect(shared()));
    let mut done = false;
    for polls in 0..MOST {
        let name = name("cancel-release");
        let guard = soon(hf.lock(&name).acquire()).await.unwrap();
        done = poll_times(guard.release(), polls).await.is_some();
        nothing_is_left(&other, &name).await;
        if done {
            break;
        }
    }
    assert!(done, "never got to the end");
}

#[tokio::test]
async fn a_grant_that_races_with_a_timeout_is_given_back() {
    let (hf, other) = (connect(shared()), connect(shared()));
    for round in 0..60u64 {
        let name = name("race");
        let holder = soon(other.lock(&name).acquire()).await.unwrap();
        let limit = Duration::from_millis(20);
        let releasing = tokio::spawn(async move {
            tokio::time::sleep(
                limit - Duration::from_millis(3) + Duration::from_micros(100 * round),
            )
            .await;
            drop(holder);
        });
        let raced = soon(hf.lock(&name).timeout(limit).acquire()).await;
        drop(raced);
        soon(releasing).await.unwrap();
        nothing_is_left(&other, &name).await;
    }
}
