//! `handfast service list`: which services there are, and who is listed for one.
//!
//! Owns its options and output.

use clap::Args;
use handfast::{Instance, Status};
use handfast_core::Client;
use serde_json::{Map, Value, json};

use super::{failure, json_of};
use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::output::{Output, insert_bytes, printable, table};
use crate::overview::{Service, read};

const HEADINGS: [&str; 7] = [
    "INSTANCE", "ADDRESS", "STATUS", "WEIGHT", "ZONE", "VERSION", "METADATA",
];

const ALL_HEADINGS: [&str; 5] = ["SERVICE", "INSTANCES", "UP", "WARMING", "DRAINING"];

const AFTER_HELP: &str = "\
Examples:
  handfast service list        all services, with how many instances they have
  handfast service list api    the instances of one

In a store with very many keys services of other programs show by name only, if they are on no
lease.";

/// Options of `service list`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ListArgs {
    /// The service's name; without it all services
    name: Option<String>,
}

pub(super) async fn run(
    args: ListArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let Some(name) = args.name else {
        return all(&connection.client()?, output).await;
    };
    let handfast = connection.handfast(|builder| builder)?;
    let listed = handfast.service(&name).list().await.map_err(failure)?;
    if output.is_json() {
        output.json(&Value::Array(listed.iter().map(json_of).collect()))?;
        return Ok(exit::OK);
    }
    if listed.is_empty() {
        output.line(format!("no instance of {name} is listed"))?;
        return Ok(exit::OK);
    }
    let rows: Vec<Vec<String>> = listed.iter().map(row).collect();
    table(&HEADINGS, &rows)
        .iter()
        .try_for_each(|line| output.line(line))?;
    Ok(exit::OK)
}

/// Every service there is, by what is in the store.
async fn all(client: &Client, output: &mut Output) -> Result<i32, Failure> {
    let pairs = match read::whole(client).await? {
        Some(pairs) => pairs,
        // Instances are on leases, and those are few.
        None => read::on_leases(client, &client.leases().await?).await?,
    };
    let services = read::overview(&pairs).services;
    if output.is_json() {
        output.json(&services.iter().map(counts_json).collect())?;
        return Ok(exit::OK);
    }
    if services.is_empty() {
        output.line("no services")?;
        return Ok(exit::OK);
    }
    let rows: Vec<Vec<String>> = services.iter().map(counts_row).collect();
    table(&ALL_HEADINGS, &rows)
        .iter()
        .try_for_each(|line| output.line(line))?;
    Ok(exit::OK)
}

/// How many there are, and how many of them are up, warming and draining.
fn counts(service: &Service) -> [usize; 4] {
    let instances = &service.instances;
    let of = |status: Status| {
        let are = instances.iter().filter(|it| it.status == status.code());
        are.count()
    };
    [
        instances.len(),
        of(Status::Up),
        of(Status::Warming),
        of(Status::Draining),
    ]
}

fn counts_row(service: &Service) -> Vec<String> {
    let counts = counts(service).map(|count| count.to_string());
    [vec![printable(&service.name)], counts.to_vec()].concat()
}

fn counts_json(service: &Service) -> Value {
    let [all, up, warming, draining] = counts(service);
    let mut object = Map::new();
    insert_bytes(&mut object, "service", &service.name);
    for (name, count) in [
        ("instances", all),
        ("up", up),
        ("warming", warming),
        ("draining", draining),
    ] {
        object.insert(name.to_owned(), json!(count));
    }
    Value::Object(object)
}

fn row(instance: &Instance) -> Vec<String> {
    let shown = |text: &str| match text {
        "" => "-".to_owned(),
        text => printable(text.as_bytes()),
    };
    let metadata = instance.metadata.iter();
    let metadata: Vec<String> = metadata
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    vec![
        shown(&instance.id),
        shown(&instance.addr),
        instance.status.to_string(),
        instance.weight.to_string(),
        shown(&instance.zone),
        shown(&instance.version),
        shown(&metadata.join(" ")),
    ]
}
