//! Many clients at once, some of which give up, die or are thrown out; judged by the history the
//! store kept.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use handfast::core::{EventKind, WatchEvent, WatchOptions};

use crate::{
    server::shared,
    util::{client, connect, name, queue_of, revoke, soon},
};

const WORKERS: usize = 8;
const ROUNDS: usize = 25;

/// What a worker saw: its token, and a revision at which it certainly held.
type Held = (i64, i64);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_l3_l6_one_holder_at_a_time_in_order_of_arrival() {
    let (client, name) = (client(shared()), name("contention"));
    let start = client
        .put(format!("{name}.start"), "")
        .await
        .unwrap()
        .header
        .revision;
    let holder = Arc::new(AtomicI64::new(0));
    let log: Arc<Mutex<Vec<Held>>> = Arc::default();
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let work = work(worker, name.clone(), Arc::clone(&holder), Arc::clone(&log));
            tokio::spawn(work)
        })
        .collect();
    for worker in workers {
        tokio::time::timeout(Duration::from_secs(120), worker)
            .await
            .unwrap()
            .unwrap();
    }
    queue_of(&client, &name, 0).await;

    // The store's own account: when each place came and went.
    let end = client
        .put(format!("{name}/end"), "")
        .await
        .unwrap()
        .header
        .revision;
    let options = WatchOptions::prefix(format!("{name}/")).start_revision(start);
    let mut watch = client.watch(options);
    let mut gone: BTreeMap<i64, i64> = BTreeMap::new();
    let mut living: BTreeMap<bytes::Bytes, i64> = BTreeMap::new();
    'read: loop {
        let WatchEvent::Events { events, .. } = soon(watch.next()).await.unwrap().unwrap() else {
            continue;
        };
        for event in events {
            if event.kv.mod_revision == end {
                break 'read;
            }
            match event.kind {
                EventKind::Put => {
                    living.insert(event.kv.key, event.kv.create_revision);
                }
                EventKind::Delete => {
                    let created = living.remove(&event.kv.key).expect("it was put");
                    gone.insert(created, event.kv.mod_revision);
                }
            }
        }
    }
    let log = std::mem::take(&mut *log.lock().unwrap());
    assert!(
        log.len() > WORKERS * ROUNDS / 4,
        "only {} acquisitions",
        log.len()
    );
    for pair in log.windows(2) {
        assert!(pair[0].0 < pair[1].0, "tokens went back: {pair:?}");
    }
    for (token, seen) in &log {
        for (earlier, left) in gone.range(..token) {
            assert!(
                left <= seen,
                "{token} was granted while {earlier} was still there"
            );
        }
    }
    client.delete(format!("{name}/end")).await.unwrap();
}

async fn work(worker: usize, name: String, holder: Arc<AtomicI64>, log: Arc<Mutex<Vec<Held>>>) {
    let client = client(shared());
    let mut hf = connect(shared());
    for round in 0..ROUNDS {
        match rand::random::<u32>() % 8 {
            0 => {
                // Gives up, perhaps just when it is granted.
                let limit = Duration::from_micros(u64::from(rand::random::<u16>()));
                drop(tokio::time::timeout(limit, hf.lock(&name).acquire()).await);
                continue;
            }
            1 => {
                let lock = hf.lock(&name).timeout(Duration::from_millis(5));
                drop(lock.acquire().await);
                continue;
            }
            2 => {
                drop(hf.lock(&name).try_acquire().await.unwrap());
                continue;
            }
            _ => {}
        }
        let guard = hf.lock(&name).acquire().await.unwrap();
        let token = guard.token();
        assert_eq!(
            holder.swap(token, Ordering::SeqCst),
            0,
            "two hold: {worker} in {round}"
        );
        let seen = client.range("anything").await.unwrap().header.revision;
        log.lock().unwrap().push((token, seen));
        assert!(guard.check().is_ok());
        assert_eq!(
            holder.swap(0, Ordering::SeqCst),
            token,
            "two hold: {worker} in {round}"
        );
        match rand::random::<u32>() % 6 {
            0 => {
                // Dies: its lease ends behind its back.
                revoke(&client, &hf).await;
                soon(guard.lost()).await;
                hf = connect(shared());
            }
            1 => {
                connect(shared())
                    .lock(&name)
                    .break_holder("test")
                    .await
                    .unwrap();
                soon(guard.lost()).await;
            }
            2 => drop(guard),
            _ => guard.release().await.unwrap(),
        }
    }
}
