//! An index that is built once, by whoever leads, and shared by all.
//!
//! Three nodes stand for election. Whoever leads builds the index, unless there is one; the leaders
//! after it find it built. A reader waits for the same result without leading.
//!
//! `cargo run -p handfast-examples --example index` plays it with a server of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

use handfast::{Error, Handfast, Once};
use handfast_server::Server;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const NODES: [&str; 3] = ["n1", "n2", "n3"];
const DOCUMENTS: [(&str, &str); 2] = [("one", "lock and lease"), ("two", "lease and watch")];

/// The index of these documents; of others there is another one.
fn index(hf: &Handfast) -> Once {
    hf.once("index").input(format!("{DOCUMENTS:?}"))
}

/// The expensive part. It is dropped at its next await when somebody else may do it.
async fn build() -> std::result::Result<String, Infallible> {
    let mut words: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, text) in DOCUMENTS {
        for word in text.split_whitespace() {
            words.entry(word).or_default().insert(name);
        }
        tokio::task::yield_now().await;
    }
    let line = |(word, names): (&str, BTreeSet<&str>)| {
        let names: Vec<&str> = names.into_iter().collect();
        format!("{word}:{}", names.join(","))
    };
    let lines: Vec<String> = words.into_iter().map(line).collect();
    Ok(lines.join(";"))
}

/// Leads once; whether this node has built the index.
async fn node(endpoint: String, name: &'static str) -> Result<bool> {
    let hf = Handfast::builder()
        .endpoints(endpoint)
        .app_name(name)
        .build()?;
    let election = hf.election("indexer").value(name);
    let led = election.run(|term| {
        let index = index(&hf);
        async move {
            let result = index.get_or_run(|_| build()).await?;
            // The store refuses this when another one leads by now.
            term.txn().put("index.by", name).commit().await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(result.ran)
        }
    });
    let built = led.await??;
    hf.close().await?;
    Ok(built)
}

async fn reader(endpoint: String) -> std::result::Result<String, Error> {
    let hf = Handfast::connect(endpoint).await?;
    let result = index(&hf).wait().await?;
    Ok(String::from_utf8_lossy(&result.value).into_owned())
}

#[tokio::main]
async fn main() -> Result<()> {
    let server = Server::builder().ephemeral().start().await?;
    let reading = tokio::spawn(reader(server.endpoint()));
    let leading = NODES.map(|name| tokio::spawn(node(server.endpoint(), name)));
    let mut built = 0;
    for node in leading {
        built += usize::from(node.await??);
    }
    println!("{} led, {built} built the index", NODES.len());
    for line in reading.await??.split(';') {
        println!("{line}");
    }
    server.shutdown().await?;
    Ok(())
}
