//! A queue's daily life: push, claim, acknowledge, give back.

use std::time::Duration;

use handfast::{
    Control, Error, Failed, Handfast, ItemState, Kind, LostReason, Queue,
    core::{Client, Op},
};
use handfast_kit::troubles::behind;

use crate::{
    relay::{Fate, Relay},
    server::{Server, shared},
    util::{client, connect, connect_with, name, poll_times, revoke, soon, until},
};

pub(crate) async fn push(queue: &Queue, id: &str) {
    let push = queue.push(format!("payload of {id}")).id(id);
    let pushed = soon(push.send()).await.unwrap();
    assert!(!pushed.duplicate, "{id}");
}

/// Claims the item that is next.
pub(crate) async fn claim(queue: &Queue) -> handfast::Claim {
    let mut worker = queue.claim().max_attempts(3);
    soon(worker.next()).await.unwrap().expect("not drained")
}

pub(crate) async fn ack_all(queue: &Queue, count: usize) -> Vec<String> {
    let mut worker = queue.worker();
    let mut ids = Vec::new();
    for _ in 0..count {
        let claim = soon(worker.next()).await.unwrap().unwrap();
        ids.push(claim.id().to_owned());
        soon(claim.ack().commit()).await.unwrap();
    }
    ids
}

/// What is under the queue's name, without marks of done items and settings.
pub(crate) async fn rest(client: &Client, name: &str) -> Vec<String> {
    let pairs = client.range(format!("{name}/")).prefix().await.unwrap().kvs;
    let keys = pairs.iter().map(|pair| {
        let key = String::from_utf8_lossy(&pair.key).into_owned();
        key[name.len() + 1..].to_owned()
    });
    keys.filter(|key| !key.starts_with("done/")).collect()
}

/// Nothing but marks of done items is left under the name.
pub(crate) async fn nothing_is_left(client: &Client, name: &str) {
    until(|| async { rest(client, name).await.is_empty().then_some(()) }).await;
}

#[tokio::test]
async fn items_come_out_in_the_order_they_went_in_and_leave_nothing_behind() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("fifo"));
    let queue = hf.queue(&name);
    for id in ["z", "m", "a"] {
        push(&queue, id).await;
    }
    let first = claim(&queue).await;
    assert_eq!(
        (first.id(), first.attempt(), first.kind()),
        ("z", 1, Kind::Queue)
    );
    assert_eq!(first.payload(), "payload of z");
    assert!(first.check().is_ok() && !first.previous_died());
    let second = claim(&queue).await;
    assert_eq!(second.id(), "m");
    assert!(second.token() > first.token());
    // One that is given back is older than those behind it.
    soon(first.release()).await.unwrap();
    let again = claim(&connect(shared()).queue(&name)).await;
    assert_eq!((again.id(), again.attempt()), ("z", 1));
    soon(second.ack().commit()).await.unwrap();
    soon(again.ack().commit()).await.unwrap();
    assert_eq!(ack_all(&queue, 1).await, ["a"]);
    nothing_is_left(&client, &name).await;
}

