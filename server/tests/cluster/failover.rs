//! Requests on any member, members that die, and members that come back.

use crate::members::{Cluster, eventually, soon};

#[tokio::test]
async fn every_member_takes_writes_and_reads_what_others_wrote() {
    let cluster = Cluster::found(3).await;
    for (number, place) in cluster.places.iter().enumerate() {
        let (key, value) = (format!("k{number}"), format!("v{number}"));
        place.put(&key, &value).await;
        for other in &cluster.places {
            assert_eq!(other.get(&key).await.as_deref(), Some(value.as_str()));
        }
    }
}

#[tokio::test]
async fn a_killed_leader_costs_nothing_that_was_acknowledged_and_catches_up_later() {
    let mut cluster = Cluster::found(3).await;
    for number in 0..50 {
        cluster.places[number % 3]
            .put(&format!("k{number}"), "before")
            .await;
    }
    let leader = cluster.leader().await;
    cluster.places[leader].kill().await;
    for number in 0..50 {
        let place = &cluster.places[(leader + 1 + number % 2) % 3];
        assert_eq!(
            place.get(&format!("k{number}")).await.as_deref(),
            Some("before")
        );
        place.put(&format!("k{number}"), "after").await;
    }
    cluster.places[leader].start().await;
    for number in 0..50 {
        let found = cluster.places[leader].get(&format!("k{number}")).await;
        assert_eq!(found.as_deref(), Some("after"));
    }
}

#[tokio::test]
async fn a_follower_that_restarts_keeps_its_identity_and_finds_what_it_missed() {
    let mut cluster = Cluster::found(3).await;
    let follower = (cluster.leader().await + 1) % 3;
    let id = cluster.places[follower].id();
    cluster.places[follower].stop().await;
    cluster.places[(follower + 1) % 3]
        .put("k", "while it was away")
        .await;
    cluster.places[follower].start().await;
    assert_eq!(cluster.places[follower].id(), id);
    let found = cluster.places[follower].get("k").await;
    assert_eq!(found.as_deref(), Some("while it was away"));
}

#[tokio::test]
async fn a_leader_that_stops_in_order_leaves_another_behind() {
    let mut cluster = Cluster::found(3).await;
    let leader = cluster.leader().await;
    let id = cluster.places[leader].id();
    cluster.places[leader].put("k", "v").await;
    cluster.places[leader].stop().await;
    // It had handed over before it stopped answering, so nobody has to notice its absence first.
    let status = cluster.places[(leader + 1) % 3].status().await;
    assert!(status.leader != 0 && status.leader != id, "{status:?}");
}

#[tokio::test]
async fn all_members_restart_at_once() {
    let mut cluster = Cluster::found(3).await;
    cluster.places[1].put("k", "v").await;
    for place in &mut cluster.places {
        place.kill().await;
    }
    cluster.start_all().await;
    for place in &cluster.places {
        assert_eq!(place.get("k").await.as_deref(), Some("v"));
    }
}

#[tokio::test]
async fn without_a_majority_nothing_is_answered_that_needs_one() {
    let mut cluster = Cluster::found(3).await;
    cluster.places[0].put("k", "v").await;
    let leader = cluster.leader().await;
    cluster.places[(leader + 1) % 3].kill().await;
    cluster.places[(leader + 2) % 3].kill().await;
    // Nobody leads any more, and the one that is left says so.
    let lonely = &cluster.places[leader];
    eventually(async || (lonely.status().await.leader == 0).then_some(())).await;
    soon(cluster.places[leader].stop()).await;
}
