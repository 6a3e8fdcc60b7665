//! Watch streams over the wire.

use handfast_proto::etcdserverpb::{
    CompactionRequest, WatchCancelRequest, WatchCreateRequest, WatchProgressRequest,
    watch_create_request::FilterType, watch_request::RequestUnion,
};
use handfast_server::Server;
use handfast_server::config::Config;
use tonic::Code;

use crate::clients::{Clients, soon, start, watch};
use crate::etcd::Etcd;

#[tokio::test]
async fn created_comes_first_and_events_follow_with_complete_headers() {
    let (server, clients) = start().await;
    clients.put("a", "0").await;
    let mut watching = clients.open_watch();
    let created = watching.create(watch("a")).await;
    assert_eq!((created.watch_id, created.header.unwrap().revision), (0, 2));
    clients.put("a", "1").await;
    clients.put("b", "1").await;
    clients.put("a", "2").await;
    for revision in [3, 5] {
        let response = watching.next().await;
        let header = response.header.unwrap();
        assert_eq!(
            (header.revision, header.member_id),
            (revision, server.member_id())
        );
        assert_eq!(header.cluster_id, server.cluster_id());
        assert!(header.raft_term > 0);
        assert_eq!(response.events.len(), 1);
        assert_eq!(
            response.events[0].kv.as_ref().unwrap().mod_revision,
            revision
        );
    }
}

/// What a fixed script of requests yields, described so that two servers can be compared.
async fn script(clients: &Clients) -> Vec<String> {
    let mut seen = Vec::new();
    for (key, value) in [("a", "1"), ("b", "1"), ("a", "2"), ("c", "1")] {
        clients.put(key, value).await;
    }
    let mut watching = clients.open_watch();
    let all = WatchCreateRequest {
        range_end: "\0".into(),
        ..watch("\0")
    };
    let creates = [
        WatchCreateRequest {
            start_revision: 2,
            prev_kv: true,
            watch_id: 9,
            ..watch("a")
        },
        WatchCreateRequest {
            watch_id: 9,
            ..watch("a")
        },
        WatchCreateRequest {
            range_end: "a".into(),
            ..watch("b")
        },
        WatchCreateRequest {
            start_revision: 4,
            ..all.clone()
        },
        WatchCreateRequest {
            filters: vec![FilterType::Noput.into()],
            ..all
        },
    ];
    for create in creates {
        watching.send(RequestUnion::CreateRequest(create));
    }
    // Five replies, one replay of watcher 9 and one of the fourth create.
    for _ in 0..7 {
        seen.push(described(&watching.next().await));
    }
    seen.sort();
    // Before its answer, so that the cancelled watcher cannot see the delete.
    watching.send(RequestUnion::CancelRequest(WatchCancelRequest {
        watch_id: 9,
    }));
    seen.push(described(&watching.next().await));
    let delete = handfast_proto::etcdserverpb::DeleteRangeRequest {
        key: "a".into(),
        range_end: "c".into(),
        ..Default::default()
    };
    clients.kv.clone().delete_range(delete).await.unwrap();
    let mut deleted = [
        described(&watching.next().await),
        described(&watching.next().await),
    ];
    deleted.sort();
    seen.extend(deleted);
    seen
}

fn described(response: &handfast_proto::etcdserverpb::WatchResponse) -> String {
    let events: Vec<String> = response
        .events
        .iter()
        .map(|event| {
            let kv = event.kv.as_ref().unwrap();
            let before = event
                .prev_kv
                .as_ref()
                .map(|kv| (kv.mod_revision, kv.value.clone()));
            let versions = (kv.create_revision, kv.mod_revision, kv.version);
            format!(
                "{} {:?} {:?} {versions:?} {before:?}",
                event.r#type, kv.key, kv.value
            )
        })
        .collect();
    format!(
        "watch {} created {} canceled {} compact {} reason {:?} revision {} events {events:?}",
        response.watch_id,
        response.created,
        response.canceled,
        response.compact_revision,
        response.cancel_reason,
        response.header.unwrap().revision,
    )
}

#[tokio::test]
async fn a_script_of_watches_runs_as_in_etcd() {
    let (_server, clients) = start().await;
    let ours = script(&clients).await;
    let rejected = ours
        .iter()
        .filter(|line| line.contains("created true canceled true"));
    assert_eq!(rejected.count(), 2, "{ours:#?}");
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let theirs = script(&Clients::connect(&etcd.endpoint).await).await;
    assert_eq!(ours, theirs);
}

#[tokio::test]
async fn all_events_of_a_revision_come_in_one_response() {
    let (_server, clients) = start().await;
    for key in ["a1", "a2", "a3"] {
        clients.put(key, "v").await;
    }
    let mut watching = clients.open_watch();
    watching
        .create(WatchCreateRequest {
            range_end: "b".into(),
            ..watch("a")
        })
        .await;
    let delete = handfast_proto::etcdserverpb::DeleteRangeRequest {
        key: "a".into(),
        range_end: "b".into(),
        ..Default::default()
    };
    clients.kv.clone().delete_range(delete).await.unwrap();
    assert_eq!(watching.next().await.events.len(), 3);
}

