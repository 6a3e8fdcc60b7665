//! The programs of docs/book, each in a file of its own, which the book shows without its header.
//!
//! Owns choosing one by its name, and connecting. What they do is told in the book.

// Readers copy them into libraries.
#![allow(unreachable_pub)]

mod config;
mod election;
mod fencing;
mod lock;
mod multi_lock;
mod once;
mod onward;
mod queue;
mod service;

use std::env;
use std::error::Error;

use handfast::Handfast;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let endpoint = env::var("HANDFAST_ENDPOINTS").unwrap_or_else(|_| "127.0.0.1:2379".to_owned());
    let name = env::args().nth(1).unwrap_or_default();
    let hf = Handfast::connect(endpoint).await?;
    match name.as_str() {
        "config" => config::follow(&hf).await?,
        "election" => election::index(&hf).await?,
        "fencing" => fencing::report(&hf).await?,
        "lock" => lock::nightly(&hf).await?,
        "multi_lock" => multi_lock::transfer(&hf).await?,
        "once" => once::index(&hf).await?,
        "onward" => onward::frames(&hf).await?,
        "queue" => queue::thumbnails(&hf).await?,
        "service" => service::call(&hf).await?,
        _ => {
            return Err(
                "usage: book config|election|fencing|lock|multi_lock|once|onward|queue|service"
                    .into(),
            );
        }
    }
    hf.close().await?;
    Ok(())
}
