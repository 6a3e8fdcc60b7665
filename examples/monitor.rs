//! Cluster monitoring: a node goes, and whoever watches is told how.
//!
//! `cargo run -p handfast-examples --example monitor` plays it with a server of its own.
//!
//! Each node is a process that registers. One of them leaves in order, one is killed: its session
//! ends after its TTL, and the watcher learns that it died.

use std::{env, io, process::Stdio, time::Duration};

use handfast::{Handfast, ServiceChanges};
use handfast_server::Server;
use tokio::process::{Child, Command};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const SERVICE: &str = "nodes";
const TTL: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => watch().await,
        [endpoint, name] => node(endpoint, name).await,
        _ => Err("usage: monitor, which starts nodes: monitor ENDPOINT NAME".into()),
    }
}

/// A node: is there until standard input ends.
async fn node(endpoint: &str, name: &str) -> Result<()> {
    let builder = Handfast::builder().endpoints(endpoint).app_name(name);
    let hf = builder.ttl(TTL).build()?;
    let instance = hf.service(SERVICE).instance(name, format!("{name}:80"));
    let registration = instance.zone("a").register().await?;
    tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await??;
    registration.unregister().await;
    hf.close().await?;
    Ok(())
}

/// Starts the nodes and tells what becomes of them.
async fn watch() -> Result<()> {
    let server = Server::builder().ephemeral().start().await?;
    let hf = Handfast::connect(server.endpoint()).await?;
    // With so few nodes every death is believed at once.
    let nodes = hf.discover(SERVICE).guard(Duration::ZERO).open().await?;
    let mut changes = nodes.changes();

    let mut leaving = start(&server.endpoint(), "n1")?;
    tell(&mut changes).await;
    let mut dying = start(&server.endpoint(), "n2")?;
    tell(&mut changes).await;
    let _staying = start(&server.endpoint(), "n3")?;
    tell(&mut changes).await;

    drop(leaving.stdin.take());
    tell(&mut changes).await;
    dying.kill().await?;
    tell(&mut changes).await;
    for node in nodes.list().instances {
        println!("left over: {}", node.id);
    }
    leaving.wait().await?;
    hf.close().await?;
    server.shutdown().await?;
    Ok(())
}

fn start(endpoint: &str, name: &str) -> Result<Child> {
    let mut command = Command::new(env::current_exe()?);
    command.args([endpoint, name]).stdin(Stdio::piped());
    // None of them outlives this program.
    Ok(command.kill_on_drop(true).spawn()?)
}

async fn tell(changes: &mut ServiceChanges) {
    let change = changes.next().await;
    println!("{} {}", change.instance().id, change.code());
}
