//! Work that is done once: by one of many, again if that one dies, and never twice.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use handfast::{Error, Handfast, Once, OnceError};
use handfast_kit::{End, Recipe, World, costs::Costs, relay::Relay, troubles::behind, try_out};
use tokio::sync::Notify;

use crate::{
    server::shared,
    util::{client, connect, name, poll_times, queue_of, revoke, soon},
};

/// The result of a call whose work cannot fail.
async fn run(once: &Once, value: &str) -> Result<handfast::OnceResult, Error> {
    let value = value.to_owned();
    let done = once.get_or_run(async |_| Ok::<_, Infallible>(value)).await;
    done.map_err(|error| match error {
        OnceError::Recipe(error) => error,
        other => panic!("{other}"),
    })
}

/// Waits until `count` callers hold or wait for the lock of the work.
async fn callers(name: &str, count: usize) {
    queue_of(&client(shared()), &format!("{name}/run"), count).await;
}

#[tokio::test]
async fn of_many_one_works_and_all_get_the_result() {
    let (runs, name) = (Arc::new(AtomicUsize::new(0)), name("once"));
    let go = Arc::new(Notify::new());
    let calls: Vec<_> = (0..20)
        .map(|caller: usize| {
            let (runs, go) = (Arc::clone(&runs), Arc::clone(&go));
            let once = connect(shared()).once(&name);
            tokio::spawn(async move {
                let work = async |_| {
                    runs.fetch_add(1, Ordering::SeqCst);
                    go.notified().await;
                    Ok::<_, Infallible>(caller.to_string())
                };
                once.get_or_run(work).await.unwrap()
            })
        })
        .collect();
    callers(&name, 20).await;
    go.notify_one();
    let mut results = Vec::new();
    for call in calls {
        results.push(soon(call).await.unwrap());
    }
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    assert_eq!(results.iter().filter(|result| result.ran).count(), 1);
    let first = &results[0];
    assert!(results.iter().all(|result| result.value == first.value));
    assert!(
        results
            .iter()
            .all(|result| result.revision == first.revision)
    );
    // Nobody stays in the queue.
    callers(&name, 0).await;
}

#[tokio::test]
async fn a_waiter_gets_the_result_although_it_has_nothing_of_its_own_to_run() {
    let (hf, name) = (connect(shared()), name("once-wait"));
    let waiting = tokio::spawn({
        let once = connect(shared()).once(&name);
        async move { once.wait().await }
    });
    let done = soon(run(&hf.once(&name), "it")).await.unwrap();
    let told = soon(waiting).await.unwrap().unwrap();
    assert_eq!((told.value, told.revision), (done.value, done.revision));
}

