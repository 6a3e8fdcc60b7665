//! What a lock does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use handfast::{
    Error, Kind, LostReason, TryLock,
    core::{Compare, Op},
};
use tokio::sync::mpsc;

use crate::{
    server::shared,
    util::{client, connect, name, queue, queue_of, revoke, soon, until},
};

#[tokio::test]
async fn tokens_grow_and_a_release_leaves_nothing() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("tokens"));
    let mut last = 0;
    for _ in 0..5 {
        let guard = soon(hf.lock(&name).acquire()).await.unwrap();
        assert!(guard.token() > last && guard.token() < 1 << 53);
        assert!(!guard.previous_died());
        assert_eq!(
            queue(&client, &name).await[0].create_revision,
            guard.token()
        );
        last = guard.token();
        soon(guard.release()).await.unwrap();
    }
    assert!(queue(&client, &name).await.is_empty());
    assert!(
        client
            .get(format!("_handfast/own/{name}"))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_try_gets_a_free_lock_and_names_the_holder_of_a_held_one() {
    let (one, two, name) = (connect(shared()), connect(shared()), name("try"));
    let guard = soon(one.lock(&name).try_acquire())
        .await
        .unwrap()
        .acquired()
        .unwrap();
    let TryLock::Held(holder) = soon(two.lock(&name).try_acquire()).await.unwrap() else {
        panic!("two holders");
    };
    assert_eq!((holder.lease, holder.token), (guard.lease(), guard.token()));
    assert_eq!(
        queue_of(&client(shared()), &name, 1).await[0].key,
        guard.key()
    );
    // The same program is no exception.
    assert!(
        soon(one.lock(&name).try_acquire())
            .await
            .unwrap()
            .acquired()
            .is_none()
    );
    drop(guard);
    // What is being released is waited for within one program.
    assert!(
        soon(one.lock(&name).try_acquire())
            .await
            .unwrap()
            .acquired()
            .is_some()
    );
}

#[tokio::test]
async fn those_who_wait_are_served_in_order() {
    let (client, name) = (client(shared()), name("fifo"));
    let first = soon(connect(shared()).lock(&name).acquire()).await.unwrap();
    let (told, mut order) = mpsc::unbounded_channel();
    for number in 0..5 {
        // Every other one shares a session with the one before.
        let hf = connect(shared());
        let (told, lock) = (told.clone(), hf.lock(&name));
        tokio::spawn(async move {
            let guard = lock.acquire().await.unwrap();
            told.send((number, guard.token())).unwrap();
            guard.release().await.unwrap();
        });
        queue_of(&client, &name, number + 2).await;
    }
    let mut last = first.token();
    soon(first.release()).await.unwrap();
    for expected in 0..5 {
        let (number, token) = soon(order.recv()).await.unwrap();
        assert_eq!(number, expected);
        assert!(token > last);
        last = token;
    }
}

#[tokio::test]
async fn a_timeout_tells_who_holds_and_the_place_in_the_queue() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("timeout"));
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    let waiting = tokio::spawn({
        let lock = connect(shared()).lock(&name);
        async move { lock.acquire().await }
    });
    queue_of(&client, &name, 2).await;
    let other = connect(shared());
    let lock = other.lock(&name).timeout(Duration::from_secs(2));
    let error = soon(lock.acquire()).await.unwrap_err();
    let text = error.to_string();
    let Error::Timeout {
        kind: Kind::Lock,
        holder: Some(holder),
        position: Some(3),
        ..
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(holder.token, guard.token());
    let session = holder.session.unwrap();
    assert_eq!(
        (session.app.as_str(), session.pid),
        ("test", std::process::id())
    );
    assert!(
        text.contains("number 3") && text.contains("test (pid"),
        "{text}"
    );
    assert_eq!(queue(&client, &name).await.len(), 2);
    drop(guard);
    soon(waiting)
        .await
        .unwrap()
        .unwrap()
        .release()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_look_lists_holder_and_waiters_with_their_sessions() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("look"));
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    let waiter = connect(shared());
    let waiting = tokio::spawn({
        let lock = waiter.lock(&name);
        async move { lock.acquire().await }
    });
    queue_of(&client, &name, 2).await;
    let seen = until(|| async {
        // Records are written beside, not before, the first acquisition.
        let seen = hf.lock(&name).look().await.unwrap();
        Some(seen).filter(|seen| seen.members.iter().all(|member| member.session.is_some()))
    })
    .await;
    assert_eq!(seen.holder().unwrap().token, guard.token());
    assert_eq!(seen.waiters().len(), 1);
    assert_eq!(seen.waiters()[0].position, 2);
    assert_eq!(
        Some(seen.waiters()[0].lease),
        waiter.session().unwrap().lease()
    );
    assert!(
        hf.held_names()
            .await
            .unwrap()
            .iter()
            .any(|held| held.name == name)
    );
    let sessions = hf.sessions().await.unwrap();
    assert!(
        sessions
            .iter()
            .any(|(lease, record)| *lease == guard.lease() && record.pid > 0)
    );
    waiting.abort();
    soon(guard.release()).await.unwrap();
    queue_of(&client, &name, 0).await;
}

