//! `handfast lock break`: take a lock away.
//!
//! Owns its options and output.

use std::ffi::OsString;

use clap::Args;
use handfast::{Lock, Member};
use serde_json::json;

use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::keys::bytes;
use crate::output::{Output, printable};
use crate::tenure::failure;

const HINT: &str = "(to hold a lock that is called `break`, write: handfast lock --name break)";

const AFTER_HELP: &str = "\
Example:
  handfast lock break jobs/nightly --why \"hangs since noon\"

The next one in line has it at once; `handfast locks` shows who that is. Works for elections, too.
Exit code 1 when nobody holds it.";

/// Options of `lock break`.
#[derive(Args, Debug, Clone)]
#[command(override_usage = "handfast lock break NAME --why TEXT", after_help = AFTER_HELP)]
pub(super) struct BreakArgs {
    /// The lock's name
    name: Option<OsString>,
    /// What the holder is told
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Not for this: shows that a lock called `break` was meant
    #[arg(last = true, hide = true)]
    command: Vec<OsString>,
}

pub(super) async fn run(
    args: BreakArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let name = args.name.filter(|_| args.command.is_empty()).map(bytes);
    let name = name.ok_or_else(|| Failure::Usage(format!("which lock to break? {HINT}")))?;
    let why = args.why.filter(|why| !why.trim().is_empty());
    let why = why.ok_or_else(|| {
        Failure::Usage(format!("the holder will ask why: add --why \"...\" {HINT}"))
    })?;
    let handfast = connection.personally()?;
    let shown = printable(&name);
    let Some(holder) = break_holder(&handfast.lock(name), &why).await? else {
        return Err(Failure::Other(format!("nobody holds lock {shown}")));
    };
    match output.is_json() {
        true => output.json(&json!({ "broken": shown, "token": holder.token }))?,
        false => output.line(format!("lock {shown} was taken away from {holder}"))?,
    }
    Ok(exit::OK)
}

/// The holder that was broken, with what its session says of itself; none if nobody holds.
async fn break_holder(lock: &Lock, why: &str) -> Result<Option<Member>, Failure> {
    loop {
        let queue = lock.look().await.map_err(failure)?;
        let Some(holder) = queue.members.into_iter().next() else {
            return Ok(None);
        };
        if lock.break_member(&holder, why).await.map_err(failure)? {
            return Ok(Some(holder));
        }
        // It went by itself in between: the next one holds now.
    }
}
