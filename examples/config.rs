//! Configuration published once and in force everywhere: typed, checked, changed as a whole, and
//! there when no server is.
//!
//! `cargo run -p handfast-examples --example config` plays it with a server of its own.

use std::path::Path;

use handfast::{Config, Error, Handfast};
use handfast_server::Server;
use serde::Deserialize;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What the keys `app/workers` and `app/limits` hold.
#[derive(Debug, Deserialize)]
struct App {
    workers: u32,
    limits: Limits,
}

#[derive(Debug, Deserialize)]
struct Limits {
    requests: u32,
}

impl App {
    /// No program should run with what this refuses.
    fn check(&self) -> std::result::Result<(), String> {
        match self.limits.requests >= self.workers {
            true => Ok(()),
            false => Err(format!("{} workers have too little to do", self.workers)),
        }
    }
}

async fn subscribe(hf: &Handfast, snapshot: &Path) -> std::result::Result<Config<App>, Error> {
    let config = hf.config("app/").prefix().validate(App::check);
    config.snapshot_file(snapshot).open().await
}

#[tokio::main]
async fn main() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let snapshot = dir.path().join("app.snapshot");
    let server = Server::builder().ephemeral().start().await?;
    let hf = Handfast::connect(server.endpoint()).await?;

    let limits = |requests: u32| format!("{{\"requests\": {requests}}}");
    let first = hf
        .publish("app/")
        .put("workers", "2")
        .put("limits", limits(10));
    first.send().await?;
    let mut config = subscribe(&hf, &snapshot).await?;
    show("starts with", &config.get());

    // Both keys change at one revision, and so they do for every reader.
    let both = config
        .publish()
        .put("workers", "20")
        .put("limits", limits(50));
    let mine = config.publish().put("workers", "3");
    both.send().await?;
    let next = config.changed().await;
    show("changes to", &next);

    // What was begun before that is not published on top of it.
    match mine.send().await {
        Err(Error::PublishConflict { changed, .. }) => {
            println!("is not published: {} keys changed meanwhile", changed.len());
        }
        other => return Err(format!("a conflict was expected: {other:?}").into()),
    }

    // A mistake is reported, and nobody runs with it.
    let bad = hf.publish("app/").put("workers", "1000").send().await?;
    config.at_least(bad.revision).await;
    let problem = config.refused().ok_or("it should be refused")?;
    println!("refuses: {}", problem.text);
    show("stays with", &config.get());
    let good = hf.publish("app/").put("workers", "30").send().await?;
    config.at_least(good.revision).await;
    show("changes to", &config.get());

    // And a program can start while no server runs.
    config.saved().await;
    server.shutdown().await?;
    let config = subscribe(&hf, &snapshot).await?;
    show("starts without a server with", &config.get());
    Ok(())
}

fn show(what: &str, app: &App) {
    let requests = app.limits.requests;
    println!("{what} {} workers and {requests} requests", app.workers);
}