#[tokio::test]
async fn an_id_is_accepted_once() {
    let (hf, name) = (connect(shared()), name("dedupe"));
    let queue = hf.queue(&name);
    let first = soon(queue.push("1").id("a").send()).await.unwrap();
    let push = queue.push("2").id("a");
    let second = soon(push.send()).await.unwrap();
    assert!(!first.duplicate && second.duplicate);
    assert_eq!(first.revision, second.revision);
    let claimed = claim(&queue).await;
    assert_eq!(claimed.payload(), "1");
    assert!(
        soon(push.send()).await.unwrap().duplicate,
        "while it is claimed"
    );
    soon(claimed.ack().commit()).await.unwrap();
    assert!(
        soon(push.send()).await.unwrap().duplicate,
        "after it is done"
    );
    assert!(soon(queue.list()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_push_that_is_sent_again_is_the_same_item() {
    let (hf, name) = (connect(shared()), name("again"));
    let queue = hf.queue(&name);
    let push = queue.push("x");
    let first = soon(push.send()).await.unwrap();
    let second = soon(push.send()).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(ack_all(&queue, 1).await, std::slice::from_ref(&first.id));
    // Even after its item is done it is not another one.
    assert!(!soon(push.send()).await.unwrap().duplicate);
    assert!(soon(queue.list()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_claim_waits_for_an_item_and_gives_up_in_time() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("wait"));
    let queue = hf.queue(&name);
    let mut worker = queue.claim().timeout(Duration::from_millis(50));
    let error = soon(worker.next()).await.unwrap_err();
    assert_eq!(error.code(), "TIMEOUT");
    drop(worker);
    nothing_is_left(&client, &name).await;

    let waiting = tokio::spawn({
        let mut worker = queue.worker();
        async move { worker.next().await }
    });
    until(|| async { (rest(&client, &name).await.len() == 1).then_some(()) }).await;
    push(&connect(shared()).queue(&name), "late").await;
    let claim = soon(waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(claim.id(), "late");
    soon(claim.ack().commit()).await.unwrap();
    nothing_is_left(&client, &name).await;
}

#[tokio::test]
async fn a_claim_that_is_dropped_on_its_way_leaves_nothing_and_counts_no_attempt() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("cancel"));
    let queue = hf.queue(&name);
    push(&queue, "a").await;
    let mut done = false;
    for polls in 1..60 {
        let hf = connect(shared());
        let queue = hf.queue(&name);
        let mut worker = queue.worker();
        if let Some(claim) = poll_times(worker.next(), polls).await {
            let claim = claim.unwrap().unwrap();
            assert_eq!(claim.attempt(), 1, "after {polls} polls");
            soon(claim.release()).await.unwrap();
            done = true;
        }
        drop(worker);
        until(|| async {
            let rest = rest(&client, &name).await;
            (rest == ["items/a", "tickets/a"]).then_some(())
        })
        .await;
        if done {
            break;
        }
    }
    assert!(done, "it was never claimed");
}

#[tokio::test]
async fn an_ack_writes_what_it_carries_or_nothing() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("ack"));
    let queue = hf.queue(&name);
    push(&queue, "a").await;
    let out = format!("{name}-out");
    client.put(format!("{out}/old"), "").await.unwrap();
    let claimed = claim(&queue).await;
    let ack = claimed.ack().put(format!("{out}/1"), "result");
    let acked = soon(ack.delete(format!("{out}/old")).commit())
        .await
        .unwrap();
    let written = client.range(&out).prefix().await.unwrap().kvs;
    assert_eq!(written.len(), 1);
    assert_eq!(
        (&*written[0].value, written[0].mod_revision),
        (&b"result"[..], acked.revision)
    );
    let done = client.get(format!("{name}/done/a")).await.unwrap().unwrap();
    assert_eq!(done.mod_revision, acked.revision);

    // Of one that is refused nothing is written, and the item goes on.
    push(&queue, "b").await;
    let ack = claim(&queue).await.ack();
    let key = format!("{out}/2");
    let twice = [Op::put(&key, "1"), Op::put(&key, "2")];
    let error = soon(ack.then(twice).commit()).await.unwrap_err();
    assert_eq!(error.code(), "INVALID_ARGUMENT");
    assert!(client.get(&key).await.unwrap().is_none());
    let again = claim(&queue).await;
    assert_eq!((again.id(), again.attempt()), ("b", 2));
}

#[tokio::test]
async fn the_ack_of_a_stale_claim_is_refused_with_all_it_carries() {
    let (client, name) = (client(shared()), name("stale"));
    let (doomed, other) = (connect(shared()), connect(shared()));
    push(&other.queue(&name), "a").await;
    let stale = claim(&doomed.queue(&name)).await;
    revoke(&client, &doomed).await;
    let next = claim(&other.queue(&name)).await;
    assert_eq!((next.id(), next.attempt()), ("a", 2));
    assert!(next.previous_died() && next.token() > stale.token());
    let out = format!("{name}-out");
    let error = soon(stale.ack().put(&out, "stale").commit())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::AckLost { .. }), "{error}");
    // etcd deletes the keys of a lease before the lease, and may be asked in between.
    let reason = error.lost_reason().expect("it is lost");
    let known = [LostReason::Revoked, LostReason::Deleted];
    assert!(known.contains(reason), "{reason:?}");
    assert!(client.get(&out).await.unwrap().is_none());
    soon(next.ack().put(&out, "fresh").commit()).await.unwrap();
    assert_eq!(client.get(&out).await.unwrap().unwrap().value, "fresh");
}

