//! `handfast member`: who belongs to the cluster, and changes of that.
//!
//! Owns the words of the command line. Each change has its own module.

mod change;
pub(crate) mod howto;
pub(crate) mod list;
mod replace;

use clap::{Args, Subcommand};
use handfast_server::config::Url;

use crate::connect::Connection;
use crate::exit::Failure;
use crate::output::Output;
use crate::roster::peer_url;

const AFTER_HELP: &str = "\
A member is named by its name or by its id, as `handfast member list` prints them.

  handfast member add n4 --peer-urls http://10.0.0.4:2380   then start it as it says
  handfast member replace n2 http://10.0.0.9:2380           a new machine in place of n2";

/// Options of `member`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct MemberArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug, Clone)]
enum Action {
    /// Show the members
    List,
    /// Tell the cluster of a new member, and show how to start it
    Add(AddArgs),
    /// Take a member out of the cluster for good
    Remove {
        /// Name or id
        member: String,
    },
    /// Let a learner vote
    Promote {
        /// Name or id
        member: String,
    },
    /// Change where the others reach a member
    Update {
        /// Name or id
        member: String,
        /// Its new peer addresses: http://HOST:PORT, with commas between
        #[arg(long, value_name = "URLS", value_delimiter = ',', required = true)]
        #[arg(value_parser = peer_url)]
        peer_urls: Vec<Url>,
    },
    /// Put a new member in the place of another, step by step
    Replace(replace::ReplaceArgs),
}

/// Options of `member add`.
#[derive(Args, Debug, Clone)]
pub(crate) struct AddArgs {
    /// Name that the new member will have
    name: String,
    /// Where the others will reach it: http://HOST:PORT, with commas between
    #[arg(long, value_name = "URLS", value_delimiter = ',', required = true)]
    #[arg(value_parser = peer_url)]
    peer_urls: Vec<Url>,
    /// Let it only listen until `handfast member promote`
    #[arg(long)]
    learner: bool,
}

pub(crate) async fn run(
    args: MemberArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    match args.action {
        Action::List => list::run(connection, output).await,
        Action::Add(args) => change::add(args, connection, output).await,
        Action::Remove { member } => change::remove(&member, connection, output).await,
        Action::Promote { member } => change::promote(&member, connection, output).await,
        Action::Update { member, peer_urls } => {
            change::update(&member, &peer_urls, connection, output).await
        }
        Action::Replace(args) => replace::run(args, connection, output).await,
    }
}
