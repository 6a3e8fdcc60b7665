//! `handfast queue pause`, `start`, `drain`, `retry`, `condition` and `open`.
//!
//! Owns what can be set for a queue.

use std::ffi::OsString;

use clap::Args;
use handfast::{Condition, Control};
use serde_json::{Value, json};

use super::{Name, failure, show, text};
use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::output::{Output, printable, tell};

/// Options of `queue pause`, `start` and `drain`.
#[derive(Args, Debug, Clone)]
pub(crate) struct ControlArgs {
    #[command(flatten)]
    name: Name,
}

const RETRY_HELP: &str = "\
Examples:
  handfast queue retry img 17       this one; its attempts count from the beginning
  handfast queue retry img --all    all that `handfast queue dead img` shows

Prints the ids that were put back.";

const CONDITION_HELP: &str = "\
Examples:
  handfast queue condition img --count 100    begin when 100 items are ready
  handfast queue condition img --none         begin at once, as without a condition
  handfast queue condition img                show what is set";

const OPEN_HELP: &str = "\
Example:
  handfast queue open img photos-are-there    for `push --gate` and `condition --gate`";

/// Options of `queue retry`.
#[derive(Args, Debug, Clone)]
#[command(after_help = RETRY_HELP)]
pub(crate) struct RetryArgs {
    #[command(flatten)]
    name: Name,
    /// The items' ids
    #[arg(value_name = "ID", required_unless_present = "all")]
    ids: Vec<OsString>,
    /// All items that failed too often
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

/// Options of `queue condition`.
#[derive(Args, Debug, Clone)]
#[group(skip)]
#[command(after_help = CONDITION_HELP)]
pub(crate) struct ConditionArgs {
    #[command(flatten)]
    name: Name,
    #[command(flatten)]
    rule: Rule,
}

/// At most one of them; none shows what is set.
#[derive(Args, Debug, Clone)]
#[group(multiple = false)]
struct Rule {
    /// Begin when this many items are ready at once
    #[arg(long, value_name = "N")]
    count: Option<u32>,
    /// Begin when this gate is open; items that open it go first
    #[arg(long)]
    gate: Option<String>,
    /// Begin when somebody says `queue start`
    #[arg(long)]
    start: bool,
    /// Begin at once
    #[arg(long)]
    none: bool,
}

/// Options of `queue open`.
#[derive(Args, Debug, Clone)]
#[command(after_help = OPEN_HELP)]
pub(crate) struct OpenArgs {
    #[command(flatten)]
    name: Name,
    /// The gate
    gate: OsString,
}

pub(super) async fn control(
    args: ControlArgs,
    control: Control,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let queue = args.name.queue(connection)?;
    queue.control(control).await.map_err(failure)?;
    match output.is_json() {
        true => output.json(&json!({ "control": control.to_string() }))?,
        false => output.line(control.to_string())?,
    }
    Ok(exit::OK)
}

pub(super) async fn retry(
    args: RetryArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let queue = args.name.queue(connection)?;
    let ids = if args.all {
        let letters = queue.dead().await.map_err(failure)?;
        letters.into_iter().map(|letter| letter.id).collect()
    } else {
        let ids = args.ids.into_iter().map(text);
        ids.collect::<Result<Vec<String>, Failure>>()?
    };
    let mut put_back = Vec::new();
    let mut code = exit::OK;
    for id in ids {
        if queue.retry(&id).await.map_err(failure)? {
            put_back.push(id);
        } else {
            let id = printable(id.as_bytes());
            tell!("{id} is not among those that failed too often: see `queue dead`");
            code = exit::FAILED;
        }
    }
    if args.all && put_back.is_empty() {
        tell!("no item failed too often");
    }
    if output.is_json() {
        output.json(&json!({ "put_back": put_back }))?;
    } else {
        for id in put_back {
            output.line(printable(id.as_bytes()))?;
        }
    }
    Ok(code)
}

pub(super) async fn condition(
    args: ConditionArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let queue = args.name.queue(connection)?;
    let rule = args.rule;
    let condition = match (rule.count, rule.gate, rule.start, rule.none) {
        (Some(count), ..) => Some(Condition::Count(count)),
        (_, Some(gate), ..) => Some(Condition::Gate(gate)),
        (.., true, _) => Some(Condition::Start),
        (.., true) => Some(Condition::None),
        _ => None,
    };
    if let Some(condition) = condition {
        queue.condition(condition).await.map_err(failure)?;
    }
    let status = queue.status().await.map_err(failure)?;
    if output.is_json() {
        output.json(&Value::Object(show::status_json(&status)))?;
    } else {
        output.line(printable(status.condition.to_string().as_bytes()))?;
    }
    Ok(exit::OK)
}

pub(super) async fn open(
    args: OpenArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let gate = text(args.gate)?;
    let queue = args.name.queue(connection)?;
    let was_shut = queue.open_gate(&gate).await.map_err(failure)?;
    match (output.is_json(), was_shut) {
        (true, _) => output.json(&json!({ "gate": gate, "was_shut": was_shut }))?,
        (false, true) => output.line("open")?,
        (false, false) => output.line("it was open")?,
    }
    Ok(exit::OK)
}
