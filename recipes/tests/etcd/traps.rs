//! The mistakes other lock libraries have made, one test each.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use handfast::{
    Error, Handfast, Kind, LostReason,
    core::{Compare, Op, WatchEvent, WatchOptions},
};

use handfast_kit::troubles::behind;

use crate::{
    proxy::Proxy,
    relay::Relay,
    server::shared,
    util::{TTL, client, connect, name, queue, queue_of, revoke, soon, until},
};

#[tokio::test]
async fn trap_01_p2_a_waiter_whose_lease_dies_fails_at_once_and_is_never_granted() {
    let (client, name) = (client(shared()), name("zombie"));
    let guard = soon(connect(shared()).lock(&name).acquire()).await.unwrap();
    let doomed = connect(shared());
    let waiting = tokio::spawn({
        let lock = doomed.lock(&name);
        async move { lock.acquire().await }
    });
    queue_of(&client, &name, 2).await;
    revoke(&client, &doomed).await;
    // The holder still holds: it is not its release that ends the wait.
    let error = soon(waiting).await.unwrap().unwrap_err();
    assert!(
        matches!(
            error,
            Error::SessionLost {
                reason: LostReason::Revoked,
                ..
            }
        ),
        "{error}"
    );
    assert!(guard.check().is_ok());
    soon(guard.release()).await.unwrap();
    queue_of(&client, &name, 0).await;
}

#[tokio::test]
async fn trap_01_p1_a_candidate_whose_lease_dies_is_never_elected() {
    let (client, name) = (client(shared()), name("phantom"));
    let leader = soon(connect(shared()).election(&name).campaign())
        .await
        .unwrap();
    let doomed = connect(shared());
    let waiting = tokio::spawn({
        let election = doomed.election(&name).value("phantom");
        async move { election.campaign().await }
    });
    queue_of(&client, &name, 2).await;
    revoke(&client, &doomed).await;
    let error = soon(waiting).await.unwrap().unwrap_err();
    assert_eq!(error.code(), "SESSION_LOST");
    soon(leader.resign()).await.unwrap();
    queue_of(&client, &name, 0).await;
    assert!(
        soon(doomed.election(&name).leader())
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn trap_01_a_waiter_whose_key_is_deleted_fails_at_once_with_the_reason() {
    let (client, name) = (client(shared()), name("thrown-out"));
    let boss = connect(shared());
    let _guard = soon(boss.lock(&name).acquire()).await.unwrap();
    let lock = connect(shared()).lock(&name);
    let waiting = tokio::spawn(async move { lock.acquire().await });
    queue_of(&client, &name, 2).await;
    let seen = soon(boss.lock(&name).look()).await.unwrap();
    let waiter = &seen.waiters()[0];
    assert!(
        soon(boss.lock(&name).break_member(waiter, "not you"))
            .await
            .unwrap()
    );
    let error = soon(waiting).await.unwrap().unwrap_err();
    let Some(LostReason::Broken { why, .. }) = error.lost_reason() else {
        panic!("{error}")
    };
    assert_eq!(why, "not you");
}

#[tokio::test]
async fn trap_02_p3_two_tasks_of_one_session_exclude_each_other() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("shared"));
    let one = soon(hf.lock(&name).acquire()).await.unwrap();
    let waiting = tokio::spawn({
        let lock = hf.lock(&name);
        async move { lock.acquire().await }
    });
    let keys = queue_of(&client, &name, 2).await;
    assert_eq!(keys[0].lease, keys[1].lease);
    assert!(!waiting.is_finished());
    soon(one.release()).await.unwrap();
    let two = soon(waiting).await.unwrap().unwrap();
    assert_eq!(two.key(), &keys[1].key);
}

