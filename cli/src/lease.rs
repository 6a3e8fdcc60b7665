//! `handfast lease`.
//!
//! Owns its subcommands and their output. It must not know how leases are kept alive under locks.

use std::time::Duration;

use clap::{Args, Subcommand};
use handfast_core::{Client, ErrorKind, LeaseInfo};
use serde_json::json;

use crate::connect::{Connection, duration};
use crate::exit::{self, Failure};
use crate::keys::lease_id;
use crate::output::{Output, lease_text, printable};

/// Options of `lease`.
#[derive(Args, Debug, Clone)]
pub(crate) struct LeaseArgs {
    #[command(subcommand)]
    command: LeaseCommand,
}

#[derive(Subcommand, Debug, Clone)]
enum LeaseCommand {
    /// Grant a lease; its keys are deleted when it ends
    Grant {
        /// How long it lives without being renewed, such as 30s; a bare number is seconds
        #[arg(value_parser = duration)]
        ttl: Duration,
        /// Choose its id (hexadecimal)
        #[arg(long, value_parser = lease_id)]
        id: Option<i64>,
    },
    /// End a lease and delete its keys
    Revoke {
        /// Hexadecimal id
        #[arg(value_parser = lease_id)]
        id: i64,
    },
    /// Renew a lease until stopped
    KeepAlive {
        /// Hexadecimal id
        #[arg(value_parser = lease_id)]
        id: i64,
        /// Renew it one time and stop
        #[arg(long)]
        once: bool,
    },
    /// Show how long a lease has left
    #[command(alias = "timetolive")]
    Ttl {
        /// Hexadecimal id
        #[arg(value_parser = lease_id)]
        id: i64,
        /// Show its keys too
        #[arg(long)]
        keys: bool,
    },
    /// List all leases
    List,
}

pub(crate) async fn run(
    args: LeaseArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let client = connection.client()?;
    match args.command {
        LeaseCommand::Grant { ttl, id } => grant(&client, ttl, id, output).await,
        LeaseCommand::Revoke { id } => revoke(&client, id, output).await,
        LeaseCommand::KeepAlive { id, once } => keep_alive(&client, id, once, output).await,
        LeaseCommand::Ttl { id, keys } => time_to_live(&client, id, keys, output).await,
        LeaseCommand::List => list(&client, output).await,
    }
}

async fn grant(
    client: &Client,
    ttl: Duration,
    id: Option<i64>,
    output: &mut Output,
) -> Result<i32, Failure> {
    // Servers count whole seconds; less than asked would end it too early.
    let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let lease = client.lease_grant(seconds, id.unwrap_or(0)).await?;
    let text = lease_text(lease.id);
    match output.is_json() {
        true => output.json(&json!({ "id": text, "ttl": lease.ttl }))?,
        false => output.line(format!("lease {text} granted with TTL({}s)", lease.ttl))?,
    }
    Ok(exit::OK)
}

async fn revoke(client: &Client, id: i64, output: &mut Output) -> Result<i32, Failure> {
    client.lease_revoke(id).await?;
    let text = lease_text(id);
    match output.is_json() {
        true => output.json(&json!({ "id": text, "revoked": true }))?,
        false => output.line(format!("lease {text} revoked"))?,
    }
    Ok(exit::OK)
}

async fn keep_alive(
    client: &Client,
    id: i64,
    once: bool,
    output: &mut Output,
) -> Result<i32, Failure> {
    let text = lease_text(id);
    loop {
        let renewed = match client.lease_keep_alive_once(id).await {
            Err(error) if error.kind() == ErrorKind::LeaseNotFound => {
                return Err(Failure::Other(format!("lease {text} expired or revoked")));
            }
            renewed => renewed?,
        };
        match output.is_json() {
            true => output.json(&json!({ "id": text, "ttl": renewed.ttl }))?,
            false => output.line(format!("lease {text} keepalived with TTL({})", renewed.ttl))?,
        }
        output.flush()?;
        if once {
            return Ok(exit::OK);
        }
        let ttl = Duration::from_secs(renewed.ttl.unsigned_abs());
        tokio::time::sleep(ttl / 3).await;
    }
}

async fn time_to_live(
    client: &Client,
    id: i64,
    keys: bool,
    output: &mut Output,
) -> Result<i32, Failure> {
    let text = lease_text(id);
    match client.lease_time_to_live(id, keys).await {
        Ok(info) => print_time_to_live(&info, keys, output)?,
        Err(error) if error.kind() == ErrorKind::LeaseNotFound => match output.is_json() {
            true => output.json(&json!({ "id": text, "expired": true }))?,
            false => output.line(format!("lease {text} already expired"))?,
        },
        Err(error) => return Err(error.into()),
    }
    Ok(exit::OK)
}

fn print_time_to_live(info: &LeaseInfo, keys: bool, output: &mut Output) -> Result<(), Failure> {
    let id = lease_text(info.id);
    let names: Vec<String> = info.keys.iter().map(|key| printable(key)).collect();
    if output.is_json() {
        let mut object =
            json!({ "id": id, "granted_ttl": info.granted_ttl, "remaining": info.ttl });
        if keys {
            object["keys"] = json!(names);
        }
        return output.json(&object);
    }
    let attached = match keys {
        true => format!(", attached keys([{}])", names.join(" ")),
        false => String::new(),
    };
    let (granted, left) = (info.granted_ttl, info.ttl);
    output.line(format!(
        "lease {id} granted with TTL({granted}s), remaining({left}s){attached}"
    ))
}

async fn list(client: &Client, output: &mut Output) -> Result<i32, Failure> {
    let ids: Vec<String> = client.leases().await?.into_iter().map(lease_text).collect();
    if output.is_json() {
        output.json(&json!({ "leases": ids }))?;
        return Ok(exit::OK);
    }
    output.line(format!("found {} leases", ids.len()))?;
    ids.iter().try_for_each(|id| output.line(id))?;
    Ok(exit::OK)
}
