//! Several locks at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use handfast::{
    Error, LostReason, MAX_NAMES,
    core::{EventKind, WatchEvent, WatchOptions},
};

use crate::{
    server::shared,
    util::{client, connect, name, queue, queue_of, revoke, soon, until},
};

fn two(stem: &str) -> [String; 2] {
    let stem = name(stem);
    ["a", "b"].map(|name| format!("{stem}/{name}"))
}

#[tokio::test]
async fn e3_all_keys_share_one_token_and_a_release_leaves_nothing() {
    let (hf, client, names) = (connect(shared()), client(shared()), two("multi"));
    // Named twice counts once; the order does not matter.
    let twice = [&names[1], &names[0], &names[1]];
    let guard = soon(hf.multi_lock(twice).acquire()).await.unwrap();
    assert_eq!(guard.names(), [names[0].as_str(), names[1].as_str()]);
    for name in &names {
        let keys = queue(&client, name).await;
        assert_eq!(keys.len(), 1);
        assert_eq!(keys[0].create_revision, guard.token());
        let single = soon(connect(shared()).lock(name).try_acquire()).await;
        assert!(single.unwrap().acquired().is_none());
    }
    let done = soon(guard.scope(async { 7 })).await.unwrap();
    assert_eq!(done, 7);
    soon(guard.release()).await.unwrap();
    for name in &names {
        queue_of(&client, name, 0).await;
    }
}

