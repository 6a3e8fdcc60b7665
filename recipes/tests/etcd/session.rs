//! What a session does.

use std::time::Duration;

use handfast::{
    Handfast, LostReason, State,
    core::{
        ErrorKind,
        session::{Session, SessionError, SessionOptions, SessionRecord},
    },
};

use crate::{
    server::shared,
    util::{TTL, client, connect, name, queue_of, soon, until},
};

fn options() -> SessionOptions {
    SessionOptions::new().ttl(TTL).app("test")
}

#[tokio::test]
async fn a_session_says_who_it_is_and_leaves_nothing_when_closed() {
    let client = client(shared());
    let session = Session::open(&client, options()).unwrap();
    assert_eq!(session.state(), State::Connecting);
    let epoch = soon(session.epoch()).await.unwrap();
    assert_eq!((epoch.number(), session.state()), (1, State::Connected));
    assert_eq!(epoch.ttl(), TTL);
    assert!(epoch.remaining() > TTL * 9 / 10 && epoch.remaining() < TTL);
    let key = format!("_handfast/session/{}", epoch.lease_hex());
    let record = until(|| async { client.get(&key).await.unwrap() }).await;
    assert_eq!(record.lease, epoch.lease());
    let record = SessionRecord::parse(&record.value).unwrap();
    assert_eq!(
        (record.app.as_str(), record.pid),
        ("test", std::process::id())
    );
    assert!(!record.host.is_empty());

    soon(session.close()).await.unwrap();
    assert_eq!(session.state(), State::Closed);
    assert_eq!(epoch.check().unwrap_err().reason, LostReason::Closed);
    assert!(matches!(
        soon(session.epoch()).await,
        Err(SessionError::Closed)
    ));
    assert!(client.get(&key).await.unwrap().is_none());
    soon(session.close()).await.unwrap();
}

#[tokio::test]
async fn a_dropped_session_closes_in_the_background_once_nothing_holds_it() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("drop"));
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    let lease = guard.lease();
    drop(hf);
    // The guard keeps it.
    queue_of(&client, &name, 1).await;
    assert!(guard.check().is_ok());
    assert!(client.lease_time_to_live(lease, false).await.is_ok());
    drop(guard);
    until(|| async {
        let error = client.lease_time_to_live(lease, false).await.err()?;
        (error.kind() == ErrorKind::LeaseNotFound).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_closed_handle_gives_up_everything_and_refuses_more() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("close"));
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    soon(hf.close()).await.unwrap();
    queue_of(&client, &name, 0).await;
    assert_eq!(
        guard.check().unwrap_err().lost_reason(),
        Some(&LostReason::Closed)
    );
    assert_eq!(
        soon(hf.lock(&name).acquire()).await.unwrap_err().code(),
        "CLOSED"
    );
}

#[tokio::test]
async fn a_deleted_record_ends_the_session() {
    let client = client(shared());
    let session = Session::open(&client, options().recover(false)).unwrap();
    let mut states = session.watch();
    let epoch = soon(session.epoch()).await.unwrap();
    let key = format!("_handfast/session/{}", epoch.lease_hex());
    until(|| async { client.get(&key).await.unwrap() }).await;
    client.delete(&key).await.unwrap();
    assert_eq!(soon(epoch.lost()).await, LostReason::Revoked);
    soon(states.wait_for(|state| matches!(state, State::Lost { .. })))
        .await
        .unwrap();
    // It does not recover, and its lease is revoked rather than left.
    assert!(matches!(
        soon(session.epoch()).await,
        Err(SessionError::Lost(_))
    ));
    until(|| async { client.lease_time_to_live(epoch.lease(), false).await.err() }).await;
}

#[tokio::test]
async fn an_unreachable_server_is_told_within_the_connect_timeout() {
    let client = handfast::core::Client::builder()
        .endpoints("127.0.0.1:1")
        .build()
        .unwrap();
    let limit = Some(Duration::from_secs(2));
    let session = Session::open(&client, options().connect_timeout(limit)).unwrap();
    let Err(SessionError::Client(error)) = soon(session.epoch()).await else {
        panic!()
    };
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert_eq!(session.state(), State::Connecting);
}

#[tokio::test]
async fn trap_14_the_granted_ttl_is_shown_not_the_one_asked_for() {
    let client = client(shared());
    let session = Session::open(&client, options().ttl(Duration::from_secs(1))).unwrap();
    let epoch = soon(session.epoch()).await.unwrap();
    assert!(epoch.ttl() >= Duration::from_secs(2), "{:?}", epoch.ttl());
}

#[tokio::test]
async fn a_program_whose_work_hangs_gives_up_all_and_comes_back_with_its_work() {
    let interval = Duration::from_secs(2);
    let hf = Handfast::builder()
        .endpoints(&shared().endpoint)
        .ttl(TTL)
        .require_beat(interval)
        .build()
        .unwrap();
    let (client, name) = (client(shared()), name("hang"));
    assert!(hf.beat().is_ok());
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    for _ in 0..8 {
        tokio::time::sleep(interval / 6).await;
        hf.beat().unwrap();
    }
    assert!(guard.check().is_ok() && guard.remaining() <= interval);
    // The work hangs; the process does not.
    assert_eq!(soon(guard.lost()).await, LostReason::NoBeat);
    queue_of(&client, &name, 0).await;
    let error = soon(hf.lock(&name).acquire()).await.unwrap_err();
    assert_eq!(error.lost_reason(), Some(&LostReason::NoBeat), "{error}");
    assert_eq!(hf.beat().unwrap_err().code(), "SESSION_LOST");
    assert!(hf.beat().is_ok());
    let again = soon(hf.lock(&name).acquire()).await.unwrap();
    assert!(again.token() > guard.token() && again.previous_died());
}
