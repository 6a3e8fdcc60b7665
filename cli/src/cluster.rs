//! `handfast cluster`: a cluster as a whole: to try one, to join one, to recover one.
//!
//! Owns the words of the command line. Each action has its own module.

mod dev;
mod recover;
mod token;

use std::ffi::OsStr;

use clap::{Args, Subcommand};

use crate::connect::Connection;
use crate::exit::Failure;
use crate::output::Output;

/// Options of `cluster`.
#[derive(Args, Debug, Clone)]
pub(crate) struct ClusterArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug, Clone)]
enum Action {
    /// Start a cluster of several members on this machine, to try things
    Dev(dev::DevArgs),
    /// Print what a new member needs to join: see `handfast serve --join`
    Token(token::TokenArgs),
    /// Make a cluster of one from what a surviving member has, when the majority is lost
    Recover(recover::RecoverArgs),
}

/// `program` is how this program was called.
pub(crate) async fn run(
    args: ClusterArgs,
    program: &OsStr,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    match args.action {
        Action::Dev(args) => dev::run(args, program, connection, output).await,
        Action::Token(args) => token::run(&args, output),
        Action::Recover(args) => recover::run(&args, output),
    }
}