#[tokio::test]
async fn m1_it_is_all_or_nothing() {
    let (hf, other, client) = (connect(shared()), connect(shared()), client(shared()));
    let names = two("multi-all");
    let single = soon(other.lock(&names[1]).acquire()).await.unwrap();
    let tried = soon(hf.multi_lock(&names).try_acquire()).await.unwrap();
    let handfast::TryMulti::Held { name, holder } = tried else {
        panic!("one of them is held")
    };
    assert_eq!(
        (name, holder.token),
        (names[1].clone().into(), single.token())
    );
    assert!(queue(&client, &names[0]).await.is_empty());

    let limit = Duration::from_secs(2);
    let error = soon(hf.multi_lock(&names).timeout(limit).acquire()).await;
    let Error::Timeout {
        name,
        holder,
        position,
        ..
    } = error.unwrap_err()
    else {
        panic!("no timeout")
    };
    // It says which one was waited for, who has it, and where in the line it was.
    assert_eq!((name, position), (names[1].clone(), Some(2)));
    assert_eq!(holder.unwrap().token, single.token());
    queue_of(&client, &names[0], 0).await;

    // While it waits it is in both lines, and holds nothing.
    let waiting = tokio::spawn({
        let locks = hf.multi_lock(&names);
        async move { locks.acquire().await }
    });
    queue_of(&client, &names[0], 1).await;
    assert!(!waiting.is_finished());
    soon(single.release()).await.unwrap();
    let guard = soon(waiting).await.unwrap().unwrap();
    assert!(!guard.previous_died());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_two_that_take_them_in_opposite_order_never_block_each_other() {
    let names = two("multi-opposite");
    let takers = [0, 1].map(|first| {
        let names = [names[first].clone(), names[1 - first].clone()];
        let hf = connect(shared());
        tokio::spawn(async move {
            for _ in 0..30 {
                let guard = hf.multi_lock(&names).acquire().await.unwrap();
                guard.release().await.unwrap();
            }
        })
    });
    for taker in takers {
        soon(taker).await.unwrap();
    }
}

#[tokio::test]
async fn the_next_one_knows_under_which_name_the_holder_died() {
    let (client, names) = (client(shared()), two("multi-died"));
    let doomed = connect(shared());
    let guard = soon(doomed.lock(&names[1]).acquire()).await.unwrap();
    revoke(&client, &doomed).await;
    soon(guard.lost()).await;
    let guard = soon(connect(shared()).multi_lock(&names).acquire()).await;
    let guard = guard.unwrap();
    assert!(guard.previous_died());
    assert_eq!(guard.died(), [names[1].as_str()]);
    soon(guard.release()).await.unwrap();
    let again = soon(connect(shared()).multi_lock(&names).try_acquire()).await;
    assert!(!again.unwrap().acquired().unwrap().previous_died());
}

#[tokio::test]
async fn when_one_is_broken_all_are_lost_and_the_others_are_given_back() {
    let (hf, other, client) = (connect(shared()), connect(shared()), client(shared()));
    let names = two("multi-broken");
    let guard = soon(hf.multi_lock(&names).acquire()).await.unwrap();
    soon(other.lock(&names[1]).break_holder("mine now"))
        .await
        .unwrap();
    let reason = soon(guard.lost()).await;
    assert!(matches!(reason, LostReason::Broken { why, .. } if why == "mine now"));
    assert_eq!(guard.check().unwrap_err().code(), "LOCK_LOST");
    for name in &names {
        queue_of(&client, name, 0).await;
    }
    assert_eq!(soon(guard.release()).await.unwrap_err().code(), "LOCK_LOST");
}

#[tokio::test]
async fn a_waiter_of_which_one_key_is_deleted_fails_and_leaves_all_lines() {
    let (hf, other, client) = (connect(shared()), connect(shared()), client(shared()));
    let names = two("multi-thrown-out");
    let single = soon(other.lock(&names[0]).acquire()).await.unwrap();
    let waiting = tokio::spawn({
        let locks = hf.multi_lock(&names);
        async move { locks.acquire().await }
    });
    // Not the one that it waits at.
    let own = queue_of(&client, &names[1], 1).await;
    queue_of(&client, &names[0], 2).await;
    client.delete(&own[0].key).await.unwrap();
    let error = soon(waiting).await.unwrap().unwrap_err();
    assert_eq!(error.lost_reason(), Some(&LostReason::Deleted));
    queue_of(&client, &names[0], 1).await;
    soon(single.release()).await.unwrap();
}

#[tokio::test]
async fn a_guarded_write_needs_every_lock() {
    let (hf, client, names) = (connect(shared()), client(shared()), two("multi-txn"));
    let guard = soon(hf.multi_lock(&names).acquire()).await.unwrap();
    let target = format!("{}.out", names[0]);
    let write = |value: &'static str| guard.txn().put(&target, value).commit();
    assert!(soon(write("one")).await.unwrap().succeeded);
    client
        .delete(queue(&client, &names[1]).await[0].key.clone())
        .await
        .unwrap();
    let error = soon(write("two")).await.unwrap_err();
    assert_eq!(error.code(), "LOCK_LOST");
    assert_eq!(client.get(&target).await.unwrap().unwrap().value, "one");
}

#[tokio::test]
async fn g14_sixty_names_fit_and_sixty_one_are_refused_before_anything_is_sent() {
    let (hf, client, stem) = (connect(shared()), client(shared()), name("multi-many"));
    let names = |count: usize| (0..count).map(|number| format!("{stem}/{number}"));
    let error = soon(hf.multi_lock(names(MAX_NAMES + 1)).acquire()).await;
    let error = error.unwrap_err();
    assert_eq!(error.code(), "INVALID_ARGUMENT");
    assert!(error.to_string().contains("at most 60"), "{error}");
    let none = soon(hf.multi_lock([""; 0]).acquire()).await.unwrap_err();
    assert_eq!(none.code(), "INVALID_ARGUMENT");

    let guard = soon(hf.multi_lock(names(MAX_NAMES)).acquire())
        .await
        .unwrap();
    let waiting = tokio::spawn({
        let locks = connect(shared()).multi_lock(names(MAX_NAMES));
        async move { locks.acquire().await }
    });
    queue_of(&client, &stem, 2 * MAX_NAMES).await;
    let written = guard.txn().put(format!("{stem}.out"), "").commit();
    assert!(soon(written).await.unwrap().succeeded);
    soon(guard.release()).await.unwrap();
    let guard = soon(waiting).await.unwrap().unwrap();
    soon(guard.release()).await.unwrap();
    let tried = soon(hf.multi_lock(names(MAX_NAMES)).try_acquire()).await;
    drop(tried.unwrap().acquired().unwrap());
    queue_of(&client, &stem, 0).await;
}

#[tokio::test]
async fn g09_nested_and_unrelated_keys_do_not_block() {
    let (hf, other, client) = (connect(shared()), connect(shared()), client(shared()));
    let names = two("multi-nested");
    for number in 0..10 {
        let key = format!("{}/data/{number}", names[0]);
        client.put(key, "unrelated").await.unwrap();
    }
    let nested = soon(other.lock(format!("{}/sub", names[1])).acquire()).await;
    let nested = nested.unwrap();
    let tried = soon(hf.multi_lock(&names).try_acquire()).await.unwrap();
    let guard = tried.acquired().expect("nobody has it");
    let waiting = tokio::spawn({
        let locks = other.multi_lock(&names);
        async move { locks.acquire().await }
    });
    queue_of(&client, &names[0], 10 + 2).await;
    assert!(!waiting.is_finished());
    soon(guard.release()).await.unwrap();
    soon(soon(waiting).await.unwrap().unwrap().release())
        .await
        .unwrap();
    assert!(nested.check().is_ok());
}

#[tokio::test]
async fn g09_a_name_that_is_an_election_is_refused() {
    let (hf, other, client) = (connect(shared()), connect(shared()), client(shared()));
    let names = two("multi-kind");
    let leading = soon(other.election(&names[1]).value("v").campaign()).await;
    let leading = leading.unwrap();
    for error in [
        soon(hf.multi_lock(&names).acquire()).await.unwrap_err(),
        soon(hf.multi_lock(&names).try_acquire()).await.unwrap_err(),
    ] {
        assert_eq!(error.code(), "KIND_CONFLICT");
    }
    queue_of(&client, &names[0], 0).await;
    soon(leading.resign()).await.unwrap();
}

#[tokio::test]
async fn limits_end_all_of_it() {
    let (hf, client, names) = (connect(shared()), client(shared()), two("multi-limit"));
    let locks = hf.multi_lock(&names).max_hold(Duration::from_millis(50));
    let guard = soon(locks.acquire()).await.unwrap();
    assert_eq!(soon(guard.lost()).await, LostReason::MaxHold);
    for name in &names {
        queue_of(&client, name, 0).await;
    }
    let locks = hf.multi_lock(&names).beat(Duration::from_millis(50));
    let guard = soon(locks.acquire()).await.unwrap();
    assert_eq!(soon(guard.lost()).await, LostReason::NoBeat);
}

#[tokio::test]
async fn a_waiter_is_told_under_which_name_it_waits_and_may_join_again() {
    let (hf, other, client) = (connect(shared()), connect(shared()), client(shared()));
    let names = two("multi-told");
    let single = soon(other.lock(&names[1]).acquire()).await.unwrap();
    let told: Arc<Mutex<Vec<(bytes::Bytes, usize)>>> = Arc::default();
    let waiting = tokio::spawn({
        let told = Arc::clone(&told);
        let locks = hf.multi_lock(&names).rejoin(true).on_wait(move |waiting| {
            let mut told = told.lock().unwrap();
            told.push((waiting.name.clone(), waiting.position));
        });
        async move { locks.acquire().await }
    });
    let before = queue_of(&client, &names[1], 2).await;
    until(|| async { (!told.lock().unwrap().is_empty()).then_some(()) }).await;
    assert_eq!(told.lock().unwrap()[0], (names[1].clone().into(), 2));
    revoke(&client, &hf).await;
    until(|| async {
        let keys = queue_of(&client, &names[1], 2).await;
        (keys[1].key != before[1].key).then_some(())
    })
    .await;
    soon(single.release()).await.unwrap();
    assert!(soon(waiting).await.unwrap().is_ok());
}

const WORKERS: usize = 8;
const ROUNDS: usize = 15;
const NAMES: usize = 5;

/// A grant: its token, its names, and a revision at which it certainly held.
type Held = (i64, BTreeSet<usize>, i64);

/// Many with names drawn at random, some of which give up or die, and some with a single lock;
/// judged by the history the store kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m1_m2_random_names_never_overlap_and_never_wait_in_a_circle() {
    let (client, stem) = (client(shared()), name("multi-random"));
    let noise = format!("{stem}.noise");
    let start = client.put(&noise, "").await.unwrap().header.revision;
    let log: Arc<Mutex<Vec<Held>>> = Arc::default();
    let workers = [(); WORKERS].map(|()| tokio::spawn(work(stem.clone(), Arc::clone(&log))));
    for worker in workers {
        let done = tokio::time::timeout(Duration::from_secs(120), worker).await;
        done.expect("they wait for each other").unwrap();
    }
    queue_of(&client, &stem, 0).await;
    let history = history(&stem, start).await;
    let log = std::mem::take(&mut *log.lock().unwrap());
    assert!(log.len() > WORKERS * ROUNDS / 4, "only {}", log.len());
    for (token, names, seen) in &log {
        for name in names {
            let line = &history.lines[name];
            assert!(line.contains_key(token), "{token} has no key under {name}");
            for (earlier, left) in line.range(..token) {
                assert!(left <= seen, "{token} held {name} beside {earlier}");
            }
        }
    }
    assert!(history.waits > 0, "nobody ever waited: no teeth");
}