#[tokio::test]
async fn a_claim_broken_by_hand_is_lost_and_its_scope_ends() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("broken"));
    let queue = hf.queue(&name);
    push(&queue, "a").await;
    let claimed = claim(&queue).await;
    client.delete(claimed.key()).await.unwrap();
    let scope = claimed.scope(std::future::pending::<()>());
    let error = soon(scope).await.unwrap_err();
    assert_eq!(error.lost_reason(), Some(&LostReason::Deleted));
    assert!(claimed.check().is_err() && claimed.remaining().is_zero());
    assert!(soon(claimed.nack("too late")).await.is_err());
    assert_eq!(claim(&queue).await.attempt(), 2);
}

#[tokio::test]
async fn an_item_whose_worker_dies_is_given_to_another() {
    let (client, name) = (client(shared()), name("dies"));
    let other = connect(shared());
    let doomed = connect_with(shared(), Duration::from_secs(2));
    push(&other.queue(&name), "a").await;
    let held = claim(&doomed.queue(&name)).await;
    let waiting = tokio::spawn({
        let mut worker = other.queue(&name).worker();
        async move { worker.next().await }
    });
    revoke(&client, &doomed).await;
    let next = soon(waiting).await.unwrap().unwrap().unwrap();
    assert_eq!((next.id(), next.attempt()), ("a", 2));
    assert!(held.check().is_err());
    soon(next.ack().commit()).await.unwrap();
}

#[tokio::test]
async fn an_item_that_fails_too_often_becomes_a_dead_letter_and_can_be_put_back() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("dead"));
    let queue = hf.queue(&name);
    push(&queue, "bad").await;
    push(&queue, "good").await;
    for attempt in 1..=3 {
        let claimed = claim(&queue).await;
        assert_eq!((claimed.id(), claimed.attempt()), ("bad", attempt));
        let failed = soon(claimed.nack(format!("no. {attempt}"))).await.unwrap();
        let expected = if attempt < 3 {
            Failed::Queued
        } else {
            Failed::Dead
        };
        assert_eq!(failed, expected);
    }
    assert_eq!(ack_all(&queue, 1).await, ["good"]);
    let dead = soon(queue.dead()).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!((&*dead[0].id, dead[0].attempts), ("bad", 3));
    assert_eq!(dead[0].said.as_deref(), Some("no. 3"));
    assert_eq!(dead[0].payload, "payload of bad");
    // A dead letter keeps its id.
    assert!(
        soon(queue.push("x").id("bad").send())
            .await
            .unwrap()
            .duplicate
    );

    assert!(soon(queue.retry("bad")).await.unwrap());
    assert!(!soon(queue.retry("bad")).await.unwrap(), "it is back");
    assert!(!soon(queue.retry("good")).await.unwrap());
    let claimed = claim(&queue).await;
    assert_eq!((claimed.id(), claimed.attempt()), ("bad", 1));
    soon(claimed.ack().commit()).await.unwrap();
    nothing_is_left(&client, &name).await;
}

