//! `handfast queue ls`, `why` and `dead`.
//!
//! Owns their forms.

use std::ffi::OsString;

use clap::Args;
use handfast::{DeadLetter, ItemState, Member, QueueItem, QueueStatus, Reason};
use serde_json::{Map, Value, json};

use super::{Name, failure, text};
use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::output::{Output, insert_bytes, lease_text, printable, span, table};

const HEADINGS: [&str; 7] = ["ID", "STATE", "ATTEMPTS", "AGE", "BYTES", "WORKER", "SAID"];
const DEAD_HEADINGS: [&str; 4] = ["ID", "ATTEMPTS", "BYTES", "SAID"];
const DIED: &str = "its worker died";

/// Options of `queue ls` and `queue dead`.
#[derive(Args, Debug, Clone)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    name: Name,
}

const WHY_HELP: &str = "\
Example:
  handfast queue why img 17    what it waits for, who works on it, or why it failed

Exit code 1 when there is no such item. `handfast why img` is about the whole queue.";

/// Options of `queue why`.
#[derive(Args, Debug, Clone)]
#[command(after_help = WHY_HELP)]
pub(crate) struct WhyArgs {
    #[command(flatten)]
    name: Name,
    /// The item's id
    id: OsString,
}

pub(super) async fn list(
    args: ListArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let queue = args.name.queue(connection)?;
    let items = queue.list().await.map_err(failure)?;
    let status = queue.status().await.map_err(failure)?;
    if output.is_json() {
        let items: Vec<Value> = items.iter().map(item_json).collect();
        let mut object = status_json(&status);
        object.insert("items".to_owned(), Value::Array(items));
        output.json(&object.into())?;
        return Ok(exit::OK);
    }
    output.line(headline(&status))?;
    if !items.is_empty() {
        let rows: Vec<Vec<String>> = items.iter().map(row).collect();
        print(&HEADINGS, &rows, output)?;
    }
    Ok(exit::OK)
}

pub(super) async fn dead(
    args: ListArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let queue = args.name.queue(connection)?;
    let letters = queue.dead().await.map_err(failure)?;
    if output.is_json() {
        let letters = letters.iter().map(letter_json).collect();
        output.json(&Value::Array(letters))?;
        return Ok(exit::OK);
    }
    if letters.is_empty() {
        output.line("no item failed too often")?;
        return Ok(exit::OK);
    }
    let rows: Vec<Vec<String>> = letters
        .iter()
        .map(|letter| {
            vec![
                printable(letter.id.as_bytes()),
                letter.attempts.to_string(),
                letter.payload.len().to_string(),
                printable(letter.said.as_deref().unwrap_or(DIED).as_bytes()),
            ]
        })
        .collect();
    print(&DEAD_HEADINGS, &rows, output)?;
    Ok(exit::OK)
}

pub(super) async fn why(
    args: WhyArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let id = text(args.id)?;
    let queue = args.name.queue(connection)?;
    let why = queue.why(&id).await.map_err(failure)?;
    if output.is_json() {
        let reasons: Vec<Value> = why.reasons.iter().map(reason_json).collect();
        output.json(&json!({
            "id": why.id,
            "state": why.state.code(),
            "reasons": reasons,
        }))?;
    }
    if why.state == ItemState::Unknown {
        let (id, queue) = (printable(id.as_bytes()), printable(queue.name()));
        return Err(Failure::Other(format!(
            "there is no item {id} in queue {queue}: none was pushed, or it is done and forgotten"
        )));
    }
    if output.is_json() {
        return Ok(exit::OK);
    }
    output.line(format!("{} is {}", printable(id.as_bytes()), why.state))?;
    for reason in &why.reasons {
        output.line(format!("  {}", printable(reason.to_string().as_bytes())))?;
    }
    if why.reasons.is_empty() && why.state == ItemState::Ready {
        output.line("  nothing keeps it: it is the next")?;
    }
    Ok(exit::OK)
}

fn print(headings: &[&str], rows: &[Vec<String>], output: &mut Output) -> Result<(), Failure> {
    let lines = table(headings, rows);
    lines.iter().try_for_each(|line| output.line(line))
}

fn headline(status: &QueueStatus) -> String {
    let shut = if status.open { "" } else { ", closed" };
    format!(
        "control {}, condition {}{shut}: {} ready, {} blocked, {} claimed, {} dead; {} {}",
        status.control,
        printable(status.condition.to_string().as_bytes()),
        status.ready,
        status.blocked,
        status.claimed,
        status.dead,
        status.workers,
        if status.workers == 1 {
            "worker"
        } else {
            "workers"
        },
    )
}

pub(super) fn status_json(status: &QueueStatus) -> Map<String, Value> {
    let value = json!({
        "control": status.control.to_string(),
        "condition": status.condition.to_string(),
        "open": status.open,
        "ready": status.ready,
        "blocked": status.blocked,
        "claimed": status.claimed,
        "dead": status.dead,
        "done": status.done,
        "workers": status.workers,
        "revision": status.revision,
    });
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn row(item: &QueueItem) -> Vec<String> {
    let worker = item.claimed_by.as_ref();
    vec![
        printable(item.id.as_bytes()),
        item.state.to_string(),
        item.attempts.to_string(),
        span(item.age),
        item.size.to_string(),
        worker.map_or_else(|| "-".to_owned(), Member::to_string),
        printable(item.said.as_deref().unwrap_or("-").as_bytes()),
    ]
}

fn item_json(item: &QueueItem) -> Value {
    json!({
        "id": item.id,
        "state": item.state.code(),
        "attempts": item.attempts,
        "age_s": item.age.as_secs(),
        "bytes": item.size,
        "revision": item.revision,
        "said": item.said,
        "claimed_by": item.claimed_by.as_ref().map(member_json),
    })
}

fn member_json(member: &Member) -> Value {
    let session = member.session.as_ref();
    json!({
        "lease": lease_text(member.lease),
        "token": member.token,
        "host": session.map(|session| &session.host),
        "pid": session.map(|session| session.pid),
        "program": session.map(|session| &session.app),
    })
}

fn letter_json(letter: &DeadLetter) -> Value {
    let mut object = Map::new();
    object.insert("id".to_owned(), json!(letter.id));
    object.insert("attempts".to_owned(), json!(letter.attempts));
    object.insert("said".to_owned(), json!(letter.said));
    object.insert("revision".to_owned(), json!(letter.revision));
    insert_bytes(&mut object, "item", &letter.payload);
    Value::Object(object)
}

fn reason_json(reason: &Reason) -> Value {
    let mut value = json!({ "code": reason.code(), "text": reason.to_string() });
    match reason {
        Reason::Count { ready, wanted } => {
            value["ready"] = json!(ready);
            value["wanted"] = json!(wanted);
        }
        Reason::Gate(gate) => value["gate"] = json!(gate),
        Reason::After { id, state } => {
            value["id"] = json!(id);
            value["state"] = json!(state.code());
        }
        Reason::Cycle(ids) => value["ids"] = json!(ids),
        Reason::ClaimedBy(member) => value["claimed_by"] = member_json(member),
        Reason::Older(count) => value["older"] = json!(count),
        Reason::Dead { attempts, said } => {
            value["attempts"] = json!(attempts);
            value["said"] = json!(said);
        }
        _ => {}
    }
    value
}
