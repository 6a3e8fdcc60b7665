//! A queue of jobs: first in, first out; failed ones again; and the four conditions.
//!
//! `cargo run -p handfast-examples --example jobs` plays it with a server of its own.
//!
//! An acknowledgement commits the job's result with it: both are in the store, or none.

use std::time::Duration;

use handfast::{Condition, Control, Failed, Handfast, Queue};
use handfast_server::Server;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const LONGEST: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<()> {
    let server = Server::builder().ephemeral().start().await?;
    let hf = Handfast::connect(server.endpoint()).await?;
    in_order(&hf).await?;
    failing(&hf).await?;
    conditions(&hf).await?;
    hf.close().await?;
    server.shutdown().await?;
    Ok(())
}

/// Takes so many items, and tells in which order they came.
async fn work(queue: &Queue, items: usize) -> Result<String> {
    let mut worker = queue.worker().timeout(LONGEST);
    let mut done = Vec::new();
    while done.len() < items {
        let claim = worker.next().await?.ok_or("the queue is drained")?;
        let id = claim.id().to_owned();
        let result = String::from_utf8_lossy(claim.payload()).to_uppercase();
        let key = format!("results/{id}");
        claim.ack().put(key, result).commit().await?;
        done.push(id);
    }
    Ok(done.join(" "))
}

async fn in_order(hf: &Handfast) -> Result<()> {
    let queue = hf.queue("jobs");
    for id in ["a", "b", "c"] {
        queue.push(format!("job {id}")).id(id).send().await?;
    }
    let again = queue.push("job a").id("a").send().await?;
    println!("pushed again: {}", again.duplicate);
    println!("first in, first out: {}", work(&queue, 3).await?);
    let result = hf.client().get("results/b").await?.ok_or("no result")?;
    println!("result: {}", String::from_utf8_lossy(&result.value));
    Ok(())
}

async fn failing(hf: &Handfast) -> Result<()> {
    let queue = hf.queue("failing");
    queue.push("1/0").id("bad").send().await?;
    let mut worker = queue.worker().max_attempts(2).timeout(LONGEST);
    while let Some(claim) = worker.next().await? {
        let attempt = claim.attempt();
        println!("failed: attempt {attempt}");
        let why = format!("division by zero: attempt {attempt}");
        if claim.nack(why).await? == Failed::Dead {
            break;
        }
    }
    for letter in queue.dead().await? {
        println!("dead letter: {}", letter.said.unwrap_or_default());
    }
    Ok(())
}

async fn conditions(hf: &Handfast) -> Result<()> {
    let counted = hf.queue("counted");
    counted.condition(Condition::Count(3)).await?;
    counted.push("x").id("x").send().await?;
    counted.push("y").id("y").send().await?;
    println!("two of three: {}", reason(&counted, "x").await?);
    counted.push("z").id("z").send().await?;
    println!("three of three: {}", work(&counted, 3).await?);

    let gated = hf.queue("gated");
    let behind = gated.push("behind the gate").id("behind").gate("ready");
    behind.send().await?;
    let prepare = gated.push("opens it").id("prepare").opens("ready");
    prepare.send().await?;
    println!("the gate's task first: {}", work(&gated, 2).await?);

    let ordered = hf.queue("ordered");
    let link = ordered.push("link").id("link");
    link.after(["compile a", "compile b"]).send().await?;
    ordered.push("a").id("compile a").send().await?;
    ordered.push("b").id("compile b").send().await?;
    println!("in order of dependence: {}", work(&ordered, 3).await?);

    let steered = hf.queue("steered");
    steered.condition(Condition::Start).await?;
    steered.push("x").id("x").send().await?;
    println!("not started: {}", reason(&steered, "x").await?);
    steered.control(Control::Run).await?;
    println!("started: {}", work(&steered, 1).await?);
    Ok(())
}

/// What keeps an item from being claimed, first of all.
async fn reason(queue: &Queue, id: &str) -> Result<String> {
    let why = queue.why(id).await?;
    Ok(why.reasons.first().ok_or("nothing does")?.to_string())
}
