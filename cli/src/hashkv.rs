//! `handfast hashkv`: whether all members hold the same data.
//!
//! Owns the comparison. Hashes are only comparable at one revision and one state of compaction.

use std::collections::BTreeMap;

use clap::Args;
use futures::future::join_all;
use handfast_core::proto::etcdserverpb::HashKvResponse;
use handfast_core::{Client, Error, ErrorKind};
use serde_json::{Value, json};

use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::output::{Output, table};
use crate::roster::Roster;

const HEADINGS: [&str; 4] = ["ENDPOINT", "MEMBER", "HASH", "COMPACTED"];

/// Options of `hashkv`.
#[derive(Args, Debug, Clone)]
pub(crate) struct HashKvArgs {
    /// Compare the data as they were at this revision [default: the newest all have]
    #[arg(long, value_name = "REV")]
    rev: Option<i64>,
}

struct Report {
    endpoint: String,
    member_id: u64,
    answer: Result<HashKvResponse, Error>,
}

/// What the answers say together.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Everybody who answered has the same.
    Same,
    /// These differ from most of the others, by their place in the list.
    Odd(Vec<usize>),
    /// They differ, and no side is the larger one.
    Split,
    /// They are compacted at different revisions just now.
    NotComparable,
}

pub(crate) async fn run(
    args: HashKvArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let client = connection.client()?;
    let roster = Roster::read(&client).await?;
    let endpoints = match roster.endpoints() {
        none if none.is_empty() => client.endpoints(),
        endpoints => endpoints,
    };
    let (revision, reports) = compare(&client, endpoints, args.rev).await?;
    let verdict = judge(&reports);
    let unknown = reports
        .iter()
        .find_map(|r| r.answer.as_ref().err())
        .cloned();
    if output.is_json() {
        output.json(&json!({
            "revision": revision,
            "equal": verdict == Verdict::Same && unknown.is_none(),
            "members": reports.iter().map(json_of).collect::<Vec<_>>(),
        }))?;
    } else {
        print(&reports, revision, &roster, output)?;
        output.line(sentence(&verdict, &reports, &roster))?;
    }
    output.flush()?;
    match (verdict, unknown) {
        (Verdict::Same, Some(error)) => Err(Failure::Call(error)),
        (Verdict::Same, None) => Ok(exit::OK),
        _ => Ok(exit::FAILED),
    }
}

/// Asks all members at one revision that all of them have.
async fn compare(
    client: &Client,
    endpoints: Vec<String>,
    revision: Option<i64>,
) -> Result<(i64, Vec<Report>), Failure> {
    let statuses = join_all(endpoints.iter().map(|endpoint| client.status(endpoint))).await;
    let answered = statuses.iter().filter_map(|status| status.as_ref().ok());
    let newest = answered.filter_map(|status| Some(status.header?.revision));
    let Some(revision) = revision.or(newest.min()) else {
        return match statuses.into_iter().find_map(Result::err) {
            Some(error) => Err(Failure::Call(error)),
            None => Err(Failure::Other("no member could be asked".to_owned())),
        };
    };
    let hashes = endpoints
        .iter()
        .map(|endpoint| client.hash_kv(endpoint, revision));
    let reports = join_all(hashes)
        .await
        .into_iter()
        .zip(endpoints)
        .zip(statuses);
    let reports = reports.map(|((answer, endpoint), status)| Report {
        endpoint,
        member_id: status
            .ok()
            .and_then(|status| Some(status.header?.member_id))
            .unwrap_or_default(),
        answer,
    });
    let reports: Vec<Report> = reports.collect();
    let wrong_revision = |error: &&Error| {
        let kinds = [ErrorKind::Compacted, ErrorKind::FutureRevision];
        kinds.contains(&error.kind())
    };
    let errors = reports.iter().filter_map(|r| r.answer.as_ref().err());
    match errors.into_iter().find(wrong_revision) {
        Some(error) => Err(Failure::Call(error.clone())),
        None => Ok((revision, reports)),
    }
}

