//! What a queue costs: calls per step, calls per item with many workers, whatever its length.

use handfast::Handfast;
use handfast_kit::costs::Costs;

use crate::{
    queue::{claim, push},
    relay::Relay,
    server::shared,
    util::{TTL, client, connect, name, soon, until},
};

async fn through(relay: &Relay) -> Handfast {
    let hf = Handfast::builder()
        .endpoints(&relay.endpoint)
        // Thirty-two programs on one thread may answer a busy machine's server late.
        .ttl(TTL * 10)
        .build()
        .unwrap();
    // The session opens, and writes its record, beforehand.
    let epoch = soon(hf.session().unwrap().epoch()).await.unwrap();
    let record = format!("_handfast/session/{}", epoch.lease_hex());
    let client = client(shared());
    until(|| async { client.get(&record).await.unwrap() }).await;
    hf
}

#[tokio::test]
async fn each_step_of_a_queue_is_one_call() {
    let relay = Relay::start(shared().address()).await;
    let hf = through(&relay).await;
    let queue = hf.queue(name("steps"));
    // The mirror opens beforehand, too.
    soon(queue.list()).await.unwrap();
    relay.take_log();
    let mut costs = Costs::default();
    push(&queue, "a").await;
    costs.row("a push", 1, &relay);
    assert!(soon(queue.push("").id("a").send()).await.unwrap().duplicate);
    costs.row("a duplicate", 1, &relay);
    let claimed = claim(&queue).await;
    costs.row("a claim", 1, &relay);
    soon(claimed.nack("no")).await.unwrap();
    costs.row("a nack", 1, &relay);
    let claimed = claim(&queue).await;
    soon(claimed.release()).await.unwrap();
    costs.row("a claim that is given back", 2, &relay);
    let claimed = claim(&queue).await;
    relay.take_log();
    soon(claimed.ack().put("out", "").commit()).await.unwrap();
    costs.row("an ack with a write", 1, &relay);
    let mut worker = queue.worker();
    push(&queue, "b").await;
    relay.take_log();
    let claimed = soon(worker.next()).await.unwrap().unwrap();
    costs.row("a worker says that it waits, and claims", 2, &relay);
    soon(claimed.ack().commit()).await.unwrap();
    push(&queue, "c").await;
    relay.take_log();
    let claimed = soon(worker.next()).await.unwrap().unwrap();
    costs.row("a worker claims again", 1, &relay);
    soon(claimed.ack().commit()).await.unwrap();
    costs.row("and acknowledges", 1, &relay);
    for id in ["d", "e"] {
        push(&queue, id).await;
    }
    let claimed = soon(worker.next()).await.unwrap().unwrap();
    soon(queue.list()).await.unwrap();
    relay.take_log();
    let going = claimed.ack().commit_and_next(&mut worker);
    let next = soon(going).await.unwrap().1.unwrap();
    costs.row("an ack with the claim of the next item", 1, &relay);
    soon(next.ack().commit()).await.unwrap();
    costs.check();
}

/// Each worker has a session, a client and a mirror of its own.
#[tokio::test]
async fn thirty_two_workers_seldom_try_the_same_item() {
    const WORKERS: usize = 32;
    const ITEMS: usize = 320;
    let name = name("herd");
    let queue = connect(shared()).queue(&name);
    for number in 0..ITEMS {
        push(&queue, &number.to_string()).await;
    }
    soon(queue.control(handfast::Control::Drain)).await.unwrap();
    let relay = Relay::start(shared().address()).await;
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        let mut worker = through(&relay).await.queue(&name).worker();
        workers.push(async move {
            let mut count = 0;
            while let Some(claim) = soon(worker.next()).await.unwrap() {
                soon(claim.ack().commit()).await.unwrap();
                count += 1;
            }
            count
        });
    }
    relay.take_log();
    let counts = futures::future::join_all(workers).await;
    assert_eq!(counts.iter().sum::<usize>(), ITEMS);
    let txns = relay
        .take_log()
        .iter()
        .filter(|call| call.contains("Txn"))
        .count();
    // One to say that it waits for each worker, one ack for each item.
    let claims = txns - WORKERS - ITEMS;
    let each = claims as f64 / ITEMS as f64;
    println!("{each:.3} claims per item");
    assert!(each <= 1.3, "{claims} claims for {ITEMS} items");
}

#[tokio::test]
async fn a_pop_costs_the_same_however_long_the_queue_is() {
    let relay = Relay::start(shared().address()).await;
    let hf = through(&relay).await;
    let other = connect(shared());
    let queue = hf.queue(name("long"));
    let pusher = other.queue(queue_name(&queue));
    let mut pushed = 0;
    let mut calls = Vec::new();
    for depth in [10, 10_000] {
        while pushed < depth {
            let batch = (0..64.min(depth - pushed)).map(|_| {
                let push = pusher.push("0123456789abcdef");
                async move { push.send().await.unwrap() }
            });
            pushed += futures::future::join_all(batch).await.len();
        }
        // What was pushed by now is seen.
        let seen = soon(queue.list()).await.unwrap().len();
        assert_eq!(seen, pushed);
        relay.take_log();
        for _ in 0..5 {
            let claimed = claim(&queue).await;
            soon(claimed.ack().commit()).await.unwrap();
        }
        let mut log = relay.take_log();
        // The mirror looks now and then whether it is up to date, but not for each item.
        let before = log.len();
        log.retain(|call| !call.contains("Range"));
        assert!(before - log.len() < 5, "{before} calls");
        calls.push(log);
        pushed -= 5;
    }
    assert_eq!(calls[0].len(), 10, "{calls:?}");
    assert_eq!(calls[1], calls[0]);
}

fn queue_name(queue: &handfast::Queue) -> String {
    String::from_utf8_lossy(queue.name()).into_owned()
}