#[tokio::test]
async fn the_next_holder_knows_that_the_last_one_died() {
    let (client, name) = (client(shared()), name("died"));
    let doomed = connect(shared());
    let guard = soon(doomed.lock(&name).acquire()).await.unwrap();
    let heir = connect(shared());
    let waiting = tokio::spawn({
        let lock = heir.lock(&name);
        async move { lock.acquire().await }
    });
    queue_of(&client, &name, 2).await;
    revoke(&client, &doomed).await;
    let inherited = soon(waiting).await.unwrap().unwrap();
    assert!(inherited.previous_died());
    assert_eq!(soon(guard.lost()).await, LostReason::Revoked);
    soon(inherited.release()).await.unwrap();
    // It was given back, so there is nothing to repair any more.
    assert!(
        !soon(heir.lock(&name).acquire())
            .await
            .unwrap()
            .previous_died()
    );

    // Also when nobody was waiting.
    let doomed = connect(shared());
    let _guard = soon(doomed.lock(&name).acquire()).await.unwrap();
    revoke(&client, &doomed).await;
    let guard = soon(heir.lock(&name).try_acquire())
        .await
        .unwrap()
        .acquired()
        .unwrap();
    assert!(guard.previous_died());
}

#[tokio::test]
async fn a_waiter_that_leaves_keeps_the_flag_for_the_next() {
    let (client, name) = (client(shared()), name("flag"));
    let doomed = connect(shared());
    let _guard = soon(doomed.lock(&name).acquire()).await.unwrap();
    let quitter = connect(shared());
    let lock = quitter.lock(&name).timeout(Duration::from_millis(100));
    assert_eq!(soon(lock.acquire()).await.unwrap_err().code(), "TIMEOUT");
    revoke(&client, &doomed).await;
    assert!(
        soon(quitter.lock(&name).acquire())
            .await
            .unwrap()
            .previous_died()
    );
}

#[tokio::test]
async fn a_broken_holder_learns_by_whom_and_why() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("break"));
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    let stopped = Arc::new(AtomicBool::new(false));
    let work = {
        struct Stop(Arc<AtomicBool>);
        impl Drop for Stop {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let stop = Stop(Arc::clone(&stopped));
        let tenure = guard.tenure();
        tokio::spawn(async move {
            tenure
                .scope(async move {
                    let _stop = stop;
                    std::future::pending::<()>().await;
                })
                .await
        })
    };
    let boss = connect(shared());
    let broken = soon(boss.lock(&name).break_holder("it hangs"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(broken.token, guard.token());
    let LostReason::Broken { by, why } = soon(guard.lost()).await else {
        panic!()
    };
    assert!(
        by.starts_with("test (pid") && why == "it hangs",
        "{by}: {why}"
    );
    let error = soon(work).await.unwrap().unwrap_err();
    assert!(
        matches!(error.lost_reason(), Some(LostReason::Broken { .. })),
        "{error}"
    );
    assert!(stopped.load(Ordering::SeqCst));
    assert_eq!(guard.check().unwrap_err().code(), "LOCK_LOST");
    assert!(
        soon(boss.lock(&name).break_holder("again"))
            .await
            .unwrap()
            .is_none()
    );
    // The session lives on.
    assert!(
        soon(hf.lock(&name).acquire())
            .await
            .unwrap()
            .previous_died()
    );
    assert_eq!(soon(guard.release()).await.unwrap_err().code(), "LOCK_LOST");
    queue_of(&client, &name, 0).await;
}

#[tokio::test]
async fn a_key_deleted_without_a_note_is_noticed_too() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("deleted"));
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    client.delete(guard.key()).await.unwrap();
    assert_eq!(soon(guard.lost()).await, LostReason::Deleted);
    assert_eq!(guard.remaining(), Duration::ZERO);
}

