//! One job, several machines: whoever creates the key works, the others name the holder and wait.
//!
//! `cargo run -p handfast-examples --example cron` plays it with a server of its own. With
//! `-- --endpoints http://127.0.0.1:2379 --name anna` behind it, it is one worker, also against
//! etcd; start another with another name, and kill one of the two.
//!
//! It uses a transaction and a lease, as the documents of etcd do. A program would rather take a
//! lock of the crate `handfast`, which also tells it when the lock is lost.

use std::time::Instant;

use futures::StreamExt as _;
use handfast_core::{Client, Compare, EventKind, Op, WatchEvent, WatchOptions};
use handfast_server::Server;
use tokio::sync::mpsc;

const KEY: &str = "/cron/jobs/job02";
const TTL_SECONDS: i64 = 5;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What a worker has to tell.
enum News {
    Works,
    Waits { holder: String },
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (mut endpoints, mut name) = (None, "anna".to_owned());
    while let Some(flag) = arguments.next() {
        let value = arguments
            .next()
            .ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--endpoints" => endpoints = Some(value),
            "--name" => name = value,
            _ => return Err(format!("unknown flag {flag}; try --endpoints and --name").into()),
        }
    }
    match endpoints {
        Some(endpoints) => one_worker(&endpoints, name).await,
        None => play().await,
    }
}

/// Works or waits until the process is killed.
async fn one_worker(endpoints: &str, name: String) -> Result<()> {
    let client = Client::connect(endpoints).await?;
    let (news, mut told) = mpsc::channel(1);
    let worker = tokio::spawn(work(client, name.clone(), news));
    while let Some(news) = told.recv().await {
        print(&name, &news);
    }
    worker.await?
}

/// Two workers in one process, of which the first dies.
async fn play() -> Result<()> {
    let server = Server::builder().ephemeral().start().await?;
    let client = Client::connect(server.endpoint()).await?;

    let (news, mut anna_tells) = mpsc::channel(1);
    let anna = tokio::spawn(work(client.clone(), "anna".to_owned(), news));
    print("anna", &anna_tells.recv().await.ok_or("anna is gone")?);

    let (news, mut bert_tells) = mpsc::channel(1);
    let bert = tokio::spawn(work(client, "bert".to_owned(), news));
    print("bert", &bert_tells.recv().await.ok_or("bert is gone")?);

    anna.abort();
    let died = Instant::now();
    println!("anna dies, and nobody tells the server");
    print("bert", &bert_tells.recv().await.ok_or("bert is gone")?);
    println!(
        "the lease freed the job after {:.1} s",
        died.elapsed().as_secs_f64()
    );

    bert.abort();
    server.shutdown().await?;
    Ok(())
}

fn print(name: &str, news: &News) {
    match news {
        News::Works => println!("{name} works on job02"),
        News::Waits { holder } => println!("{name} waits, job02 is held by {holder}"),
    }
}

/// Takes the job when it is free and keeps it; ends only with an error.
async fn work(client: Client, name: String, news: mpsc::Sender<News>) -> Result<()> {
    loop {
        let lease = client.lease_grant(TTL_SECONDS, 0).await?;
        let answer = client
            .txn()
            .when([Compare::create_revision(KEY).eq(0)])
            .then([Op::put(KEY, name.clone()).lease(lease.id)])
            .otherwise([Op::get(KEY)])
            .commit()
            .await?;
        if answer.succeeded {
            news.send(News::Works).await?;
            let mut renewals = client.keep_aliver().keep(lease.id, lease.ttl);
            while let Some(renewal) = renewals.next().await {
                renewal?;
            }
            return Err("the lease is lost, and the job with it".into());
        }
        client.lease_revoke(lease.id).await?;
        if let Some(pair) = answer.range(0)?.kvs.first() {
            let holder = String::from_utf8_lossy(&pair.value).into_owned();
            news.send(News::Waits { holder }).await?;
        }
        until_free(&client, answer.header.revision + 1).await?;
    }
}

/// Waits for the key to be deleted at `revision` or later: nothing is missed between the answer
/// of the transaction and the watch.
async fn until_free(client: &Client, revision: i64) -> Result<()> {
    let mut watch = client.watch(WatchOptions::key(KEY).start_revision(revision));
    while let Some(event) = watch.next().await {
        if let WatchEvent::Events { events, .. } = event?
            && events.iter().any(|event| event.kind == EventKind::Delete)
        {
            return Ok(());
        }
    }
    Err("the watch ended".into())
}