async fn work(stem: String, log: Arc<Mutex<Vec<Held>>>) {
    let client = client(shared());
    let mut hf = connect(shared());
    for _ in 0..ROUNDS {
        let mut names: BTreeSet<usize> = (0..1 + rand::random::<u8>() as usize % 3)
            .map(|_| rand::random::<u8>() as usize % NAMES)
            .collect();
        if rand::random::<u8>().is_multiple_of(4) {
            // A single lock beside the others.
            names.retain(|name| *name % 2 == 0);
            let Some(&only) = names.first() else { continue };
            let guard = hf.lock(format!("{stem}/{only}")).acquire().await.unwrap();
            let seen = client.range("anything").await.unwrap().header.revision;
            log.lock()
                .unwrap()
                .push((guard.token(), [only].into(), seen));
            guard.release().await.unwrap();
            continue;
        }
        let locks = hf.multi_lock(names.iter().map(|name| format!("{stem}/{name}")));
        // What ends in the background gets a session of its own, so that a session stands for
        // one acquisition.
        let dropped = match rand::random::<u8>() % 8 {
            0 => {
                let limit = Duration::from_micros(u64::from(rand::random::<u16>()));
                drop(tokio::time::timeout(limit, locks.acquire()).await);
                true
            }
            1 => {
                drop(
                    locks
                        .clone()
                        .timeout(Duration::from_millis(5))
                        .acquire()
                        .await,
                );
                true
            }
            2 => {
                drop(locks.try_acquire().await.unwrap());
                true
            }
            _ => false,
        };
        if dropped {
            hf = connect(shared());
            continue;
        }
        let guard = locks.acquire().await.unwrap();
        let seen = client.range("anything").await.unwrap().header.revision;
        assert!(guard.check().is_ok());
        log.lock().unwrap().push((guard.token(), names, seen));
        match rand::random::<u8>() % 6 {
            0 => {
                revoke(&client, &hf).await;
                soon(guard.lost()).await;
                hf = connect(shared());
            }
            1 => {
                drop(guard);
                hf = connect(shared());
            }
            _ => guard.release().await.unwrap(),
        }
    }
}

