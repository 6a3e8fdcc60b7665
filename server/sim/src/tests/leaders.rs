//! Leaders that keep their place, and leaders that must give it up.

use std::time::Duration;

use tokio::time::sleep;

use super::{Stage, play};

/// Election timeout, the leader's lease that followers wait out, and a round of votes.
const FAIL_OVER: Duration = Duration::from_millis(3_500);

#[test]
fn a_member_that_was_cut_off_does_not_depose_the_leader() {
    play(3, 5_000, |stage| async move {
        let (leader, term) = (stage.leader(), stage.term());
        let away = stage.followers()[0];
        stage.isolate(away);
        sleep(Duration::from_secs(15)).await;
        stage.write("while away").await;
        stage.cluster.net.heal();
        sleep(Duration::from_secs(5)).await;
        assert_eq!((stage.leader(), stage.term()), (leader, term));
        stage.agree().await;
        stage
    });
}

#[test]
fn a_leader_whose_disk_hangs_steps_down() {
    play(3, 5_000, |stage| async move {
        let leader = stage.leader();
        stage.write("before").await;
        stage.cluster.machine(leader).pace.hang(true);
        // Nobody notices a disk that nobody asks anything. The followers' disks suffice for this.
        stage.write("meanwhile").await;
        let took = stage
            .until("another one leads", |cluster| {
                cluster.leader().is_some_and(|place| place != leader)
            })
            .await;
        assert!(took < Duration::from_secs(8), "{took:?}");
        stage.write("elsewhere").await;
        stage.cluster.machine(leader).pace.hang(false);
        stage.agree().await;
        stage.expect("before").await;
        stage.expect("meanwhile").await;
        stage
    });
}

#[test]
fn a_leader_without_majority_steps_down_and_clients_move() {
    play(3, 5_000, |stage| async move {
        let leader = stage.leader();
        stage.isolate(leader);
        let old = stage.cluster.machine(leader).clone();
        let gave_up = stage
            .until("the old leader knows no leader", |_| {
                old.status().is_some_and(|status| status.leader.is_none())
            })
            .await;
        assert!(gave_up < FAIL_OVER, "{gave_up:?}");
        let took = stage.write("elsewhere").await;
        assert!(took < Duration::from_secs(6), "{took:?}");
        assert_ne!(stage.leader(), leader);
        stage.cluster.net.heal();
        stage.agree().await;
        stage
    });
}

#[test]
fn a_leader_that_hears_nobody_steps_down() {
    play(3, 5_000, |stage| async move {
        let leader = stage.leader();
        for other in stage.followers() {
            stage.cluster.net.block(other, leader);
        }
        let took = stage.write("elsewhere").await;
        assert!(took < Duration::from_secs(12), "{took:?}");
        stage.cluster.net.heal();
        stage.agree().await;
        stage
    });
}

#[test]
fn a_leader_that_nobody_hears_is_replaced() {
    play(3, 5_000, |stage| async move {
        let leader = stage.leader();
        for other in stage.followers() {
            stage.cluster.net.block(leader, other);
        }
        let took = stage.write("elsewhere").await;
        assert!(took < Duration::from_secs(12), "{took:?}");
        assert_ne!(stage.leader(), leader);
        stage.cluster.net.heal();
        stage.agree().await;
        stage
    });
}

#[test]
fn a_leader_that_stops_in_order_hands_over_at_once() {
    play(3, 5_000, |stage| async move {
        stage.write("before").await;
        let (leader, term) = (stage.leader(), stage.term());
        let cluster = stage.cluster.clone();
        let stopping = tokio::spawn(async move { cluster.stop(leader).await });
        let took = stage
            .until("another one leads", |cluster| {
                cluster.leader().is_some_and(|place| place != leader)
            })
            .await;
        assert!(took < Duration::from_millis(500), "{took:?}");
        assert_eq!(stage.term(), term + 1);
        let wrote = stage.write("after").await;
        assert!(wrote < Duration::from_secs(1), "{wrote:?}");
        stopping.await.unwrap();
        stage.cluster.start(leader).await;
        stage.agree().await;
        stage
    });
}

#[test]
fn a_lease_survives_a_change_of_the_leader() {
    play(3, 5_000, |stage| async move {
        let grant = stage.client.lease_grant(4, 0).await.unwrap();
        let put = stage.client.put("leased", "here").lease(grant.id);
        put.await.unwrap();
        for _ in 0..3 {
            let leader = stage.leader();
            stage
                .cluster
                .kill(leader, handfast_storage::sim::Loss::Everything);
            keep_alive(&stage, grant.id).await;
            stage.cluster.start_all().await;
            sleep(Duration::from_secs(1)).await;
            keep_alive(&stage, grant.id).await;
            assert!(stage.client.get("leased").await.unwrap().is_some());
        }
        // Nobody renews it any more, so it ends, and not before its time.
        sleep(Duration::from_millis(3_500)).await;
        assert!(stage.client.get("leased").await.unwrap().is_some());
        sleep(Duration::from_secs(8)).await;
        assert!(stage.client.get("leased").await.unwrap().is_none());
        stage
    });
}

async fn keep_alive(stage: &Stage, id: i64) {
    let begun = tokio::time::Instant::now();
    while let Err(error) = stage.client.lease_keep_alive_once(id).await {
        assert!(begun.elapsed() < Duration::from_secs(20), "{error}");
        sleep(Duration::from_millis(100)).await;
    }
}