#[tokio::test]
async fn trap_02_p4_a_stale_release_cannot_free_a_newer_hold() {
    let (client, name) = (client(shared()), name("stale"));
    let proxy = Proxy::start(shared().address()).await;
    let hf = Handfast::builder()
        .endpoints(&proxy.endpoint)
        .ttl(TTL)
        .build()
        .unwrap();
    let first = soon(hf.lock(&name).acquire()).await.unwrap();
    let (key, token) = (first.key().clone(), first.token());
    // The release is carried out and its answer lost, so it will be sent again.
    proxy.swallow();
    drop(first);
    queue_of(&client, &name, 0).await;
    let again = tokio::spawn({
        let lock = hf.lock(&name);
        async move { lock.acquire().await }
    });
    // As long as the release is unsettled the name is not used again by this session.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(queue(&client, &name).await.is_empty());
    proxy.heal();
    let second = soon(again).await.unwrap().unwrap();
    assert!(second.key() == &key && second.token() > token);
    // Even a copy of the first release that comes now does no harm.
    let first_release = client
        .txn()
        .when([Compare::create_revision(&key).eq(token)])
        .then([Op::delete(&key)]);
    assert!(!soon(first_release.commit()).await.unwrap().succeeded);
    assert_eq!(
        queue(&client, &name).await[0].create_revision,
        second.token()
    );
    assert!(second.check().is_ok());
}

#[tokio::test]
async fn trap_04_a_proclaimed_value_stays_on_the_lease() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("proclaim"));
    let leader = soon(hf.election(&name).value("a").campaign())
        .await
        .unwrap();
    soon(leader.proclaim("b")).await.unwrap();
    let pair = client.get(leader.key()).await.unwrap().unwrap();
    assert_eq!((pair.value, pair.lease), ("b".into(), leader.lease()));
    assert_eq!(pair.create_revision, leader.token());
}

#[tokio::test]
async fn trap_04_a_key_taken_off_its_lease_is_honoured_and_shown() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("immortal"));
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    client.put(guard.key(), "").await.unwrap();
    let other = connect(shared());
    assert!(
        soon(other.lock(&name).try_acquire())
            .await
            .unwrap()
            .acquired()
            .is_none()
    );
    let seen = soon(other.lock(&name).look()).await.unwrap();
    assert!(seen.holder().unwrap().immortal);
    soon(guard.release()).await.unwrap();
    assert!(
        soon(other.lock(&name).try_acquire())
            .await
            .unwrap()
            .acquired()
            .is_some()
    );
}

#[tokio::test]
async fn trap_05_a_timeout_leaves_no_entry() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("orphan"));
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    for _ in 0..3 {
        let lock = hf.lock(&name).timeout(Duration::from_millis(50));
        assert_eq!(soon(lock.acquire()).await.unwrap_err().code(), "TIMEOUT");
    }
    queue_of(&client, &name, 1).await;
    soon(guard.release()).await.unwrap();
    queue_of(&client, &name, 0).await;
}

#[tokio::test]
async fn trap_08_nothing_comes_back_with_a_new_session() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("revive"));
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    let session = hf.session().unwrap();
    let first = soon(session.epoch()).await.unwrap();
    revoke(&client, &hf).await;
    assert_eq!(soon(guard.lost()).await, LostReason::Revoked);
    let second = until(|| async {
        session
            .epoch()
            .await
            .ok()
            .filter(|epoch| epoch.number() > first.number())
    })
    .await;
    assert!(second.check().is_ok() && second.lease() != first.lease());
    assert!(first.check().is_err() && guard.check().is_err());
    assert!(queue(&client, &name).await.is_empty());
    assert_eq!(soon(guard.release()).await.unwrap_err().code(), "LOCK_LOST");
    // A new acquisition is another one.
    assert!(
        soon(hf.lock(&name).acquire())
            .await
            .unwrap()
            .previous_died()
    );
}

#[tokio::test]
async fn trap_09_p5_nested_and_unrelated_keys_do_not_block() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("nested"));
    client.put(format!("{name}/1"), "unrelated").await.unwrap();
    client
        .put(format!("{name}/config"), "unrelated")
        .await
        .unwrap();
    for number in 0..10 {
        client
            .put(format!("{name}/data/{number}"), "unrelated")
            .await
            .unwrap();
    }
    let nested = soon(hf.lock(format!("{name}/sub")).acquire())
        .await
        .unwrap();
    let other = connect(shared());
    for round in 0..2 {
        let guard = if round == 0 {
            soon(other.lock(&name).try_acquire())
                .await
                .unwrap()
                .acquired()
                .unwrap()
        } else {
            soon(other.lock(&name).acquire()).await.unwrap()
        };
        // Others still wait for it, with all those keys in between.
        assert!(
            soon(hf.lock(&name).try_acquire())
                .await
                .unwrap()
                .acquired()
                .is_none()
        );
        let waiting = tokio::spawn({
            let lock = hf.lock(&name);
            async move { lock.acquire().await }
        });
        queue_of(&client, &name, 12 + 1 + 2).await;
        client
            .put(format!("{name}/later"), "unrelated")
            .await
            .unwrap();
        client.delete(format!("{name}/later")).await.unwrap();
        assert!(!waiting.is_finished());
        soon(guard.release()).await.unwrap();
        let guard = soon(waiting).await.unwrap().unwrap();
        assert!(!guard.previous_died());
        soon(guard.release()).await.unwrap();
    }
    assert!(nested.check().is_ok());
}