struct History {
    /// For each name, when each place was put and when it was gone.
    lines: BTreeMap<usize, BTreeMap<i64, i64>>,
    /// How many pairs stood in each other's way.
    waits: usize,
}

/// Reads the store's own account, and checks at every revision that nobody waits in a circle: of
/// all who are in any line, each waits for those before it in the lines it is in.
async fn history(stem: &str, start: i64) -> History {
    let client = client(shared());
    let end = client.put(format!("{stem}/end"), "").await.unwrap();
    let end = end.header.revision;
    let options = WatchOptions::prefix(format!("{stem}/")).start_revision(start);
    let mut watch = client.watch(options);
    let mut living: BTreeMap<bytes::Bytes, (i64, i64)> = BTreeMap::new();
    let mut history = History {
        lines: BTreeMap::new(),
        waits: 0,
    };
    loop {
        let WatchEvent::Events { events, .. } = soon(watch.next()).await.unwrap().unwrap() else {
            continue;
        };
        for event in events {
            if event.kv.mod_revision == end {
                client.delete(format!("{stem}/end")).await.unwrap();
                return history;
            }
            let name = name_of(stem, &event.kv.key);
            match event.kind {
                EventKind::Put => {
                    living.insert(event.kv.key, (event.kv.create_revision, event.kv.lease));
                }
                EventKind::Delete => {
                    let (created, _) = living.remove(&event.kv.key).expect("it was put");
                    let line = history.lines.entry(name).or_default();
                    line.insert(created, event.kv.mod_revision);
                }
            }
            history.waits += no_circle(stem, &living);
        }
    }
}

fn name_of(stem: &str, key: &[u8]) -> usize {
    let rest = std::str::from_utf8(&key[stem.len() + 1..]).unwrap();
    rest.split('/').next().unwrap().parse().unwrap()
}

/// The number of waits; panics when some of them form a circle. A lease stands for who waits.
fn no_circle(stem: &str, living: &BTreeMap<bytes::Bytes, (i64, i64)>) -> usize {
    let mut lines: BTreeMap<usize, Vec<(i64, i64)>> = BTreeMap::new();
    for (key, place) in living {
        lines.entry(name_of(stem, key)).or_default().push(*place);
    }
    let mut waits_for: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    for line in lines.values_mut() {
        line.sort_unstable();
        for pair in line.windows(2) {
            waits_for.entry(pair[1].1).or_default().insert(pair[0].1);
        }
    }
    let count = waits_for.values().map(BTreeSet::len).sum();
    // Takes away, again and again, whoever waits for nobody that waits.
    while !waits_for.is_empty() {
        let waiting: BTreeSet<i64> = waits_for.keys().copied().collect();
        let before = waits_for.len();
        waits_for.retain(|_, ahead| ahead.iter().any(|one| waiting.contains(one)));
        assert!(waits_for.len() < before, "a circle: {waits_for:?}");
    }
    count
}

#[test]
#[should_panic(expected = "a circle")]
fn a_circle_would_be_noticed() {
    let key = |key: &'static str| bytes::Bytes::from_static(key.as_bytes());
    // Each took one name first, as with locks taken one by one.
    let living = [
        (key("x/0/a"), (1, 10)),
        (key("x/0/b"), (4, 20)),
        (key("x/1/b"), (2, 20)),
        (key("x/1/a"), (3, 10)),
    ];
    no_circle("x", &living.into());
}
