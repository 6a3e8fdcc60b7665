//! Leases and their renewal.

use futures::StreamExt;
use handfast_core::{ErrorKind, WatchEvent, WatchOptions};
use tokio::time::timeout;

use crate::common::{Etcd, PATIENCE, created, next};

#[tokio::test]
async fn a_lease_holds_keys_until_it_is_revoked() {
    let etcd = Etcd::start().await;
    let client = etcd.client().await.namespace("l/");
    let lease = client.lease_grant(60, 0).await.unwrap();
    assert!(lease.id > 0 && lease.ttl == 60);
    client.put("k", "v").lease(lease.id).await.unwrap();
    let outside = etcd.client().await;
    outside.put("other", "").lease(lease.id).await.unwrap();

    let info = client.lease_time_to_live(lease.id, true).await.unwrap();
    assert_eq!((info.granted_ttl, info.keys), (60, vec!["k".into()]));
    assert!(info.ttl >= 58);
    assert_eq!(client.leases().await.unwrap(), [lease.id]);
    let taken = client.lease_grant(5, lease.id).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::LeaseExists);

    let alive = client.lease_keep_alive_once(lease.id).await.unwrap();
    assert_eq!((alive.id, alive.ttl), (lease.id, 60));
    client.lease_revoke(lease.id).await.unwrap();
    assert_eq!(client.get("k").await.unwrap(), None);
    for error in [
        client.lease_revoke(lease.id).await.unwrap_err(),
        client.lease_keep_alive_once(lease.id).await.unwrap_err(),
        client
            .lease_time_to_live(lease.id, false)
            .await
            .unwrap_err(),
        client.keep_aliver().renew(lease.id).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::LeaseNotFound);
    }
}

#[tokio::test]
async fn many_leases_are_renewed_over_one_stream() {
    let etcd = Etcd::start().await;
    let client = etcd.client().await;
    let renewer = client.keep_aliver();
    let mut renewals = Vec::new();
    for id in 1..=50 {
        client.lease_grant(30, id).await.unwrap();
        for _ in 0..2 {
            let renewer = renewer.clone();
            renewals.push(tokio::spawn(async move { renewer.renew(id).await }));
        }
    }
    for renewal in renewals {
        assert_eq!(renewal.await.unwrap().unwrap().ttl, 30);
    }
}

#[tokio::test]
async fn renewal_goes_on_after_the_server_was_killed() {
    let mut etcd = Etcd::start().await;
    let client = etcd.client().await;
    let renewer = client.keep_aliver().with_timeout(PATIENCE);
    let lease = client.lease_grant(60, 0).await.unwrap();
    renewer.renew(lease.id).await.unwrap();
    etcd.kill();
    let pending = tokio::spawn({
        let renewer = renewer.clone();
        async move { renewer.renew(lease.id).await }
    });
    let failing = client
        .keep_aliver()
        .with_timeout(std::time::Duration::from_millis(300));
    let error = failing.renew(lease.id).await.unwrap_err();
    assert!(
        error.is_retryable() && error.endpoint().is_some(),
        "{error}"
    );
    etcd.run();
    assert_eq!(pending.await.unwrap().unwrap().id, lease.id);
}

#[tokio::test]
async fn a_kept_lease_outlives_its_ttl_and_its_end_is_told() {
    let etcd = Etcd::start().await;
    let client = etcd.client().await;
    let lease = client.lease_grant(1, 0).await.unwrap();
    let mut kept = client.keep_aliver().keep(lease.id, lease.ttl);
    client.put("k", "").lease(lease.id).await.unwrap();
    // Four thirds of its time.
    for _ in 0..4 {
        kept.next().await.unwrap().unwrap();
    }
    let mut watch = client.watch(WatchOptions::key("k"));
    created(&mut watch).await;
    assert!(client.get("k").await.unwrap().is_some());
    client.lease_revoke(lease.id).await.unwrap();
    assert!(matches!(next(&mut watch).await, WatchEvent::Events { .. }));
    let end = timeout(PATIENCE, kept.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap_err();
    assert_eq!(end.kind(), ErrorKind::LeaseNotFound);
    assert!(kept.next().await.is_none());
}
