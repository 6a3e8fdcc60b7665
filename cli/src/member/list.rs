//! `handfast member list`: who belongs to the cluster.
//!
//! Owns the output only.

use handfast_core::proto::etcdserverpb::Member;
use serde_json::Value;

use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::output::{Output, table};
use crate::roster::{Roster, member_json, standing};

const HEADINGS: [&str; 5] = ["ID", "STATUS", "NAME", "CLIENT ADDRESSES", "PEER ADDRESSES"];

pub(crate) async fn run(connection: &Connection, output: &mut Output) -> Result<i32, Failure> {
    let members = Roster::read(&connection.client()?).await?.members;
    print(&members, output)?;
    Ok(exit::OK)
}

pub(super) fn print(members: &[Member], output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&Value::Array(members.iter().map(member_json).collect()));
    }
    let rows: Vec<Vec<String>> = members.iter().map(row).collect();
    table(&HEADINGS, &rows)
        .iter()
        .try_for_each(|line| output.line(line))
}

fn row(member: &Member) -> Vec<String> {
    vec![
        format!("{:x}", member.id),
        standing(member).to_owned(),
        member.name.clone(),
        member.client_ur_ls.join(","),
        member.peer_ur_ls.join(","),
    ]
}
