//! Answers and events of a lock that get lost, where more is to be looked at than the kit does.

use std::time::Duration;

use handfast_kit::troubles::{behind, behind_with};

use crate::{
    relay::{Fate, Relay},
    server::shared,
    util::{client, connect, name, queue_of, soon},
};

#[tokio::test]
async fn a_lost_event_delays_the_next_holder_and_no_more() {
    let relay = Relay::start(shared().address()).await;
    let hf = behind_with(&relay, &client(shared()), Duration::from_millis(500)).await;
    for _ in 0..20 {
        let before = relay.lost_events();
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
        let between = relay.lost_events();
        // Nor does a holder miss for ever that its key was deleted.
        client(shared()).delete(guard.key()).await.unwrap();
        soon(guard.lost()).await;
        relay.lose_events(false);
        // Who looked before it waited for events has lost none.
        if between > before && relay.lost_events() > between {
            return;
        }
    }
    panic!("no event was lost: the test has no teeth");
}

/// Over a change of the leader this is no rare case.
#[tokio::test]
async fn a_release_whose_answer_was_lost_is_a_release_nevertheless() {
    let relay = Relay::start(shared().address()).await;
    let hf = behind(&relay, &client(shared())).await;
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
    let hf = behind(&relay, &client(shared())).await;
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
