//! A service: its instances are listed, found, called, and leave.

use std::{sync::Arc, time::Duration};

use handfast::{
    Discovery, Entry, Error, Handfast, Instance, Pick, RegistrationState, ServiceChange,
    ServiceChanges, Status, core::Client,
};

use crate::{
    relay::Relay,
    server::{Server, shared},
    util::{TTL, client, connect, connect_with, name, revoke, soon, until},
};

/// The next change, as its word and the instance's id.
pub(crate) async fn told(changes: &mut ServiceChanges) -> (&'static str, String) {
    let change = soon(changes.next()).await;
    (change.code(), change.instance().id.clone())
}

fn ids(discovery: &Discovery) -> Vec<String> {
    let listed = discovery.list().instances;
    listed.iter().map(|instance| instance.id.clone()).collect()
}

/// Ids and metadata of the left marks of a service.
async fn marks(client: &Client, service: &str) -> usize {
    let prefix = format!("_handfast/left/{service}/");
    client.range(prefix).prefix().await.unwrap().kvs.len()
}

#[tokio::test]
async fn an_instance_is_listed_found_changed_and_leaves() {
    let (one, two, name) = (connect(shared()), connect(shared()), name("api"));
    let discovery = soon(two.discover(&name).open()).await.unwrap();
    let mut changes = discovery.changes();
    assert!(ids(&discovery).is_empty());
    let error = discovery.pick(Pick::P2c).unwrap_err();
    assert_eq!(error.code(), "NO_INSTANCE", "{error}");

    let register = one.service(&name).instance("n1", "10.0.0.5:80");
    let register = register
        .weight(3)
        .zone("a")
        .version("1.2")
        .metadata("team", "blue");
    let registration = soon(register.register()).await.unwrap();
    assert_eq!(told(&mut changes).await, ("joined", "n1".to_owned()));
    let list = discovery.list();
    let listed = &list.instances[0];
    assert_eq!((listed.addr.as_str(), listed.weight), ("10.0.0.5:80", 3));
    assert_eq!(
        (listed.zone.as_str(), listed.version.as_str()),
        ("a", "1.2")
    );
    assert_eq!(
        (listed.status, &*listed.metadata["team"]),
        (Status::Up, "blue")
    );
    assert_eq!(list.stale_for, Duration::ZERO);
    assert_eq!(listed.lease, one.session().unwrap().lease().unwrap());
    let state = RegistrationState::Listed {
        revision: listed.revision,
    };
    assert_eq!(registration.state(), state);
    let picked = discovery.pick(Pick::RoundRobin).unwrap();
    assert_eq!(picked.addr(), "10.0.0.5:80");

    let changed = soon(registration.update(|entry| {
        entry.weight = 5;
        entry.metadata.insert("team".to_owned(), "red".to_owned());
    }));
    let revision = changed.await.unwrap();
    let ServiceChange::Updated { now, before } = soon(changes.next()).await else {
        panic!("an update has no gap");
    };
    assert_eq!((before.weight, now.weight, now.revision), (3, 5, revision));
    assert_eq!((now.token, &*now.metadata["team"]), (before.token, "red"));

    soon(registration.unregister()).await;
    assert_eq!(told(&mut changes).await, ("left", "n1".to_owned()));
    assert!(ids(&discovery).is_empty());
    assert!(matches!(registration.state(), RegistrationState::Ended(_)));
    assert!(registration.set_status(Status::Up).await.is_err());
}

#[tokio::test]
async fn who_dies_did_not_leave_and_who_closes_did_not_die() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("ends"));
    let discovery = soon(hf.discover(&name).open()).await.unwrap();
    let mut changes = discovery.changes();
    let of = async |id: &str| {
        let hf = connect_with(shared(), TTL);
        let register = hf.service(&name).instance(id, "h:1").register();
        let registration = soon(register).await.unwrap();
        (hf, registration)
    };
    let (doomed, kept) = of("dies").await;
    assert_eq!(told(&mut changes).await.0, "joined");
    // What happens when nothing renews the lease any more. It registers again afterwards.
    revoke(&client, &doomed).await;
    assert_eq!(told(&mut changes).await, ("died", "dies".to_owned()));
    assert_eq!(told(&mut changes).await, ("joined", "dies".to_owned()));
    drop(kept);
    assert_eq!(told(&mut changes).await, ("left", "dies".to_owned()));

    let (closed, _kept) = of("closes").await;
    assert_eq!(told(&mut changes).await.0, "joined");
    soon(closed.close()).await.unwrap();
    assert_eq!(told(&mut changes).await, ("left", "closes".to_owned()));

    let (dropped, kept) = of("dropped").await;
    assert_eq!(told(&mut changes).await.0, "joined");
    drop((kept, dropped));
    assert_eq!(told(&mut changes).await, ("left", "dropped".to_owned()));
    assert_eq!(marks(&client, &name).await, 3);
}

