//! `handfast sessions`: who is connected, and what hangs on it.
//!
//! Owns its options and its listing. It must not know how the picture is made.

mod kill;

use std::time::Instant;

use clap::{Args, Subcommand};
use handfast_core::Client;
use handfast_core::session::{Clock, SystemClock, lease_hex};
use serde_json::Value;

use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::output::{Output, span, table};
use crate::overview::ttl::Leases;
use crate::overview::{Holding, Overview, Seen, Session, json, read};

const HEADINGS: [&str; 7] = [
    "SESSION",
    "HOST",
    "PID",
    "PROGRAM",
    "AGE",
    "TTL LEFT",
    "WHAT IT HAS",
];
const UNKNOWN: &str = "-";

const AFTER_HELP: &str = "\
Examples:
  handfast sessions                      who is connected, and what would go with it
  handfast sessions --all                also etcdctl and others that leave no record
  handfast sessions kill db-1:4711       end one, as if its machine had died
  handfast sessions kill 1f2e --why ...  and tell its program why

Host, process, program and age are what the program said when its session began.";

/// Options of `sessions`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
#[command(disable_help_subcommand = true)]
pub(crate) struct SessionsArgs {
    #[command(subcommand)]
    action: Option<Action>,
    /// Show the leases of programs that leave no record, too
    #[arg(long)]
    all: bool,
}

#[derive(Subcommand, Debug, Clone)]
enum Action {
    /// End a session: all it holds is free at once, and its program is told by whom and why
    Kill(kill::KillArgs),
}

pub(crate) async fn run(
    args: SessionsArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let client = connection.client()?;
    if let Some(Action::Kill(args)) = args.action {
        return kill::run(args, &client, &connection.personally()?, output).await;
    }
    let overview = look(&client, args.all).await?;
    let leases = Leases::ask(&client, overview.leases()).await?;
    let seen = Seen {
        overview: &overview,
        leases: &leases,
        now: Instant::now(),
        unix: SystemClock.unix_time(),
    };
    let shown: Vec<&Session> = overview
        .sessions
        .iter()
        .filter(|session| args.all || session.record.is_some())
        .collect();
    match output.is_json() {
        true => {
            let all = shown.iter().map(|session| json::session(seen, session));
            output.json(&Value::Array(all.collect()))?;
        }
        false => print(seen, &shown, output)?,
    }
    Ok(exit::OK)
}

/// The sessions with everything on their leases.
async fn look(client: &Client, all: bool) -> Result<Overview, Failure> {
    let leases: Vec<i64> = match all {
        true => client.leases().await?,
        false => {
            let records = read::prefix(client, read::METADATA).await?;
            read::overview(&records).leases().into_iter().collect()
        }
    };
    let pairs = read::on_leases(client, &leases).await?;
    let mut overview = read::overview(&pairs);
    if all {
        overview.add_sessions(leases);
    }
    Ok(overview)
}

fn print(seen: Seen<'_>, sessions: &[&Session], output: &mut Output) -> Result<(), Failure> {
    if sessions.is_empty() {
        return output.line("no sessions");
    }
    let rows: Vec<Vec<String>> = sessions.iter().map(|session| row(seen, session)).collect();
    table(&HEADINGS, &rows)
        .iter()
        .try_for_each(|line| output.line(line))
}

/// The cells of one session, as [`HEADINGS`] name them.
fn row(seen: Seen<'_>, session: &Session) -> Vec<String> {
    let unknown = || UNKNOWN.to_owned();
    let record = session.record.as_ref();
    let age = record.and_then(|record| seen.since(record.since_unix_ms));
    let has: Vec<String> = session.holdings.iter().map(Holding::text).collect();
    vec![
        lease_hex(session.lease),
        record.map_or_else(unknown, |record| record.host.clone()),
        record.map_or_else(unknown, |record| record.pid.to_string()),
        record.map_or_else(unknown, |record| record.app.clone()),
        age.map_or_else(unknown, span),
        seen.ttl(session.lease).text(),
        match has.is_empty() {
            true => "nothing".to_owned(),
            false => has.join(", "),
        },
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::overview::tests::busy;

    #[test]
    fn a_row_says_who_it_is_and_what_it_has() {
        let overview = Overview::of(&busy(), read::METADATA);
        let now = Instant::now();
        let leases = Leases::of(&[(0xa1, 9, 10)], now);
        let seen = Seen {
            overview: &overview,
            leases: &leases,
            now,
            unix: Duration::from_millis(1_065_000),
        };
        assert_eq!(
            row(seen, &overview.sessions[0]),
            [
                "a1",
                "db-1",
                "7",
                "backup",
                "1m5s",
                "9s",
                "holds jobs/nightly, works for img, has img 1"
            ]
        );
        assert_eq!(
            row(seen, &overview.sessions[2])[..6],
            ["c3", "-", "-", "-", "-", "-"]
        );
    }
}
