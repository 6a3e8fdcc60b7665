//! `handfast queue pop`.
//!
//! Owns printing the item before it is acknowledged, so that none is lost on the way.

use std::time::Duration;

use clap::Args;
use handfast::{Claim, Handfast};
use serde_json::{Map, json};

use super::{Name, failure, no_item};
use crate::connect::{Connection, wait};
use crate::exit::{self, Failure};
use crate::output::{Output, insert_bytes};
use crate::supervise::signals::Signals;
use crate::tenure::or_signal;

const AFTER_HELP: &str = "\
Examples:
  handfast queue pop img          look at the next item; waits for one
  handfast queue pop img --ack    take it

Prints the item as a line of its own; --json and `handfast queue work` have every byte as it is.
An item that is taken is gone, whatever becomes of it then: `handfast queue work` keeps it until its
command has ended well. Exit codes: 75 when --wait passed or the queue is drained, 76 when the item
was given to another meanwhile.";

/// Options of `queue pop`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct PopArgs {
    #[command(flatten)]
    name: Name,
    /// Take the item out of the queue; without this it is given back, untried
    #[arg(long)]
    ack: bool,
    /// Give up after waiting this long for an item, such as 30s; exit code 75 [default: never]
    #[arg(long, value_name = "TIME", value_parser = wait)]
    wait: Option<Duration>,
}

pub(super) async fn run(
    args: PopArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let mut signals = Signals::new()
        .map_err(|error| Failure::Other(format!("cannot listen for signals: {error}")))?;
    let handfast = connection.handfast(|builder| builder)?;
    let result = pop(args, &handfast, &mut signals, output).await;
    // The session would linger. Without an answer it just ends.
    let _ = handfast.close().await;
    result
}

async fn pop(
    args: PopArgs,
    handfast: &Handfast,
    signals: &mut Signals,
    output: &mut Output,
) -> Result<i32, Failure> {
    let queue = args.name.of(handfast);
    let mut worker = queue.claim();
    if let Some(wait) = args.wait {
        worker = worker.timeout(wait);
    }
    let next = async { Ok(worker.next().await) };
    let claim = match or_signal(next, signals).await? {
        Ok(Ok(Some(claim))) => claim,
        Ok(Err(error)) => return Err(no_item(&queue, error).await),
        Ok(Ok(None)) => {
            let drained = "the queue is drained: nothing is left and nothing is accepted";
            return Err(Failure::NotAcquired(drained.to_owned()));
        }
        Err(code) => return Ok(code),
    };
    print(&claim, output)?;
    if args.ack {
        claim.ack().commit().await.map_err(failure)?;
    } else {
        claim.release().await.map_err(failure)?;
    }
    Ok(exit::OK)
}

fn print(claim: &Claim, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        let mut object = Map::new();
        object.insert("id".to_owned(), json!(claim.id()));
        insert_bytes(&mut object, "item", claim.payload());
        object.insert("attempt".to_owned(), json!(claim.attempt()));
        object.insert("token".to_owned(), json!(claim.token()));
        output.json(&object.into())?;
    } else {
        // The end of the last line is the printer's.
        let item = claim.payload();
        output.data(item.strip_suffix(b"\n").unwrap_or(item))?;
    }
    output.flush()
}
