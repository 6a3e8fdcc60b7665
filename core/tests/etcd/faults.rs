//! Calls while servers are dead, silent or restarting.

use std::time::Duration;

use handfast_core::{Client, ErrorKind};

use crate::common::{Etcd, PATIENCE, dead_endpoint};

const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_dead_endpoint_is_left_for_a_live_one() {
    let etcd = Etcd::start().await;
    let (_held, dead) = dead_endpoint();
    // The first endpoint is drawn at random: often enough it is the dead one.
    for round in 0..8 {
        let client = Client::connect([dead.clone(), etcd.endpoint()])
            .await
            .unwrap();
        client.put("k", format!("{round}")).await.unwrap();
        assert_eq!(
            client.get("k").await.unwrap().unwrap().value,
            format!("{round}")
        );
    }
}

#[tokio::test]
async fn a_read_leaves_a_silent_endpoint_and_later_calls_stay_away() {
    let (silent, live) = (Etcd::start().await, Etcd::start().await);
    silent.pause();
    for _ in 0..3 {
        let client = Client::builder()
            .endpoints([silent.endpoint(), live.endpoint()])
            .timeout(Duration::from_millis(1500))
            .build()
            .unwrap();
        client.get("k").await.unwrap();
        client.put("k", "v").timeout(SHORT).await.unwrap();
    }
    silent.resume();
}

#[tokio::test]
async fn without_any_server_the_error_names_endpoint_and_cause() {
    let (_held, dead) = dead_endpoint();
    let client = Client::connect(&dead).await.unwrap().with_timeout(SHORT);
    for error in [
        client.get("k").await.unwrap_err(),
        client.put("k", "v").await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Connect);
        assert!(!error.in_doubt() && error.is_retryable() && error.attempts() > 1);
        let text = error.to_string();
        assert!(text.contains(&dead), "{text}");
        assert!(
            text.contains("refused") && text.contains("check that"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_write_that_was_never_sent_is_tried_until_the_server_is_there() {
    let mut etcd = Etcd::reserve();
    let client = etcd.client().await.with_timeout(PATIENCE);
    let put = tokio::spawn({
        let client = client.clone();
        async move { client.put("k", "v").await }
    });
    etcd.run();
    put.await.unwrap().unwrap();
    assert_eq!(client.get("k").await.unwrap().unwrap().version, 1);
}

#[tokio::test]
async fn a_write_to_a_silent_server_is_in_doubt_and_not_repeated() {
    let etcd = Etcd::start().await;
    let client = etcd.client().await;
    client.get("k").await.unwrap();
    etcd.pause();
    let error = client.put("k", "v").timeout(SHORT).await.unwrap_err();
    assert_eq!((error.kind(), error.in_doubt()), (ErrorKind::Timeout, true));
    assert_eq!(error.attempts(), 1);
    assert!(
        error.to_string().contains("may have been applied"),
        "{error}"
    );
    let read = client.range("k").timeout(SHORT).await.unwrap_err();
    assert_eq!((read.kind(), read.in_doubt()), (ErrorKind::Timeout, false));
    etcd.resume();
    // Applied or not, but never twice.
    let pair = client.with_timeout(PATIENCE).get("k").await.unwrap();
    assert!(pair.is_none_or(|pair| pair.version == 1));
}

#[tokio::test]
async fn a_write_under_way_when_the_server_dies_is_in_doubt_unless_repeatable() {
    let mut etcd = Etcd::start().await;
    let client = etcd.client().await.with_timeout(PATIENCE);
    client.get("k").await.unwrap();
    etcd.pause();
    let put = tokio::spawn({
        let client = client.clone();
        async move { client.put("once", "v").await }
    });
    let repeatable = tokio::spawn({
        let client = client.clone();
        async move { client.put("again", "v").repeatable().await }
    });
    etcd.unread().await;
    etcd.kill();
    let error = put.await.unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.in_doubt()),
        (ErrorKind::Unavailable, true)
    );
    assert_eq!(error.attempts(), 1);
    etcd.run();
    repeatable.await.unwrap().unwrap();
    assert!(client.get("again").await.unwrap().is_some());
}

#[tokio::test]
async fn reads_go_on_over_a_restart() {
    let mut etcd = Etcd::start().await;
    let client = etcd.client().await.with_timeout(PATIENCE);
    client.put("k", "v").await.unwrap();
    etcd.kill();
    let read = tokio::spawn({
        let client = client.clone();
        async move { client.get("k").await }
    });
    etcd.run();
    assert_eq!(read.await.unwrap().unwrap().unwrap().value, "v");
}

#[tokio::test]
async fn a_grant_whose_answer_was_lost_is_made_once() {
    let etcd = Etcd::start().await;
    let client = etcd.client().await.with_timeout(PATIENCE);
    client.get("k").await.unwrap();
    etcd.pause();
    let error = client
        .with_timeout(SHORT)
        .lease_grant(60, 99)
        .await
        .unwrap_err();
    assert!(error.in_doubt());
    etcd.resume();
    // The same id again: either attempt may have made it, and there is one lease.
    match client.lease_grant(60, 99).await {
        Ok(lease) => assert_eq!(lease.id, 99),
        Err(error) => assert_eq!(error.kind(), ErrorKind::LeaseExists),
    }
    assert_eq!(client.leases().await.unwrap(), [99]);
}
