//! `handfast members`: who belongs to the cluster.
//!
//! Owns the output only.

use handfast_core::proto::etcdserverpb::Member;
use serde_json::{Value, json};

use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::output::{Output, table};

const HEADINGS: [&str; 5] = ["ID", "STATUS", "NAME", "CLIENT ADDRESSES", "PEER ADDRESSES"];

pub(crate) async fn run(connection: &Connection, output: &mut Output) -> Result<i32, Failure> {
    let members = connection.client()?.members().await?.members;
    if output.is_json() {
        output.json(&Value::Array(members.iter().map(json_of).collect()))?;
        return Ok(exit::OK);
    }
    let rows: Vec<Vec<String>> = members.iter().map(row).collect();
    table(&HEADINGS, &rows)
        .iter()
        .try_for_each(|line| output.line(line))?;
    Ok(exit::OK)
}

fn row(member: &Member) -> Vec<String> {
    vec![
        format!("{:x}", member.id),
        status(member).to_owned(),
        member.name.clone(),
        member.client_ur_ls.join(","),
        member.peer_ur_ls.join(","),
    ]
}

/// A member has no name until it has started for the first time.
fn status(member: &Member) -> &'static str {
    match (member.name.is_empty(), member.is_learner) {
        (true, _) => "unstarted",
        (false, true) => "learner",
        (false, false) => "started",
    }
}

fn json_of(member: &Member) -> Value {
    json!({
        "id": format!("{:x}", member.id),
        "status": status(member),
        "name": member.name,
        "client_urls": member.client_ur_ls,
        "peer_urls": member.peer_ur_ls,
        "learner": member.is_learner,
    })
}
