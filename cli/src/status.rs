//! `handfast status`: how each server is doing.
//!
//! Owns the choice of figures and their form.

use futures::future::join_all;
use handfast_core::Client;
use handfast_core::proto::etcdserverpb::StatusResponse;
use serde_json::{Value, json};

use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::output::{Output, table};

const HEADINGS: [&str; 9] = [
    "ENDPOINT",
    "HEALTH",
    "VERSION",
    "ROLE",
    "DATA",
    "IN USE",
    "REVISION",
    "TERM",
    "LOG INDEX",
];

/// What one server said of itself.
struct Report {
    endpoint: String,
    answer: Result<Answer, handfast_core::Error>,
}

struct Answer {
    status: StatusResponse,
    /// Why it cannot serve, if it cannot.
    trouble: Option<String>,
}

pub(crate) async fn run(connection: &Connection, output: &mut Output) -> Result<i32, Failure> {
    let client = connection.client()?;
    let endpoints = client.endpoints();
    let reports = join_all(endpoints.into_iter().map(|endpoint| ask(&client, endpoint))).await;
    match output.is_json() {
        true => output.json(&Value::Array(reports.iter().map(json_of).collect()))?,
        false => print(&reports, output)?,
    }
    output.flush()?;
    let failures = reports
        .iter()
        .filter_map(|report| report.answer.as_ref().err());
    let code = failures
        .map(|error| Failure::Call(error.clone()).code())
        .max();
    let sick = reports
        .iter()
        .any(|r| matches!(&r.answer, Ok(a) if a.trouble.is_some()));
    Ok(code.unwrap_or(if sick { exit::FAILED } else { exit::OK }))
}

async fn ask(client: &Client, endpoint: String) -> Report {
    let (status, health) = tokio::join!(client.status(&endpoint), client.health(&endpoint));
    let trouble = health.err().map(|error| error.to_string());
    let answer = status.map(|status| Answer { status, trouble });
    Report { endpoint, answer }
}

fn print(reports: &[Report], output: &mut Output) -> Result<(), Failure> {
    let answered: Vec<(&Report, &Answer)> = reports
        .iter()
        .filter_map(|r| r.answer.as_ref().ok().map(|answer| (r, answer)))
        .collect();
    let rows: Vec<Vec<String>> = answered.iter().map(|(r, a)| row(&r.endpoint, a)).collect();
    if !rows.is_empty() {
        table(&HEADINGS, &rows)
            .iter()
            .try_for_each(|line| output.line(line))?;
    }
    for (report, answer) in answered {
        for line in answer.trouble.iter().chain(&answer.status.errors) {
            output.line(format!("{}: {line}", report.endpoint))?;
        }
    }
    for report in reports {
        if let Err(error) = &report.answer {
            eprintln!("handfast: {error}");
        }
    }
    Ok(())
}

fn row(endpoint: &str, answer: &Answer) -> Vec<String> {
    let status = &answer.status;
    let health = if answer.trouble.is_none() {
        "healthy"
    } else {
        "in trouble"
    };
    let header = status.header.unwrap_or_default();
    vec![
        endpoint.to_owned(),
        health.to_owned(),
        status.version.clone(),
        role(status).to_owned(),
        size(status.db_size),
        size(status.db_size_in_use),
        header.revision.to_string(),
        status.raft_term.to_string(),
        status.raft_index.to_string(),
    ]
}

fn role(status: &StatusResponse) -> &'static str {
    let own = status.header.unwrap_or_default().member_id;
    match status.leader {
        0 => "no leader",
        leader if leader == own => "leader",
        _ if status.is_learner => "learner",
        _ => "follower",
    }
}

/// Bytes for people.
fn size(bytes: i64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let mut amount = bytes as f64;
    let mut unit = "B";
    for larger in UNITS {
        if amount < 1000.0 {
            break;
        }
        amount /= 1000.0;
        unit = larger;
    }
    let decimals = usize::from(unit != "B" && amount < 10.0);
    format!("{amount:.decimals$} {unit}")
}

fn json_of(report: &Report) -> Value {
    let answer = match &report.answer {
        Ok(answer) => answer,
        Err(error) => return json!({ "endpoint": report.endpoint, "error": error.to_string() }),
    };
    let status = &answer.status;
    let header = status.header.unwrap_or_default();
    json!({
        "endpoint": report.endpoint,
        "healthy": answer.trouble.is_none(),
        "trouble": answer.trouble,
        "version": status.version,
        "role": role(status),
        "cluster_id": format!("{:x}", header.cluster_id),
        "member_id": format!("{:x}", header.member_id),
        "leader_id": format!("{:x}", status.leader),
        "db_size": status.db_size,
        "db_size_in_use": status.db_size_in_use,
        "revision": header.revision,
        "raft_term": status.raft_term,
        "raft_index": status.raft_index,
        "raft_applied_index": status.raft_applied_index,
        "errors": status.errors,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        let sizes: Vec<String> = [0, 999, 1500, 20_480, 2_147_483_648].map(size).into();
        assert_eq!(sizes, ["0 B", "999 B", "1.5 kB", "20 kB", "2.1 GB"]);
    }

    #[test]
    fn role_compares_the_member_with_the_leader() {
        use handfast_core::Header;
        let header = Some(Header {
            member_id: 7,
            ..Header::default()
        });
        let status = |leader| StatusResponse {
            header,
            leader,
            ..StatusResponse::default()
        };
        assert_eq!(role(&status(7)), "leader");
        assert_eq!(role(&status(8)), "follower");
        assert_eq!(role(&status(0)), "no leader");
    }
}
