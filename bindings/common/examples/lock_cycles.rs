//! What `bindings/node/scripts/bench.mjs` measures, by the Rust client on the runtime of the
//! bindings: locks and unlocks, 64 at once, each on a name of its own, under one session.
//!
//! `cargo run --release -p handfast-bindings --example lock_cycles ENDPOINT [SECONDS]`

use std::time::{Duration, Instant};

use handfast::Handfast;
use handfast_bindings::{Failure, runtime};

const AT_ONCE: usize = 64;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments.next().unwrap_or("127.0.0.1:2379".to_owned());
    let seconds = arguments.next().and_then(|it| it.parse().ok()).unwrap_or(5);
    runtime::handle()?.block_on(measure(&endpoint, Duration::from_secs(seconds)))
}

async fn measure(endpoint: &str, time: Duration) -> Result<(), Failure> {
    let hf = Handfast::connect(endpoint).await?;
    let begun = Instant::now();
    let cycles = (0..AT_ONCE).map(|number| {
        let lock = hf.lock(format!("bench/{number}"));
        tokio::spawn(async move {
            let mut took = Vec::new();
            while begun.elapsed() < time {
                let cycle = Instant::now();
                lock.acquire().await?.release().await?;
                took.push(cycle.elapsed());
            }
            Ok::<_, Failure>(took)
        })
    });
    let mut took = Vec::new();
    for cycle in cycles.collect::<Vec<_>>() {
        let done = cycle.await;
        took.extend(done.map_err(|error| Failure::new("INTERNAL", error.to_string()))??);
    }
    took.sort();
    let at = |share: f64| took[(share * (took.len() - 1) as f64) as usize].as_secs_f64() * 1000.0;
    let rate = took.len() as f64 / begun.elapsed().as_secs_f64();
    println!(
        "{rate:.0} lock+unlock/s at {AT_ONCE} at once; p50 {:.2} ms, p99 {:.2} ms",
        at(0.5),
        at(0.99)
    );
    hf.close().await?;
    Ok(())
}
