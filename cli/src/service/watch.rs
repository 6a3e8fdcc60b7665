//! `handfast service watch`: who is listed, and each change.
//!
//! Owns its options, its output and the command it may run for each change.

use clap::Args;
use handfast::Instance;
use serde_json::json;
use tokio::process::Command;

use super::{failure, json_of};
use crate::connect::Connection;
use crate::exit::Failure;
use crate::output::{Output, printable, tell};

const AFTER_HELP: &str = "\
Examples:
  handfast service watch api
  handfast service watch api --exec ./write-proxy-config

Those who are listed at the beginning are told as `joined`, too. The changes:

  joined   it is new, or back            left     it unregistered
  updated  it says something else now    died     its session ended without a word
  suspect  it seems to have died with many others: kept for three times --guard

The command of --exec is run by sh, with HANDFAST_CHANGE, HANDFAST_SERVICE, HANDFAST_INSTANCE,
HANDFAST_ADDR and HANDFAST_STATUS set, for one change after the other.";

/// Options of `service watch`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP)]
pub(super) struct WatchArgs {
    /// The service's name
    name: String,
    /// Run this for each change
    #[arg(long, value_name = "CMD")]
    exec: Option<String>,
    /// When more than half of the instances, and at least three, die within this time, do not
    /// believe it at once; should be their --ttl
    #[arg(long, value_name = "TIME", default_value = "10s")]
    #[arg(value_parser = crate::connect::duration)]
    guard: std::time::Duration,
}

pub(super) async fn run(
    args: WatchArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let handfast = connection.handfast(|builder| builder)?;
    let discover = handfast.discover(&args.name).guard(args.guard);
    let discovery = discover.open().await.map_err(failure)?;
    let (list, mut changes) = discovery.subscribe();
    if list.instances.is_empty() {
        tell!("no instance of {} is listed yet", args.name);
    }
    for instance in &list.instances {
        tell(&args, "joined", instance, output).await?;
    }
    loop {
        let change = changes.next().await;
        tell(&args, change.code(), change.instance(), output).await?;
    }
}

async fn tell(
    args: &WatchArgs,
    change: &str,
    instance: &Instance,
    output: &mut Output,
) -> Result<(), Failure> {
    match output.is_json() {
        true => output.json(&json!({ "change": change, "instance": json_of(instance) }))?,
        false => output.line(format!(
            "{change:8} {}  {}  {}  weight {}",
            printable(instance.id.as_bytes()),
            printable(instance.addr.as_bytes()),
            instance.status,
            instance.weight
        ))?,
    }
    output.flush()?;
    let Some(command) = &args.exec else {
        return Ok(());
    };
    let status = Command::new("sh")
        .args(["-c", command])
        .env("HANDFAST_CHANGE", change)
        .env("HANDFAST_SERVICE", &args.name)
        .env("HANDFAST_INSTANCE", &instance.id)
        .env("HANDFAST_ADDR", &instance.addr)
        .env("HANDFAST_STATUS", instance.status.code())
        .status()
        .await
        .map_err(|error| Failure::Spawn {
            command: "sh".to_owned(),
            error,
        })?;
    if !status.success() {
        tell!(
            "the command for {change} {} ended with {status}",
            printable(instance.id.as_bytes())
        );
    }
    Ok(())
}
