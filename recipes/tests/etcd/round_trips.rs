//! How many calls a lock costs, counted by the server.

use crate::{
    server::{Server, get},
    util::{client, connect, name, queue_of, soon, until},
};

/// Unary calls on keys the server has seen so far.
fn calls(server: &Server) -> u64 {
    let metrics = get(server.address(), "/metrics").expect("the server has metrics");
    let counted = |line: &&str| {
        line.starts_with("grpc_server_started_total") && line.contains("etcdserverpb.KV")
    };
    let lines: Vec<&str> = metrics.lines().filter(counted).collect();
    assert!(!lines.is_empty(), "the server does not count calls");
    lines
        .iter()
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64)
        .sum()
}

#[tokio::test]
async fn each_step_of_a_lock_is_one_call() {
    let Some(server) = Server::own() else { return };
    let (one, two, client) = (connect(&server), connect(&server), client(&server));
    // The sessions open, and write their records, beforehand.
    for hf in [&one, &two] {
        let epoch = soon(hf.session().unwrap().epoch()).await.unwrap();
        let record = format!("_handfast/session/{}", epoch.lease_hex());
        until(|| async { client.get(&record).await.unwrap() }).await;
    }
    let name = name("count");
    let mut before = calls(&server);
    let mut step = || {
        let now = calls(&server);
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
