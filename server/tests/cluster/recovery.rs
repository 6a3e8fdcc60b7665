//! A lost majority: one survivor goes on alone.

use handfast_server::{Error, RecoverOptions, inspect, recover};

use crate::members::{Cluster, eventually, soon};

#[tokio::test]
async fn a_survivor_goes_on_alone_with_a_raised_revision_and_can_grow_again() {
    let mut cluster = Cluster::found(3).await;
    let before: i64 = 20;
    for number in 0..before {
        cluster.places[0].put(&format!("k{number}"), "v").await;
    }
    // Each of them has everything once it has answered a linearizable read.
    assert_eq!(cluster.places[2].get("k19").await.as_deref(), Some("v"));
    let (old_cluster, id) = (
        cluster.places[2].server().cluster_id(),
        cluster.places[2].id(),
    );
    let dir = cluster.places[2].data_dir();
    let running = inspect(&dir, None).unwrap_err();
    assert!(matches!(running, Error::Storage(_)), "{running}");
    for place in &mut cluster.places {
        place.kill().await;
    }

    let found = inspect(&dir, None).unwrap();
    assert_eq!((found.cluster_id, found.member_id), (old_cluster, id));
    assert!(found.last_index >= found.applied_index);
    let recovered = recover(RecoverOptions {
        data_dir: dir.clone(),
        wal_dir: None,
        name: None,
        peer_urls: Vec::new(),
        bump_revision: 1_000_000,
    })
    .unwrap();
    assert_ne!(recovered.cluster_id, old_cluster);
    assert_eq!(recovered.member_id, id);
    assert!(recovered.revision > 1_000_000);
    assert_eq!(recovered.old_members.len(), 3);

    // Flags that founded the old cluster are still there, and ignored.
    cluster.places[2].start().await;
    let survivor = &cluster.places[2];
    assert_eq!(survivor.server().cluster_id(), recovered.cluster_id);
    assert_eq!(survivor.members().await.len(), 1);
    for number in 0..before {
        let found = survivor.get(&format!("k{number}")).await;
        assert_eq!(found.as_deref(), Some("v"));
    }
    survivor.put("k", "after").await;
    let status = survivor.status().await;
    assert!(status.header.unwrap().revision > recovered.revision);

    // The others cannot come back into it with what they have.
    let error = crate::members::start(&cluster.places[0].config).await;
    let error = error.map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Bootstrap(_)), "{error}");

    // It takes new members, by the token of the new cluster.
    let file = dir.join("JOIN_TOKEN");
    let prefix = format!("{:016x}-", recovered.cluster_id);
    let token = eventually(async || {
        let token = std::fs::read_to_string(&file).ok()?;
        token.starts_with(&prefix).then_some(token)
    })
    .await;
    let mut newcomer = cluster.newcomer("new");
    newcomer.config.initial_cluster = Vec::new();
    newcomer.config.initial_cluster_state = Default::default();
    newcomer.config.join = Some(handfast_server::config::Join::new(
        vec![survivor.peer_url().parse().unwrap()],
        token.parse().unwrap(),
    ));
    newcomer.start().await;
    assert_eq!(newcomer.get("k").await.as_deref(), Some("after"));
    soon(newcomer.stop()).await;
}

#[test]
fn what_holds_no_data_is_refused_and_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let missing = root.path().join("missing");
    let error = inspect(&missing, None).unwrap_err();
    assert!(error.to_string().contains("not a folder"), "{error}");
    assert!(!missing.exists());
}
