//! `handfast config`: what programs are configured with, kept and shared by the servers.
//!
//! Owns the subcommands and how a key, or all keys below one, is named. Following and publishing
//! are the recipe's; what `serve` itself is configured with is elsewhere.

mod change;
mod diff;
mod history;
mod run;
mod show;
mod target;
mod watch;

use clap::{Args, Subcommand};

use crate::connect::Connection;
use crate::exit::Failure;
use crate::output::Output;

const AFTER_HELP: &str = "\
Examples:
  handfast config set app/cfg app.json              publish a file
  handfast config set app/ conf.d                   publish a directory, at one revision
  handfast config get app/cfg                       print it
  handfast config edit app/cfg                      change it, unless somebody else did meanwhile
  handfast config history app/cfg                   who published what, and when
  handfast config diff app/cfg 17                   what changed since revision 17
  handfast config rollback app/cfg 17               publish again what it was
  handfast config run app/cfg --file app.json -- ./app   run it, and send SIGHUP on a change

A KEY that ends with / means all keys below it, as one whole.";

/// Options of `config`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP, arg_required_else_help = true)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug, Clone)]
enum Action {
    /// Print what is published
    Get(show::GetArgs),
    /// Publish a file, or a directory
    Set(change::SetArgs),
    /// Change what is published in an editor
    Edit(change::EditArgs),
    /// Show what changed since a revision
    Diff(show::DiffArgs),
    /// Show who published what
    History(history::HistoryArgs),
    /// Publish again what was published at a revision
    Rollback(change::RollbackArgs),
    /// Print every change
    Watch(watch::WatchArgs),
    /// Run a command with what is published, and tell it of changes
    Run(run::RunArgs),
}

pub(crate) async fn run(
    args: ConfigArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    match args.action {
        Action::Get(args) => show::get(args, connection, output).await,
        Action::Set(args) => change::set(args, connection, output).await,
        Action::Edit(args) => change::edit(args, connection, output).await,
        Action::Diff(args) => show::diff(args, connection, output).await,
        Action::History(args) => history::run(args, connection, output).await,
        Action::Rollback(args) => change::rollback(args, connection, output).await,
        Action::Watch(args) => watch::run(args, connection, output).await,
        Action::Run(args) => run::run(args, connection).await,
    }
}
