//! What items wait for, and that the store keeps workers from going ahead.

use std::time::Duration;

use handfast::{
    Condition, Control, ItemState, Queue, Reason,
    core::{Client, EventKind, WatchEvent, WatchOptions},
};

use crate::{
    queue::{ack_all, claim, nothing_is_left, push},
    server::shared,
    util::{client, connect, name, soon},
};

async fn nothing_to_claim(queue: &Queue) {
    let mut worker = queue.claim().timeout(Duration::from_millis(80));
    let error = soon(worker.next()).await.unwrap_err();
    assert_eq!(error.code(), "TIMEOUT");
}

/// The revision at which `key` was first put, of all that has happened.
async fn first_put(client: &Client, key: String) -> i64 {
    let mut watch = client.watch(WatchOptions::key(key).start_revision(1));
    loop {
        let report = soon(watch.next()).await.expect("it goes on").unwrap();
        if let WatchEvent::Events { events, .. } = report {
            let put = events.iter().find(|event| event.kind == EventKind::Put);
            if let Some(event) = put {
                return event.kv.mod_revision;
            }
        }
    }
}

#[tokio::test]
async fn count_nothing_is_claimed_before_that_many_are_ready() {
    let (client, name) = (client(shared()), name("count"));
    let queue = connect(shared()).queue(&name);
    soon(queue.condition(Condition::Count(3))).await.unwrap();
    push(&queue, "a").await;
    push(&queue, "b").await;
    nothing_to_claim(&queue).await;
    let why = soon(queue.why("a")).await.unwrap();
    assert_eq!(
        why.reasons,
        [Reason::Count {
            ready: 2,
            wanted: 3
        }]
    );
    let third = soon(queue.push("").id("c").send()).await.unwrap().revision;
    let first = claim(&queue).await;
    assert!(first.id() == "a" && first.token() > third);
    soon(first.ack().commit()).await.unwrap();
    // It stays open although fewer are left,
    assert_eq!(ack_all(&queue, 1).await, ["b"]);
    // until it is set again.
    soon(queue.condition(Condition::Count(2))).await.unwrap();
    nothing_to_claim(&queue).await;
    push(&queue, "d").await;
    assert_eq!(ack_all(&queue, 2).await, ["c", "d"]);
    soon(queue.condition(Condition::None)).await.unwrap();
    nothing_is_left(&client, &name).await;
}

#[tokio::test]
async fn gate_nothing_behind_it_is_claimed_before_it_is_open() {
    let (client, name) = (client(shared()), name("gate"));
    let queue = connect(shared()).queue(&name);
    soon(queue.push("").id("late").gate("g").send())
        .await
        .unwrap();
    soon(queue.push("").id("opener").opens("g").send())
        .await
        .unwrap();
    let opener = claim(&queue).await;
    assert_eq!(opener.id(), "opener");
    nothing_to_claim(&queue).await;
    let why = soon(queue.why("late")).await.unwrap();
    assert_eq!(why.state, ItemState::Blocked);
    assert_eq!(why.reasons, [Reason::Gate("g".to_owned())]);
    let acked = soon(opener.ack().commit()).await.unwrap();
    let late = claim(&queue).await;
    assert!(late.id() == "late" && late.token() > acked.revision);
    let gate = client.get(format!("{name}/gate/g")).await.unwrap().unwrap();
    assert_eq!(gate.create_revision, acked.revision);
}

#[tokio::test]
async fn gate_of_a_queue_lets_only_its_opener_through() {
    let name = name("queue-gate");
    let queue = connect(shared()).queue(&name);
    push(&queue, "a").await;
    soon(queue.condition(Condition::Gate("g".to_owned())))
        .await
        .unwrap();
    nothing_to_claim(&queue).await;
    soon(queue.push("").id("opener").opens("g").send())
        .await
        .unwrap();
    assert_eq!(ack_all(&queue, 2).await, ["opener", "a"]);
    assert!(!soon(queue.open_gate("g")).await.unwrap(), "it is open");
    assert!(soon(queue.open_gate("other")).await.unwrap());
}