/// The record of a leader whose key somebody deleted was taken for that of the lock which the same
/// program took next, under a key of the same name.
#[tokio::test]
async fn trap_09_what_a_name_was_used_for_before_is_no_conflict() {
    let (client, name) = (client(shared()), name("kinds-before"));
    let relay = Relay::start(shared().address()).await;
    let hf = behind(&relay, &client).await;
    let term = soon(hf.election(&name).value("v").campaign())
        .await
        .unwrap();
    let key = term.key().clone();
    // It hears of the deletion when it resigns, not before.
    relay.lose_events(true);
    client.delete(key.clone()).await.unwrap();
    assert!(soon(term.resign()).await.is_err());
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    assert_eq!(*guard.key(), key);
    let tried = soon(connect(shared()).lock(&name).try_acquire()).await;
    assert!(tried.unwrap().acquired().is_none());
    soon(guard.release()).await.unwrap();
}

#[tokio::test]
async fn trap_09_one_name_for_two_recipes_is_refused() {
    let (hf, name) = (connect(shared()), name("kinds"));
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    let error = soon(connect(shared()).election(&name).value("v").campaign())
        .await
        .unwrap_err();
    let Error::KindConflict { wanted, found, .. } = error else {
        panic!("{error}")
    };
    assert_eq!((wanted, found), (Kind::Election, Kind::Lock));
    soon(guard.release()).await.unwrap();
    let leader = soon(hf.election(&name).value("v").campaign())
        .await
        .unwrap();
    let other = connect(shared());
    for error in [
        soon(other.lock(&name).acquire()).await.unwrap_err(),
        soon(other.lock(&name).try_acquire()).await.unwrap_err(),
    ] {
        assert_eq!(error.code(), "KIND_CONFLICT");
    }
    queue_of(&client(shared()), &name, 1).await;
    soon(leader.resign()).await.unwrap();
}