#[tokio::test]
async fn a_second_instance_of_the_same_id_is_refused_and_told_whose_it_is() {
    let (one, two, name) = (connect(shared()), connect(shared()), name("twice"));
    let first = soon(one.service(&name).instance("n1", "a:1").register()).await;
    let first = first.unwrap();
    let again = || two.service(&name).instance("n1", "b:1");
    let error = soon(again().register()).await.unwrap_err();
    let Error::DuplicateInstance { addr, owner, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(
        (addr.as_str(), owner.lease),
        ("a:1", one.session().unwrap().lease().unwrap())
    );
    let (said, pid) = (error.to_string(), std::process::id());
    assert!(
        said.contains(&format!("test (pid {pid} on ")) && said.contains("a:1"),
        "{said}"
    );
    // The same program twice is no better.
    let own = soon(one.service(&name).instance("n1", "c:1").register()).await;
    assert_eq!(own.unwrap_err().code(), "DUPLICATE_INSTANCE");
    let limited = again().wait(Duration::from_secs(1)).register();
    assert_eq!(
        soon(limited).await.unwrap_err().code(),
        "DUPLICATE_INSTANCE"
    );
    let listed = soon(one.service(&name).list()).await.unwrap();
    assert_eq!((listed.len(), listed[0].addr.as_str()), (1, "a:1"));

    let waiting = tokio::spawn(again().wait(TTL).register());
    soon(first.unregister()).await;
    let second = soon(waiting).await.unwrap().unwrap();
    assert_eq!(second.entry().addr, "b:1");
}

#[tokio::test]
async fn unregistering_is_final_also_for_requests_that_come_late() {
    use crate::relay::Fate;
    let relay = Relay::start(shared().address()).await;
    let client = client(shared());
    let hf = Handfast::builder()
        .endpoints(&relay.endpoint)
        .ttl(TTL)
        .build()
        .unwrap();
    let epoch = soon(hf.session().unwrap().epoch()).await.unwrap();
    let record = format!("_handfast/session/{}", epoch.lease_hex());
    until(|| async { client.get(&record).await.unwrap() }).await;
    let name = name("final");
    // The first put seems lost; the second one is answered.
    relay.plan(|call| if call == 0 { Fate::Late } else { Fate::Pass });
    let registration = soon(hf.service(&name).instance("n1", "h:1").register()).await;
    let registration = registration.unwrap();
    soon(registration.unregister()).await;
    let key = format!("{name}/n1");
    assert!(client.get(&key).await.unwrap().is_none());
    assert_eq!(relay.deliver_late().await, 1);
    assert!(client.get(&key).await.unwrap().is_none(), "a phantom");
    // And yet it can come back when it wants to.
    let registration = soon(hf.service(&name).instance("n1", "h:1").register()).await;
    assert!(client.get(&key).await.unwrap().is_some());
    drop(registration);
}

#[tokio::test]
async fn what_somebody_else_does_to_an_entry_is_taken_over_or_undone() {
    let (one, two, name) = (connect(shared()), connect(shared()), name("others"));
    let client = client(shared());
    let register = one.service(&name).instance("n1", "h:1").weight(2);
    let registration = soon(register.register()).await.unwrap();
    let discovery = soon(two.discover(&name).open()).await.unwrap();
    let mut changes = discovery.changes();

    let service = two.service(&name);
    assert_eq!(
        soon(service.set_status("n2", Status::Draining))
            .await
            .unwrap(),
        None
    );
    let drained = soon(service.set_status("n1", Status::Draining)).await;
    assert!(drained.unwrap().is_some());
    assert_eq!(told(&mut changes).await.0, "updated");
    let error = discovery.pick(Pick::Random).unwrap_err();
    assert!(error.to_string().contains("draining"), "{error}");
    until(|| async { (registration.entry().status == Status::Draining).then_some(()) }).await;
    // It stays so in the next epoch.
    revoke(&client, &one).await;
    assert_eq!(told(&mut changes).await.0, "died");
    let ServiceChange::Joined(back) = soon(changes.next()).await else {
        panic!("it registers again");
    };
    assert_eq!((back.status, back.weight), (Status::Draining, 2));
    soon(registration.set_status(Status::Up)).await.unwrap();
    assert_eq!(told(&mut changes).await.0, "updated");

    // Trap 4: a write without the lease would stay for ever.
    let key = registration.key().clone();
    client
        .put(&key, Entry::new("other:1").to_value())
        .await
        .unwrap();
    let lease = one.session().unwrap().lease().unwrap();
    until(|| async {
        let pair = client.get(&key).await.unwrap();
        pair.filter(|pair| pair.lease == lease)
    })
    .await;
    // A live instance that is deleted by hand is listed again.
    client.delete(&key).await.unwrap();
    until(|| async { client.get(&key).await.unwrap() }).await;
    soon(registration.unregister()).await;
    assert!(client.get(&key).await.unwrap().is_none());
}

#[tokio::test]
async fn those_that_warm_up_are_picked_only_when_nobody_is_up() {
    let (hf, name) = (connect(shared()), name("status"));
    let of = |id: &str| hf.service(&name).instance(id, format!("{id}:1"));
    let warming = of("warm").status(Status::Warming);
    let warming = soon(warming.register()).await.unwrap();
    let discovery = soon(hf.discover(&name).open()).await.unwrap();
    assert_eq!(discovery.pick(Pick::P2c).unwrap().addr(), "warm:1");
    let up = soon(of("up").register()).await.unwrap();
    let RegistrationState::Listed { revision } = up.state() else {
        panic!()
    };
    soon(discovery.at_least(revision)).await;
    let picked = |discovery: &Discovery| {
        discovery
            .pick(Pick::RoundRobin)
            .unwrap()
            .instance()
            .id
            .clone()
    };
    assert!((0..10).all(|_| picked(&discovery) == "up"));
    let revision = soon(warming.set_status(Status::Up)).await.unwrap();
    soon(discovery.at_least(revision)).await;
    assert!((0..2).any(|_| picked(&discovery) == "warm"));
    let revision = soon(up.set_status(Status::Draining)).await.unwrap();
    soon(discovery.at_least(revision)).await;
    assert!((0..10).all(|_| picked(&discovery) == "warm"));

    // Five failures in a row eject, unless nobody else is there.
    let revision = soon(up.set_status(Status::Up)).await.unwrap();
    soon(discovery.at_least(revision)).await;
    let fail = |id: &str| {
        let key = (0..).map(|key| Pick::Hash(format!("{key}").into()));
        let hit = |pick: Pick| {
            let picked = discovery.pick(pick).unwrap();
            let hit = picked.instance().id == id;
            picked.report(!hit, Duration::from_millis(1));
            hit
        };
        key.map(hit).filter(|hit| *hit).take(5).count()
    };
    assert_eq!(fail("up"), 5);
    assert!((0..10).all(|_| picked(&discovery) == "warm"));
    for _ in 0..20 {
        discovery.pick(Pick::Random).unwrap().done(false);
    }
    assert_eq!(
        picked(&discovery),
        "warm",
        "half of all may be ejected, not more"
    );
}

#[tokio::test]
async fn a_pick_waits_for_the_first_instance() {
    let (hf, name) = (connect(shared()), name("first"));
    let discovery = soon(hf.discover(&name).open()).await.unwrap();
    let waiting = tokio::spawn({
        let discovery = discovery.clone();
        async move { discovery.pick_when_ready(Pick::P2c).await.addr().to_owned() }
    });
    let registration = soon(hf.service(&name).instance("n1", "h:1").register()).await;
    assert_eq!(soon(waiting).await.unwrap(), "h:1");
    drop(registration);
}

#[tokio::test]
async fn trap_10_compaction_is_healed_as_a_difference() {
    let Some(server) = Server::own() else { return };
    let (hf, client, name) = (connect(&server), client(&server), name("compacted"));
    let proxy = crate::proxy::Proxy::start(server.address()).await;
    let behind = Handfast::builder()
        .endpoints(&proxy.endpoint)
        .ttl(TTL)
        .build()
        .unwrap();
    let of = async |id: &str| {
        let register = hf.service(&name).instance(id, format!("{id}:1")).register();
        soon(register).await.unwrap()
    };
    let (_same, leaves, updates) = (of("same").await, of("leaves").await, of("updates").await);
    let (back, removed) = (of("back").await, of("removed").await);
    let discovery = soon(behind.discover(&name).open()).await.unwrap();
    let mut changes = discovery.changes();
    proxy.swallow();
    soon(leaves.unregister()).await;
    soon(updates.update(|entry| entry.weight = 2))
        .await
        .unwrap();
    soon(back.unregister()).await;
    let _back = of("back").await;
    let _new = of("new").await;
    // Removed by hand, for good: its program does not live any more, in effect.
    soon(removed.unregister()).await;
    client
        .delete(format!("_handfast/left/{name}/removed"))
        .await
        .unwrap();
    let last = client.put("noise", "").await.unwrap().header.revision;
    client.compact(last, true).await.unwrap();
    // The list stands still.
    assert_eq!(ids(&discovery).len(), 5);
    proxy.heal();
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.push(told(&mut changes).await);
    }
    seen.sort();
    let of = |code, id: &str| (code, id.to_owned());
    let expected = [
        of("died", "removed"),
        of("joined", "new"),
        of("left", "leaves"),
        of("updated", "back"),
        of("updated", "updates"),
    ];
    assert_eq!(seen, expected);
    soon(discovery.at_least(last)).await;
    assert_eq!(ids(&discovery).len(), 4);
}

