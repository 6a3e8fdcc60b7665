//! `handfast service`: register for a service, see who is registered, and whom to call.
//!
//! Owns the subcommands and what they share. The registry itself is in the recipes.

mod drain;
mod list;
mod pick;
mod register;
mod watch;

use clap::{Args, Subcommand};
use handfast::{Error, Instance};
use serde_json::{Value, json};

use crate::connect::Connection;
use crate::exit::Failure;
use crate::output::{Output, lease_text};
use crate::tenure;

const AFTER_HELP: &str = "\
Examples:
  handfast service register api --addr :8080 -- ./api    listed for as long as it runs
  handfast service list                                  all services
  handfast service list api                              who is listed for one
  handfast service watch api                             and each change
  handfast service pick api                              one address, to be called now
  handfast service drain api 10.0.0.5:8080               no new calls for this one

Instances are listed again by themselves when the servers, or the network, were gone. Programs in
Go find them with the etcd resolver of grpc-go, under the same name.";

/// Options of `service`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ServiceArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug, Clone)]
enum Action {
    /// List an instance while a command runs, or until Ctrl-C
    Register(register::RegisterArgs),
    /// Show all services, or who is listed for one
    List(list::ListArgs),
    /// Show who is listed, and each change
    Watch(watch::WatchArgs),
    /// Choose an instance to call
    Pick(pick::PickArgs),
    /// Keep new calls away from an instance
    Drain(drain::DrainArgs),
}

pub(crate) async fn run(
    args: ServiceArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    match args.action {
        Action::Register(args) => register::run(args, connection, output).await,
        Action::List(args) => list::run(args, connection, output).await,
        Action::Watch(args) => watch::run(args, connection, output).await,
        Action::Pick(args) => pick::run(args, connection, output).await,
        Action::Drain(args) => drain::run(args, connection, output).await,
    }
}

/// What a recipe's error means for the exit code.
fn failure(error: Error) -> Failure {
    match error {
        Error::DuplicateInstance { .. } => Failure::NotAcquired(error.to_string()),
        other => tenure::failure(other),
    }
}

fn json_of(instance: &Instance) -> Value {
    json!({
        "id": instance.id,
        "addr": instance.addr,
        "status": instance.status.code(),
        "weight": instance.weight,
        "zone": instance.zone,
        "version": instance.version,
        "metadata": instance.metadata,
        "suspect": instance.suspect,
        "lease": lease_text(instance.lease),
        "token": instance.token,
        "revision": instance.revision,
    })
}
