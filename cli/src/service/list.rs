//! `handfast service list`: who is listed.
//!
//! Owns its options and output.

use clap::Args;
use handfast::Instance;
use serde_json::Value;

use super::{failure, json_of};
use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::output::{Output, printable, table};

const HEADINGS: [&str; 7] = [
    "INSTANCE", "ADDRESS", "STATUS", "WEIGHT", "ZONE", "VERSION", "METADATA",
];

/// Options of `service list`.
#[derive(Args, Debug, Clone)]
pub(super) struct ListArgs {
    /// The service's name
    name: String,
}

pub(super) async fn run(
    args: ListArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let handfast = connection.handfast(|builder| builder)?;
    let listed = handfast.service(&args.name).list().await.map_err(failure)?;
    if output.is_json() {
        output.json(&Value::Array(listed.iter().map(json_of).collect()))?;
        return Ok(exit::OK);
    }
    if listed.is_empty() {
        output.line(format!("no instance of {} is listed", args.name))?;
        return Ok(exit::OK);
    }
    let rows: Vec<Vec<String>> = listed.iter().map(row).collect();
    table(&HEADINGS, &rows)
        .iter()
        .try_for_each(|line| output.line(line))?;
    Ok(exit::OK)
}

fn row(instance: &Instance) -> Vec<String> {
    let shown = |text: &str| match text {
        "" => "-".to_owned(),
        text => printable(text.as_bytes()),
    };
    let metadata = instance.metadata.iter();
    let metadata: Vec<String> = metadata
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    vec![
        shown(&instance.id),
        shown(&instance.addr),
        instance.status.to_string(),
        instance.weight.to_string(),
        shown(&instance.zone),
        shown(&instance.version),
        shown(&metadata.join(" ")),
    ]
}
