//! The form of a status: a table for people, JSON for programs.
//!
//! Owns the choice of figures. It must not ask anybody.

use serde_json::{Value, json};

use super::fsync::readable;
use super::{Answer, Picture, Report};
use crate::exit::Failure;
use crate::output::{Output, table, tell};

const HEADINGS: [&str; 13] = [
    "ENDPOINT",
    "ID",
    "NAME",
    "HEALTH",
    "VERSION",
    "ROLE",
    "TERM",
    "COMMITTED",
    "APPLIED",
    "BEHIND",
    "REVISION",
    "DATA",
    "FSYNC P50/P99",
];

pub(super) fn print(picture: &Picture, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        let all = picture.reports.iter().map(|r| json_of(picture, r));
        return output.json(&Value::Array(all.collect()));
    }
    let answered: Vec<(&Report, &Answer)> = picture
        .reports
        .iter()
        .filter_map(|r| r.answer.as_ref().ok().map(|answer| (r, answer)))
        .collect();
    let rows: Vec<Vec<String>> = answered
        .iter()
        .map(|(report, answer)| row(picture, &report.endpoint, answer))
        .collect();
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
    for report in &picture.reports {
        if let Err(error) = &report.answer {
            tell!("{error}");
        }
    }
    Ok(())
}

fn row(picture: &Picture, endpoint: &str, answer: &Answer) -> Vec<String> {
    let status = &answer.status;
    let health = if answer.trouble.is_none() {
        "healthy"
    } else {
        "in trouble"
    };
    let fsync = answer.fsync.map(|fsync| {
        let (p50, p99) = (readable(fsync.p50), readable(fsync.p99));
        format!("{p50}/{p99}")
    });
    vec![
        endpoint.to_owned(),
        format!("{:x}", answer.member_id()),
        picture.name(answer).to_owned(),
        health.to_owned(),
        status.version.clone(),
        answer.role().to_owned(),
        status.raft_term.to_string(),
        status.raft_index.to_string(),
        status.raft_applied_index.to_string(),
        picture.behind(answer).to_string(),
        status.header.unwrap_or_default().revision.to_string(),
        size(status.db_size),
        fsync.unwrap_or_default(),
    ]
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

fn json_of(picture: &Picture, report: &Report) -> Value {
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
        "role": answer.role(),
        "cluster_id": format!("{:x}", header.cluster_id),
        "member_id": format!("{:x}", header.member_id),
        "name": picture.name(answer),
        "leader_id": format!("{:x}", status.leader),
        "db_size": status.db_size,
        "db_size_in_use": status.db_size_in_use,
        "revision": header.revision,
        "raft_term": status.raft_term,
        "raft_index": status.raft_index,
        "raft_applied_index": status.raft_applied_index,
        "behind": picture.behind(answer),
        "fsync_p50_seconds": answer.fsync.map(|fsync| fsync.p50),
        "fsync_p99_seconds": answer.fsync.map(|fsync| fsync.p99),
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
}
