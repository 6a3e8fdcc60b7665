//! `handfast queue`: push items, take them, work on them, and look after a queue.
//!
//! Owns its subcommands. What a queue does is in the recipes.

mod push;
mod set;
mod show;
mod take;
mod work;

use std::ffi::OsString;

use clap::{Args, Subcommand};
use handfast::{Control, Error, Handfast, Queue, QueueStatus};

use crate::connect::Connection;
use crate::exit::Failure;
use crate::keys::bytes;
use crate::output::{Output, printable};
use crate::tenure;

const AFTER_HELP: &str = "\
Examples:
  handfast queue push img photo.jpg --id 17       an item; the same id is accepted once
  handfast queue push img - --after 17,18         not before these two are done
  handfast queue work img -- ./resize             item on standard input; 0 = done, 75 = try again
  handfast queue ls img                           what is in it, and who has what
  handfast queue why img 17                       why nobody works on it
  handfast queue condition img --count 100        begin when 100 items are ready
  handfast queue pause img                        no new claims; what runs goes on

An item is given to one worker at a time. When the worker dies, or its command fails, the item is
given out again, and after --max-attempts it is set aside: see `dead` and `retry`.";

const LS_HELP: &str = "\
Example:
  handfast queue ls img";

const PAUSE_HELP: &str = "\
Example:
  handfast queue pause img    what is being worked on goes on";

const START_HELP: &str = "\
Example:
  handfast queue start img    ends a pause or a drain, and meets `condition --start`";

const DRAIN_HELP: &str = "\
Example:
  handfast queue drain img    until `handfast queue start img`";

const DEAD_HELP: &str = "\
Example:
  handfast queue dead img    and with what they failed; --json shows the items, too";

/// Options of `queue`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct QueueArgs {
    #[command(subcommand)]
    action: Action,
}

/// The queue's name.
#[derive(Args, Debug, Clone)]
struct Name {
    /// The queue's name, such as img
    #[arg(value_name = "QUEUE")]
    name: OsString,
}

#[derive(Subcommand, Debug, Clone)]
enum Action {
    /// Put an item into the queue
    Push(push::PushArgs),
    /// Print the next item
    Pop(take::PopArgs),
    /// Run a command for each item
    Work(work::WorkArgs),
    /// Show what is in the queue
    #[command(after_help = LS_HELP)]
    Ls(show::ListArgs),
    /// Show why an item is not worked on
    Why(show::WhyArgs),
    /// Keep workers from taking items
    #[command(after_help = PAUSE_HELP)]
    Pause(set::ControlArgs),
    /// Let workers take items, and items be pushed
    #[command(after_help = START_HELP)]
    Start(set::ControlArgs),
    /// Accept no more items; workers end when none is left
    #[command(after_help = DRAIN_HELP)]
    Drain(set::ControlArgs),
    /// Show the items that failed too often
    #[command(after_help = DEAD_HELP)]
    Dead(show::ListArgs),
    /// Put items that failed too often back into the queue
    Retry(set::RetryArgs),
    /// Set, or show, what all items wait for
    Condition(set::ConditionArgs),
    /// Open a gate that items wait for
    Open(set::OpenArgs),
}

pub(crate) async fn run(
    args: QueueArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    use Control::{Drain, Pause, Run};
    match args.action {
        Action::Push(args) => push::run(args, connection, output).await,
        Action::Pop(args) => take::run(args, connection, output).await,
        Action::Work(args) => work::run(args, connection).await,
        Action::Ls(args) => show::list(args, connection, output).await,
        Action::Why(args) => show::why(args, connection, output).await,
        Action::Pause(args) => set::control(args, Pause, connection, output).await,
        Action::Start(args) => set::control(args, Run, connection, output).await,
        Action::Drain(args) => set::control(args, Drain, connection, output).await,
        Action::Dead(args) => show::dead(args, connection, output).await,
        Action::Retry(args) => set::retry(args, connection, output).await,
        Action::Condition(args) => set::condition(args, connection, output).await,
        Action::Open(args) => set::open(args, connection, output).await,
    }
}

impl Name {
    /// The queue, for commands that hold nothing.
    fn queue(self, connection: &Connection) -> Result<Queue, Failure> {
        Ok(self.of(&connection.handfast(|builder| builder)?))
    }

    fn of(self, handfast: &Handfast) -> Queue {
        handfast.queue(bytes(self.name))
    }
}

/// Why no item came: the error itself, or what keeps the queue's items back.
async fn no_item(queue: &Queue, error: Error) -> Failure {
    let Error::Timeout { waited, .. } = &error else {
        return failure(error);
    };
    let Ok(status) = queue.status().await else {
        return failure(error);
    };
    let name = printable(queue.name());
    let kept = kept_back(&name, &status);
    Failure::NotAcquired(format!(
        "queue {name}: no item came within {waited:?}{kept}"
    ))
}

fn kept_back(name: &str, status: &QueueStatus) -> String {
    if status.control == Control::Pause {
        return format!("; it is paused, and `handfast queue start {name}` ends that");
    }
    let (ready, blocked) = (status.ready, status.blocked);
    if ready > 0 && !status.open {
        let condition = printable(status.condition.to_string().as_bytes());
        return format!("; {ready} ready for this condition: {condition}");
    }
    if blocked > 0 {
        return format!("; {blocked} blocked, and `handfast queue why {name} ID` says by what");
    }
    String::new()
}

/// What a recipe's error means for the exit code.
fn failure(error: Error) -> Failure {
    match error {
        Error::AckLost { .. } => Failure::Lost(error.to_string()),
        other => tenure::failure(other),
    }
}

/// An id as the recipes want it.
fn text(argument: OsString) -> Result<String, Failure> {
    let refused = |argument: OsString| Failure::Usage(format!("{argument:?} is not UTF-8"));
    argument.into_string().map_err(refused)
}