#[tokio::test]
async fn a_guarded_write_is_refused_once_the_lock_is_lost() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("guarded"));
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    let report = format!("{name}.report");
    let answer = soon(guard.txn().put(&report, "1").commit()).await.unwrap();
    assert!(answer.succeeded && answer.header.revision > guard.token());
    let conditional = guard
        .txn()
        .when([Compare::value(&report).eq("other")])
        .put(&report, "2")
        .otherwise([Op::get(&report)]);
    let answer = soon(conditional.commit()).await.unwrap();
    assert!(
        !answer.succeeded,
        "its own condition failed, the lock is held"
    );
    assert_eq!(answer.range(0).unwrap().kvs[0].value, "1");

    // Behind the back of everything here: only the store can know.
    let pending = guard.txn().put(&report, "3");
    client.delete(guard.key()).await.unwrap();
    assert_eq!(
        soon(pending.commit()).await.unwrap_err().code(),
        "LOCK_LOST"
    );
    assert_eq!(client.get(&report).await.unwrap().unwrap().value, "1");
}

#[tokio::test]
async fn trap_14_too_many_operations_are_refused_before_they_are_sent() {
    let (hf, name) = (connect(shared()), name("many"));
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    let puts = |count: usize| (0..count).map(|n| Op::put(format!("{}.{n}", "many"), ""));
    assert!(
        soon(guard.txn().then(puts(127)).commit())
            .await
            .unwrap()
            .succeeded
    );
    let error = soon(guard.txn().then(puts(128)).commit())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "INVALID_ARGUMENT");
    assert!(guard.check().is_ok());
}

#[tokio::test]
async fn a_maximum_hold_time_ends_the_hold_and_frees_the_lock() {
    let (hf, name) = (connect(shared()), name("hold"));
    let lock = hf.lock(&name).max_hold(Duration::from_secs(2));
    let guard = soon(lock.acquire()).await.unwrap();
    assert!(guard.check().is_ok() && guard.remaining() <= Duration::from_secs(2));
    assert_eq!(soon(guard.lost()).await, LostReason::MaxHold);
    let next = soon(connect(shared()).lock(&name).acquire()).await.unwrap();
    assert!(next.token() > guard.token() && !next.previous_died());
    assert!(guard.check().is_err());
}

#[tokio::test]
async fn a_lock_follows_the_work_that_beats() {
    let (hf, name) = (connect(shared()), name("beat"));
    let interval = Duration::from_secs(2);
    let guard = soon(hf.lock(&name).beat(interval).acquire()).await.unwrap();
    for _ in 0..6 {
        tokio::time::sleep(interval / 5).await;
        guard.beat().unwrap();
    }
    assert!(guard.check().is_ok());
    assert_eq!(soon(guard.lost()).await, LostReason::NoBeat);
    assert!(guard.beat().is_err(), "a beat that is late does not revive");
    drop(soon(connect(shared()).lock(&name).acquire()).await.unwrap());
}

#[tokio::test]
async fn waiting_tells_the_place_in_the_queue() {
    let (client, name) = (client(shared()), name("position"));
    let first = soon(connect(shared()).lock(&name).acquire()).await.unwrap();
    let second = connect(shared());
    let ahead = tokio::spawn({
        let lock = second.lock(&name);
        async move { lock.acquire().await }
    });
    queue_of(&client, &name, 2).await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let third = connect(shared());
    let lock = third.lock(&name).on_wait(move |waiting| {
        tell.send((waiting.position, waiting.holder.as_ref().map(|h| h.token)))
            .unwrap();
    });
    let waiting = tokio::spawn(async move { lock.acquire().await });
    assert_eq!(soon(told.recv()).await, Some((3, Some(first.token()))));
    // The one ahead leaves without having held.
    ahead.abort();
    assert_eq!(soon(told.recv()).await, Some((2, Some(first.token()))));
    drop(first);
    assert!(soon(waiting).await.unwrap().is_ok());
}

#[tokio::test]
async fn work_in_a_scope_is_done_under_the_lock_or_not_at_all() {
    let (hf, name) = (connect(shared()), name("scope"));
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    assert_eq!(soon(guard.scope(async { 7 })).await.unwrap(), 7);
    client(shared()).delete(guard.key()).await.unwrap();
    soon(guard.lost()).await;
    let mut ran = false;
    let late = guard.scope(async { ran = true });
    assert_eq!(soon(late).await.unwrap_err().code(), "LOCK_LOST");
    assert!(!ran);
}