#[tokio::test]
async fn entries_of_other_programs_are_found_and_other_keys_are_not() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("foreign"));
    let put = async |key: &str, value: &str| {
        let key = format!("{name}/{key}");
        client
            .put(key, value.to_owned())
            .await
            .unwrap()
            .header
            .revision
    };
    put(
        "10.0.0.1:80",
        r#"{"Op":0,"Addr":"10.0.0.1:80","Metadata":null}"#,
    )
    .await;
    put("v2/n1", r#"{"Op":0,"Addr":"h:1","Metadata":{}}"#).await;
    put("694d7a1", "").await;
    let discovery = soon(hf.discover(&name).open()).await.unwrap();
    let mut changes = discovery.changes();
    assert_eq!(ids(&discovery), ["10.0.0.1:80"]);
    let only: Arc<Instance> = Arc::clone(&discovery.list().instances[0]);
    assert_eq!((only.lease, only.weight, only.status), (0, 1, Status::Up));
    // What is no entry any more is gone.
    put("10.0.0.1:80", "hello").await;
    assert_eq!(told(&mut changes).await, ("died", "10.0.0.1:80".to_owned()));
}

#[tokio::test]
async fn each_step_of_a_service_is_one_call_and_a_pick_is_none() {
    let relay = Relay::start(shared().address()).await;
    let (client, name) = (client(shared()), name("calls"));
    let hf = Handfast::builder()
        .endpoints(&relay.endpoint)
        .ttl(TTL)
        .build()
        .unwrap();
    let epoch = soon(hf.session().unwrap().epoch()).await.unwrap();
    let record = format!("_handfast/session/{}", epoch.lease_hex());
    until(|| async { client.get(&record).await.unwrap() }).await;
    let mut before = relay.calls();
    let mut step = || {
        let now = relay.calls();
        now - std::mem::replace(&mut before, now)
    };
    let register = hf.service(&name).instance("n1", "h:1").register();
    let registration = soon(register).await.unwrap();
    assert_eq!(step(), 1, "registering");
    let second = hf.service(&name).instance("n2", "h:2").register();
    let second = soon(second).await.unwrap();
    assert_eq!(step(), 1, "another one");
    soon(registration.set_status(Status::Draining))
        .await
        .unwrap();
    soon(registration.set_status(Status::Up)).await.unwrap();
    assert_eq!(step(), 2, "two updates");
    let discovery = soon(hf.discover(&name).open()).await.unwrap();
    assert_eq!(step(), 1, "discovering");
    for pick in [Pick::P2c, Pick::Weighted, Pick::Hash("k".into())] {
        discovery.pick(pick).unwrap().done(true);
    }
    assert_eq!(discovery.list().instances.len(), 2);
    assert_eq!(step(), 0, "picking");
    drop(discovery);
    soon(registration.unregister()).await;
    assert_eq!(
        step(),
        2,
        "leaving, with a lease for the marks of the next half minute"
    );
    soon(second.unregister()).await;
    assert_eq!(step(), 1, "leaving");
}
