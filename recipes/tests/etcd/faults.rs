//! Servers that stop, restart and forget.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use handfast::{
    Handfast, LostReason, State,
    core::session::{Clock, SystemClock},
};

use crate::{
    proxy::Proxy,
    server::{Server, shared},
    util::{TTL, client, connect, connect_with, name, poll_times, queue_of, soon, until},
};

#[tokio::test]
async fn trap_03_a_silent_server_is_noticed_here_before_the_lease_can_end_there() {
    let Some(server) = Server::own() else { return };
    let ttl = Duration::from_secs(3);
    let (hf, name) = (connect_with(&server, ttl), name("silent"));
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    let mut states = hf.session().unwrap().watch();
    let watching = tokio::spawn(async move {
        let mut seen = Vec::new();
        while !seen.contains(&"lost") {
            states.changed().await.unwrap();
            seen.push(states.borrow_and_update().code());
        }
        seen
    });
    let told = {
        let tenure = guard.tenure();
        tokio::spawn(async move {
            tenure.expiring().await;
            (tenure.check().is_ok(), tenure.remaining())
        })
    };
    let stopped = Instant::now();
    server.pause();
    let reason = soon(guard.lost()).await;
    let noticed = stopped.elapsed();
    assert_eq!(reason, LostReason::Expired);
    // The last keepalive the server saw was sent before it was stopped.
    assert!(noticed < ttl, "{noticed:?}");
    assert!(guard.check().is_err());
    let (held, remaining) = soon(told).await.unwrap();
    assert!(
        held && remaining <= ttl / 4,
        "told to stop with {remaining:?} left"
    );
    let seen = soon(watching).await.unwrap();
    let at = |state: &str| {
        seen.iter()
            .position(|code| *code == state)
            .expect("a state")
    };
    assert!(
        at("suspended") < at("expiring") && at("expiring") < at("lost"),
        "{seen:?}"
    );

    server.resume();
    // A session comes back, what was held does not.
    let next = soon(hf.lock(&name).acquire()).await.unwrap();
    assert!(guard.check().is_err() && next.token() > guard.token());
    assert!(next.previous_died());
}

#[tokio::test]
async fn a_short_silence_is_survived() {
    let Some(server) = Server::own() else { return };
    let (hf, name) = (connect_with(&server, Duration::from_secs(6)), name("blip"));
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    let mut states = hf.session().unwrap().watch();
    server.pause();
    soon(states.wait_for(|state| matches!(state, State::Suspended { .. })))
        .await
        .unwrap();
    assert!(guard.check().is_ok());
    server.resume();
    soon(states.wait_for(|state| *state == State::Connected))
        .await
        .unwrap();
    soon(guard.release()).await.unwrap();
}

#[tokio::test]
async fn trap_10_a_restart_of_the_server_keeps_place_and_token() {
    let Some(mut server) = Server::own() else {
        return;
    };
    let (hf, other, client) = (connect(&server), connect(&server), client(&server));
    let name = name("restart");
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    let waiting = tokio::spawn({
        let lock = other.lock(&name);
        async move { lock.acquire().await }
    });
    let before = queue_of(&client, &name, 2).await;
    let mut observer = soon(hf.election(&name).observe()).await.unwrap();
    soon(observer.next()).await.unwrap();
    server.kill();
    server.start_again();
    let after = queue_of(&client, &name, 2).await;
    assert_eq!(before, after);
    assert!(guard.check().is_ok());
    assert!(!waiting.is_finished());
    soon(guard.release()).await.unwrap();
    let next = soon(waiting).await.unwrap().unwrap();
    assert_eq!(next.token(), before[1].create_revision);
    assert_eq!(soon(observer.next()).await.unwrap().token, next.token());
}

#[tokio::test]
async fn trap_10_compaction_while_waiting_is_never_seen() {
    // Compaction concerns the whole server, so no other test may use it.
    let Some(server) = Server::own() else { return };
    let (hf, client, name) = (connect(&server), client(&server), name("compact"));
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    let proxy = Proxy::start(server.address()).await;
    let cut_off = Handfast::builder()
        .endpoints(&proxy.endpoint)
        .ttl(TTL)
        .build()
        .unwrap();
    let mut observer = soon(cut_off.election(&name).observe()).await.unwrap();
    assert_eq!(soon(observer.next()).await.unwrap().token, guard.token());
    let waiting = tokio::spawn({
        let lock = cut_off.lock(&name);
        async move { lock.acquire().await }
    });
    let keys = queue_of(&client, &name, 2).await;
    // While the waiter hears nothing, the holder leaves, and what its watch would have to start
    // from is compacted.
    proxy.swallow();
    soon(guard.release()).await.unwrap();
    let put = client.put(format!("{name}.noise"), "").await.unwrap();
    client.compact(put.header.revision, true).await.unwrap();
    proxy.heal();
    let next = soon(waiting).await.unwrap().unwrap();
    assert_eq!(next.token(), keys[1].create_revision);
    assert_eq!(soon(observer.next()).await.unwrap().token, next.token());

    // A holder, too, learns of its own key's end although the event is compacted.
    proxy.swallow();
    client.delete(next.key()).await.unwrap();
    let put = client.put(format!("{name}.noise"), "").await.unwrap();
    client.compact(put.header.revision, true).await.unwrap();
    proxy.heal();
    assert_eq!(soon(next.lost()).await, LostReason::Deleted);
}

