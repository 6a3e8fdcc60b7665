//! Watches whose server dies, whose reports are too large, or whose caller is slow.

use std::time::Duration;

use handfast_core::{Client, WatchEvent, WatchOptions};

use crate::common::{Etcd, PATIENCE, created, dead_endpoint, next, revisions_until};

/// Writes until `stop`, and gives the last revision.
async fn write_until(client: Client, stop: tokio::sync::oneshot::Receiver<()>) -> i64 {
    let mut stop = std::pin::pin!(stop);
    let mut revision = 0;
    loop {
        tokio::select! {
            _ = &mut stop => return revision,
            put = async { client.put("k", "v").repeatable().await } => {
                revision = put.unwrap().header.revision;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_when_the_server_is_killed_under_a_watch() {
    let mut etcd = Etcd::start().await;
    let client = etcd.client().await.with_timeout(PATIENCE);
    let mut watch = client.watch(WatchOptions::key("k"));
    let start = created(&mut watch).await;
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let writer = tokio::spawn(write_until(client.clone(), stopped));
    let mut seen = Vec::new();
    let mut resumed = 0;
    for round in 1..=2 {
        seen.extend(revisions_until(&mut watch, start + 50 * round).await);
        etcd.kill();
        etcd.run();
        loop {
            match next(&mut watch).await {
                WatchEvent::Events { events, .. } => {
                    seen.extend(events.iter().map(|event| event.kv.mod_revision));
                }
                WatchEvent::Resumed { revision } => {
                    assert_eq!(revision, seen.last().unwrap() + 1);
                    resumed += 1;
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    stop.send(()).unwrap();
    writer.await.unwrap();
    let last = client.range("k").await.unwrap().header.revision;
    if seen.last().is_some_and(|revision| *revision < last) {
        seen.extend(revisions_until(&mut watch, last).await);
    }
    assert_eq!(resumed, 2);
    assert!(
        seen.into_iter().eq(start + 1..=last),
        "not every revision once"
    );
}

#[tokio::test]
async fn a_watch_made_before_there_is_a_server_comes_alive_with_it() {
    let mut etcd = Etcd::reserve();
    let (_held, dead) = dead_endpoint();
    let client = Client::builder()
        .endpoints([dead, etcd.endpoint()])
        .timeout(PATIENCE)
        .build()
        .unwrap();
    let mut watch = client.watch(WatchOptions::key("k"));
    etcd.run();
    created(&mut watch).await;
    let revision = client.put("k", "v").await.unwrap().header.revision;
    assert_eq!(revisions_until(&mut watch, revision).await, [revision]);
}

#[tokio::test]
async fn a_paused_server_is_noticed_and_the_watch_goes_on() {
    let etcd = Etcd::start().await;
    let probing = Client::builder()
        .endpoints(etcd.endpoint())
        .keep_alive(Duration::from_secs(1), Duration::from_millis(500))
        .timeout(PATIENCE)
        .build()
        .unwrap();
    let mut watch = probing.watch(WatchOptions::key("k"));
    created(&mut watch).await;
    etcd.pause();
    etcd.hung_up().await;
    etcd.resume();
    let revision = probing
        .put("k", "v")
        .repeatable()
        .await
        .unwrap()
        .header
        .revision;
    let mut resumed = false;
    loop {
        match next(&mut watch).await {
            WatchEvent::Resumed { .. } => resumed = true,
            WatchEvent::Events { revision: seen, .. } if seen == revision => break,
            _ => {}
        }
    }
    assert!(resumed, "the dead connection was not noticed");
}

#[tokio::test]
async fn a_slow_caller_loses_nothing_and_stalls_nobody() {
    let etcd = Etcd::start().await;
    let client = etcd.client().await;
    let mut slow = client.watch(WatchOptions::prefix("k").buffer_bytes(64 << 10));
    let start = created(&mut slow).await;
    let mut quick = client.watch(WatchOptions::prefix("k"));
    created(&mut quick).await;
    let value = vec![7u8; 10 << 10];
    let mut last = start;
    for number in 0..200 {
        let put = client.put(format!("k{number}"), &value).await.unwrap();
        last = put.header.revision;
        assert_eq!(revisions_until(&mut quick, last).await, [last]);
    }
    let seen = revisions_until(&mut slow, last).await;
    assert!(
        seen.into_iter().eq(start + 1..=last),
        "not every revision once"
    );
}

#[tokio::test]
async fn a_slow_caller_overtaken_by_compaction_is_told() {
    let etcd = Etcd::start().await;
    let client = etcd.client().await;
    let mut slow = client.watch(WatchOptions::prefix("k").buffer_bytes(1 << 10));
    created(&mut slow).await;
    let mut quick = client.watch(WatchOptions::prefix("k"));
    created(&mut quick).await;
    let mut last = 0;
    for number in 0..20 {
        let put = client
            .put(format!("k{number}"), vec![0u8; 512])
            .await
            .unwrap();
        last = put.header.revision;
    }
    // All of it has come over the stream that both share.
    revisions_until(&mut quick, last).await;
    client.compact(last, false).await.unwrap();
    let end = loop {
        match next(&mut slow).await {
            WatchEvent::Events { revision, .. } => assert!(revision < last),
            other => break other,
        }
    };
    assert_eq!(
        end,
        WatchEvent::Compacted {
            compact_revision: last
        }
    );
}

#[tokio::test]
async fn a_revision_too_large_for_one_message_arrives_whole() {
    let etcd = Etcd::start().await;
    let client = etcd.client().await;
    let mut watch = client.watch(WatchOptions::prefix("k").prev_kv());
    created(&mut watch).await;
    let mut last = 0;
    for number in 0..40 {
        let put = client
            .put(format!("k{number:02}"), vec![0u8; 100 << 10])
            .await
            .unwrap();
        last = put.header.revision;
    }
    assert_eq!(revisions_until(&mut watch, last).await.len(), 40);
    let revision = client.delete("k").prefix().await.unwrap().header.revision;
    let WatchEvent::Events {
        revision: seen,
        events,
    } = next(&mut watch).await
    else {
        panic!()
    };
    assert_eq!((seen, events.len()), (revision, 40));
    assert!(events.iter().all(|event| event.prev_kv.is_some()));
}
