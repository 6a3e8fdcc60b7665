//! The lock of README.md: one program at a time, on however many machines it is started.

use std::time::Duration;

use handfast::{Error, Handfast};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let hf = Handfast::connect("127.0.0.1:2379").await?;
    let lock = hf
        .lock("jobs/nightly")
        .timeout(Duration::from_secs(30))
        .acquire()
        .await?;
    println!("working, fencing token {}", lock.token());
    // The work is dropped at its next await if the lock is lost.
    lock.scope(tokio::time::sleep(Duration::from_millis(200)))
        .await?;
    lock.release().await?;
    hf.close().await
}
