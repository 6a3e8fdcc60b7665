//! How many calls a lock costs, counted by a relay in between.

use handfast::Handfast;

use crate::{
    relay::Relay,
    server::shared,
    util::{TTL, client, name, queue_of, soon, until},
};

#[tokio::test]
async fn each_step_of_a_lock_is_one_call() {
    let relay = Relay::start(shared().address()).await;
    let through = || {
        Handfast::builder()
            .endpoints(&relay.endpoint)
            .ttl(TTL)
            .build()
            .unwrap()
    };
    // This one goes past the relay.
    let (one, two, client) = (through(), through(), client(shared()));
    // The sessions open, and write their records, beforehand.
    for hf in [&one, &two] {
        let epoch = soon(hf.session().unwrap().epoch()).await.unwrap();
        let record = format!("_handfast/session/{}", epoch.lease_hex());
        until(|| async { client.get(&record).await.unwrap() }).await;
    }
    let name = name("count");
    let mut before = relay.calls();
    let mut step = || {
        let now = relay.calls();
        now - std::mem::replace(&mut before, now)
    };

    let guard = soon(one.lock(&name).acquire()).await.unwrap();
    assert_eq!(step(), 1, "a free lock");
    assert!(
        soon(two.lock(&name).try_acquire())
            .await
            .unwrap()
            .acquired()
            .is_none()
    );
    assert_eq!(step(), 1, "a failed try");
    soon(guard.release()).await.unwrap();
    assert_eq!(step(), 1, "a release");
    let guard = soon(one.lock(&name).try_acquire())
        .await
        .unwrap()
        .acquired()
        .unwrap();
    assert_eq!(step(), 1, "a try that succeeds");

    let waiting = tokio::spawn({
        let lock = two.lock(&name);
        async move { lock.acquire().await }
    });
    queue_of(&client, &name, 2).await;
    step();
    soon(guard.release()).await.unwrap();
    let guard = soon(waiting).await.unwrap().unwrap();
    assert_eq!(step(), 2, "a release and the hand-over");
    soon(guard.release()).await.unwrap();

    let leading = soon(one.election(&name).value("v").campaign())
        .await
        .unwrap();
    soon(leading.resign()).await.unwrap();
    assert_eq!(step(), 3, "a release, a campaign and a resignation");
}