fn judge(reports: &[Report]) -> Verdict {
    let answers = reports.iter().enumerate();
    let answers: Vec<(usize, &HashKvResponse)> = answers
        .filter_map(|(place, report)| Some((place, report.answer.as_ref().ok()?)))
        .collect();
    let mut compacted: Vec<i64> = answers.iter().map(|(_, a)| a.compact_revision).collect();
    compacted.sort_unstable();
    compacted.dedup();
    if compacted.len() > 1 {
        return Verdict::NotComparable;
    }
    let mut groups: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (place, answer) in answers {
        groups.entry(answer.hash).or_default().push(place);
    }
    let mut groups: Vec<Vec<usize>> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    match groups.as_slice() {
        [] | [_] => Verdict::Same,
        [first, second, ..] if first.len() == second.len() => Verdict::Split,
        [_, odd @ ..] => Verdict::Odd(odd.concat()),
    }
}

fn print(
    reports: &[Report],
    revision: i64,
    roster: &Roster,
    output: &mut Output,
) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> = reports
        .iter()
        .filter_map(|report| {
            let answer = report.answer.as_ref().ok()?;
            Some(vec![
                report.endpoint.clone(),
                roster.label(report.member_id),
                format!("{:08x}", answer.hash),
                answer.compact_revision.to_string(),
            ])
        })
        .collect();
    output.line(format!("at revision {revision}:"))?;
    table(&HEADINGS, &rows)
        .iter()
        .try_for_each(|line| output.line(line))
}

fn sentence(verdict: &Verdict, reports: &[Report], roster: &Roster) -> String {
    let answered = reports.iter().filter(|r| r.answer.is_ok()).count();
    match verdict {
        Verdict::Same if answered == 1 => "one member answered: nothing to compare".to_owned(),
        Verdict::Same => format!("all {answered} members that answered hold the same data"),
        Verdict::Odd(odd) => {
            let names = odd
                .iter()
                .map(|place| roster.label(reports[*place].member_id));
            format!(
                "DIFFERENT: {} holds other data than most; replace it with `handfast member \
                 replace`",
                names.collect::<Vec<_>>().join(", ")
            )
        }
        Verdict::Split => {
            "DIFFERENT: the members hold different data, and there is no majority".to_owned()
        }
        Verdict::NotComparable => {
            "not comparable: the members are compacted at different revisions just now; run it \
             again"
                .to_owned()
        }
    }
}

fn json_of(report: &Report) -> Value {
    match &report.answer {
        Ok(answer) => json!({
            "endpoint": report.endpoint,
            "member_id": format!("{:x}", report.member_id),
            "hash": answer.hash,
            "compact_revision": answer.compact_revision,
        }),
        Err(error) => json!({ "endpoint": report.endpoint, "error": error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports(hashes: &[(u32, i64)]) -> Vec<Report> {
        let report = |(hash, compact_revision): &(u32, i64)| Report {
            endpoint: String::new(),
            member_id: 0,
            answer: Ok(HashKvResponse {
                hash: *hash,
                compact_revision: *compact_revision,
                ..HashKvResponse::default()
            }),
        };
        hashes.iter().map(report).collect()
    }

    #[test]
    fn the_odd_one_is_named() {
        assert_eq!(judge(&reports(&[(1, 0), (1, 0), (1, 0)])), Verdict::Same);
        let odd = judge(&reports(&[(1, 0), (2, 0), (1, 0)]));
        assert_eq!(odd, Verdict::Odd(vec![1]));
        assert_eq!(judge(&reports(&[(1, 0), (2, 0)])), Verdict::Split);
        assert_eq!(judge(&reports(&[(1, 0), (2, 3)])), Verdict::NotComparable);
        assert_eq!(judge(&reports(&[(1, 0)])), Verdict::Same);
    }
}
