//! `handfast watch`: follows changes.
//!
//! Owns its options, its output and the command it may run for each change.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::Args;
use handfast_core::{Client, ErrorKind, Event, EventKind, WatchEvent, WatchOptions};
use serde_json::{Map, Value, json};
use tokio::process::Command;

use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::keys::{Keys, Span};
use crate::output::{Output, insert_bytes, pair_json, tell};

const AFTER_HELP: &str = "\
With a command it runs once for each change, with ETCD_WATCH_REVISION, ETCD_WATCH_EVENT_TYPE,
ETCD_WATCH_KEY and ETCD_WATCH_VALUE set:

  handfast watch config/ --prefix -- ./reload";

/// Options of `watch`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    span: Span,
    /// Start with the changes of this revision
    #[arg(
        long,
        value_name = "REV",
        default_value_t = 0,
        hide_default_value = true
    )]
    rev: i64,
    /// Print each pair as it was before, too
    #[arg(long)]
    prev_kv: bool,
    /// Print how far the watch has come when nothing happens
    #[arg(long)]
    progress_notify: bool,
    /// Run this for each change
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub(crate) async fn run(
    args: WatchArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let client = connection.client()?;
    let keys = args.span.clone().keys()?;
    check_reachable(&client).await?;
    let mut changes = client.watch(options(&args, keys));
    while let Some(report) = changes.next().await {
        match report? {
            WatchEvent::Events { events, .. } => {
                for event in &events {
                    handle(&args, event, output).await?;
                }
            }
            WatchEvent::Progress { revision } if args.progress_notify => match output.is_json() {
                true => output.json(&json!({ "type": "PROGRESS", "revision": revision }))?,
                false => output.line(format!("progress notify: {revision}"))?,
            },
            WatchEvent::Compacted { compact_revision } => {
                return Err(Failure::Other(format!(
                    "the changes asked for are compacted away; the oldest that can be watched \
                     from is revision {compact_revision}"
                )));
            }
            _ => continue,
        }
        output.flush()?;
    }
    Ok(exit::OK)
}

/// A watch waits for ever for a server to appear; a person wants to know that none is there.
async fn check_reachable(client: &Client) -> Result<(), Failure> {
    match client.range("watch").count_only().serializable().await {
        // Whoever may not read this key may still be allowed to watch others.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(()),
    }
}

fn options(args: &WatchArgs, keys: Keys) -> WatchOptions {
    let mut options = match keys {
        Keys::One(key) => WatchOptions::key(key),
        Keys::Range(key, end) => WatchOptions::range(key, end),
        Keys::Prefix(key) => WatchOptions::prefix(key),
        Keys::From(key) => WatchOptions::from_key(key),
    }
    .start_revision(args.rev);
    options = if args.prev_kv {
        options.prev_kv()
    } else {
        options
    };
    if args.progress_notify {
        options.progress_notify()
    } else {
        options
    }
}

async fn handle(args: &WatchArgs, event: &Event, output: &mut Output) -> Result<(), Failure> {
    match output.is_json() {
        true => output.json(&json_of(event))?,
        false => print(event, output)?,
    }
    if args.command.is_empty() {
        return Ok(());
    }
    output.flush()?;
    execute(&args.command, event).await
}

fn kind(event: &Event) -> &'static str {
    match event.kind {
        EventKind::Put => "PUT",
        EventKind::Delete => "DELETE",
    }
}

/// As etcdctl prints it: the kind, then key and value on a line each.
fn print(event: &Event, output: &mut Output) -> Result<(), Failure> {
    output.line(kind(event))?;
    if let Some(previous) = &event.prev_kv {
        output.data(&previous.key)?;
        output.data(&previous.value)?;
    }
    output.data(&event.kv.key)?;
    output.data(&event.kv.value)
}

fn json_of(event: &Event) -> Value {
    let mut object = Map::new();
    object.insert("type".to_owned(), json!(kind(event)));
    insert_bytes(&mut object, "key", &event.kv.key);
    if event.kind == EventKind::Put {
        insert_bytes(&mut object, "value", &event.kv.value);
        object.insert(
            "create_revision".to_owned(),
            json!(event.kv.create_revision),
        );
        object.insert("version".to_owned(), json!(event.kv.version));
    }
    object.insert("revision".to_owned(), json!(event.kv.mod_revision));
    if let Some(previous) = &event.prev_kv {
        object.insert("prev_kv".to_owned(), pair_json(previous));
    }
    Value::Object(object)
}

async fn execute(command: &[OsString], event: &Event) -> Result<(), Failure> {
    let Some((program, arguments)) = command.split_first() else {
        return Ok(());
    };
    let status = Command::new(program)
        .args(arguments)
        .env("ETCD_WATCH_REVISION", event.kv.mod_revision.to_string())
        .env("ETCD_WATCH_EVENT_TYPE", kind(event))
        .env("ETCD_WATCH_KEY", OsStr::from_bytes(&event.kv.key))
        .env("ETCD_WATCH_VALUE", OsStr::from_bytes(&event.kv.value))
        .status()
        .await
        .map_err(|error| Failure::Spawn {
            command: program.to_string_lossy().into_owned(),
            error,
        })?;
    if !status.success() {
        tell!(
            "the command for revision {} ended with {status}",
            event.kv.mod_revision
        );
    }
    Ok(())
}
