//! How many calls each step costs, counted by a relay in between: the tables of the design, and
//! not a call more. Queues, configuration and work done once count theirs beside their tests.

use handfast::{Handfast, Pick};
use handfast_kit::{costs::Costs, troubles::behind};

use crate::{
    relay::Relay,
    server::shared,
    util::{TTL, client, connect, name, queue_of, soon, until},
};

/// A relay, and recipes with an open session behind it.
async fn counted() -> (Relay, Handfast) {
    let relay = Relay::start(shared().address()).await;
    let hf = behind(&relay, &client(shared())).await;
    (relay, hf)
}

#[tokio::test]
async fn b1_each_step_of_a_lock_is_one_call() {
    let (relay, hf) = counted().await;
    // This one goes past the relay.
    let (other, client) = (connect(shared()), client(shared()));
    let mut costs = Costs::default();
    let name = name("count");
    let lock = hf.lock(&name);

    let guard = soon(lock.acquire()).await.unwrap();
    costs.row("a free lock", 1, &relay);
    assert!(soon(lock.try_acquire()).await.unwrap().acquired().is_none());
    costs.row("a failed try", 1, &relay);
    soon(guard.txn().put(format!("{name}.out"), "").commit())
        .await
        .unwrap();
    costs.row("a guarded write", 1, &relay);
    soon(guard.release()).await.unwrap();
    costs.row("a release", 1, &relay);
    let tried = soon(lock.try_acquire()).await.unwrap();
    let guard = tried.acquired().expect("it is free");
    costs.row("a try that succeeds", 1, &relay);
    guard.check().unwrap();
    assert!(!guard.remaining().is_zero());
    costs.row("whether it is held, and for how long", 0, &relay);
    soon(guard.release()).await.unwrap();

    let holder = soon(other.lock(&name).acquire()).await.unwrap();
    relay.take_log();
    let waiting = tokio::spawn({
        let lock = lock.clone();
        async move { lock.acquire().await }
    });
    queue_of(&client, &name, 2).await;
    // The answer is on its way; what comes after it is a watch.
    until(|| std::future::ready((relay.calls() > 0).then_some(()))).await;
    costs.row("to join a queue", 1, &relay);
    soon(holder.release()).await.unwrap();
    let guard = soon(waiting).await.unwrap().unwrap();
    costs.row("the predecessor is gone", 1, &relay);
    drop(guard);
    queue_of(&client, &name, 0).await;
    costs.row("a guard that is dropped", 1, &relay);
    costs.check();
}

#[tokio::test]
async fn b1_a_new_session_costs_a_grant_and_its_record() {
    let relay = Relay::start(shared().address()).await;
    let hf = Handfast::builder().endpoints(&relay.endpoint).ttl(TTL);
    let hf = hf.build().unwrap();
    let mut costs = Costs::default();
    let guard = soon(hf.lock(name("count-new")).acquire()).await.unwrap();
    // The record is put beside the lock, which does not wait for it.
    let record = format!(
        "_handfast/session/{}",
        handfast::core::session::lease_hex(guard.lease())
    );
    let client = client(shared());
    until(|| async { client.get(&record).await.unwrap() }).await;
    costs.row("a lock with a new session", 3, &relay);
    costs.check();
}

#[tokio::test]
async fn b3_each_step_of_many_locks_is_one_call_for_all() {
    let (relay, hf) = counted().await;
    let (other, client) = (connect(shared()), client(shared()));
    let mut costs = Costs::default();
    let stem = name("count-multi");
    let names: Vec<String> = (0..20).map(|number| format!("{stem}/{number}")).collect();
    let locks = hf.multi_lock(&names);

    let guard = soon(locks.acquire()).await.unwrap();
    costs.row("twenty free locks", 1, &relay);
    assert!(
        soon(locks.try_acquire())
            .await
            .unwrap()
            .acquired()
            .is_none()
    );
    costs.row("a failed try", 1, &relay);
    soon(guard.txn().put(format!("{stem}.out"), "").commit())
        .await
        .unwrap();
    costs.row("a write guarded by all", 1, &relay);
    soon(guard.release()).await.unwrap();
    costs.row("a release", 1, &relay);
    let tried = soon(locks.try_acquire()).await.unwrap();
    let guard = tried.acquired().expect("all are free");
    costs.row("a try that succeeds", 1, &relay);
    soon(guard.release()).await.unwrap();

    let holder = soon(other.multi_lock(&names[7..9]).acquire())
        .await
        .unwrap();
    relay.take_log();
    let waiting = tokio::spawn({
        let locks = locks.clone();
        async move { locks.acquire().await }
    });
    queue_of(&client, &names[7], 2).await;
    until(|| std::future::ready((relay.calls() > 0).then_some(()))).await;
    costs.row("to join all queues", 1, &relay);
    soon(holder.release()).await.unwrap();
    drop(soon(waiting).await.unwrap().unwrap());
    queue_of(&client, &stem, 0).await;
    costs.row("the predecessor is gone; and a drop", 2, &relay);
    costs.check();
}

#[tokio::test]
async fn b5_each_step_of_an_election_is_one_call_and_observing_is_none() {
    let (relay, hf) = counted().await;
    let (other, client) = (connect(shared()), client(shared()));
    let mut costs = Costs::default();
    let name = name("count-elect");
    let election = hf.election(&name).value("v");

    let leading = soon(election.campaign()).await.unwrap();
    costs.row("a campaign that nobody else is in", 1, &relay);
    soon(leading.proclaim("w")).await.unwrap();
    costs.row("a proclamation", 1, &relay);
    let mut observer = soon(election.observe()).await.unwrap();
    soon(observer.next()).await.unwrap();
    costs.row("to observe: the snapshot", 1, &relay);
    soon(leading.resign()).await.unwrap();
    costs.row("a resignation", 1, &relay);
    let foreign = soon(other.election(&name).value("x").campaign()).await;
    let foreign = foreign.unwrap();
    until(|| {
        let leader = observer.current().filter(|leader| leader.value == "x");
        std::future::ready(leader)
    })
    .await;
    costs.row("to observe a change", 0, &relay);

    let waiting = tokio::spawn({
        let election = election.clone();
        async move { election.campaign().await }
    });
    queue_of(&client, &name, 2).await;
    soon(foreign.resign()).await.unwrap();
    drop(soon(waiting).await.unwrap().unwrap());
    queue_of(&client, &name, 0).await;
    costs.row("to join, to succeed, and a drop", 3, &relay);
    costs.check();
}

#[tokio::test]
async fn b7_each_step_of_a_service_is_one_call_and_a_pick_is_none() {
    let (relay, hf) = counted().await;
    let mut costs = Costs::default();
    let service = hf.service(name("count-service"));
    let register = service.instance("n1", "10.0.0.5:80").register();
    let registration = soon(register).await.unwrap();
    costs.row("to register", 1, &relay);
    soon(registration.set_status(handfast::Status::Draining))
        .await
        .unwrap();
    costs.row("another status", 1, &relay);
    soon(registration.set_status(handfast::Status::Up))
        .await
        .unwrap();
    relay.take_log();
    let discovery = soon(service.discover().open()).await.unwrap();
    costs.row("to discover: the snapshot", 1, &relay);
    for _ in 0..3 {
        discovery.pick(Pick::RoundRobin).unwrap().done(true);
    }
    costs.row("three picks", 0, &relay);
    costs.check();
}
