//! Members that go for a while, for good, or all at once.

use std::time::Duration;

use handfast_storage::sim::Loss;
use tokio::time::sleep;

use super::play;

#[test]
fn a_removed_member_stops_and_stays_out() {
    play(3, 5_000, |stage| async move {
        let gone = stage.followers()[0];
        let machine = stage.cluster.machine(gone).clone();
        let id = machine.member_id().unwrap();
        stage.cluster.mark_removed(id);
        stage.client.member_remove(id).await.unwrap();
        stage
            .until("the removed member stops", |_| !machine.is_up())
            .await;
        stage.write("without it").await;
        // Under its old identity it may not come back.
        machine.start().await.unwrap();
        let consensus = machine.consensus().unwrap();
        let failure = tokio::time::timeout(Duration::from_secs(20), consensus.failed()).await;
        let failure = failure.expect("a removed member gives up");
        assert!(
            matches!(failure, handfast_consensus::Failure::Removed(_)),
            "{failure:?}"
        );
        machine.kill(Loss::Everything);
        stage.write("still without it").await;
        stage
    });
}

#[test]
fn nothing_acknowledged_is_lost_with_the_majority() {
    for loss in Loss::ALL {
        play(5, 5_000, move |stage| async move {
            for number in 0..20 {
                stage.write(&format!("a{number}")).await;
            }
            let leader = stage.leader();
            let mut down = stage.followers();
            down.truncate(2);
            down.push(leader);
            for &place in &down {
                stage.cluster.kill(place, loss);
            }
            assert!(stage.client.put("too few", "x").await.is_err());
            for place in stage.cluster.up() {
                stage.cluster.kill(place, loss);
            }
            sleep(Duration::from_secs(1)).await;
            stage.cluster.start_all().await;
            stage.write("again").await;
            for number in 0..20 {
                stage.expect(&format!("a{number}")).await;
            }
            stage.agree().await;
            stage
        });
    }
}

#[test]
fn a_member_whose_disk_fails_stops_and_comes_back() {
    play(3, 5_000, |stage| async move {
        for victim in [stage.leader(), stage.followers()[0]] {
            let machine = stage.cluster.machine(victim).clone();
            machine.fail_syncs();
            stage.write("needs a disk").await;
            stage
                .until("the member with the bad disk stops", |_| !machine.is_up())
                .await;
            machine.repair_disk();
            stage.write("meanwhile").await;
            stage.cluster.start_all().await;
            stage.agree().await;
            stage.expect("needs a disk").await;
        }
        stage
    });
}
