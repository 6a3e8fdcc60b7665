//! Services find each other: registered with a session, picked with load balancing.
//!
//! `cargo run -p handfast-examples --example discovery` plays it with a server of its own.
//!
//! Three backends register. A client spreads its calls over them, keeps the calls of one user at
//! one backend, and leaves out the one that is drained. A backend that leaves is gone at once.

use std::collections::{BTreeMap, BTreeSet};

use handfast::{Discovery, Handfast, Pick, Picked, Registration, Status};
use handfast_server::Server;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const SERVICE: &str = "api";

#[tokio::main]
async fn main() -> Result<()> {
    let server = Server::builder().ephemeral().start().await?;
    let owner = Handfast::connect(server.endpoint()).await?;
    let hf = Handfast::connect(server.endpoint()).await?;

    let n1 = register(&owner, "n1", 1).await?;
    let n2 = register(&owner, "n2", 2).await?;
    let _n3 = register(&owner, "n3", 3).await?;
    let api = hf.discover(SERVICE).open().await?;
    let mut changes = api.changes();
    let instances = api.list().instances;
    let listed: Vec<String> = instances
        .iter()
        .map(|one| format!("{}={}", one.id, one.addr))
        .collect();
    println!("listed: {}", listed.join(" "));

    let mut spread: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..60 {
        *spread.entry(call(api.pick(Pick::Weighted)?)).or_default() += 1;
    }
    let shares: Vec<String> = spread
        .iter()
        .map(|(name, calls)| format!("{name}={calls}"))
        .collect();
    println!("by weight: {}", shares.join(" "));
    let homes = backends(&api, &Pick::Hash("user 7".into()))?;
    println!("backends of user 7: {}", homes.len());

    // Once this client knows of the change it calls n1 no more.
    api.at_least(n1.set_status(Status::Draining).await?).await;
    let left: Vec<String> = backends(&api, &Pick::RoundRobin)?.into_iter().collect();
    println!("n1 drains, calls go to: {}", left.join(" "));

    n2.unregister().await;
    loop {
        let change = changes.next().await;
        println!("{} {}", change.instance().id, change.code());
        if change.code() == "left" {
            break;
        }
    }
    println!("still there: {}", api.pick(Pick::P2c)?.addr());

    hf.close().await?;
    owner.close().await?;
    server.shutdown().await?;
    Ok(())
}

async fn register(hf: &Handfast, name: &str, number: u32) -> Result<Registration> {
    let address = format!("10.0.0.{number}:80");
    let instance = hf.service(SERVICE).instance(name, address).weight(number);
    Ok(instance.register().await?)
}

/// Stands for a call over the network, and tells how it went.
fn call(picked: Picked) -> String {
    let name = picked.instance().id.to_string();
    picked.done(true);
    name
}

/// Where ten calls go.
fn backends(api: &Discovery, how: &Pick) -> Result<BTreeSet<String>> {
    (0..10).map(|_| Ok(call(api.pick(how.clone())?))).collect()
}
