//! `handfast why`: why am I waiting.
//!
//! Owns its options, what is read for the answer, and its form. The answer itself is in [`answer`].

mod answer;

use std::ffi::OsString;
use std::time::Instant;

use bytes::Bytes;
use clap::Args;
use handfast_core::Client;
use handfast_core::session::{Clock, SystemClock, record_key};
use serde_json::{Value, json};

use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::keys::bytes;
use crate::output::{Output, printable};
use crate::overview::read::{self, METADATA, Pairs};
use crate::overview::ttl::Leases;
use crate::overview::{Overview, Seen, json};
use answer::Answer;

const AFTER_HELP: &str = "\
Examples:
  handfast why jobs/nightly     who has it, for how long yet, who is before me
  handfast why img              why nobody works on the items of a queue

Works for what etcdctl and Go programs hold, too; they do not say who they are.";

/// Options of `why`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct WhyArgs {
    /// A lock, an election or a queue
    name: OsString,
}

pub(crate) async fn run(
    args: WhyArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let client = connection.client()?;
    let name = bytes(args.name);
    let below = [&name[..], b"/"].concat();
    if name.is_empty() || below.starts_with(METADATA) {
        let what = printable(&name);
        return Err(Failure::Usage(format!(
            "`{what}` is no name of a lock or a queue"
        )));
    }
    let pairs = read_about(&client, &name, &below).await?;
    let overview = read::overview(&pairs);
    let leases = Leases::ask(&client, overview.leases()).await?;
    let seen = Seen {
        overview: &overview,
        leases: &leases,
        now: Instant::now(),
        unix: SystemClock.unix_time(),
    };
    let foreign = in_the_way(&pairs, &overview, &name, &below);
    let answer = Answer::about(seen, &name, &foreign);
    match output.is_json() {
        true => output.json(&document(seen, &name, &answer))?,
        false => answer
            .lines()
            .iter()
            .try_for_each(|line| output.line(line))?,
    }
    Ok(exit::OK)
}

/// Everything below the name, its record, and who the sessions are that it is about.
async fn read_about(client: &Client, name: &[u8], below: &[u8]) -> Result<Pairs, Failure> {
    let mut pairs = read::prefix(client, below).await?;
    let record = client.get([METADATA, b"own/", name].concat()).await?;
    pairs.extend(record.map(|pair| (pair.key.clone(), pair.into())));
    let overview = read::overview(&pairs);
    let line = overview
        .line(name)
        .into_iter()
        .flat_map(|line| &line.places);
    let claims = overview
        .queue(name)
        .into_iter()
        .flat_map(|queue| &queue.claims);
    let leases = line
        .map(|place| place.lease)
        .chain(claims.map(|claim| claim.lease));
    for lease in leases {
        let record = client.get(record_key(METADATA, lease)).await?;
        pairs.extend(record.map(|pair| (pair.key.clone(), pair.into())));
    }
    Ok(pairs)
}

/// Keys right below a line's name that are no places in it: etcdctl and Go wait for them for ever.
fn in_the_way(pairs: &Pairs, overview: &Overview, name: &[u8], below: &[u8]) -> Vec<Bytes> {
    let Some(line) = overview.line(name) else {
        return Vec::new();
    };
    let is_place = |key: &Bytes| line.places.iter().any(|place| place.key == *key);
    let below = pairs.keys().filter(|key| key.starts_with(below));
    below.filter(|key| !is_place(key)).cloned().collect()
}

fn document(seen: Seen<'_>, name: &[u8], answer: &Answer) -> Value {
    let mut document = match (seen.overview.line(name), seen.overview.queue(name)) {
        (Some(line), _) => json::line(seen, line),
        (None, Some(queue)) => json::queue(seen, queue),
        (None, None) => json!({ "name": printable(name) }),
    };
    document["answer"] = json!(answer.verdict);
    document["hints"] = json!(answer.hints);
    document
}
