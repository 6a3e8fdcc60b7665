//! Configuration as its readers see it: without gaps, checked, and kept over every outage.

use std::{collections::BTreeMap, sync::Arc};

use handfast::{
    Config, ConfigEvent, ConfigProblemKind, ConfigSet, ConfigSource, ConfigValue, Handfast,
    core::{Client, Compare, Op},
};
use serde::Deserialize;

use crate::{
    proxy::Proxy,
    server::{Server, shared},
    util::{client, connect, name, soon, until},
};

/// The next value; events in between that are none are left out.
async fn applied<T>(changes: &mut handfast::ConfigChanges<T>) -> Arc<ConfigValue<T>> {
    loop {
        if let ConfigEvent::Applied { value, .. } = soon(changes.next()).await {
            return value;
        }
    }
}

async fn put(client: &Client, key: &str, value: &str) -> i64 {
    client.put(key, value).await.unwrap().header.revision
}

#[tokio::test]
async fn a_reader_that_starts_amid_writes_misses_nothing_at_rest() {
    let (client, key) = (client(shared()), name("config-gap"));
    put(&client, &key, "0").await;
    let writing = tokio::spawn({
        let (client, key) = (client.clone(), key.clone());
        async move {
            let mut last = 0;
            for value in 1..=200 {
                last = put(&client, &key, &value.to_string()).await;
            }
            last
        }
    });
    let config: Config<u32> = soon(connect(shared()).config(&key).open()).await.unwrap();
    let mut changes = config.changes();
    let mut told = Vec::new();
    while told.last().is_none_or(|(_, value)| *value < 200) {
        let value = applied(&mut changes).await;
        told.push((value.revision(), **value));
    }
    let last = soon(writing).await.unwrap();
    soon(config.at_least(last)).await;
    assert_eq!((*config.get(), config.revision()), (200, last));
    // What was told is part of the history, in its order, and so is the place of each in it.
    assert!(
        told.is_sorted_by(|one, two| one.0 < two.0 && one.1 < two.1),
        "{told:?}"
    );
    for (revision, value) in told {
        let read = client.range(&key).revision(revision).await.unwrap();
        assert_eq!(read.kvs[0].value, value.to_string());
    }
}

#[derive(Debug, Deserialize, PartialEq)]
struct App {
    workers: u32,
}

fn check(app: &App) -> Result<(), String> {
    match app.workers {
        13 => panic!("thirteen workers"),
        0 => Err("no workers".to_owned()),
        _ => Ok(()),
    }
}

fn app(workers: u32) -> String {
    format!("{{\"workers\": {workers}}}")
}

#[tokio::test]
async fn a_bad_value_is_reported_and_the_last_good_one_stays() {
    let (client, key) = (client(shared()), name("config-bad"));
    put(&client, &key, &app(1)).await;
    let config = connect(shared()).config::<App>(&key).validate(check);
    let config = soon(config.open()).await.unwrap();
    let bad = [
        ("{", ConfigProblemKind::Undecodable),
        ("{\"workers\": \"x\"}", ConfigProblemKind::Undecodable),
        (&app(0), ConfigProblemKind::Invalid),
        (&app(13), ConfigProblemKind::Panicked),
    ];
    for (value, kind) in bad {
        let revision = put(&client, &key, value).await;
        soon(config.at_least(revision)).await;
        let problem = config.refused().expect("it is bad");
        assert_eq!(
            (problem.kind, problem.revision),
            (kind, revision),
            "{problem}"
        );
        assert_eq!(config.get().workers, 1);
    }
    assert!(config.problems()[3].text.contains("thirteen workers"));
    client.delete(&key).await.unwrap();
    let gone = until(|| async {
        let problem = config.refused()?;
        (problem.kind == ConfigProblemKind::Missing).then_some(problem)
    });
    gone.await;
    assert_eq!((config.get().workers, config.problems().len()), (1, 5));
    let revision = put(&client, &key, &app(2)).await;
    soon(config.at_least(revision)).await;
    assert_eq!((config.get().workers, config.refused()), (2, None));
}

/// Good and bad may come in one message of the server.
#[tokio::test]
async fn a_good_value_right_before_a_bad_one_is_the_last_good_one() {
    let (client, key) = (client(shared()), name("config-pair"));
    put(&client, &key, &app(1)).await;
    let proxy = Proxy::start(shared().address()).await;
    let hf = Handfast::builder()
        .endpoints(&proxy.endpoint)
        .build()
        .unwrap();
    let config = soon(hf.config::<App>(&key).validate(check).open())
        .await
        .unwrap();
    // They come together when the connection is back.
    proxy.swallow();
    let good = put(&client, &key, &app(2)).await;
    let bad = put(&client, &key, &app(0)).await;
    proxy.heal();
    soon(config.at_least(bad)).await;
    assert_eq!((config.get().workers, config.revision()), (2, good));
    assert_eq!(config.refused().unwrap().revision, bad);
}

