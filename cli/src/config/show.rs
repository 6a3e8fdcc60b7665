//! `handfast config get` and `diff`.
//!
//! Owns their options and output.

use std::collections::BTreeSet;

use bytes::Bytes;
use clap::{Args, value_parser};
use serde_json::{Map, Value, json};

use super::diff::lines;
use super::target::{Target, TargetArgs, Values};
use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::output::{Output, insert_bytes, printable, tell};

const GET_HELP: &str = "\
Examples:
  handfast config get app/cfg            what is published now
  handfast config get app/cfg --rev 17   what was published at revision 17
  handfast --json config get app/        all keys below app/, a document for each

Exit code 1 when there is nothing.";

const DIFF_HELP: &str = "\
Examples:
  handfast config diff app/cfg 17      what changed since revision 17
  handfast config diff app/ 17 20      and what between two, in all keys below app/

`handfast config history KEY` shows the revisions. Exit code 0 whether anything differs or not.";

/// Options of `config get`.
#[derive(Args, Debug, Clone)]
#[command(after_help = GET_HELP)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// As it was at this revision [default: now]
    #[arg(long, value_name = "REV", value_parser = value_parser!(i64).range(0..))]
    #[arg(default_value = "0", hide_default_value = true)]
    rev: i64,
}

/// Options of `config diff`.
#[derive(Args, Debug, Clone)]
#[command(after_help = DIFF_HELP)]
pub(crate) struct DiffArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// The revision to compare with
    #[arg(value_name = "REV", value_parser = value_parser!(i64).range(1..))]
    rev: i64,
    /// The revision to compare [default: what is published now]
    #[arg(value_name = "REV2", value_parser = value_parser!(i64).range(0..))]
    #[arg(default_value = "0", hide_default_value = true)]
    other: i64,
}

pub(super) async fn get(
    args: GetArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let target = args.target.target()?;
    let client = connection.client()?;
    let (values, revision) = target.read(&client, args.rev).await?;
    if values.is_empty() {
        return Err(match args.rev {
            0 => target.nothing(&client).await,
            rev => nothing_was(&target, rev),
        });
    }
    if output.is_json() {
        for (name, value) in &values {
            let mut object = json_of(&target, name, value);
            // What `set --if-revision` takes.
            object["revision"] = json!(revision);
            output.json(&object)?;
        }
        return Ok(exit::OK);
    }
    for (name, value) in &values {
        if target.prefix {
            output.line(format!("# {}", target.shown_key(name)))?;
        }
        // The end of the last line is the printer's.
        output.data(value.strip_suffix(b"\n").unwrap_or(value))?;
    }
    Ok(exit::OK)
}

/// That nothing was published at a revision.
pub(super) fn nothing_was(target: &Target, rev: i64) -> Failure {
    let shown = target.shown();
    Failure::Other(format!(
        "nothing was published at {shown} at revision {rev}"
    ))
}

/// A value with its key as JSON.
pub(super) fn json_of(target: &Target, name: &[u8], value: &[u8]) -> Value {
    let mut object = Map::new();
    insert_bytes(&mut object, "key", &[&target.key[..], name].concat());
    if target.prefix {
        insert_bytes(&mut object, "name", name);
    }
    insert_bytes(&mut object, "value", value);
    Value::Object(object)
}

pub(super) async fn diff(
    args: DiffArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let target = args.target.target()?;
    let client = connection.client()?;
    let before = target.at(&client, args.rev).await?;
    let after = target.at(&client, args.other).await?;
    if before.is_empty() && after.is_empty() {
        return Err(match args.other {
            0 => target.nothing(&client).await,
            rev => nothing_was(&target, rev),
        });
    }
    let differ = changed(&before, &after);
    if differ.is_empty() {
        let (shown, rev) = (target.shown(), args.rev);
        let other = match args.other {
            0 => "now".to_owned(),
            other => format!("at revision {other}"),
        };
        tell!("no difference: {shown} is {other} what it was at revision {rev}");
    }
    for name in differ {
        let (old, new) = (before.get(&name), after.get(&name));
        if output.is_json() {
            let mut object = Map::new();
            insert_bytes(&mut object, "key", &[&target.key[..], &name[..]].concat());
            for (field, value) in [("before", old), ("after", new)] {
                match value {
                    Some(value) => insert_bytes(&mut object, field, value),
                    None => drop(object.insert(field.to_owned(), Value::Null)),
                }
            }
            output.json(&object.into())?;
            continue;
        }
        let key = target.shown_key(&name);
        let at = |value: Option<&Bytes>, revision: i64| match (value, revision) {
            (None, _) => "(nothing)".to_owned(),
            (_, 0) => format!("{key} (now)"),
            (_, revision) => format!("{key} (revision {revision})"),
        };
        output.line(format!("--- {}", at(old, args.rev)))?;
        output.line(format!("+++ {}", at(new, args.other)))?;
        let text = |value: Option<&Bytes>| value.map_or(String::new(), |value| printable(value));
        for line in lines(&text(old), &text(new)) {
            output.line(line)?;
        }
    }
    Ok(exit::OK)
}

/// The names whose values differ.
pub(super) fn changed(before: &Values, after: &Values) -> Vec<Bytes> {
    let names: BTreeSet<&Bytes> = before.keys().chain(after.keys()).collect();
    let differ = names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name));
    differ.cloned().collect()
}

/// What a command did, as JSON or as a line.
pub(super) fn print_revision(output: &mut Output, revision: i64) -> Result<i32, Failure> {
    match output.is_json() {
        true => output.json(&json!({ "revision": revision }))?,
        false => output.line(format!("revision {revision}"))?,
    }
    Ok(exit::OK)
}
