//! `handfast elect`: stand for election, alone or running a command while leading.
//!
//! Owns its options. Leading is in `tenure`, the election itself in the recipes.

pub(crate) mod leader;

use std::ffi::OsString;

use clap::Args;
use handfast::{Election, Leadership};

use crate::connect::Connection;
use crate::exit::Failure;
use crate::keys::bytes;
use crate::output::Output;
use crate::supervise::signals::Signals;
use crate::tenure::{HoldArgs, Holding, or_signal};

const AFTER_HELP: &str = "\
Examples:
  handfast elect indexer -v n1 -- ./index   run it on whichever machine leads
  handfast leader indexer                   who leads

The command is stopped when the leadership is lost, and sees the variables that `lock` sets; its
HANDFAST_TOKEN is the term. Exit codes are those of `lock`.";

/// Options of `elect`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ElectArgs {
    /// The election's name
    name: OsString,
    /// What others see when this one leads [default: nothing]
    #[arg(short = 'v', long, default_value = "", hide_default_value = true)]
    value: OsString,
    #[command(flatten)]
    hold: HoldArgs,
}

pub(crate) async fn run(
    args: ElectArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let name = bytes(args.name);
    let mut signals = Signals::new()
        .map_err(|error| Failure::Other(format!("cannot listen for signals: {error}")))?;
    let handfast = args.hold.handfast(connection)?;
    let election = handfast
        .election(&name)
        .value(bytes(args.value))
        .on_wait(args.hold.teller("election"));
    let election = match args.hold.wait {
        Some(wait) => election.timeout(wait),
        None => election,
    };
    let (result, kept) = lead(&election, &args.hold, &mut signals, output).await;
    // Also when not elected: the session would linger. Without an answer it just ends.
    let _ = handfast.close().await;
    drop(kept);
    result
}

/// The exit code, and what must go with the session instead of being given back.
async fn lead(
    election: &Election,
    hold: &HoldArgs,
    signals: &mut Signals,
    output: &mut Output,
) -> (Result<i32, Failure>, Option<Leadership>) {
    let leadership = match or_signal(election.campaign(), signals).await {
        Ok(Ok(leadership)) => leadership,
        Ok(Err(code)) => return (Ok(code), None),
        Err(failure) => return (Err(failure), None),
    };
    match hold.hold(&leadership, signals, output).await {
        Ok(Holding {
            code,
            unrepaired: true,
        }) => (Ok(code), Some(leadership)),
        ended => {
            // What was lost cannot be resigned, and has been told about.
            let _ = leadership.resign().await;
            (ended.map(|holding| holding.code), None)
        }
    }
}
