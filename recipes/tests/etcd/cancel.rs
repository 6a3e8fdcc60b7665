//! Cancelling at every await: whatever was under way, no key remains and the next one gets in.

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
async fn an_acquisition_of_a_free_lock_dropped_at_any_point_leaves_nothing() {
    let other = connect(shared());
    // A new session each time, so that its opening is among the points, too.
    for fresh in [true, false] {
        let kept = connect(shared());
        let mut done = false;
        for polls in 0..MOST {
            let hf = if fresh {
                connect(shared())
            } else {
                kept.clone()
            };
            let name = name("cancel-free");
            let held = poll_times(hf.lock(&name).acquire(), polls).await;
            done = held.is_some();
            drop(held);
            nothing_is_left(&other, &name).await;
            if done {
                break;
            }
        }
        assert!(done, "never got to the end");
    }
}

#[tokio::test]
async fn a_try_dropped_at_any_point_leaves_nothing() {
    let (hf, other) = (connect(shared()), connect(shared()));
    for held in [false, true] {
        let mut done = false;
        for polls in 0..MOST {
            let name = name("cancel-try");
            let holder = match held {
                true => Some(soon(other.lock(&name).acquire()).await.unwrap()),
                false => None,
            };
            let tried = poll_times(hf.lock(&name).try_acquire(), polls).await;
            done = tried.is_some();
            if let Some(tried) = tried {
                assert_eq!(tried.unwrap().acquired().is_some(), !held);
            }
            drop(holder);
            nothing_is_left(&other, &name).await;
            if done {
                break;
            }
        }
        assert!(done, "never got to the end");
    }
}

#[tokio::test]
async fn a_wait_dropped_at_any_point_leaves_nothing() {
    let (hf, other) = (connect(shared()), connect(shared()));
    let client = client(shared());
    let mut done = false;
    for polls in 0..MOST {
        let name = name("cancel-wait");
        let holder = soon(other.lock(&name).acquire()).await.unwrap();
        let release = tokio::spawn({
            let (client, name) = (client.clone(), name.clone());
            async move {
                // Lets go once somebody waits, or nobody will any more.
                let waits = queue_of(&client, &name, 2);
                let _ = tokio::time::timeout(Duration::from_millis(300), waits).await;
                drop(holder);
            }
        });
        let granted = poll_times(hf.lock(&name).acquire(), polls).await;
        done = granted.is_some();
        drop(granted);
        soon(release).await.unwrap();
        nothing_is_left(&other, &name).await;
        if done {
            break;
        }
    }
    assert!(done, "never got to the end");
}

#[tokio::test]
async fn a_campaign_dropped_at_any_point_withdraws_the_candidate() {
    let hf = connect(shared());
    let client = client(shared());
    let mut done = false;
    for polls in 0..MOST {
        let name = name("cancel-campaign");
        let elected = poll_times(hf.election(&name).value("v").campaign(), polls).await;
        done = elected.is_some();
        drop(elected);
        let next = connect(shared()).election(&name).value("w");
        drop(soon(next.campaign()).await.unwrap());
        queue_of(&client, &name, 0).await;
        if done {
            break;
        }
    }
    assert!(done, "never got to the end");
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
