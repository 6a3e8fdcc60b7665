//! The lock page's program.

use std::time::Duration;

use handfast::{Error, Handfast};

pub async fn nightly(hf: &Handfast) -> Result<(), Error> {
    let lock = hf
        .lock("jobs/nightly")
        .timeout(Duration::from_secs(30))
        .acquire()
        .await?;
    if lock.previous_died() {
        println!("the last one died in the middle: look at what it left");
    }
    // The work is dropped at its next await when the lock is lost.
    lock.scope(work(lock.token())).await?;
    // The store refuses this if the lock is lost by then.
    lock.txn().put("reports/nightly", "done").commit().await?;
    lock.release().await
}

async fn work(token: i64) {
    println!("working, fencing token {token}");
}
