//! The multi-lock page's program.

use std::time::Duration;

use handfast::{Error, Handfast};

pub async fn transfer(hf: &Handfast) -> Result<(), Error> {
    let both = hf
        .multi_lock(["accounts/anna", "accounts/ben"])
        .timeout(Duration::from_secs(30))
        .acquire()
        .await?;
    println!("both are locked, token {}", both.token());
    both.txn()
        .put("balance/anna", "90")
        .put("balance/ben", "110")
        .commit()
        .await?;
    both.release().await
}
