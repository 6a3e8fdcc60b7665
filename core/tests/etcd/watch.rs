//! Watches on a healthy server.

use handfast_core::{Compare, ErrorKind, EventKind, Op, WatchEvent, WatchOptions};
use tokio::time::timeout;

use crate::common::{Etcd, PATIENCE, created, next, revisions_until};

#[tokio::test]
async fn changes_are_reported_by_kind_and_by_revision() {
    let etcd = Etcd::start().await;
    let client = etcd.client().await;
    let mut watch = client.watch(WatchOptions::prefix("p/").prev_kv());
    let start = created(&mut watch).await;
    assert_eq!(watch.next_revision(), start + 1);
    client.put("q", "unseen").await.unwrap();
    client
        .txn()
        .when([Compare::version("p/1").eq(0)])
        .then([Op::put("p/1", "a"), Op::put("p/2", "b")])
        .commit()
        .await
        .unwrap();
    client.put("p/1", "c").await.unwrap();
    client.delete("p/1").await.unwrap();

    let WatchEvent::Events { revision, events } = next(&mut watch).await else {
        panic!()
    };
    assert_eq!(
        (revision, events.len()),
        (start + 2, 2),
        "one revision, one report"
    );
    assert!(events.iter().all(handfast_core::Event::is_create));
    let WatchEvent::Events { events, .. } = next(&mut watch).await else {
        panic!()
    };
    assert_eq!(
        (events[0].kind, events[0].is_create()),
        (EventKind::Put, false)
    );
    assert_eq!(events[0].prev_kv.as_ref().unwrap().value, "a");
    let WatchEvent::Events { revision, events } = next(&mut watch).await else {
        panic!()
    };
    assert_eq!(
        (events[0].kind, events[0].kv.mod_revision),
        (EventKind::Delete, revision)
    );
    assert_eq!(events[0].prev_kv.as_ref().unwrap().value, "c");
    assert_eq!(watch.next_revision(), revision + 1);

    let mut puts = client.watch(WatchOptions::prefix("p/").start_revision(start).no_delete());
    created(&mut puts).await;
    let mut deletes = client.watch(WatchOptions::prefix("p/").start_revision(start).no_put());
    created(&mut deletes).await;
    assert_eq!(revisions_until(&mut puts, start + 3).await.len(), 3);
    assert_eq!(revisions_until(&mut deletes, revision).await, [revision]);
}

#[tokio::test]
async fn a_namespace_is_taken_off_events() {
    let etcd = Etcd::start().await;
    let outer = etcd.client().await;
    let inner = outer.namespace("ns/");
    let mut all = inner.watch(WatchOptions::prefix("").prev_kv());
    let mut tail = inner.watch(WatchOptions::from_key("k"));
    created(&mut all).await;
    created(&mut tail).await;
    outer.put("ns0", "outside").await.unwrap();
    inner.put("k", "1").await.unwrap();
    inner.put("k", "2").await.unwrap();
    for watch in [&mut all, &mut tail] {
        let WatchEvent::Events { events, .. } = next(watch).await else {
            panic!()
        };
        assert_eq!(events[0].kv.key, "k");
    }
    let WatchEvent::Events { events, .. } = next(&mut all).await else {
        panic!()
    };
    assert_eq!(events[0].prev_kv.as_ref().unwrap().key, "k");
}

#[tokio::test]
async fn history_is_replayed_from_the_start_revision() {
    let etcd = Etcd::start().await;
    let client = etcd.client().await;
    let first = client.put("k", "0").await.unwrap().header.revision;
    let mut last = first;
    for round in 1..1500 {
        last = client
            .put("k", format!("{round}"))
            .await
            .unwrap()
            .header
            .revision;
    }
    let mut watch = client.watch(WatchOptions::key("k").start_revision(first));
    created(&mut watch).await;
    let seen = revisions_until(&mut watch, last).await;
    assert!(seen.into_iter().eq(first..=last), "not every revision once");
}

#[tokio::test]
async fn a_compacted_start_is_reported_and_ends_the_watch() {
    let etcd = Etcd::start().await;
    let client = etcd.client().await;
    client.put("k", "1").await.unwrap();
    let revision = client.put("k", "2").await.unwrap().header.revision;
    client.compact(revision, false).await.unwrap();
    let mut watch = client.watch(WatchOptions::key("k").start_revision(1));
    created(&mut watch).await;
    assert_eq!(
        next(&mut watch).await,
        WatchEvent::Compacted {
            compact_revision: revision
        }
    );
    assert!(watch.next().await.is_none());
    let mut watch = client.watch(WatchOptions::key("k").start_revision(revision));
    created(&mut watch).await;
    assert_eq!(revisions_until(&mut watch, revision).await, [revision]);
}

#[tokio::test]
async fn progress_is_told_on_request() {
    let etcd = Etcd::start().await;
    let client = etcd.client().await;
    let mut watch = client.watch(WatchOptions::key("quiet"));
    created(&mut watch).await;
    let revision = client.put("other", "").await.unwrap().header.revision;
    watch.request_progress();
    assert_eq!(next(&mut watch).await, WatchEvent::Progress { revision });
    assert_eq!(watch.next_revision(), revision + 1);
}

#[tokio::test]
async fn a_wrong_watch_fails_alone() {
    let etcd = Etcd::start().await;
    let client = etcd.client().await;
    let mut right = client.watch(WatchOptions::key("k"));
    let mut wrong = client.watch(WatchOptions::range("b", "a"));
    let mut after = client.watch(WatchOptions::key("k"));
    let mut empty = client.watch(WatchOptions::key(""));
    created(&mut right).await;
    created(&mut after).await;
    let error = wrong.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
    assert!(wrong.next().await.is_none());
    assert_eq!(
        empty.next().await.unwrap().unwrap_err().kind(),
        ErrorKind::EmptyKey
    );
    client.put("k", "v").await.unwrap();
    for watch in [&mut right, &mut after] {
        assert!(matches!(next(watch).await, WatchEvent::Events { .. }));
    }
}

#[tokio::test]
async fn dropped_watches_are_cancelled_at_the_server() {
    let etcd = Etcd::start().await;
    let client = etcd.client().await;
    let mut kept = client.watch(WatchOptions::key("kept"));
    created(&mut kept).await;
    for round in 0..100 {
        let mut watch = client.watch(WatchOptions::key(format!("k{round}")));
        if round % 2 == 0 {
            created(&mut watch).await;
        }
    }
    timeout(PATIENCE, async {
        while etcd.metric("etcd_debugging_mvcc_watcher_total").await > 1.0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("watchers stay behind");
    drop(kept);
    drop(client);
    timeout(PATIENCE, async {
        while etcd.metric("etcd_debugging_mvcc_watch_stream_total").await > 0.0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the stream stays behind");
}

#[tokio::test]
async fn many_watches_share_one_stream() {
    let etcd = Etcd::start().await;
    let client = etcd.client().await;
    let mut watches: Vec<_> = (0..300)
        .map(|number| client.watch(WatchOptions::key(format!("k{number}"))))
        .collect();
    for watch in &mut watches {
        created(watch).await;
    }
    assert!((etcd.metric("etcd_debugging_mvcc_watch_stream_total").await - 1.0).abs() < 0.1);
    for number in 0..300 {
        client.put(format!("k{number}"), "").await.unwrap();
    }
    for (number, watch) in watches.iter_mut().enumerate() {
        let WatchEvent::Events { events, .. } = next(watch).await else {
            panic!()
        };
        assert_eq!(events[0].kv.key, format!("k{number}"));
    }
}
