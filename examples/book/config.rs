//! The config page's program.

use std::collections::BTreeMap;

use handfast::{Error, Handfast};

type Limits = BTreeMap<String, u64>;

pub async fn follow(hf: &Handfast) -> Result<(), Error> {
    hf.publish("app/limits")
        .value(r#"{"uploads": 5}"#)
        .send()
        .await?;
    let mut limits = hf
        .config::<Limits>("app/limits")
        .validate(|limits| match limits.get("uploads") {
            Some(0) => Err("uploads must be above 0"),
            _ => Ok(()),
        })
        .open()
        .await?;
    println!("uploads: {}", limits.get()["uploads"]);

    // Somebody else publishes; here it is us.
    limits.publish().value(r#"{"uploads": 8}"#).send().await?;
    let changed = limits.changed().await;
    println!("uploads: {}", changed["uploads"]);
    Ok(())
}
