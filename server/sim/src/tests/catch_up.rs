//! Members that are far behind.

use std::time::Duration;

use handfast_storage::sim::Loss;
use tokio::time::sleep;

use super::{Stage, play};
use crate::net::Weather;

/// Enough for a transfer of several chunks.
const KEYS: usize = 300;
const VALUE_BYTES: usize = 16 << 10;

#[test]
fn a_member_far_behind_gets_a_snapshot_over_interruptions() {
    play(3, 10, |stage| async move {
        let behind = stage.followers()[0];
        stage.cluster.kill(behind, Loss::Everything);
        fill(&stage).await;
        // The log's tail has to be given up first, or the log alone would do.
        sleep(Duration::from_secs(5)).await;
        // Slow enough that the transfer can be interrupted.
        stage.cluster.net.set_weather(Weather {
            delay_ms: 40..60,
            ..Weather::FAIR
        });
        let before = stage.cluster.net.figures().snapshot_chunks;
        stage.cluster.start(behind).await;
        for _ in 0..2 {
            let seen = stage.cluster.net.figures().snapshot_chunks;
            stage
                .until("a chunk arrives", |cluster| {
                    cluster.net.figures().snapshot_chunks > seen
                })
                .await;
            stage.cluster.kill(behind, Loss::Sectors);
            sleep(Duration::from_secs(2)).await;
            stage.cluster.start(behind).await;
        }
        stage.agree().await;
        assert!(stage.cluster.net.figures().snapshot_chunks > before + 2);
        let endpoint = stage.cluster.machine(behind).client_url();
        let client = crate::workload::helper(&stage.cluster, &[endpoint]).unwrap();
        let read = client.range("f/").prefix().serializable().await.unwrap();
        assert_eq!(read.kvs.len(), KEYS);
        stage.write("after").await;
        stage
    });
}

#[test]
fn a_new_member_catches_up_while_the_cluster_works() {
    play(3, 10, |stage| async move {
        fill(&stage).await;
        sleep(Duration::from_secs(3)).await;
        let spare = stage.cluster.size;
        let url = stage.cluster.machine(spare).peer_url();
        let added = stage.client.member_add(vec![url], false).await.unwrap();
        stage.cluster.let_to_new(spare, added.member.unwrap().id);
        stage.cluster.start(spare).await;
        for number in 0..20 {
            stage.write(&format!("more {number}")).await;
        }
        stage
            .until("the new member votes", |cluster| {
                let consensus = cluster.machine(spare).consensus();
                consensus.is_some_and(|consensus| !consensus.is_learner())
            })
            .await;
        stage.agree().await;
        stage
    });
}

async fn fill(stage: &Stage) {
    let value = vec![7; VALUE_BYTES];
    for number in 0..KEYS {
        let put = stage.client.put(format!("f/{number}"), value.clone());
        put.repeatable().await.unwrap();
    }
}
