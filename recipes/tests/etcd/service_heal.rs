//! Services whose servers stop, forget and come back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use handfast::{Discovery, Handfast, Pick, Registration, RegistrationState, core::Client};

use crate::{
    server::{Server, shared},
    service::told,
    util::{client, connect, connect_with, name, revoke, soon, until},
};

const SHORT: Duration = Duration::from_secs(2);
/// Of fifty sessions on one thread, which a machine that has much else to do must keep alive.
const OF_MANY: Duration = Duration::from_secs(5);

/// Registers `count` instances on `hf`.
async fn many(hf: &Handfast, service: &str, stem: &str, count: usize) -> Vec<Registration> {
    let register = |number: usize| {
        let id = format!("{stem}-{number:03}");
        hf.service(service).instance(id, "h:1").register()
    };
    let all = futures::future::join_all((0..count).map(register));
    let all = tokio::time::timeout(Duration::from_secs(180), all).await;
    all.unwrap().into_iter().map(Result::unwrap).collect()
}

/// Looks all the time whether a list is served empty.
fn never_empty(discovery: &Discovery) -> (Arc<AtomicBool>, tokio::task::JoinHandle<usize>) {
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, discovery) = (Arc::clone(&stop), discovery.clone());
    let watching = tokio::spawn(async move {
        let mut least = usize::MAX;
        while !stopped.load(Ordering::SeqCst) {
            let listed = discovery.list().instances.len();
            assert!(listed > 0, "an empty list is served");
            assert!(discovery.pick(Pick::P2c).is_ok());
            least = least.min(listed);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        least
    });
    (stop, watching)
}