#[tokio::test]
async fn trap_10_a_server_with_other_data_ends_what_is_held() {
    let Some(mut server) = Server::own() else {
        return;
    };
    let (hf, name) = (
        connect_with(&server, Duration::from_secs(5)),
        name("other-data"),
    );
    let other = connect_with(&server, Duration::from_secs(5));
    // So that revisions go back.
    let client = client(&server);
    for _ in 0..20 {
        client.put("noise", "").await.unwrap();
    }
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    let waiting = tokio::spawn({
        let lock = other.lock(&name);
        async move { lock.acquire().await }
    });
    queue_of(&client, &name, 2).await;
    server.replace();
    let reason = soon(guard.lost()).await;
    let told = [
        LostReason::Restored,
        LostReason::Revoked,
        LostReason::Expired,
    ];
    assert!(told.contains(&reason), "{reason}");
    let error = soon(waiting).await.unwrap().unwrap_err();
    assert_eq!(error.code(), "SESSION_LOST", "{error}");
    let next = soon(hf.lock(&name).acquire()).await.unwrap();
    assert!(next.check().is_ok() && guard.check().is_err());
}

#[tokio::test]
async fn a_release_while_the_server_is_away_happens_when_it_is_back() {
    let Some(server) = Server::own() else { return };
    let (hf, other, client) = (connect(&server), connect(&server), client(&server));
    let name = name("away");
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    soon(other.session().unwrap().epoch()).await.unwrap();
    server.pause();
    drop(guard);
    server.resume();
    let next = soon(other.lock(&name).acquire()).await.unwrap();
    assert!(!next.previous_died());
    queue_of(&client, &name, 1).await;
}

#[tokio::test]
async fn a_waiter_may_join_again_under_a_new_session() {
    let Some(server) = Server::own() else { return };
    let (hf, other, client) = (connect(&server), connect(&server), client(&server));
    let name = name("rejoin");
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    let waiting = tokio::spawn({
        let lock = other.lock(&name).rejoin(true);
        async move { lock.acquire().await }
    });
    let before = queue_of(&client, &name, 2).await;
    client.lease_revoke(before[1].lease).await.unwrap();
    until(|| async {
        let keys = queue_of(&client, &name, 2).await;
        (keys[1].key != before[1].key).then_some(())
    })
    .await;
    soon(guard.release()).await.unwrap();
    assert!(soon(waiting).await.unwrap().is_ok());
}

/// The system's clock and a jump that a test makes.
#[derive(Debug, Default)]
struct Jumping(AtomicU64);

impl Clock for Jumping {
    fn now(&self) -> Duration {
        let jump = Duration::from_millis(self.0.load(Ordering::SeqCst));
        SystemClock.now() + jump
    }
}

#[tokio::test]
async fn trap_03_after_a_suspend_the_first_look_says_lost_and_work_takes_no_step() {
    let clock = Arc::new(Jumping::default());
    let hf = Handfast::builder()
        .endpoints(&shared().endpoint)
        .ttl(Duration::from_secs(60))
        .session(|options| options.clock(clock.clone()))
        .build()
        .unwrap();
    let name = name("suspend");
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    let steps = AtomicU32::new(0);
    let mut work = std::pin::pin!(guard.scope(async {
        loop {
            steps.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
        }
    }));
    assert!(poll_times(work.as_mut(), 3).await.is_none());
    let before = steps.load(Ordering::SeqCst);
    assert_eq!(before, 3);
    // No task of the library runs in between: this is about the clock alone.
    clock.0.store(60_000, Ordering::SeqCst);
    let error = poll_times(work, 1)
        .await
        .expect("it ends at once")
        .expect_err("it is lost");
    assert_eq!(error.lost_reason(), Some(&LostReason::Expired));
    assert_eq!(steps.load(Ordering::SeqCst), before);
    assert_eq!(guard.check().unwrap_err().code(), "LOCK_LOST");
    assert_eq!(guard.remaining(), Duration::ZERO);
    // The lease lives at the server; it is revoked, not revived.
    queue_of(&client(shared()), &name, 0).await;
}
