//! A client of three members, of which some die, fall silent or come back.

use std::time::Duration;

use handfast_core::{Client, ErrorKind, WatchOptions};
use tokio::time::timeout;

use crate::common::{Cluster, PATIENCE, created, revisions_until};

/// Longer than a test waits: nothing but what is tested may help a client along.
const NEVER: Duration = Duration::from_secs(300);

/// A client that would wait for ever for a member that says nothing.
fn patient(cluster: &Cluster) -> Client {
    Client::builder()
        .endpoints(cluster.endpoints())
        .timeout(NEVER)
        .keep_alive(NEVER, NEVER)
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_watch_sees_every_revision_once_while_each_member_in_turn_is_killed_and_restarted() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client().with_timeout(PATIENCE);
    let mut watch = client.watch(WatchOptions::prefix("k/").prev_kv());
    let first = created(&mut watch).await + 1;
    let mut last = first;
    for index in 0..cluster.len() {
        cluster.kill(index);
        for number in 0..30 {
            // Twice is as good as once here: every revision counts, whoever made it.
            let put = client.put(format!("k/{}", number % 7), format!("{index}.{number}"));
            last = put.repeatable().await.unwrap().header.revision;
        }
        cluster.run(index);
        cluster.ready(index).await;
    }
    let seen = revisions_until(&mut watch, last).await;
    let all: Vec<i64> = (first..=last).collect();
    assert_eq!(seen, all);
}

#[tokio::test]
async fn calls_go_on_elsewhere_while_the_member_they_were_made_to_is_stopped() {
    let cluster = Cluster::start(3).await;
    let client = patient(&cluster);
    for _ in 0..2 {
        let index = cluster.asked_by(&client).await;
        cluster.pause(index);
        let read = timeout(PATIENCE, client.get("k")).await;
        read.expect("it waits for a member that is stopped")
            .unwrap();
        assert_ne!(cluster_member_of(&cluster, &client, index).await, index);
        timeout(PATIENCE, client.put("k", "v"))
            .await
            .expect("it waits for a member that is stopped")
            .unwrap();
        cluster.resume(index);
        cluster.all_ready().await;
    }
}

/// Who answers now; `stopped` cannot be asked who it is.
async fn cluster_member_of(cluster: &Cluster, client: &Client, stopped: usize) -> usize {
    let answered = client.range("k").await.unwrap().header.member_id;
    for index in cluster.others(stopped) {
        let status = client.status(&cluster.endpoint(index)).await.unwrap();
        if status
            .header
            .is_some_and(|header| header.member_id == answered)
        {
            return index;
        }
    }
    stopped
}

#[tokio::test]
async fn a_write_to_a_member_that_is_stopped_is_in_doubt_and_the_next_goes_elsewhere() {
    let cluster = Cluster::start(3).await;
    let client = patient(&cluster);
    let index = cluster.asked_by(&client).await;
    cluster.pause(index);
    let error = timeout(PATIENCE, client.put("k", "1"))
        .await
        .expect("it waits for a member that is stopped")
        .unwrap_err();
    assert!(error.in_doubt(), "{error}");
    assert_eq!(
        (error.kind(), error.attempts()),
        (ErrorKind::Unavailable, 1)
    );
    assert!(error.to_string().contains("nothing was heard"), "{error}");
    timeout(PATIENCE, client.put("k", "2"))
        .await
        .expect("it goes back to a member that is stopped")
        .unwrap();
    cluster.resume(index);
    cluster.all_ready().await;
    let pair = client.get("k").await.unwrap().unwrap();
    assert!(pair.version <= 2, "{pair:?}");
}

#[tokio::test]
async fn a_quiet_watch_moves_away_from_a_member_that_is_stopped() {
    let cluster = Cluster::start(3).await;
    let client = patient(&cluster);
    let index = cluster.asked_by(&client).await;
    let mut watch = client.watch(WatchOptions::key("k"));
    created(&mut watch).await;
    cluster.pause(index);
    let writer = cluster
        .client_of(&cluster.others(index))
        .with_timeout(PATIENCE);
    let written = writer
        .put("k", "v")
        .repeatable()
        .await
        .unwrap()
        .header
        .revision;
    let seen = revisions_until(&mut watch, written).await;
    assert_eq!(seen.last(), Some(&written));
    cluster.resume(index);
}

