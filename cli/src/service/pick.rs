//! `handfast service pick`: one instance, to be called now.
//!
//! Owns its options and output.

use std::time::Duration;

use clap::Args;
use handfast::{Error, Pick};

use super::{failure, json_of};
use crate::connect::{Connection, duration};
use crate::exit::{self, Failure};
use crate::output::{Output, printable};

const AFTER_HELP: &str = "\
Examples:
  curl \"http://$(handfast service pick api)/\"
  handfast service pick api --hash user-17 --wait 30s

Without --hash any instance that is up is chosen, by its weight. Exit code 1 when there is none.";

/// Options of `service pick`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP)]
pub(super) struct PickArgs {
    /// The service's name
    name: String,
    /// Always the same instance for this key, for as long as it is up
    #[arg(long, value_name = "KEY")]
    hash: Option<String>,
    /// Wait this long for an instance, such as 30s [default: 0s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    wait: Option<Duration>,
}

pub(super) async fn run(
    args: PickArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let handfast = connection.handfast(|builder| builder)?;
    let discovery = handfast
        .discover(&args.name)
        .open()
        .await
        .map_err(failure)?;
    let pick = match args.hash {
        Some(key) => Pick::Hash(key.into()),
        // Chosen by lot, so that callers which start afresh each time spread by weight, too.
        None => Pick::Hash(lot()),
    };
    let picked = match args.wait {
        None => discovery.pick(pick),
        Some(limit) => {
            let waited = tokio::time::timeout(limit, discovery.pick_when_ready(pick.clone()));
            match waited.await {
                Ok(picked) => Ok(picked),
                Err(_) => discovery.pick(pick),
            }
        }
    };
    let picked = picked.map_err(|error| match error {
        Error::NoInstance { .. } => Failure::Other(error.to_string()),
        other => failure(other),
    })?;
    match output.is_json() {
        true => output.json(&json_of(picked.instance()))?,
        false => output.line(printable(picked.addr().as_bytes()))?,
    }
    Ok(exit::OK)
}

/// A key nobody else draws at the same moment.
fn lot() -> bytes::Bytes {
    use std::hash::{BuildHasher, RandomState};
    // Seeded by the system anew in each process.
    let drawn = RandomState::new().hash_one(std::process::id());
    bytes::Bytes::copy_from_slice(&drawn.to_le_bytes())
}