#[tokio::test]
async fn a_watch_below_the_compaction_is_cancelled_with_the_revision_to_start_from() {
    let (server, clients) = start().await;
    for value in ["1", "2", "3"] {
        clients.put("a", value).await;
    }
    let compact = CompactionRequest {
        revision: 3,
        physical: false,
    };
    clients.kv.clone().compact(compact).await.unwrap();
    let mut watching = clients.open_watch();
    watching
        .create(WatchCreateRequest {
            start_revision: 2,
            ..watch("a")
        })
        .await;
    let canceled = watching.next().await;
    assert!(canceled.canceled && !canceled.created);
    assert_eq!(
        (canceled.compact_revision, &canceled.cancel_reason[..]),
        (3, "")
    );
    let header = canceled.header.unwrap();
    assert_eq!((header.revision, header.member_id), (0, server.member_id()));
}

#[tokio::test]
async fn progress_is_answered_on_request_in_the_order_of_requests() {
    let (_server, clients) = start().await;
    let mut watching = clients.open_watch();
    watching.send(RequestUnion::ProgressRequest(WatchProgressRequest {}));
    watching.send(RequestUnion::CreateRequest(watch("a")));
    watching.send(RequestUnion::ProgressRequest(WatchProgressRequest {}));
    // The first request met no watcher and so has no answer.
    assert!(watching.next().await.created);
    let progress = watching.next().await;
    assert_eq!((progress.watch_id, progress.events.len()), (-1, 0));
    assert_eq!(progress.header.unwrap().revision, 1);
}

#[tokio::test]
async fn a_silent_watcher_is_told_of_progress_when_it_asked_for_it() {
    let mut config = Config::default();
    config.ephemeral = true;
    config.watch_progress_notify_interval = std::time::Duration::from_millis(100);
    let server = soon(
        Server::builder()
            .config(config)
            .listen("127.0.0.1:0")
            .start(),
    )
    .await;
    let server = server.unwrap();
    let clients = Clients::connect(&server.endpoint()).await;
    let mut watching = clients.open_watch();
    watching
        .create(WatchCreateRequest {
            progress_notify: true,
            ..watch("a")
        })
        .await;
    clients.put("b", "v").await;
    // The first notice may be older than the put.
    while watching.next().await.header.unwrap().revision < 2 {}
}

#[tokio::test]
async fn watchers_outlive_the_clients_half_of_the_stream() {
    let (_server, clients) = start().await;
    let mut watching = clients.open_watch();
    watching.create(watch("a")).await;
    watching.half_close();
    clients.put("a", "1").await;
    assert_eq!(watching.events(1).await, [(0, "a".into(), 2)]);
}

#[tokio::test]
async fn a_reader_that_was_away_gets_everything_once_and_in_order() {
    let (_server, clients) = start().await;
    let mut watching = clients.open_watch();
    watching.create(watch("a")).await;
    // More than the windows of stream and connection hold.
    let value = "x".repeat(64 * 1024);
    for _ in 0..100 {
        clients.put("a", &value).await;
    }
    let revisions: Vec<i64> = watching
        .events(100)
        .await
        .into_iter()
        .map(|(_, _, revision)| revision)
        .collect();
    assert_eq!(revisions, (2..102).collect::<Vec<i64>>());
}

#[tokio::test]
async fn a_thousand_watchers_of_one_stream_all_see_an_event() {
    let (_server, clients) = start().await;
    let mut watching = clients.open_watch();
    for _ in 0..1000 {
        watching.create(watch("a")).await;
    }
    clients.put("a", "1").await;
    assert_eq!(watching.events(1000).await.len(), 1000);
}

#[tokio::test]
async fn shutdown_ends_streams_with_etcds_status() {
    let (server, clients) = start().await;
    let mut watching = clients.open_watch_with(|metadata| {
        metadata.insert("hasleader", "true".parse().unwrap());
    });
    watching.create(watch("a")).await;
    let (stopped, ended) = tokio::join!(server.shutdown(), watching.result());
    stopped.unwrap();
    let status = ended.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), "etcdserver: server stopped");
}

#[tokio::test]
async fn a_request_over_the_transport_limit_ends_the_stream_in_etcds_words() {
    let (_server, clients) = start().await;
    let mut watching = clients.open_watch();
    watching.create(watch("a")).await;
    watching.send(RequestUnion::CreateRequest(watch(&"k".repeat(2_100_000))));
    let status = watching.result().await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(
        status
            .message()
            .starts_with("grpc: received message larger than max"),
        "{status}"
    );
}
