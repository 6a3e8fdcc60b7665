//! What an election does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use handfast::{Error, LostReason};
use tokio::sync::mpsc;

use crate::{
    server::shared,
    util::{client, connect, name, queue_of, revoke, soon},
};

#[tokio::test]
async fn candidates_lead_in_order_and_terms_grow() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("order"));
    let leader = soon(hf.election(&name).value("a").campaign())
        .await
        .unwrap();
    let next = tokio::spawn({
        let election = connect(shared()).election(&name).value("b");
        async move { election.campaign().await }
    });
    queue_of(&client, &name, 2).await;
    let seen = soon(hf.election(&name).candidates()).await.unwrap();
    let values: Vec<_> = seen
        .members
        .iter()
        .map(|member| member.value.clone())
        .collect();
    assert_eq!(values, ["a", "b"]);
    let term = leader.token();
    soon(leader.resign()).await.unwrap();
    let leader = soon(next).await.unwrap().unwrap();
    assert!(leader.token() > term && !leader.previous_died());
    let announced = soon(hf.election(&name).leader()).await.unwrap().unwrap();
    assert_eq!(
        (announced.value, announced.token),
        ("b".into(), leader.token())
    );
}

#[tokio::test]
async fn an_observer_sees_every_leader_and_no_one_else() {
    let (client, name) = (client(shared()), name("observe"));
    let one = connect(shared());
    let mut observer = soon(one.election(&name).observe()).await.unwrap();
    assert_eq!(soon(observer.next()).await, None);
    let leader = soon(one.election(&name).value("1").campaign())
        .await
        .unwrap();
    assert_eq!(soon(observer.next()).await.unwrap().value, "1");
    let two = connect(shared());
    let waiting = tokio::spawn({
        let election = two.election(&name).value("2");
        async move { election.campaign().await }
    });
    queue_of(&client, &name, 2).await;
    soon(leader.proclaim("1b")).await.unwrap();
    // The candidate joined before; it does not lead, so it is not told.
    let seen = soon(observer.next()).await.unwrap();
    assert_eq!((seen.value, seen.token), ("1b".into(), leader.token()));
    drop(leader);
    let leader = soon(waiting).await.unwrap().unwrap();
    let seen = soon(observer.next()).await.unwrap();
    assert_eq!((seen.value, seen.token), ("2".into(), leader.token()));
    soon(leader.resign()).await.unwrap();
    assert_eq!(soon(observer.next()).await, None);
}

#[tokio::test]
async fn a_new_leader_knows_that_the_last_one_died() {
    let (client, name) = (client(shared()), name("died"));
    let doomed = connect(shared());
    let leader = soon(doomed.election(&name).campaign()).await.unwrap();
    let next = tokio::spawn({
        let election = connect(shared()).election(&name);
        async move { election.campaign().await }
    });
    queue_of(&client, &name, 2).await;
    revoke(&client, &doomed).await;
    assert!(soon(next).await.unwrap().unwrap().previous_died());
    assert_eq!(soon(leader.lost()).await, LostReason::Revoked);
    assert_eq!(
        soon(leader.proclaim("x")).await.unwrap_err().code(),
        "LOCK_LOST"
    );
}

#[tokio::test]
async fn run_resigns_when_the_work_is_done() {
    let (hf, name) = (connect(shared()), name("run"));
    let election = hf.election(&name).value("v");
    let term = soon(election.run(|term| async move {
        assert!(term.check().is_ok());
        assert!(
            term.txn()
                .put("run.out", "1")
                .commit()
                .await
                .unwrap()
                .succeeded
        );
        term.token()
    }))
    .await
    .unwrap();
    assert!(term > 0);
    queue_of(&client(shared()), &name, 0).await;
}

#[tokio::test]
async fn run_stops_the_work_on_loss_and_campaigns_again_if_asked() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("again"));
    let boss = connect(shared());
    let starts = Arc::new(AtomicU32::new(0));
    let (tell, mut told) = mpsc::unbounded_channel();
    let run = |again: bool| {
        let election = hf.election(&name).value("v").again(again);
        let (starts, tell) = (Arc::clone(&starts), tell.clone());
        tokio::spawn(async move {
            let work = |term: handfast::Tenure| {
                let start = starts.fetch_add(1, Ordering::SeqCst);
                tell.send(term.token()).unwrap();
                async move {
                    if start == 0 || start == 2 {
                        std::future::pending::<()>().await;
                    }
                }
            };
            election.run(work).await
        })
    };
    let again = run(true);
    let first = soon(told.recv()).await.unwrap();
    soon(boss.election(&name).break_leader("once"))
        .await
        .unwrap()
        .unwrap();
    soon(again).await.unwrap().unwrap();
    assert!(soon(told.recv()).await.unwrap() > first);

    let once = run(false);
    soon(told.recv()).await.unwrap();
    soon(boss.election(&name).break_leader("twice"))
        .await
        .unwrap()
        .unwrap();
    let error = soon(once).await.unwrap().unwrap_err();
    assert!(
        matches!(error.lost_reason(), Some(LostReason::Broken { .. })),
        "{error}"
    );
    queue_of(&client, &name, 0).await;
}

#[tokio::test]
async fn a_campaign_gives_up_after_its_timeout() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("timeout"));
    let leader = soon(hf.election(&name).value("v").campaign())
        .await
        .unwrap();
    let late = hf.election(&name).timeout(Duration::from_secs(2));
    let error = soon(late.campaign()).await.unwrap_err();
    let Error::Timeout {
        holder: Some(holder),
        position: Some(2),
        ..
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(holder.token, leader.token());
    queue_of(&client, &name, 1).await;
}

#[tokio::test]
async fn a_leader_whose_work_hangs_makes_room_for_the_next() {
    let (hf, other, name) = (connect(shared()), connect(shared()), name("hangs"));
    let election = hf.election(&name).value("one");
    let election = election.beat(Duration::from_millis(100));
    let running = tokio::spawn(async move {
        let hangs = election.run(async |_| std::future::pending::<()>().await);
        hangs.await.unwrap_err()
    });
    let client = client(shared());
    queue_of(&client, &name, 1).await;
    let next = soon(other.election(&name).value("two").campaign()).await;
    let error = soon(running).await.unwrap();
    assert_eq!(error.lost_reason(), Some(&LostReason::NoBeat));
    soon(next.unwrap().resign()).await.unwrap();
    let election = hf.election(&name).max_hold(Duration::from_millis(50));
    let leading = soon(election.campaign()).await.unwrap();
    assert_eq!(soon(leading.lost()).await, LostReason::MaxHold);
}