async fn sure(discovery: &Discovery, count: usize) {
    let limit = Duration::from_secs(180);
    let all = async {
        loop {
            let listed = discovery.list().instances;
            let sure = listed.iter().filter(|instance| !instance.suspect).count();
            if sure == count && discovery.stale_for().is_zero() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let done = tokio::time::timeout(limit, all).await;
    done.expect("all are listed again");
}

#[tokio::test]
async fn a_lost_session_registers_again_by_itself_unless_it_unregistered() {
    let (hf, other, client) = (connect(shared()), connect(shared()), client(shared()));
    let name = name("again");
    let stays = soon(hf.service(&name).instance("stays", "h:1").register()).await;
    let stays = stays.unwrap();
    let goes = soon(hf.service(&name).instance("goes", "h:2").register()).await;
    let goes = goes.unwrap();
    let discovery = soon(other.discover(&name).open()).await.unwrap();
    let mut changes = discovery.changes();
    let first = hf.session().unwrap().lease().unwrap();
    soon(goes.unregister()).await;
    assert_eq!(told(&mut changes).await, ("left", "goes".to_owned()));
    revoke(&client, &hf).await;
    assert_eq!(told(&mut changes).await, ("died", "stays".to_owned()));
    assert_eq!(told(&mut changes).await, ("joined", "stays".to_owned()));
    let back = soon(hf.service(&name).list()).await.unwrap();
    assert_eq!(back.len(), 1, "who unregistered stays away");
    assert!(back[0].lease != first && back[0].id == "stays");
    assert!(matches!(stays.state(), RegistrationState::Listed { .. }));
    // An update before the new lease is there is what is listed then.
    revoke(&client, &hf).await;
    assert_eq!(told(&mut changes).await.0, "died");
    let changed = soon(stays.update(|entry| entry.weight = 7)).await;
    changed.unwrap();
    until(|| async {
        let listed = discovery.list().instances;
        listed.first().filter(|it| it.weight == 7).map(drop)
    })
    .await;
}

#[tokio::test]
async fn who_finds_its_id_taken_on_return_waits_for_it() {
    let (hf, other, client) = (connect(shared()), connect(shared()), client(shared()));
    let name = name("taken");
    let slow = |builder: handfast::HandfastBuilder| {
        builder.session(|session| session.redeclare_within(Duration::from_secs(1_000_000)))
    };
    let builder = Handfast::builder()
        .endpoints(&shared().endpoint)
        .ttl(crate::util::TTL);
    let late = slow(builder).build().unwrap();
    let first = soon(late.service(&name).instance("n1", "a:1").register()).await;
    let first = first.unwrap();
    revoke(&client, &late).await;
    let next = hf
        .service(&name)
        .instance("n1", "b:1")
        .wait(Duration::from_secs(10));
    let next = soon(next.register()).await.unwrap();
    let listed = soon(other.service(&name).list()).await.unwrap();
    assert_eq!((listed.len(), listed[0].addr.as_str()), (1, "b:1"));
    let is_listed = || matches!(first.state(), RegistrationState::Listed { .. });
    until(|| async { (!is_listed()).then_some(()) }).await;
    drop((first, next));
}

/// Waits until all are listed by a put after `before`; the revision they are all listed at.
async fn listed_after(kept: &[Registration], before: i64) -> i64 {
    until(|| async {
        let listed = |registration: &Registration| match registration.state() {
            RegistrationState::Listed { revision } if revision > before => Some(revision),
            _ => None,
        };
        let all: Option<Vec<i64>> = kept.iter().map(listed).collect();
        all?.into_iter().max()
    })
    .await
}

#[tokio::test]
async fn a_long_silence_and_a_restart_of_the_server_empty_no_list() {
    let Some(mut server) = Server::own() else {
        return;
    };
    let (hf, name) = (connect_with(&server, SHORT), name("silent"));
    let watcher = connect_with(&server, SHORT);
    let kept = many(&hf, &name, "n", 5).await;
    let discovery = soon(watcher.discover(&name).open()).await.unwrap();
    let (stop, watching) = never_empty(&discovery);
    let before = listed_after(&kept, 0).await;
    // Every session is lost meanwhile.
    server.pause();
    let mut states = hf.session().unwrap().watch();
    soon(states.wait_for(|state| state.code() == "lost"))
        .await
        .unwrap();
    tokio::time::sleep(SHORT * 3).await;
    assert_eq!(discovery.list().instances.len(), 5);
    server.resume();
    let before = listed_after(&kept, before).await;
    soon(discovery.at_least(before)).await;
    sure(&discovery, 5).await;
    // Gone for longer than the TTL, and started again on its data.
    server.kill();
    until(|| async { (discovery.stale_for() > SHORT * 2).then_some(()) }).await;
    assert_eq!(discovery.list().instances.len(), 5);
    let error = discovery.pick(Pick::Hash("k".into())).map(drop);
    assert!(error.is_ok());
    server.start_again();
    let back = listed_after(&kept, before).await;
    soon(discovery.at_least(back)).await;
    sure(&discovery, 5).await;
    stop.store(true, Ordering::SeqCst);
    soon(watching).await.unwrap();
}

#[tokio::test]
async fn a_mass_disappearance_is_not_believed_until_it_lasts_or_calls_fail() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("mass"));
    let guard = Duration::from_secs(2);
    let discovery = soon(hf.discover(&name).guard(guard).open()).await.unwrap();
    let mut changes = discovery.changes();
    let many_leave = many(&hf, &name, "leaves", 20).await;
    let doomed = Doomed::new(&name, 12).await;
    for _ in 0..32 {
        assert_eq!(told(&mut changes).await.0, "joined");
    }
    // All of these leave: that is believed, however many they are.
    for registration in many_leave {
        soon(registration.unregister()).await;
        assert_eq!(told(&mut changes).await.0, "left");
    }
    let (stop, watching) = never_empty(&discovery);
    doomed.die(&client).await;
    let mut suspects = Vec::new();
    while suspects.len() < 12 {
        let (code, id) = told(&mut changes).await;
        match code {
            "suspect" => suspects.push(id),
            code => assert_eq!(code, "died"),
        }
    }
    let list = discovery.list().instances;
    assert!(list.len() == 12 && list.iter().all(|instance| instance.suspect));
    // A call that works proves nothing; one that fails is enough.
    let picked = discovery.pick(Pick::RoundRobin).unwrap();
    picked.report(true, Duration::from_millis(1));
    let picked = discovery.pick(Pick::RoundRobin).unwrap();
    let id = picked.instance().id.clone();
    picked.report(false, Duration::from_millis(1));
    assert_eq!(told(&mut changes).await, ("died", id));
    stop.store(true, Ordering::SeqCst);
    soon(watching).await.unwrap();
    for _ in 0..11 {
        assert_eq!(told(&mut changes).await.0, "died");
    }
    assert!(discovery.list().instances.is_empty());
}

/// Instances that die as if their program was killed: no mark, no return.
struct Doomed {
    runtime: tokio::runtime::Runtime,
    lease: i64,
}

