//! `handfast config watch`: every change as it is published.
//!
//! Owns its options and output.

use bytes::Bytes;
use clap::Args;
use handfast::{ConfigEvent, ConfigSet, ConfigValue};
use serde_json::{Value, json};

use super::show::json_of;
use super::target::{Target, TargetArgs};
use crate::connect::Connection;
use crate::exit::Failure;
use crate::output::{Output, tell};
use crate::tenure::failure;

const AFTER_HELP: &str = "\
Examples:
  handfast config watch app/cfg
  handfast --json config watch app/    a document for each change

Prints what is published, and then every change of it. Keys that were published together are
printed together.";

/// Options of `config watch`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    target: TargetArgs,
}

pub(super) async fn run(
    args: WatchArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let target = args.target.target()?;
    let handfast = connection.handfast(|builder| builder)?;
    let config = handfast.config_set(&target.key);
    let config = match target.prefix {
        true => config.prefix(),
        false => config,
    };
    let config = config.open().await.map_err(failure)?;
    let mut changes = config.changes();
    loop {
        match changes.next().await {
            ConfigEvent::Applied { value, names } => print(&target, &value, &names, output)?,
            ConfigEvent::Reset { revision } => {
                tell!("the servers' data was replaced; revision {revision} now");
            }
            ConfigEvent::Disconnected => tell!("no server answers"),
            ConfigEvent::Connected => tell!("connected again"),
            ConfigEvent::Problem(problem) => tell!("{problem}"),
            _ => {}
        }
        output.flush()?;
    }
}

fn print(
    target: &Target,
    value: &ConfigValue<ConfigSet>,
    names: &[Bytes],
    output: &mut Output,
) -> Result<(), Failure> {
    let set = &value.set;
    if output.is_json() {
        let keys: Vec<Value> = names
            .iter()
            .map(|name| match set.get(name) {
                Some(value) => json_of(target, name, value),
                None => json!({ "key": target.shown_key(name), "deleted": true }),
            })
            .collect();
        return output.json(&json!({ "revision": set.revision(), "keys": keys }));
    }
    output.line(format!("revision {}", set.revision()))?;
    if names.is_empty() {
        output.line("nothing is published")?;
    }
    for name in names {
        let key = target.shown_key(name);
        match set.get(name) {
            Some(value) => {
                output.line(format!("# {key}"))?;
                output.data(value.strip_suffix(b"\n").unwrap_or(value))?;
            }
            None => output.line(format!("# {key} is deleted"))?,
        }
    }
    Ok(())
}