#[tokio::test]
async fn an_item_that_kills_its_workers_becomes_a_dead_letter() {
    let (client, name) = (client(shared()), name("killer"));
    let other = connect(shared());
    let queue = other.queue(&name);
    push(&queue, "a").await;
    for _ in 0..3 {
        let doomed = connect(shared());
        let _claim = claim(&doomed.queue(&name)).await;
        revoke(&client, &doomed).await;
    }
    let mut worker = queue.claim().max_attempts(3);
    let dead = until(|| async {
        let dead = queue.dead().await.unwrap();
        (!dead.is_empty()).then_some(dead)
    });
    let dead = tokio::select! {
        biased;
        claimed = worker.next() => panic!("{claimed:?}"),
        dead = dead => dead,
    };
    assert_eq!(
        (&*dead[0].id, dead[0].attempts, &dead[0].said),
        ("a", 3, &None)
    );
}

/// It took the second item, for it thought that the other worker would take the first.
#[tokio::test]
async fn an_item_is_not_left_to_a_worker_that_gave_up_while_it_began() {
    let (client, name) = (client(shared()), name("gave-up"));
    let relay = Relay::start(shared().address()).await;
    let queue = behind(&relay, &client).await.queue(&name);
    assert_eq!(soon(queue.list()).await.unwrap().len(), 0);
    relay.plan(|call| match call {
        0 => Fate::HoldAnswer,
        _ => Fate::Pass,
    });
    let mut gone = queue.worker();
    tokio::select! {
        biased;
        claimed = gone.next() => panic!("{claimed:?}"),
        () = soon(relay.held()) => {}
    }
    relay.let_go();
    let workers = format!("{name}/workers/");
    until(|| async {
        let found = client.range(&workers).prefix().await.unwrap();
        (found.count > 0).then_some(())
    })
    .await;
    push(&queue, "a").await;
    push(&queue, "b").await;
    assert_eq!(ack_all(&queue, 2).await, ["a", "b"]);
    drop(gone);
}

#[tokio::test]
async fn a_paused_queue_gives_nothing_away_and_a_drained_one_takes_nothing() {
    let (hf, name) = (connect(shared()), name("control"));
    let queue = hf.queue(&name);
    push(&queue, "a").await;
    soon(queue.control(Control::Pause)).await.unwrap();
    push(&queue, "b").await;
    let mut worker = queue.worker().timeout(Duration::from_millis(50));
    assert_eq!(soon(worker.next()).await.unwrap_err().code(), "TIMEOUT");
    let status = soon(queue.status()).await.unwrap();
    assert_eq!(
        (status.control, status.open, status.ready),
        (Control::Pause, false, 2)
    );

    soon(queue.control(Control::Drain)).await.unwrap();
    let error = soon(queue.push("").id("c").send()).await.unwrap_err();
    assert_eq!(error.code(), "DRAINING");
    assert_eq!(ack_all(&queue, 2).await, ["a", "b"]);
    let mut worker = queue.worker();
    assert!(
        soon(worker.next()).await.unwrap().is_none(),
        "it is drained"
    );

    soon(queue.control(Control::Run)).await.unwrap();
    push(&queue, "c").await;
    assert_eq!(ack_all(&queue, 1).await, ["c"]);
}

#[tokio::test]
async fn items_are_listed_with_who_has_them() {
    let (hf, name) = (connect(shared()), name("list"));
    let queue = hf.queue(&name);
    push(&queue, "a").await;
    push(&queue, "b").await;
    soon(queue.push("").id("c").after(["b"]).send())
        .await
        .unwrap();
    let claimed = claim(&queue).await;
    let items = soon(connect(shared()).queue(&name).list()).await.unwrap();
    let states: Vec<_> = items.iter().map(|item| (&*item.id, item.state)).collect();
    let expected = [
        ("a", ItemState::Claimed),
        ("b", ItemState::Ready),
        ("c", ItemState::Blocked),
    ];
    assert_eq!(states, expected);
    let by = items[0].claimed_by.as_ref().unwrap();
    assert_eq!((by.lease, by.token), (claimed.lease(), claimed.token()));
    assert_eq!(
        (items[0].attempts, items[0].size),
        (1, "payload of a".len())
    );
    assert_eq!(items[1].claimed_by, None);
}

