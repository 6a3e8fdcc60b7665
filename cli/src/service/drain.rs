//! `handfast service drain`: keep new calls away from an instance.
//!
//! Owns its options and output.

use clap::Args;
use handfast::Status;
use serde_json::json;

use super::failure;
use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::output::Output;

const AFTER_HELP: &str = "\
Examples:
  handfast service drain api 10.0.0.5:8080           calls that are under way go on
  handfast service drain api 10.0.0.5:8080 --undo

`handfast service list api` shows the instances. Exit code 1 when this one is not listed.";

/// Options of `service drain`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP)]
pub(super) struct DrainArgs {
    /// The service's name
    name: String,
    /// The instance's name
    id: String,
    /// Let it take calls again
    #[arg(long)]
    undo: bool,
}

pub(super) async fn run(
    args: DrainArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let DrainArgs { name, id, undo } = args;
    let status = match undo {
        false => Status::Draining,
        true => Status::Up,
    };
    let handfast = connection.handfast(|builder| builder)?;
    let service = handfast.service(&name);
    let set = service.set_status(&id, status).await.map_err(failure)?;
    let Some(revision) = set else {
        return Err(Failure::Other(format!("{id} is not listed for {name}")));
    };
    match output.is_json() {
        true => output.json(&json!({ "id": id, "status": status.code(), "revision": revision }))?,
        false => output.line(format!("{id} is {status} now"))?,
    }
    Ok(exit::OK)
}