#[tokio::test]
async fn after_an_item_comes_when_all_before_it_are_done() {
    let (client, name) = (client(shared()), name("after"));
    let queue = connect(shared()).queue(&name);
    soon(queue.push("").id("c").after(["a", "b"]).send())
        .await
        .unwrap();
    push(&queue, "b").await;
    push(&queue, "a").await;
    assert_eq!(ack_all(&queue, 1).await, ["b"]);
    let a = claim(&queue).await;
    nothing_to_claim(&queue).await;
    let why = soon(queue.why("c")).await.unwrap();
    let (id, state) = ("a".to_owned(), ItemState::Claimed);
    assert_eq!(why.reasons, [Reason::After { id, state }]);
    let acked = soon(a.ack().commit()).await.unwrap();
    let c = claim(&queue).await;
    assert!(c.id() == "c" && c.token() > acked.revision);
    soon(c.ack().commit()).await.unwrap();
    // One that is pushed when all before it are done does not wait.
    soon(queue.push("").id("d").after(["a", "c"]).send())
        .await
        .unwrap();
    assert_eq!(ack_all(&queue, 1).await, ["d"]);
    nothing_is_left(&client, &name).await;
}

#[tokio::test]
async fn a_circle_is_refused_when_it_is_seen_and_told_when_it_was_not() {
    let name = name("circle");
    let queue = connect(shared()).queue(&name);
    let error = soon(queue.push("").id("x").after(["x"]).send())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "INVALID_ARGUMENT");
    soon(queue.push("").id("a").after(["b"]).send())
        .await
        .unwrap();
    soon(queue.push("").id("b").after(["c"]).send())
        .await
        .unwrap();
    let error = soon(queue.push("").id("c").after(["a"]).send())
        .await
        .unwrap_err();
    let told = "c would wait for itself: it waits for a, which waits for b, which waits for c";
    assert!(error.to_string().contains(told), "{error}");
    // Put there by something that does not look.
    let client = client(shared());
    client.put(format!("{name}/items/c"), "").await.unwrap();
    client
        .put(format!("{name}/tickets/c"), "{\"after\":[\"a\"]}")
        .await
        .unwrap();
    let why = soon(queue.why("a")).await.unwrap();
    let circle = ["a", "b", "c", "a"].map(str::to_owned).to_vec();
    assert!(why.reasons.contains(&Reason::Cycle(circle)), "{why:?}");
}

#[tokio::test]
async fn start_nothing_is_claimed_before_the_control_program_says_so() {
    let name = name("start");
    let queue = connect(shared()).queue(&name);
    soon(queue.condition(Condition::Start)).await.unwrap();
    push(&queue, "a").await;
    nothing_to_claim(&queue).await;
    assert_eq!(
        soon(queue.why("a")).await.unwrap().reasons,
        [Reason::NotStarted]
    );
    soon(queue.control(Control::Run)).await.unwrap();
    assert_eq!(ack_all(&queue, 1).await, ["a"]);
}

/// Workers of their own sessions take items that depend on each other, while the queue is paused
/// and started; the log shows that no claim came before what it had to wait for.
#[tokio::test]
async fn many_workers_never_go_ahead_of_a_condition() {
    let (client, name) = (client(shared()), name("order"));
    let queue = connect(shared()).queue(&name);
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let mut worker = connect(shared()).queue(&name).worker();
        workers.spawn(async move {
            let mut count = 0;
            while let Some(claim) = soon(worker.next()).await.unwrap() {
                soon(claim.ack().commit()).await.unwrap();
                count += 1;
            }
            count
        });
    }
    let before = |number: usize| (1..=2).filter_map(move |step| number.checked_sub(step * 3));
    for number in 0..24 {
        let after = before(number).map(|number| number.to_string());
        soon(queue.push("").id(number.to_string()).after(after).send())
            .await
            .unwrap();
        if number.is_multiple_of(8) {
            soon(queue.control(Control::Pause)).await.unwrap();
            soon(queue.control(Control::Run)).await.unwrap();
        }
    }
    soon(queue.control(Control::Drain)).await.unwrap();
    let mut total = 0;
    while let Some(count) = soon(workers.join_next()).await {
        total += count.unwrap();
    }
    assert_eq!(total, 24);
    for number in 0..24 {
        let claimed = first_put(&client, format!("{name}/claims/{number}")).await;
        for first in before(number) {
            let done = first_put(&client, format!("{name}/done/{first}")).await;
            assert!(
                done < claimed,
                "{number} was claimed before {first} was done"
            );
        }
    }
}
