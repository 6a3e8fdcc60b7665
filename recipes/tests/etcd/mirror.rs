//! The mirror against the store it copies.

use std::collections::BTreeMap;

use bytes::Bytes;
use handfast::core::{
    Client, Mirror,
    mirror::{Change, View},
};

use crate::{
    server::{Server, shared},
    util::{client, name, soon, until},
};

/// What the store has under the prefix at the view's revision.
async fn assert_equals_store(client: &Client, prefix: &str, view: &View) {
    let range = client.range(prefix).prefix().revision(view.revision());
    let store = range.await.unwrap().kvs;
    let copy: Vec<_> = view.iter().map(|pair| (**pair).clone()).collect();
    assert_eq!(copy, store, "at revision {}", view.revision());
}

#[tokio::test]
async fn a_mirror_is_the_store_at_its_revision_at_any_time() {
    let (client, prefix) = (client(shared()), name("mirror"));
    for number in 0..2500 {
        // More than one page to begin with.
        if number < 40 || number % 50 == 0 {
            client
                .put(format!("{prefix}/{number:04}"), "0")
                .await
                .unwrap();
        }
    }
    let mirror = soon(Mirror::open(&client, &prefix)).await.unwrap();
    assert_equals_store(&client, &prefix, &mirror.snapshot()).await;
    let (start, mut changes) = mirror.subscribe();
    let mut kept: BTreeMap<Bytes, i64> = start
        .iter()
        .map(|pair| (pair.key.clone(), pair.mod_revision))
        .collect();
    let mut last = 0;
    for round in 0..200 {
        let key = format!("{prefix}/{:04}", rand::random::<u32>() % 60);
        last = if rand::random() {
            client
                .put(key, round.to_string())
                .await
                .unwrap()
                .header
                .revision
        } else {
            client.delete(key).await.unwrap().header.revision
        };
        if round % 20 == 0 {
            soon(mirror.at_least(last)).await;
            let view = mirror.snapshot();
            assert!(view.revision() >= last);
            assert_equals_store(&client, &prefix, &view).await;
        }
    }
    soon(mirror.at_least(last)).await;
    // The reported changes add up to the same.
    let view = mirror.snapshot();
    let expected: BTreeMap<Bytes, i64> = view
        .iter()
        .map(|pair| (pair.key.clone(), pair.mod_revision))
        .collect();
    while kept != expected {
        for change in &soon(changes.next()).await.changes {
            match change {
                Change::Put { pair, .. } => kept.insert(pair.key.clone(), pair.mod_revision),
                Change::Delete { previous } => kept.remove(&previous.key),
                other => panic!("{other:?}"),
            };
        }
    }
}

#[tokio::test]
async fn a_mirror_reaches_revisions_that_do_not_concern_it() {
    let (client, prefix) = (client(shared()), name("elsewhere"));
    let mirror = soon(Mirror::open(&client, &prefix)).await.unwrap();
    let elsewhere = client.put(name("other"), "").await.unwrap().header.revision;
    soon(mirror.at_least(elsewhere)).await;
    assert!(mirror.revision() >= elsewhere);
}

#[tokio::test]
async fn trap_10_compaction_is_healed_as_a_difference() {
    let Some(mut server) = Server::own() else {
        return;
    };
    let (client, prefix) = (client(&server), name("healed"));
    for key in ["kept", "changed", "deleted"] {
        client.put(format!("{prefix}/{key}"), "old").await.unwrap();
    }
    let proxy = crate::proxy::Proxy::start(server.address()).await;
    let behind = Client::builder()
        .endpoints(&proxy.endpoint)
        .build()
        .unwrap();
    let mirror = soon(Mirror::open(&behind, &prefix)).await.unwrap();
    let (_, mut changes) = mirror.subscribe();
    // While the mirror hears nothing, everything it would need to go on is compacted.
    proxy.swallow();
    client
        .put(format!("{prefix}/changed"), "new")
        .await
        .unwrap();
    client.delete(format!("{prefix}/deleted")).await.unwrap();
    client.put(format!("{prefix}/added"), "new").await.unwrap();
    let put = client.put("noise", "").await.unwrap();
    client.compact(put.header.revision, true).await.unwrap();
    proxy.heal();
    let step = soon(changes.next()).await;
    let mut told: Vec<_> = step
        .changes
        .iter()
        .map(|change| {
            let key = String::from_utf8_lossy(change.key()).into_owned();
            (
                key.rsplit('/').next().unwrap().to_owned(),
                matches!(change, Change::Put { .. }),
            )
        })
        .collect();
    told.sort();
    let expected = [("added", true), ("changed", true), ("deleted", false)];
    assert_eq!(told, expected.map(|(key, put)| (key.to_owned(), put)));
    assert!(!step.reset);
    assert_equals_store(&client, &prefix, &mirror.snapshot()).await;

    // And a restart of the server is not even noticed.
    server.kill();
    server.start_again();
    let put = until(|| async { client.put(format!("{prefix}/after"), "").await.ok() }).await;
    soon(mirror.at_least(put.header.revision)).await;
    assert_equals_store(&client, &prefix, &mirror.snapshot()).await;
    soon(changes.next()).await;
}
