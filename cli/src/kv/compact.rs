//! `handfast compact`.
//!
//! Owns its options and output.

use clap::Args;
use serde_json::json;

use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::output::Output;

/// Options of `compact`.
#[derive(Args, Debug, Clone)]
pub(crate) struct CompactArgs {
    /// History before this revision is discarded
    revision: i64,
    /// Wait until the data is removed
    #[arg(long)]
    physical: bool,
}

pub(crate) async fn run(
    args: CompactArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    connection
        .client()?
        .compact(args.revision, args.physical)
        .await?;
    match output.is_json() {
        true => output.json(&json!({ "compacted": args.revision }))?,
        false => output.line(format!("compacted revision {}", args.revision))?,
    }
    Ok(exit::OK)
}
