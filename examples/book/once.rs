//! The page about work that is done once: its program.

use std::convert::Infallible;

use handfast::{Handfast, OnceError};

pub async fn index(hf: &Handfast) -> Result<(), OnceError<Infallible>> {
    let index = hf.once("index").input("corpus of monday");
    let result = index
        .get_or_run(|held| async move {
            println!("building, token {}", held.token());
            // What others need to find it, not the index itself.
            Ok("s3://indexes/monday sha256:9f86d0")
        })
        .await?;
    println!("the index is at {}", String::from_utf8_lossy(&result.value));
    Ok(())
}
