//! The Lease service over the wire.

use futures::StreamExt;
use handfast_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest,
    LeaseTimeToLiveRequest, PutRequest,
};

use crate::clients::{Clients, put, soon, start, watch};
use crate::etcd::Etcd;

async fn put_on(clients: &Clients, key: &str, lease: i64) {
    let request = PutRequest {
        lease,
        ..put(key, "v")
    };
    soon(clients.kv.clone().put(request)).await.unwrap();
}

#[tokio::test]
async fn a_lease_is_granted_with_an_id_of_its_own_or_the_one_asked_for() {
    let (_server, clients) = start().await;
    let mut lease = clients.lease.clone();
    let asked = LeaseGrantRequest { ttl: 60, id: -5 };
    let granted = soon(lease.lease_grant(asked)).await.unwrap().into_inner();
    assert_eq!((granted.id, granted.ttl, &granted.error[..]), (-5, 60, ""));
    assert_eq!(granted.header.unwrap().revision, 1);

    let chosen = soon(lease.lease_grant(LeaseGrantRequest { ttl: 0, id: 0 }))
        .await
        .unwrap();
    let chosen = chosen.into_inner();
    assert!(chosen.id > 0);
    assert_eq!(
        chosen.ttl, 2,
        "the shortest time to live is granted instead of none"
    );
}

#[tokio::test]
async fn time_to_live_lists_keys_when_asked_and_answers_for_unknown_leases() {
    let (_server, clients) = start().await;
    let mut lease = clients.lease.clone();
    clients.grant(600, 7).await;
    put_on(&clients, "a", 7).await;
    put_on(&clients, "b", 7).await;
    for keys in [false, true] {
        let asked = LeaseTimeToLiveRequest { id: 7, keys };
        let left = soon(lease.lease_time_to_live(asked))
            .await
            .unwrap()
            .into_inner();
        assert_eq!((left.id, left.granted_ttl), (7, 600));
        assert!((595..600).contains(&left.ttl), "rounded down: {}", left.ttl);
        assert_eq!(left.keys.len(), if keys { 2 } else { 0 });
        assert_eq!(left.header.unwrap().revision, 3);
    }
    let unknown = LeaseTimeToLiveRequest {
        id: 404,
        keys: true,
    };
    let unknown = soon(lease.lease_time_to_live(unknown))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((unknown.id, unknown.ttl, unknown.granted_ttl), (404, -1, 0));
}

#[tokio::test]
async fn revoking_deletes_the_keys_in_one_revision() {
    let (_server, clients) = start().await;
    clients.grant(600, 7).await;
    clients.grant(500, 8).await;
    put_on(&clients, "b", 7).await;
    put_on(&clients, "a", 7).await;
    let listed = soon(clients.lease.clone().lease_leases(LeaseLeasesRequest {}))
        .await
        .unwrap();
    let ids: Vec<i64> = listed
        .into_inner()
        .leases
        .iter()
        .map(|lease| lease.id)
        .collect();
    assert_eq!(ids, [8, 7], "the one that runs out first comes first");

    let mut watching = clients.open_watch();
    watching
        .create(handfast_proto::etcdserverpb::WatchCreateRequest {
            range_end: "\0".into(),
            ..watch("a")
        })
        .await;
    let revoked = soon(
        clients
            .lease
            .clone()
            .lease_revoke(LeaseRevokeRequest { id: 7 }),
    )
    .await;
    assert_eq!(revoked.unwrap().into_inner().header.unwrap().revision, 4);
    assert_eq!(
        watching.events(2).await,
        [(1, "a".into(), 4), (1, "b".into(), 4)]
    );
    assert_eq!(clients.get("a").await.count, 0);
}

/// Answers to keepalives of these leases on one stream, as `(id, TTL)`.
async fn keep_alive(clients: &Clients, ids: Vec<i64>) -> Vec<(i64, i64)> {
    let requests = ids.into_iter().map(|id| LeaseKeepAliveRequest { id });
    let call = clients
        .lease
        .clone()
        .lease_keep_alive(tokio_stream::iter(requests))
        .await
        .unwrap();
    // The stream ends by itself, because the client has closed its side.
    let replies = soon(call.into_inner().collect::<Vec<_>>()).await;
    let replies = replies.into_iter().map(Result::unwrap);
    replies.map(|reply| (reply.id, reply.ttl)).collect()
}

async fn check_keep_alive(clients: &Clients) {
    for id in 1..=300 {
        clients.grant(600 + id, id).await;
    }
    let ids: Vec<i64> = (1..=300).chain([404]).chain((1..=300).rev()).collect();
    let expected: Vec<(i64, i64)> = ids
        .iter()
        .map(|&id| (id, if id == 404 { 0 } else { 600 + id }))
        .collect();
    assert_eq!(keep_alive(clients, ids).await, expected);
}

#[tokio::test]
async fn keepalives_are_answered_in_order_until_the_client_closes() {
    let (_server, clients) = start().await;
    check_keep_alive(&clients).await;
}

#[tokio::test]
async fn etcd_keeps_the_same_order() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    check_keep_alive(&Clients::connect(&etcd.endpoint).await).await;
}

#[tokio::test]
async fn an_expired_lease_takes_its_keys_along() {
    let (_server, clients) = start().await;
    let mut watching = clients.open_watch();
    watching.create(watch("a")).await;
    clients.grant(2, 7).await;
    put_on(&clients, "a", 7).await;
    assert_eq!(watching.events(1).await, [(0, "a".into(), 2)]);
    assert_eq!(watching.events(1).await, [(1, "a".into(), 3)]);
    assert_eq!(keep_alive(&clients, vec![7]).await, [(7, 0)]);
}

#[tokio::test]
async fn shutdown_ends_keepalive_streams_with_etcds_status() {
    let (server, clients) = start().await;
    clients.grant(600, 7).await;
    // The client's side stays open behind the one request.
    let requests = futures::stream::iter([LeaseKeepAliveRequest { id: 7 }]);
    let requests = requests.chain(futures::stream::pending());
    let call = soon(clients.lease.clone().lease_keep_alive(requests))
        .await
        .unwrap();
    let mut replies = call.into_inner();
    assert_eq!(soon(replies.message()).await.unwrap().unwrap().ttl, 600);
    let (stopped, ended) = tokio::join!(server.shutdown(), soon(replies.message()));
    stopped.unwrap();
    let status = ended.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert_eq!(status.message(), "etcdserver: server stopped");
}
