//! `handfast queue push`.
//!
//! Owns reading the item.

use std::ffi::OsString;
use std::io::Read;

use bytes::Bytes;
use clap::Args;
use serde_json::json;

use super::{Name, failure};
use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::output::{Output, printable};

/// Options of `queue push`.
#[derive(Args, Debug, Clone)]
pub(crate) struct PushArgs {
    #[command(flatten)]
    name: Name,
    /// The item; `-`, or nothing, is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: OsString,
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
    let mut push = args.name.queue(connection)?.push(read(&args.file)?);
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
        eprintln!(
            "handfast: {} was pushed before; nothing was changed",
            printable(pushed.id.as_bytes())
        );
    }
    output.line(&pushed.id)?;
    Ok(exit::OK)
}

fn read(file: &OsString) -> Result<Bytes, Failure> {
    let mut item = Vec::new();
    let read = if file == "-" {
        std::io::stdin().read_to_end(&mut item).map(drop)
    } else {
        std::fs::read(file).map(|read| item = read)
    };
    let shown = file.to_string_lossy();
    read.map_err(|error| Failure::Other(format!("cannot read the item from {shown}: {error}")))?;
    Ok(Bytes::from(item))
}