#[tokio::test]
async fn a_failure_goes_to_its_caller_and_the_next_one_tries() {
    let (one, two, name) = (connect(shared()), connect(shared()), name("once-fails"));
    let (started, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let failing = tokio::spawn({
        let (once, started, go) = (one.once(&name), Arc::clone(&started), Arc::clone(&go));
        async move {
            let work = async |_| {
                started.notify_one();
                go.notified().await;
                Err::<String, _>("no disk")
            };
            once.get_or_run(work).await
        }
    });
    soon(started.notified()).await;
    let waiting = tokio::spawn({
        let once = two.once(&name);
        async move { run(&once, "second").await }
    });
    callers(&name, 2).await;
    go.notify_one();
    let error = soon(failing).await.unwrap().unwrap_err();
    assert!(matches!(error, OnceError::Work("no disk")), "{error}");
    let result = soon(waiting).await.unwrap().unwrap();
    assert!(result.ran && result.value == "second");
}

#[tokio::test]
async fn when_the_session_of_the_worker_ends_another_takes_over_and_its_result_stays() {
    let (client, doomed, name) = (client(shared()), connect(shared()), name("once-dies"));
    let started = Arc::new(Notify::new());
    let dying = tokio::spawn({
        let (once, started) = (doomed.once(&name), Arc::clone(&started));
        async move {
            let work = async |_| {
                started.notify_one();
                std::future::pending::<Result<String, Infallible>>().await
            };
            once.get_or_run(work).await
        }
    });
    soon(started.notified()).await;
    let waiting = tokio::spawn({
        let once = connect(shared()).once(&name);
        async move { run(&once, "second").await }
    });
    callers(&name, 2).await;
    revoke(&client, &doomed).await;
    let error = soon(dying).await.unwrap().unwrap_err();
    let OnceError::Recipe(error) = error else {
        panic!("{error}")
    };
    assert_eq!(error.code(), "LOCK_LOST");
    assert!(soon(waiting).await.unwrap().unwrap().ran);
    let result = soon(run(&doomed.once(&name), "late")).await.unwrap();
    assert_eq!((result.value, result.ran), ("second".into(), false));
}

/// The worker goes away at every await in turn; whoever comes then gets, or makes, the result.
#[tokio::test]
async fn whoever_is_killed_at_any_step_another_takes_over() {
    let (hf, other) = (connect(shared()), connect(shared()));
    let (mut done, mut theirs, mut mine) = (false, 0, 0);
    for polls in 0..200 {
        let name = name("once-killed");
        let runs = AtomicUsize::new(0);
        let first = async {
            let once = hf.once(&name);
            let work = async |_| {
                runs.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                Ok::<_, Infallible>("first")
            };
            once.get_or_run(work).await.unwrap()
        };
        done = poll_times(first, polls).await.is_some();
        let result = soon(run(&other.once(&name), "second")).await.unwrap();
        match result.ran {
            true => theirs += 1,
            false => {
                assert!(result.value == "first" && runs.load(Ordering::SeqCst) == 1);
                mine += 1;
            }
        }
        callers(&name, 0).await;
        if done {
            break;
        }
    }
    assert!(done, "never got to the end");
    assert!(theirs > 0 && mine > 0, "no teeth: {theirs} and {mine}");
}

#[tokio::test]
async fn another_input_is_another_result_and_what_is_forgotten_is_done_again() {
    let (hf, name) = (connect(shared()), name("once-input"));
    let of = |input: &str| hf.once(&name).input(input);
    let one = soon(run(&of("one"), "1")).await.unwrap();
    let two = soon(run(&of("two"), "2")).await.unwrap();
    assert!(one.ran && two.ran && one.value != two.value);
    assert_eq!(soon(run(&of("one"), "x")).await.unwrap().value, "1");
    assert!(soon(of("one").forget()).await.unwrap());
    assert!(!soon(of("one").forget()).await.unwrap());
    assert_eq!(soon(of("one").get()).await.unwrap(), None);
    assert!(soon(run(&of("one"), "again")).await.unwrap().ran);
    assert_eq!(soon(run(&of("two"), "x")).await.unwrap().value, "2");
}

#[tokio::test]
async fn trap_14_a_result_that_is_too_large_is_told_and_frees_the_lock() {
    let (hf, name) = (connect(shared()), name("once-large"));
    let large = hf.once(&name);
    let work = async |_| Ok::<_, Infallible>(vec![0; (1 << 20) + 1]);
    let error = soon(large.get_or_run(work)).await.unwrap_err();
    assert!(error.to_string().contains("1048577 bytes"), "{error}");
    let result = soon(run(&hf.once(&name), "small")).await.unwrap();
    assert!(result.ran);
}

#[tokio::test]
async fn a_result_is_one_call_away() {
    let relay = Relay::start(shared().address()).await;
    let hf = behind(&relay, &client(shared())).await;
    let (name, mut costs) = (name("once-costs"), Costs::default());
    let once = hf.once(&name);
    soon(run(&once, "v")).await.unwrap();
    // Look, lock, look again, put, release.
    costs.row("doing it", 5, &relay);
    soon(run(&once, "v")).await.unwrap();
    costs.row("having it", 1, &relay);
    soon(once.wait()).await.unwrap();
    costs.row("waiting for what is there", 1, &relay);
    costs.check();
    // Without a session it is as cheap.
    let relay = Relay::start(shared().address()).await;
    let hf = Handfast::builder()
        .endpoints(&relay.endpoint)
        .build()
        .unwrap();
    soon(run(&hf.once(&name), "v")).await.unwrap();
    assert_eq!(relay.calls(), 1);
}

try_out!(work, Work);

/// Done, and asked for again.
struct Work;

impl Recipe for Work {
    const STEM: &'static str = "work";

    async fn set_up(_: &World) -> Self {
        Self
    }

    async fn run(&mut self, hf: &Handfast, world: &World) -> Result<(), Error> {
        let once = hf.once(&world.name);
        let done = run(&once, "mine").await?;
        assert!(done.ran && done.value == "mine");
        let again = run(&once, "again").await?;
        assert!(!again.ran && again.value == "mine");
        assert_eq!(again.revision, done.revision);
        Ok(())
    }

    async fn check(self, world: &World, end: &End) {
        let result = run(&world.other.once(&world.name), "theirs").await.unwrap();
        let mine = result.value == "mine" && !result.ran;
        let theirs = result.value == "theirs" && result.ran;
        assert!(mine || (theirs && !matches!(end, End::Done)), "{result:?}");
        callers(&world.name, 0).await;
        // And it is not done again.
        let same = world.other.once(&world.name).get().await.unwrap().unwrap();
        assert_eq!(same.value, result.value);
    }
}

#[tokio::test]
async fn trap_10_a_result_put_while_history_was_compacted_is_found() {
    let Some(server) = crate::server::Server::own() else {
        return;
    };
    let (client, name) = (client(&server), name("once-compact"));
    let proxy = crate::proxy::Proxy::start(server.address()).await;
    let hf = Handfast::builder()
        .endpoints(&proxy.endpoint)
        .build()
        .unwrap();
    let lock = connect(&server).lock(format!("{name}/run"));
    let _holder = soon(lock.acquire()).await.unwrap();
    let waiting = tokio::spawn({
        let once = hf.once(&name);
        async move { run(&once, "mine").await }
    });
    queue_of(&client, &format!("{name}/run"), 2).await;
    proxy.swallow();
    client
        .put(format!("{name}/result"), "theirs")
        .await
        .unwrap();
    let noise = client.put("noise", "").await.unwrap();
    client.compact(noise.header.revision, true).await.unwrap();
    proxy.heal();
    let result = soon(waiting).await.unwrap().unwrap();
    assert_eq!((result.value, result.ran), ("theirs".into(), false));
    queue_of(&client, &format!("{name}/run"), 1).await;
}