#[tokio::test]
async fn a_name_that_cannot_be_is_refused_early() {
    let hf = connect(shared());
    let queue = hf.queue("");
    assert_eq!(
        soon(queue.push("").send()).await.unwrap_err().code(),
        "INVALID_ARGUMENT"
    );
    assert_eq!(
        soon(queue.list()).await.unwrap_err().code(),
        "INVALID_ARGUMENT"
    );
    let queue = hf.queue(name("ids"));
    let bad = ["", "a\nb"];
    for id in bad {
        let error = soon(queue.push("").id(id).send()).await.unwrap_err();
        assert_eq!(error.code(), "INVALID_ARGUMENT");
    }
    let many = (0..101).map(|number| number.to_string());
    let error = soon(queue.push("").after(many).send()).await.unwrap_err();
    assert!(error.to_string().contains("100"), "{error}");
}

/// apache/curator#1122: a consumer there had to take an item before it could write, and lost one
/// or wrote twice when it died in between.
#[tokio::test]
async fn curator_605_a_consumer_commits_with_its_claim() {
    let (client, name) = (client(shared()), name("605"));
    let out = format!("{name}-sum");
    let queue = connect(shared()).queue(&name);
    for id in ["1", "2", "3", "4"] {
        push(&queue, id).await;
    }
    let mut died = 0;
    for _ in 0..6 {
        let hf: Handfast = connect(shared());
        let mut worker = hf.queue(&name).claim();
        let claim = soon(worker.next()).await.unwrap().expect("not drained");
        let number: u64 = claim.id().parse().unwrap();
        let sum = client.get(&out).await.unwrap().map_or(0, |pair| {
            std::str::from_utf8(&pair.value).unwrap().parse().unwrap()
        });
        // Every other consumer dies after its work and before its commit.
        if number.is_multiple_of(2) && claim.attempt() == 1 {
            revoke(&client, &hf).await;
            died += 1;
            let ack = claim.ack().put(&out, (sum + number).to_string());
            assert_eq!(soon(ack.commit()).await.unwrap_err().code(), "ACK_LOST");
            continue;
        }
        let ack = claim.ack().put(&out, (sum + number).to_string());
        soon(ack.commit()).await.unwrap();
    }
    assert_eq!(died, 2);
    assert_eq!(client.get(&out).await.unwrap().unwrap().value, "10");
    nothing_is_left(&client, &name).await;
}

#[tokio::test]
async fn a_queue_outlives_a_restart_of_the_server_and_its_history() {
    let Some(mut server) = Server::own() else {
        return;
    };
    let (hf, client, name) = (connect(&server), client(&server), name("restart"));
    let queue = hf.queue(&name);
    push(&queue, "a").await;
    push(&queue, "b").await;
    let claimed = claim(&queue).await;
    let (token, id) = (claimed.token(), claimed.id().to_owned());
    server.kill();
    server.start_again();
    let acked = soon(claimed.ack().commit()).await.unwrap();
    assert!(id == "a" && acked.revision > token);
    client.compact(acked.revision, false).await.unwrap();
    let claimed = claim(&queue).await;
    assert_eq!((claimed.id(), claimed.attempt()), ("b", 1));
    let now = client.put("other", "").await.unwrap().header.revision;
    client.compact(now, false).await.unwrap();
    push(&queue, "c").await;
    soon(claimed.ack().commit()).await.unwrap();
    assert_eq!(ack_all(&queue, 1).await, ["c"]);
    nothing_is_left(&client, &name).await;
}