#[tokio::test]
async fn a_watch_on_a_member_without_a_leader_is_cut_and_resumes_when_there_is_one() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client().with_timeout(PATIENCE);
    let alone = cluster.asked_by(&client).await;
    let mut watch = client.watch(WatchOptions::key("k"));
    created(&mut watch).await;
    for index in cluster.others(alone) {
        cluster.kill(index);
    }
    // What the member would never tell of by itself.
    let refused = timeout(PATIENCE, async {
        loop {
            let short = client.with_timeout(Duration::from_secs(1));
            let error = short.get("k").await.unwrap_err();
            if error
                .tried()
                .any(|(_, message)| message.contains("no leader"))
            {
                return error;
            }
        }
    });
    let error = refused
        .await
        .expect("it never says that there is no leader");
    let text = error.to_string();
    for index in 0..cluster.len() {
        assert!(text.contains(&cluster.endpoint(index)), "{text}");
    }
    assert!(text.contains("refused"), "{text}");
    for index in cluster.others(alone) {
        cluster.run(index);
    }
    // Members that have just started may be too busy to answer the first attempt.
    let written = client.put("k", "v").repeatable().await.unwrap();
    let written = written.header.revision;
    let seen = revisions_until(&mut watch, written).await;
    assert_eq!(seen.last(), Some(&written));
}

#[tokio::test]
async fn keepalives_move_to_another_member() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client().with_timeout(PATIENCE);
    let lease = client.lease_grant(60, 0).await.unwrap().id;
    let renewer = client.keep_aliver();
    renewer.renew(lease).await.unwrap();
    for index in 0..cluster.len() {
        cluster.pause(index);
        renewer.renew(lease).await.unwrap();
        cluster.resume(index);
        cluster.kill(index);
        renewer.renew(lease).await.unwrap();
        cluster.run(index);
        cluster.ready(index).await;
    }
}

#[tokio::test]
async fn endpoints_are_learned_from_the_cluster_if_asked_for() {
    let mut cluster = Cluster::start(3).await;
    let client = Client::builder()
        .endpoints(cluster.endpoint(0))
        .sync_endpoints(true)
        .timeout(PATIENCE)
        .build()
        .unwrap();
    client.get("k").await.unwrap();
    timeout(PATIENCE, async {
        while client.endpoints().len() < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("it learns of no other member");
    cluster.kill(0);
    client.put("k", "v").repeatable().await.unwrap();
    let untold = cluster.client_of(&[1]);
    untold.get("k").await.unwrap();
    assert_eq!(untold.endpoints(), [cluster.endpoint(1)]);
}

#[tokio::test]
async fn the_leadership_moves_where_it_is_asked_to_go() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().with_timeout(PATIENCE);
    let members = client.member_list(true).await.unwrap().members;
    assert_eq!(members.len(), 3);
    let leader = cluster.leader().await;
    let to = cluster.others(leader)[0];
    let status = client.status(&cluster.endpoint(to)).await.unwrap();
    let id = status.header.unwrap().member_id;
    let wrong = client
        .move_leader(&cluster.endpoint(to), id)
        .await
        .unwrap_err();
    assert_eq!(
        (wrong.kind(), wrong.in_doubt()),
        (ErrorKind::NotLeader, false)
    );
    let nobody = client.move_leader(&cluster.endpoint(leader), 0xdead).await;
    assert_eq!(nobody.unwrap_err().kind(), ErrorKind::BadLeaderTransferee);
    client
        .move_leader(&cluster.endpoint(leader), id)
        .await
        .unwrap();
    assert_eq!(cluster.leader().await, to);
    client.put("k", "v").repeatable().await.unwrap();
}
