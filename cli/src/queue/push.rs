//! `handfast queue push`.
//!
//! Owns reading the item.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use serde_json::json;

use super::{Name, failure};
use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::input;
use crate::output::{Output, printable, tell};

const AFTER_HELP: &str = "\
Examples:
  handfast queue push img photo.jpg --id 17    a file; the same id is accepted once
  echo hello | handfast queue push img         what comes on standard input
  handfast queue push img - --after 17,18      the same, not before these two are done

Prints the item's id.";

/// Options of `queue push`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct PushArgs {
    #[command(flatten)]
    name: Name,
    /// The item's file; - for standard input [default: -]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The item's id: it is accepted once [default: a random one]
    #[arg(long)]
    id: Option<String>,
    /// Not before these items are done; with commas, or repeated
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    after: Vec<String>,
    /// Not before this gate is open
    #[arg(long)]
    gate: Option<String>,
    /// Open this gate when the item is done
    #[arg(long, value_name = "GATE")]
    opens: Option<String>,
}

pub(super) async fn run(
    args: PushArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let item = read(args.file.as_deref().unwrap_or(Path::new("-")))?;
    if item.is_empty() && args.file.is_none() {
        tell!("standard input is empty, and so is the item");
    }
    let mut push = args.name.queue(connection)?.push(item);
    if let Some(id) = args.id {
        push = push.id(id);
    }
    push = push.after(args.after);
    if let Some(gate) = args.gate {
        push = push.gate(gate);
    }
    if let Some(gate) = args.opens {
        push = push.opens(gate);
    }
    let pushed = push.send().await.map_err(failure)?;
    if output.is_json() {
        output.json(&json!({
            "id": pushed.id,
            "revision": pushed.revision,
            "duplicate": pushed.duplicate,
        }))?;
        return Ok(exit::OK);
    }
    if pushed.duplicate {
        tell!(
            "{} was pushed before; nothing was changed",
            printable(pushed.id.as_bytes())
        );
    }
    output.line(&pushed.id)?;
    Ok(exit::OK)
}

fn read(file: &Path) -> Result<Bytes, Failure> {
    let read = input::read(file).map_err(|error| {
        let shown = file.display();
        Failure::Other(format!("cannot read the item from {shown}: {error}"))
    });
    Ok(read?.into())
}
