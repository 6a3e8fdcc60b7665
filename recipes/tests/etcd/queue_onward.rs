//! Going from one item of a queue to the next in one transaction.

use handfast::{Control, Error, Handfast, Worker};
use handfast_kit::troubles::behind;

use crate::{
    queue::{claim, nothing_is_left, push},
    relay::{Fate, Relay},
    server::shared,
    util::{client, connect, name, revoke, soon},
};

/// A worker that holds the first of these items and has seen the others.
async fn begun(hf: &Handfast, name: &str, ids: &[&str]) -> (Worker, handfast::Claim) {
    let queue = hf.queue(name);
    for id in ids {
        push(&queue, id).await;
    }
    let mut worker = queue.worker();
    let first = soon(worker.next()).await.unwrap().unwrap();
    assert_eq!(first.id(), ids[0]);
    soon(queue.list()).await.unwrap();
    (worker, first)
}

#[tokio::test]
async fn the_next_item_comes_at_the_revision_of_the_ack() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("onward"));
    let (mut worker, mut held) = begun(&hf, &name, &["c", "a", "b"]).await;
    for id in ["a", "b"] {
        let going = held.ack().commit_and_next(&mut worker);
        let (acked, next) = soon(going).await.unwrap();
        held = next.expect("it was seen");
        assert_eq!((held.id(), held.attempt()), (id, 1));
        assert_eq!(held.token(), acked.revision);
        assert!(held.check().is_ok());
    }
    let (_, next) = soon(held.ack().commit_and_next(&mut worker)).await.unwrap();
    assert!(next.is_none());
    assert_eq!(worker.tries(), 3);
    drop(worker);
    nothing_is_left(&client, &name).await;
}

#[tokio::test]
async fn a_worker_that_never_had_to_wait_goes_on_too() {
    let (hf, name) = (connect(shared()), name("onward-at-once"));
    let queue = hf.queue(&name);
    for id in ["a", "b"] {
        push(&queue, id).await;
    }
    let mut worker = queue.claim();
    let first = soon(worker.next()).await.unwrap().unwrap();
    soon(queue.list()).await.unwrap();
    let going = first.ack().commit_and_next(&mut worker);
    let (_, next) = soon(going).await.unwrap();
    let next = next.expect("it was seen");
    assert_eq!(next.id(), "b");
    soon(next.ack().commit()).await.unwrap();
}

#[tokio::test]
async fn what_waits_for_the_acknowledged_item_comes_after_it() {
    let (hf, name) = (connect(shared()), name("onward-after"));
    let queue = hf.queue(&name);
    let (mut worker, first) = begun(&hf, &name, &["a"]).await;
    let waits = queue.push("").id("b").after(["a"]);
    soon(waits.send()).await.unwrap();
    soon(queue.list()).await.unwrap();
    let (acked, next) = soon(first.ack().commit_and_next(&mut worker))
        .await
        .unwrap();
    assert!(next.is_none());
    let next = soon(worker.next()).await.unwrap().unwrap();
    assert!(next.id() == "b" && next.token() > acked.revision);
    soon(next.ack().commit()).await.unwrap();
}

#[tokio::test]
async fn a_pause_that_was_not_seen_yet_holds_nevertheless() {
    let relay = Relay::start(shared().address()).await;
    let hf = behind(&relay, &client(shared())).await;
    let name = name("onward-pause");
    let (mut worker, first) = begun(&hf, &name, &["a", "b"]).await;
    relay.lose_events(true);
    let other = connect(shared()).queue(&name);
    soon(other.control(Control::Pause)).await.unwrap();
    let (_, next) = soon(first.ack().commit_and_next(&mut worker))
        .await
        .unwrap();
    assert!(next.is_none());
    assert_eq!(worker.tries(), 2, "it has seen the pause: no test");
}

#[tokio::test]
async fn an_answer_that_is_lost_loses_neither_the_ack_nor_the_claim() {
    let relay = Relay::start(shared().address()).await;
    let hf = behind(&relay, &client(shared())).await;
    let name = name("onward-lost");
    let (mut worker, first) = begun(&hf, &name, &["a", "b"]).await;
    relay.plan(|call| match call {
        0 => Fate::LoseAnswer,
        _ => Fate::Pass,
    });
    let (acked, next) = soon(first.ack().commit_and_next(&mut worker))
        .await
        .unwrap();
    assert!(relay.calls() > 1, "nothing was lost");
    let next = next.expect("it was claimed by the first of the two");
    assert_eq!((next.id(), next.attempt()), ("b", 1));
    assert_eq!(next.token(), acked.revision);
    soon(next.ack().commit()).await.unwrap();
}

#[tokio::test]
async fn a_stale_claim_gets_nothing_more() {
    let (client, name) = (client(shared()), name("onward-stale"));
    let (doomed, other) = (connect(shared()), connect(shared()));
    let (mut worker, stale) = begun(&doomed, &name, &["a", "b"]).await;
    revoke(&client, &doomed).await;
    let going = stale.ack().commit_and_next(&mut worker);
    let error = soon(going).await.unwrap_err();
    assert!(matches!(error, Error::AckLost { .. }), "{error}");
    drop(worker);
    for (id, attempt) in [("a", 2), ("b", 1)] {
        let next = claim(&other.queue(&name)).await;
        assert_eq!((next.id(), next.attempt()), (id, attempt));
        soon(next.ack().commit()).await.unwrap();
    }
    nothing_is_left(&client, &name).await;
}

/// Each worker has a session, a client and a mirror of its own.
#[tokio::test]
async fn workers_that_go_on_seldom_try_the_same_item() {
    const WORKERS: usize = 8;
    const ITEMS: usize = 120;
    let name = name("onward-herd");
    let queue = connect(shared()).queue(&name);
    for number in 0..ITEMS {
        push(&queue, &number.to_string()).await;
    }
    soon(queue.control(Control::Drain)).await.unwrap();
    let all = (0..WORKERS).map(|_| {
        let mut worker = connect(shared()).queue(&name).worker();
        async move {
            let mut count = 0;
            let mut held = soon(worker.next()).await.unwrap();
            while let Some(claim) = held {
                let going = claim.ack().commit_and_next(&mut worker);
                held = soon(going).await.unwrap().1;
                count += 1;
                if held.is_none() {
                    held = soon(worker.next()).await.unwrap();
                }
            }
            (count, worker.tries())
        }
    });
    let all: Vec<(usize, u64)> = futures::future::join_all(all).await;
    assert_eq!(all.iter().map(|(count, _)| count).sum::<usize>(), ITEMS);
    let tries: u64 = all.iter().map(|(_, tries)| tries).sum();
    let each = tries as f64 / ITEMS as f64;
    assert!(each <= 1.3, "{tries} claims for {ITEMS} items");
}