#[tokio::test]
async fn the_first_value_has_to_be_good() {
    let (hf, client, key) = (connect(shared()), client(shared()), name("config-first"));
    let missing = soon(hf.config::<App>(&key).open()).await.unwrap_err();
    assert_eq!(missing.code(), "CONFIG_REFUSED");
    assert!(missing.to_string().contains(&key), "{missing}");

    let with_default = || hf.config(&key).default_value(App { workers: 7 });
    let config = soon(with_default().open()).await.unwrap();
    assert_eq!(config.get().workers, 7);
    assert_eq!(config.current().source, ConfigSource::Default);
    let revision = put(&client, &key, &app(8)).await;
    soon(config.at_least(revision)).await;
    assert_eq!(config.get().workers, 8);
    client.delete(&key).await.unwrap();
    until(|| async { (config.get().workers == 7).then_some(()) }).await;

    put(&client, &key, "no JSON").await;
    // A default does not stand for what is broken.
    let broken = soon(with_default().open()).await.unwrap_err();
    assert_eq!(broken.code(), "CONFIG_REFUSED");
}

#[tokio::test]
async fn keys_that_are_published_together_are_never_seen_apart() {
    let (hf, prefix) = (connect(shared()), name("config-set"));
    #[derive(Debug, Deserialize)]
    struct Shares {
        a: i64,
        b: i64,
    }
    let publish = |share: i64| {
        let publish = hf.publish(format!("{prefix}/")).put("a", share.to_string());
        publish.put("b", (100 - share).to_string()).send()
    };
    soon(publish(0)).await.unwrap();
    let whole = |shares: &Shares| match shares.a + shares.b {
        100 => Ok(()),
        sum => Err(format!("the sum is {sum}")),
    };
    let config = hf
        .config::<Shares>(format!("{prefix}/"))
        .prefix()
        .validate(whole);
    let config = soon(config.open()).await.unwrap();
    let mut changes = config.changes();
    applied(&mut changes).await;
    for share in 1..=50 {
        let revision = soon(publish(share)).await.unwrap().revision;
        match soon(changes.next()).await {
            ConfigEvent::Applied { value, names } => {
                assert_eq!((value.a, value.revision()), (share, revision));
                assert_eq!(names, ["a", "b"]);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(config.problems().is_empty());
}

#[tokio::test]
async fn a_key_beside_is_another_matter() {
    let (hf, client, key) = (connect(shared()), client(shared()), name("config-beside"));
    put(&client, &key, "1").await;
    let config = soon(hf.config_set(&key).open()).await.unwrap();
    let noise = put(&client, &format!("{key}/nested"), "2").await;
    soon(config.at_least(noise)).await;
    assert_eq!(config.get().len(), 1);
    assert_eq!(config.get().value().unwrap(), "1");
    assert!(config.revision() < noise);
}

/// What the pairs of a prefix are after each of its revisions.
type History = BTreeMap<i64, BTreeMap<String, String>>;

fn pairs(set: &ConfigSet) -> BTreeMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    set.iter()
        .map(|(name, pair)| (text(name), text(&pair.value)))
        .collect()
}

/// Changes of three keys, some of them two at once; the history they make.
async fn write(client: &Client, prefix: &str) -> History {
    let mut history = History::new();
    let mut state = BTreeMap::from([("base".to_owned(), "0".to_owned())]);
    for round in 0..6 {
        let (a, b) = (format!("{prefix}/a"), format!("{prefix}/b"));
        let value = round.to_string();
        let ops = match round % 3 {
            0 => vec![Op::put(&a, &value), Op::put(&b, &value)],
            1 => vec![Op::delete(&b)],
            _ => vec![Op::put(&a, &value)],
        };
        match round % 3 {
            0 => state.extend(["a", "b"].map(|key| (key.to_owned(), value.clone()))),
            1 => drop(state.remove("b")),
            _ => drop(state.insert("a".to_owned(), value.clone())),
        }
        let answer = client.txn().then(ops).commit().await.unwrap();
        history.insert(answer.header.revision, state.clone());
    }
    history
}

#[tokio::test]
async fn trap_10_compaction_at_any_revision_is_one_net_change_and_nothing_false() {
    let Some(server) = Server::own() else {
        return;
    };
    let client = client(&server);
    for compacted in 0..6 {
        let prefix = name("config-compact");
        put(&client, &format!("{prefix}/base"), "0").await;
        let proxy = Proxy::start(server.address()).await;
        let hf = Handfast::builder()
            .endpoints(&proxy.endpoint)
            .build()
            .unwrap();
        let config = hf.config_set(format!("{prefix}/")).prefix().open();
        let config = soon(config).await.unwrap();
        let mut changes = config.changes();
        applied(&mut changes).await;
        proxy.swallow();
        let history = write(&client, &prefix).await;
        let revisions: Vec<i64> = history.keys().copied().collect();
        client.compact(revisions[compacted], true).await.unwrap();
        proxy.heal();
        soon(config.at_least(revisions[5])).await;
        let mut told = Vec::new();
        while told.last() != Some(&revisions[5]) {
            match soon(changes.next()).await {
                ConfigEvent::Applied { value, names } => {
                    // A read anew is of a revision of the store, which may be a later one.
                    let at = history.range(..=value.revision()).next_back().unwrap();
                    assert_eq!(&pairs(&value.set), at.1, "compacted at {compacted}");
                    assert!(!names.is_empty());
                    told.push(*at.0);
                }
                ConfigEvent::Disconnected | ConfigEvent::Connected => {}
                other => panic!("{other:?}"),
            }
        }
        // The first of the six can be compacted without anything being lost.
        let expected = if compacted == 0 { 6 } else { 1 };
        assert_eq!(told.len(), expected, "compacted at {compacted}: {told:?}");
    }
}

#[tokio::test]
async fn a_restart_of_the_server_keeps_the_value_and_the_next_one_comes() {
    let Some(mut server) = Server::own() else {
        return;
    };
    let (client, key) = (client(&server), name("config-restart"));
    put(&client, &key, "1").await;
    let config: Config<u32> = soon(connect(&server).config(&key).open()).await.unwrap();
    let mut changes = config.changes();
    applied(&mut changes).await;
    assert!(config.stale_for().is_zero());
    server.kill();
    assert!(matches!(
        soon(changes.next()).await,
        ConfigEvent::Disconnected
    ));
    assert!(!config.stale_for().is_zero());
    assert_eq!(*config.get(), 1);
    server.start_again();
    assert!(matches!(soon(changes.next()).await, ConfigEvent::Connected));
    assert!(config.stale_for().is_zero());
    put(&client, &key, "2").await;
    assert_eq!(**applied(&mut changes).await, 2);
}

#[tokio::test]
async fn trap_10_another_clusters_data_is_a_reset_and_then_what_is_there() {
    let (Some(mut old), Some(new)) = (Server::own(), Server::own()) else {
        return;
    };
    let (one, two, key) = (client(&old), client(&new), name("config-reset"));
    for value in 0..20 {
        put(&one, &key, &value.to_string()).await;
    }
    let hf = Handfast::builder().endpoints(&old.endpoint);
    let hf = hf.endpoints(&new.endpoint).build().unwrap();
    new.pause();
    let config: Config<u32> = soon(hf.config(&key).open()).await.unwrap();
    let mut changes = config.changes();
    assert_eq!(**applied(&mut changes).await, 19);
    new.resume();
    let revision = put(&two, &key, "100").await;
    assert!(revision < config.revision());
    old.kill();
    assert!(matches!(
        soon(changes.next()).await,
        ConfigEvent::Disconnected
    ));
    let from = loop {
        match soon(changes.next()).await {
            ConfigEvent::Reset { revision } => break revision,
            ConfigEvent::Applied { value, .. } => panic!("{value:?} without a reset"),
            _ => {}
        }
    };
    assert_eq!(from, revision);
    assert_eq!(**applied(&mut changes).await, 100);
    assert_eq!(config.revision(), revision);
}

#[tokio::test]
async fn a_handle_is_told_each_value_once() {
    let (hf, client, key) = (connect(shared()), client(shared()), name("config-changed"));
    put(&client, &key, "1").await;
    let mut config: Config<u32> = soon(hf.config(&key).open()).await.unwrap();
    let mut clone = config.clone();
    put(&client, &key, "2").await;
    assert_eq!(*soon(config.changed()).await, 2);
    let answer = client
        .txn()
        .when([Compare::value(&key).eq("2")])
        .then([Op::put(&key, "3")]);
    assert!(answer.commit().await.unwrap().succeeded);
    assert_eq!(*soon(config.changed()).await, 3);
    // It has not been told anything yet, and gets the latest.
    assert_eq!(*soon(clone.changed()).await, 3);
    assert!(futures::FutureExt::now_or_never(config.changed()).is_none());
}
