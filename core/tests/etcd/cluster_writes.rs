//! Writes while members die and fall silent: none is lost, none is done twice, and what is not
//! known is said not to be known.

use std::time::Duration;

use handfast_core::{Client, Compare, ErrorKind, Op};
use tokio::time::sleep;

use crate::common::{Cluster, PATIENCE};

const WRITERS: usize = 4;
/// How long each disturbance lasts: long enough for the client to go elsewhere meanwhile.
const DISTURBANCE: Duration = Duration::from_secs(4);

/// What became of one write, as far as the client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Done,
    NotDone,
    Unknown,
}

/// Puts keys of its own, each once, until `stop`; what it was told of each.
async fn put_once(
    client: Client,
    writer: usize,
    stop: tokio::sync::watch::Receiver<bool>,
) -> Vec<(String, Told)> {
    let mut told = Vec::new();
    while !*stop.borrow() {
        let key = format!("once/{writer}/{}", told.len());
        let outcome = match client.put(&key, "v").await {
            Ok(_) => Told::Done,
            Err(error) if error.in_doubt() => Told::Unknown,
            Err(_) => Told::NotDone,
        };
        told.push((key, outcome));
    }
    told
}

/// Adds one to the counter until `stop`; how often that was certainly, and how often maybe done.
async fn count_up(client: Client, stop: tokio::sync::watch::Receiver<bool>) -> (i64, i64) {
    let (mut certain, mut open) = (0, 0);
    while !*stop.borrow() {
        let Ok(answer) = client.range("counter").await else {
            continue;
        };
        let (seen, value) = answer.kvs.first().map_or((0, 0), |pair| {
            let text = std::str::from_utf8(&pair.value).unwrap();
            (pair.mod_revision, text.parse::<i64>().unwrap())
        });
        let added = client
            .txn()
            .when([Compare::mod_revision("counter").eq(seen)])
            .then([Op::put("counter", (value + 1).to_string())])
            .commit()
            .await;
        match added {
            Ok(answer) => certain += i64::from(answer.succeeded),
            Err(error) => open += i64::from(error.in_doubt()),
        }
    }
    (certain, open)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_is_lost_or_doubled_while_members_fail() {
    let mut cluster = Cluster::start(3).await;
    let (stopper, stop) = tokio::sync::watch::channel(false);
    // Each its own client, so that they do not all use the same member.
    let puts: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(put_once(cluster.client(), writer, stop.clone())))
        .collect();
    let counts: Vec<_> = (0..WRITERS)
        .map(|_| tokio::spawn(count_up(cluster.client(), stop.clone())))
        .collect();

    let leader = cluster.leader().await;
    cluster.kill(leader);
    sleep(DISTURBANCE).await;
    cluster.run(leader);
    cluster.all_ready().await;
    let leader = cluster.leader().await;
    cluster.pause(leader);
    sleep(DISTURBANCE).await;
    cluster.resume(leader);
    let follower = cluster.others(cluster.leader().await)[0];
    cluster.pause(follower);
    sleep(DISTURBANCE).await;
    cluster.resume(follower);
    cluster.all_ready().await;
    stopper.send_replace(true);

    let client = cluster.client().with_timeout(PATIENCE);
    let mut done = 0;
    for task in puts {
        for (key, told) in task.await.unwrap() {
            let version = client
                .get(&key)
                .await
                .unwrap()
                .map_or(0, |pair| pair.version);
            match told {
                Told::Done => assert_eq!(version, 1, "{key} was lost or doubled"),
                Told::NotDone => assert_eq!(version, 0, "{key} was done after all"),
                Told::Unknown => assert!(version <= 1, "{key} was doubled"),
            }
            done += usize::from(told == Told::Done);
        }
    }
    assert!(done > 100, "only {done} writes were done");
    let (mut certain, mut open) = (0, 0);
    for task in counts {
        let (mine, maybe) = task.await.unwrap();
        certain += mine;
        open += maybe;
    }
    let pair = client.get("counter").await.unwrap().unwrap();
    let counted: i64 = std::str::from_utf8(&pair.value).unwrap().parse().unwrap();
    assert_eq!(counted, pair.version, "a count was done twice");
    assert!(
        (certain..=certain + open).contains(&counted),
        "{counted} counts, {certain} certain and {open} open"
    );
}

#[tokio::test]
async fn without_a_majority_a_refused_write_did_not_happen() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client().with_timeout(Duration::from_secs(2));
    let alone = cluster.asked_by(&client).await;
    for index in cluster.others(alone) {
        cluster.kill(index);
    }
    let mut open = 0;
    let refused = loop {
        let key = format!("k{open}");
        let error = client.put(&key, "v").await.unwrap_err();
        if !error.in_doubt() {
            break (key, error);
        }
        open += 1;
        assert!(open < 20, "{error}");
    };
    let (key, error) = refused;
    assert!(
        matches!(error.kind(), ErrorKind::NoLeader | ErrorKind::Connect),
        "{error}"
    );
    for index in cluster.others(alone) {
        cluster.run(index);
    }
    cluster.all_ready().await;
    assert!(client.get(&key).await.unwrap().is_none());
}