#[tokio::test]
async fn trap_12_a_grant_whose_answer_was_lost_is_found_again() {
    let (client, name) = (client(shared()), name("doubt"));
    let proxy = Proxy::start(shared().address()).await;
    let hf = Handfast::builder()
        .endpoints(&proxy.endpoint)
        .ttl(TTL)
        .build()
        .unwrap();
    soon(hf.session().unwrap().epoch()).await.unwrap();
    proxy.swallow();
    let waiting = tokio::spawn({
        let lock = hf.lock(&name);
        async move { lock.acquire().await }
    });
    let keys = queue_of(&client, &name, 1).await;
    proxy.heal();
    let guard = soon(waiting).await.unwrap().unwrap();
    assert_eq!(guard.token(), keys[0].create_revision);
    assert!(!guard.previous_died());
    // The first sending might still arrive somewhere: its key is never used again.
    let key = guard.key().clone();
    soon(guard.release()).await.unwrap();
    let bar = [b"_handfast/gone/", &key[..]].concat();
    assert!(client.get(&bar).await.unwrap().is_some());
    let again = soon(hf.lock(&name).acquire()).await.unwrap();
    assert_ne!(again.key(), &key);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap_13_a_place_is_given_up_only_when_the_work_has_stopped() {
    struct Stopping(Arc<AtomicBool>);
    impl Drop for Stopping {
        fn drop(&mut self) {
            // Work that takes a moment to stop, and does not await.
            std::thread::sleep(Duration::from_millis(200));
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let (client, name) = (client(shared()), name("stop"));
    let stopped = Arc::new(AtomicBool::new(false));
    let lock = connect(shared())
        .lock(&name)
        .max_hold(Duration::from_secs(2));
    let guard = soon(lock.acquire()).await.unwrap();
    let mut gone = client.watch(WatchOptions::key(guard.key()).start_revision(guard.token() + 1));
    let stopping = Stopping(Arc::clone(&stopped));
    let working = tokio::spawn(async move {
        let work = guard.scope(async move {
            let _stopping = stopping;
            std::future::pending::<()>().await;
        });
        work.await.unwrap_err()
    });
    loop {
        if let WatchEvent::Events { .. } = soon(gone.next()).await.unwrap().unwrap() {
            break;
        }
    }
    assert!(
        stopped.load(Ordering::SeqCst),
        "the place was free while the work still ran"
    );
    let error = soon(working).await.unwrap();
    assert_eq!(error.lost_reason(), Some(&LostReason::MaxHold));
}

#[tokio::test]
async fn trap_07_without_the_grant_nothing_runs() {
    let (hf, other, name) = (connect(shared()), connect(shared()), name("body"));
    let limit = Duration::from_millis(50);
    let _holder = soon(other.lock(&name).acquire()).await.unwrap();
    // There is no guard to run anything with.
    let lock = hf.lock(&name).timeout(limit);
    assert_eq!(soon(lock.acquire()).await.unwrap_err().code(), "TIMEOUT");
    let locks = hf.multi_lock([&name]).timeout(limit);
    assert_eq!(soon(locks.acquire()).await.unwrap_err().code(), "TIMEOUT");

    let boss = format!("{name}.boss");
    let _leader = soon(other.election(&boss).value("v").campaign())
        .await
        .unwrap();
    let ran = AtomicBool::new(false);
    let election = hf.election(&boss).value("w").timeout(limit);
    let error = soon(election.run(async |_| ran.store(true, Ordering::SeqCst))).await;
    assert_eq!(error.unwrap_err().code(), "TIMEOUT");
    assert!(!ran.load(Ordering::SeqCst), "it ran without being elected");
}

#[tokio::test]
async fn trap_08_work_of_a_lost_term_is_not_taken_for_that_of_the_next() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("terms"));
    let election = hf.election(&name).value("v");
    let first = soon(election.campaign()).await.unwrap();
    let (term, held) = (first.token(), first.tenure());
    revoke(&client, &hf).await;
    soon(first.lost()).await;
    drop(first);
    // The same program leads again, under another lease and with a greater term.
    let second = soon(election.campaign()).await.unwrap();
    assert!(second.token() > term && second.lease() != held.lease());
    assert!(second.check().is_ok());
    assert_eq!(held.check().unwrap_err().code(), "LOCK_LOST");
    let write = held.txn().put(format!("{name}.out"), "").commit();
    assert_eq!(soon(write).await.unwrap_err().code(), "LOCK_LOST");
    assert_eq!(
        soon(held.proclaim("old")).await.unwrap_err().code(),
        "LOCK_LOST"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap_13_a_leader_resigns_only_when_its_work_has_returned() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("returned"));
    let (go, done) = (
        Arc::new(tokio::sync::Notify::new()),
        Arc::new(AtomicBool::new(false)),
    );
    let running = tokio::spawn({
        let (election, go, done) = (
            hf.election(&name).value("v"),
            Arc::clone(&go),
            Arc::clone(&done),
        );
        async move {
            let work = async |_| {
                go.notified().await;
                done.store(true, Ordering::SeqCst);
            };
            election.run(work).await
        }
    });
    let key = queue_of(&client, &name, 1).await.remove(0);
    let mut gone = client.watch(WatchOptions::key(&key.key).start_revision(key.mod_revision + 1));
    go.notify_one();
    loop {
        if let WatchEvent::Events { .. } = soon(gone.next()).await.unwrap().unwrap() {
            break;
        }
    }
    assert!(
        done.load(Ordering::SeqCst),
        "it resigned while the work ran"
    );
    soon(running).await.unwrap().unwrap();
}

#[tokio::test]
async fn trap_14_a_value_that_is_too_large_is_refused_and_leaves_nothing() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("large"));
    let election = hf.election(&name).value(vec![b'x'; 3 << 20]);
    let error = soon(election.campaign()).await.unwrap_err();
    assert_eq!(error.code(), "INVALID_ARGUMENT", "{error}");
    queue_of(&client, &name, 0).await;
    let leading = soon(hf.election(&name).value("v").campaign())
        .await
        .unwrap();
    let error = soon(leading.proclaim(vec![b'x'; 3 << 20]))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "INVALID_ARGUMENT", "{error}");
    assert!(leading.check().is_ok());
}
