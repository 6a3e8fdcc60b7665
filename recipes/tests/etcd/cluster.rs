//! Recipes on three members, of which some die or stand still.

use std::{sync::Arc, time::Duration};

use handfast::{Handfast, LostReason, State, Tenure};
use tokio::sync::Mutex;

use crate::{
    members::Cluster,
    util::{name, soon, until},
};

const TTL: Duration = Duration::from_secs(10);

fn connect(cluster: &Cluster) -> Handfast {
    Handfast::builder()
        .endpoints(cluster.endpoints())
        .ttl(TTL)
        .app_name("test")
        .build()
        .unwrap()
}

/// Waits until a keepalive that was sent from now on is answered.
async fn renewed(held: &Tenure) {
    let mut last = held.remaining();
    until(|| {
        let now = held.remaining();
        assert!(now > Duration::ZERO, "it is lost");
        let grown = now > last;
        last = now;
        std::future::ready(grown.then_some(()))
    })
    .await;
}

/// The member that answers the recipes' client.
async fn member_in_use(cluster: &Cluster, hf: &Handfast) -> usize {
    cluster.asked_by(hf.client()).await
}

#[tokio::test]
async fn a_lock_outlives_the_leader_and_the_member_it_is_kept_through() {
    let mut cluster = Cluster::start(3).await;
    let (hf, rival, name) = (connect(&cluster), connect(&cluster), name("outlive"));
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    let waiting = tokio::spawn({
        let lock = rival.lock(&name).rejoin(true);
        async move { lock.acquire().await }
    });
    for round in 0..3 {
        let victim = match round {
            0 => cluster.leader().await,
            _ => member_in_use(&cluster, &hf).await,
        };
        cluster.kill(victim);
        // A renewal may have been answered just before: the second is certain.
        renewed(&guard).await;
        renewed(&guard).await;
        let report = guard.txn().put(format!("{name}.report"), round.to_string());
        soon(report.commit()).await.unwrap();
        cluster.run(victim);
        cluster.ready(victim).await;
    }
    assert!(!waiting.is_finished(), "two hold it");
    let token = guard.token();
    soon(guard.release()).await.unwrap();
    let next = soon(waiting).await.unwrap().unwrap();
    assert!(next.token() > token);
    assert!(!next.previous_died());
}

#[tokio::test]
async fn a_session_goes_on_while_any_one_member_stands_still() {
    let cluster = Cluster::start(3).await;
    let (hf, name) = (connect(&cluster), name("still"));
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    for _ in 0..2 {
        let index = member_in_use(&cluster, &hf).await;
        cluster.pause(index);
        renewed(&guard).await;
        renewed(&guard).await;
        cluster.resume(index);
        cluster.all_ready().await;
    }
    let leader = cluster.leader().await;
    cluster.pause(leader);
    renewed(&guard).await;
    renewed(&guard).await;
    guard.check().unwrap();
    cluster.resume(leader);
}

#[tokio::test]
async fn a_loss_is_told_while_all_members_stand_still_and_before_a_rival_holds() {
    let cluster = Cluster::start(3).await;
    let (hf, rival, name) = (connect(&cluster), connect(&cluster), name("frozen"));
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let waiting = tokio::spawn({
        // Its own session is lost as well; it joins again under the next.
        let (lock, told) = (rival.lock(&name).rejoin(true), Arc::clone(&told));
        async move {
            let next = lock.acquire().await;
            told.lock().await.push("granted");
            next
        }
    });
    for index in 0..cluster.len() {
        cluster.pause(index);
    }
    assert_eq!(soon(guard.lost()).await, LostReason::Expired);
    assert!(guard.check().is_err());
    told.lock().await.push("lost");
    for index in 0..cluster.len() {
        cluster.resume(index);
    }
    let next = soon(waiting).await.unwrap().unwrap();
    assert_eq!(*told.lock().await, ["lost", "granted"]);
    assert!(next.token() > guard.token());
    // What was lost does not come back with the members.
    assert!(guard.check().is_err());
    let refused = soon(guard.txn().put(format!("{name}.late"), "x").commit()).await;
    assert!(refused.unwrap_err().lost_reason().is_some());
}

#[tokio::test]
async fn waiters_are_granted_in_order_over_a_change_of_the_leader() {
    let mut cluster = Cluster::start(3).await;
    let (hf, name) = (connect(&cluster), name("order"));
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for number in 0..3 {
        let (lock, order) = (connect(&cluster).lock(&name), Arc::clone(&order));
        waiting.push(tokio::spawn(async move {
            let guard = lock.acquire().await.unwrap();
            order.lock().await.push((number, guard.token()));
            guard.release().await.unwrap();
        }));
        crate::util::queue_of(hf.client(), &name, number + 2).await;
    }
    let leader = cluster.leader().await;
    cluster.kill(leader);
    // Given back while there is no leader: the clean-up is repeated until it is answered.
    soon(guard.release()).await.unwrap();
    for task in waiting {
        soon(task).await.unwrap();
    }
    let order = order.lock().await;
    let numbers: Vec<_> = order.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [0, 1, 2]);
    assert!(order.is_sorted_by_key(|(_, token)| *token));
}

#[tokio::test]
async fn a_term_goes_on_over_a_change_of_the_leader_and_ends_with_its_leader() {
    let mut cluster = Cluster::start(3).await;
    let (hf, other, name) = (connect(&cluster), connect(&cluster), name("term"));
    let leading = soon(hf.election(&name).value("one").campaign())
        .await
        .unwrap();
    let mut observer = soon(other.election(&name).observe()).await.unwrap();
    let seen = soon(observer.next()).await.unwrap();
    assert_eq!((seen.token, &*seen.value), (leading.token(), &b"one"[..]));
    let leader = cluster.leader().await;
    cluster.kill(leader);
    soon(leading.proclaim("two")).await.unwrap();
    let seen = soon(observer.next()).await.unwrap();
    assert_eq!((seen.token, &*seen.value), (leading.token(), &b"two"[..]));
    cluster.run(leader);
    cluster.ready(leader).await;
    let in_use = member_in_use(&cluster, &other).await;
    cluster.kill(in_use);
    soon(leading.resign()).await.unwrap();
    assert_eq!(soon(observer.next()).await, None);
    let states = hf.session().unwrap().state();
    assert!(!matches!(states, State::Lost { .. }), "{states:?}");
}
