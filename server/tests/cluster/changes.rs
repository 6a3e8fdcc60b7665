//! Members that are added, replaced and removed while the cluster serves.

use std::fs;

use handfast_proto::etcdserverpb::{MemberAddRequest, MemberRemoveRequest, RangeRequest};
use handfast_server::Error;

use crate::members::{Cluster, Place, eventually, soon};

/// Adds a voter until the cluster lets it in; its id.
async fn add(through: &Place, peer_url: &str) -> u64 {
    let mut cluster = through.cluster();
    let added = eventually(async || {
        let request = MemberAddRequest {
            peer_ur_ls: vec![peer_url.to_owned()],
            is_learner: false,
        };
        cluster.member_add(request).await.ok()
    })
    .await;
    added.into_inner().member.unwrap().id
}

async fn remove(through: &Place, id: u64) {
    let mut cluster = through.cluster();
    eventually(async || cluster.member_remove(MemberRemoveRequest { id }).await.ok()).await;
}

#[tokio::test]
async fn a_wiped_member_is_replaced_under_its_old_address() {
    let mut cluster = Cluster::found(3).await;
    cluster.places[0].put("k", "v").await;
    let lost = (cluster.leader().await + 1) % 3;
    let (old_id, url) = (cluster.places[lost].id(), cluster.places[lost].peer_url());
    cluster.places[lost].kill().await;
    fs::remove_dir_all(cluster.places[lost].data_dir()).unwrap();

    let through = (lost + 1) % 3;
    remove(&cluster.places[through], old_id).await;
    let id = add(&cluster.places[through], &url).await;
    assert_ne!(id, old_id);
    let state = handfast_server::config::InitialClusterState::Existing;
    cluster.places[lost].config.initial_cluster_state = state;
    cluster.places[lost].start().await;
    assert_eq!(cluster.places[lost].id(), id);
    cluster.places[lost].votes().await;
    assert_eq!(cluster.places[lost].get("k").await.as_deref(), Some("v"));
}

#[tokio::test]
async fn a_removed_member_stops_and_says_why() {
    let mut cluster = Cluster::found(3).await;
    let leader = cluster.leader().await;
    let gone = (leader + 1) % 3;
    remove(&cluster.places[leader], cluster.places[gone].id()).await;
    let failure = soon(cluster.places[gone].server().failed()).await;
    assert!(matches!(failure, Error::Removed(_)), "{failure}");
    cluster.places[gone].stop().await;
    cluster.places[leader].put("k", "v").await;

    // It does not get back in with the data it has.
    match crate::members::start(&cluster.places[gone].config).await {
        Err(_) => {}
        Ok(server) => {
            let failure = soon(server.failed()).await;
            assert!(matches!(failure, Error::Removed(_)), "{failure}");
            soon(server.shutdown()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_member_far_behind_gets_the_state_instead_of_the_log() {
    let mut cluster = Cluster::planned(3);
    for place in &mut cluster.places {
        place.config.snapshot_catchup_entries = 10;
    }
    cluster.start_all().await;
    let behind = (cluster.leader().await + 1) % 3;
    cluster.places[behind].stop().await;
    let writer = &cluster.places[(behind + 1) % 3];
    let value = "x".repeat(1000);
    for round in 0..8 {
        let puts = (0..100).map(|number| {
            let key = format!("{round}/{number}");
            let value = &value;
            async move { writer.put(&key, value).await }
        });
        for put in puts {
            put.await;
        }
    }
    cluster.places[behind].start().await;
    let all = RangeRequest {
        key: "0".into(),
        range_end: "9".into(),
        count_only: true,
        ..RangeRequest::default()
    };
    assert_eq!(cluster.places[behind].range(all).await.count, 800);

    // Somebody new has to get everything in any case.
    let mut newcomer = cluster.newcomer("late");
    let id = add(&cluster.places[0], &newcomer.peer_url()).await;
    newcomer.start().await;
    newcomer.votes().await;
    assert_eq!(newcomer.id(), id);
    let found = newcomer.get("7/99").await;
    assert_eq!(found.as_deref(), Some(value.as_str()));
    soon(newcomer.stop()).await;
}
