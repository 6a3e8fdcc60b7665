//! Exclusive and ordered: writers append to one log under a lock, in the order they came.
//!
//! `cargo run -p handfast-examples --example shared_log` plays it with a server of its own.
//!
//! Who waits is served first come, first served. Two logs that belong together are locked together,
//! whatever the order they are named in: nobody waits for somebody who waits for them.

use std::time::Duration;

use futures::future::try_join_all;
use handfast::{Error, Handfast};
use handfast_server::Server;
use tokio::sync::mpsc;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const LOG: &str = "log/audit";
const TEXT: &str = "log/audit.text";
const LONGEST: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<()> {
    let server = Server::builder().ephemeral().start().await?;
    let hf = Handfast::connect(server.endpoint()).await?;
    in_order(&hf).await?;
    together(&hf).await?;
    hf.close().await?;
    server.shutdown().await?;
    Ok(())
}

async fn in_order(hf: &Handfast) -> Result<()> {
    let first = hf.lock(LOG).acquire().await?;
    let mut writers = Vec::new();
    for who in ["ada", "bob", "cyd"] {
        let (in_line, mut told) = mpsc::unbounded_channel();
        writers.push(tokio::spawn(append(hf.clone(), who, in_line)));
        told.recv().await.ok_or("the writer is gone")?;
    }
    println!("waiting: {}", hf.lock(LOG).look().await?.waiters().len());
    first.release().await?;
    for writer in writers {
        writer.await??;
    }
    println!("written by: {}", read(hf).await?);
    Ok(())
}

/// Adds a word at the end of the log; tells `in_line` of its place while it waits.
async fn append(
    hf: Handfast,
    who: &str,
    in_line: mpsc::UnboundedSender<usize>,
) -> std::result::Result<(), Error> {
    let lock = hf.lock(LOG).timeout(LONGEST).on_wait(move |waiting| {
        // Nobody listens any more once all are in line.
        let _ = in_line.send(waiting.position);
    });
    let held = lock.acquire().await?;
    let text = format!("{} {who}", read(&hf).await?);
    // Refused by the store if the lock is lost by now.
    held.txn().put(TEXT, text.trim_start()).commit().await?;
    held.release().await
}

async fn read(hf: &Handfast) -> std::result::Result<String, Error> {
    let pair = hf.client().get(TEXT).await?;
    Ok(pair.map_or_else(String::new, |pair| {
        String::from_utf8_lossy(&pair.value).into_owned()
    }))
}

async fn together(hf: &Handfast) -> Result<()> {
    let pairs = [["log/x", "log/y"], ["log/y", "log/x"], ["log/x", "log/y"]];
    try_join_all(pairs.map(|names| both(hf, names))).await?;
    println!("no deadlock");
    Ok(())
}

async fn both(hf: &Handfast, names: [&'static str; 2]) -> std::result::Result<(), Error> {
    let held = hf.multi_lock(names).timeout(LONGEST).acquire().await?;
    held.txn().put("log/both", names[0]).commit().await?;
    held.release().await
}