impl Doomed {
    async fn new(service: &str, count: usize) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let service = service.to_owned();
        let registered = runtime.spawn(async move {
            let hf = connect(shared());
            let kept = many(&hf, &service, "dies", count).await;
            let lease = hf.session().unwrap().lease().unwrap();
            // The runtime is all that drops them.
            tokio::spawn(async move {
                let _kept = (hf, kept);
                std::future::pending::<()>().await;
            });
            lease
        });
        let lease = soon(registered).await.unwrap();
        Self { runtime, lease }
    }

    async fn die(self, client: &Client) {
        self.runtime.shutdown_background();
        client.lease_revoke(self.lease).await.unwrap();
    }
}

/// What the issue asks for: a thousand registrants, and no server for three times their TTL.
#[tokio::test]
async fn a_thousand_registrants_are_back_after_an_outage() {
    let Some(server) = Server::own() else { return };
    let (client, name) = (client(&server), name("thousand"));
    let sessions: Vec<_> = (0..50).map(|_| connect_with(&server, OF_MANY)).collect();
    let watcher = connect_with(&server, OF_MANY);
    let all = sessions.iter().enumerate().map(|(number, hf)| {
        let stem = format!("s{number:02}");
        let name = &name;
        async move { many(hf, name, &stem, 20).await }
    });
    let kept: Vec<Vec<Registration>> = futures::future::join_all(all).await;
    let discovery = soon(watcher.discover(&name).open()).await.unwrap();
    sure(&discovery, 1000).await;
    let (stop, watching) = never_empty(&discovery);
    let before = client.put("mark", "").await.unwrap().header.revision;
    server.pause();
    tokio::time::sleep(OF_MANY * 3).await;
    assert_eq!(discovery.list().instances.len(), 1000);
    server.resume();
    let resumed = Instant::now();
    let (moments, last) = rejoin_moments(&client, &name, before + 1, 1000).await;
    discovery.at_least(last).await;
    sure(&discovery, 1000).await;
    let full = resumed.elapsed();
    stop.store(true, Ordering::SeqCst);
    let least = soon(watching).await.unwrap();
    let peak = moments
        .iter()
        .map(|at| {
            moments
                .iter()
                .filter(|it| (*at..*at + Duration::from_secs(1)).contains(it))
        })
        .map(Iterator::count)
        .max();
    println!(
        "1000 registrants, 50 sessions, silence of 3 x TTL: all listed again after {full:?}; at \
         most {} puts within a second; never fewer than {least} listed",
        peak.unwrap_or(0)
    );
    drop(kept);
}

/// When each instance was put again, until `count` different ones were; and the last revision.
async fn rejoin_moments(
    client: &Client,
    service: &str,
    from: i64,
    count: usize,
) -> (Vec<Instant>, i64) {
    use handfast::core::{WatchEvent, WatchOptions};
    let options = WatchOptions::prefix(format!("{service}/")).start_revision(from);
    let mut watch = client.watch(options.no_delete());
    let (mut seen, mut moments) = (std::collections::BTreeSet::new(), Vec::new());
    let mut last = 0;
    while seen.len() < count {
        if let Ok(WatchEvent::Events { events, .. }) = watch.next().await.unwrap() {
            for event in events {
                moments.push(Instant::now());
                last = event.kv.mod_revision;
                seen.insert(event.kv.key.clone());
            }
        }
    }
    (moments, last)
}

#[tokio::test]
async fn trap_10_servers_that_lost_all_data_get_all_instances_back() {
    let Some(mut server) = Server::own() else {
        return;
    };
    let (hf, client, name) = (
        connect_with(&server, SHORT * 3),
        client(&server),
        name("wiped"),
    );
    let watcher = connect(&server);
    // So that the revision goes back.
    for number in 0..50 {
        client.put("noise", number.to_string()).await.unwrap();
    }
    let kept = many(&hf, &name, "n", 5).await;
    let discovery = soon(watcher.discover(&name).open()).await.unwrap();
    let mut changes = discovery.changes();
    let (stop, watching) = never_empty(&discovery);
    server.replace();
    let mut joined = std::collections::BTreeSet::new();
    while joined.len() < 5 {
        match told(&mut changes).await {
            ("joined" | "updated", id) => joined.insert(id),
            (code, _) => {
                assert!(["suspect", "died"].contains(&code), "{code}");
                continue;
            }
        };
    }
    sure(&discovery, 5).await;
    stop.store(true, Ordering::SeqCst);
    soon(watching).await.unwrap();
    drop(kept);
}
