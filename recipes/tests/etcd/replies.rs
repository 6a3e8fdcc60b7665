//! The reply matrix: every call of a lock's life lost, doubled or late, one at a time.

use std::time::Duration;

use handfast::Handfast;

use crate::{
    relay::{Fate, Relay},
    server::shared,
    util::{TTL, client, connect, name, queue_of, soon, until},
};

const FATES: [Fate; 4] = [
    Fate::LoseRequest,
    Fate::LoseAnswer,
    Fate::Double,
    Fate::Late,
];
/// More calls than any scenario makes.
const MOST: usize = 40;

async fn behind(relay: &Relay) -> Handfast {
    behind_with(relay, Duration::from_secs(30)).await
}

/// A handle whose calls go through the relay, with its session open and recorded.
async fn behind_with(relay: &Relay, verify: Duration) -> Handfast {
    let hf = Handfast::builder()
        .endpoints(&relay.endpoint)
        .ttl(TTL)
        .session(|options| options.verify_interval(verify))
        .build()
        .unwrap();
    let epoch = soon(hf.session().unwrap().epoch()).await.unwrap();
    let key = format!("_handfast/session/{}", epoch.lease_hex());
    let client = client(shared());
    until(|| async { client.get(&key).await.unwrap() }).await;
    hf
}

/// Plays `scenario` once for each call it makes and each fate of that call.
async fn matrix<F: AsyncFn(&Handfast, &Relay, &str)>(stem: &str, scenario: F) {
    let client = client(shared());
    let mut played = 0;
    for fate in FATES {
        let mut end = false;
        for call in 0..MOST {
            let relay = Relay::start(shared().address()).await;
            let hf = behind(&relay).await;
            let name = name(stem);
            relay.plan(move |index| if index == call { fate } else { Fate::Pass });
            soon(scenario(&hf, &relay, &name)).await;
            end = relay.calls() <= call;
            let late = relay.deliver_late().await;
            assert_eq!(
                late > 0,
                fate == Fate::Late && !end,
                "{fate:?} of call {call}"
            );
            // Whatever happened, nothing stays and nobody is kept out.
            let other = soon(connect(shared()).lock(&name).acquire()).await;
            let other = other.unwrap_or_else(|error| panic!("{fate:?} of call {call}: {error}"));
            assert!(!other.previous_died(), "{fate:?} of call {call}");
            soon(other.release()).await.unwrap();
            queue_of(&client, &name, 0).await;
            if end {
                break;
            }
            played += 1;
        }
        assert!(end, "the scenario makes too many calls");
    }
    assert!(played >= FATES.len() * 2, "only {played} cases");
}

#[tokio::test]
async fn trap_12_a_lock_survives_any_one_call_gone_wrong() {
    matrix(
        "replies-lock",
        async |hf: &Handfast, _: &Relay, name: &str| {
            let first = hf.lock(name).acquire().await.unwrap();
            assert!(first.check().is_ok() && !first.previous_died());
            let token = first.token();
            first.release().await.unwrap_or_else(|error| {
                // A delete that was carried out twice cannot tell the second time.
                assert_eq!(error.code(), "LOCK_LOST");
            });
            let second = hf.lock(name).acquire().await.unwrap();
            assert!(second.token() > token && !second.previous_died());
            drop(second);
            hf.lock(name).acquire().await.unwrap().release().await.ok();
        },
    )
    .await;
}

#[tokio::test]
async fn trap_12_a_try_survives_any_one_call_gone_wrong() {
    matrix(
        "replies-try",
        async |hf: &Handfast, _: &Relay, name: &str| {
            let guard = hf
                .lock(name)
                .try_acquire()
                .await
                .unwrap()
                .acquired()
                .expect("it is free");
            assert!(
                hf.lock(name)
                    .try_acquire()
                    .await
                    .unwrap()
                    .acquired()
                    .is_none()
            );
            drop(guard);
            let guard = hf
                .lock(name)
                .try_acquire()
                .await
                .unwrap()
                .acquired()
                .expect("it is free");
            assert!(!guard.previous_died());
        },
    )
    .await;
}

#[tokio::test]
async fn trap_12_a_hand_over_survives_any_one_call_gone_wrong() {
    matrix(
        "replies-wait",
        async |hf: &Handfast, _: &Relay, name: &str| {
            let holder = connect(shared()).lock(name).acquire().await.unwrap();
            let waiting = tokio::spawn({
                let lock = hf.lock(name);
                async move { lock.acquire().await }
            });
            queue_of(&client(shared()), name, 2).await;
            holder.release().await.unwrap();
            let guard = waiting.await.unwrap().unwrap();
            assert!(guard.check().is_ok() && !guard.previous_died());
            guard.release().await.ok();
        },
    )
    .await;
}

#[tokio::test]
async fn trap_12_a_timeout_survives_any_one_call_gone_wrong() {
    matrix(
        "replies-timeout",
        async |hf: &Handfast, _: &Relay, name: &str| {
            let holder = connect(shared()).lock(name).acquire().await.unwrap();
            let lock = hf.lock(name).timeout(Duration::from_millis(60));
            assert_eq!(lock.acquire().await.unwrap_err().code(), "TIMEOUT");
            holder.release().await.unwrap();
        },
    )
    .await;
}

#[tokio::test]
async fn a_lost_event_delays_the_next_holder_and_no_more() {
    let relay = Relay::start(shared().address()).await;
    let hf = behind_with(&relay, Duration::from_millis(500)).await;
    let name = name("lost-event");
    let holder = soon(connect(shared()).lock(&name).acquire()).await.unwrap();
    let waiting = tokio::spawn({
        let lock = hf.lock(&name);
        async move { lock.acquire().await }
    });
    queue_of(&client(shared()), &name, 2).await;
    relay.lose_events(true);
    soon(holder.release()).await.unwrap();
    let guard = soon(waiting).await.unwrap().unwrap();
    assert!(
        relay.lost_events() > 0,
        "no event was lost: the test has no teeth"
    );

    // Nor does a holder miss for ever that its key was deleted.
    let lost = relay.lost_events();
    client(shared()).delete(guard.key()).await.unwrap();
    soon(guard.lost()).await;
    assert!(relay.lost_events() > lost);
}

/// Over a change of the leader this is no rare case.
#[tokio::test]
async fn a_release_whose_answer_was_lost_is_a_release_nevertheless() {
    let relay = Relay::start(shared().address()).await;
    let hf = behind(&relay).await;
    let name = name("replies-release");
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    relay.plan(|call| match call {
        0 => Fate::LoseAnswer,
        _ => Fate::Pass,
    });
    soon(guard.release()).await.unwrap();
    assert!(relay.calls() > 1, "nothing was lost");
}

#[tokio::test]
async fn a_key_that_somebody_else_deleted_is_no_release_even_in_doubt() {
    let relay = Relay::start(shared().address()).await;
    let hf = behind(&relay).await;
    let name = name("replies-deleted");
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    // So that the release itself has to find out.
    relay.lose_events(true);
    client(shared()).delete(guard.key()).await.unwrap();
    relay.plan(|call| match call {
        0 => Fate::LoseAnswer,
        _ => Fate::Pass,
    });
    let error = soon(guard.release()).await.unwrap_err();
    assert_eq!(error.code(), "LOCK_LOST");
    assert!(relay.calls() > 1, "nothing was lost");
}
