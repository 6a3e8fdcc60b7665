//! `handfast move-leader`: gives leadership to a chosen member.
//!
//! Owns how the present leader is found: only it can hand over.

use clap::Args;
use futures::future::join_all;
use serde_json::json;

use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::output::Output;
use crate::roster::{Roster, label};

/// Options of `move-leader`.
#[derive(Args, Debug, Clone)]
pub(crate) struct MoveLeaderArgs {
    /// Name or id of the member that shall lead
    member: String,
}

pub(crate) async fn run(
    args: MoveLeaderArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let client = connection.client()?;
    let roster = Roster::read(&client).await?;
    let member = roster.find(&args.member)?;
    if member.is_learner {
        return Err(Failure::Usage(format!(
            "{} does not vote yet, so it cannot lead; promote it first",
            label(member)
        )));
    }
    let mut endpoints = roster.endpoints();
    endpoints.extend(client.endpoints());
    let asked = endpoints.iter().map(|endpoint| client.status(endpoint));
    let mut leads = None;
    for (endpoint, status) in endpoints.iter().zip(join_all(asked).await) {
        let Ok(status) = status else { continue };
        if status.leader != 0 && status.header.unwrap_or_default().member_id == status.leader {
            leads = Some((endpoint, status.leader));
        }
    }
    let Some((endpoint, before)) = leads else {
        return Err(Failure::Other(
            "no member that leads was reached; see `handfast status --cluster`".to_owned(),
        ));
    };
    if before != member.id {
        client.move_leader(endpoint, member.id).await?;
    }
    if output.is_json() {
        output.json(&json!({
            "leader_id": format!("{:x}", member.id),
            "former_leader_id": format!("{before:x}"),
        }))?;
        return Ok(exit::OK);
    }
    match before == member.id {
        true => output.line(format!("{} leads already", label(member)))?,
        false => output.line(format!(
            "{} leads; it was {} before",
            label(member),
            roster.label(before)
        ))?,
    }
    Ok(exit::OK)
}
