//! `handfast sessions kill`: end somebody's session.
//!
//! Owns how a person names a session, and what is told of its end.

use clap::Args;
use handfast::Handfast;
use handfast_core::Client;
use handfast_core::session::lease_hex;
use serde_json::json;

use crate::exit::{self, Failure};
use crate::keys::lease_id;
use crate::output::Output;
use crate::overview::{Holding, Overview, Session, read};
use crate::tenure::failure;

const AFTER_HELP: &str = "\
Examples:
  handfast sessions kill db-1:4711
  handfast sessions kill 1f2e --why \"hangs since noon\"

A program that goes on after it, such as `handfast queue work`, begins a new session.";

/// Options of `sessions kill`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP)]
pub(super) struct KillArgs {
    /// Which: its id, or HOST:PID
    #[arg(value_name = "SESSION")]
    which: String,
    /// What its program is told
    #[arg(
        long,
        value_name = "TEXT",
        alias = "reason",
        default_value = "no reason was given"
    )]
    why: String,
}

pub(super) async fn run(
    args: KillArgs,
    client: &Client,
    handfast: &Handfast,
    output: &mut Output,
) -> Result<i32, Failure> {
    let records = read::overview(&read::prefix(client, read::METADATA).await?);
    let lease = find(&records, &args.which)?;
    let overview = read::overview(&read::on_leases(client, &[lease]).await?);
    let session = overview
        .sessions
        .iter()
        .find(|session| session.lease == lease);
    let had: Vec<String> = session.map_or_else(Vec::new, |session| {
        session.holdings.iter().map(Holding::text).collect()
    });
    let killed = handfast.kill_session(lease, &args.why).await;
    if !killed.map_err(failure)? {
        let text = format!("session {} has ended already", lease_hex(lease));
        return Err(Failure::Other(text));
    }
    let who = session.map_or_else(|| lease_hex(lease), label);
    match output.is_json() {
        true => output.json(&json!({ "killed": lease_hex(lease), "had": had }))?,
        false => output.line(match had.is_empty() {
            true => format!("ended the session of {who}, which had nothing"),
            false => format!("ended the session of {who}; it {}", had.join(", ")),
        })?,
    }
    Ok(exit::OK)
}

/// The lease of the session that `which` names.
fn find(overview: &Overview, which: &str) -> Result<i64, Failure> {
    if let Some((host, pid)) = which.rsplit_once(':') {
        let here = overview.sessions.iter().filter(|session| {
            let record = session.record.as_ref();
            record.is_some_and(|it| it.host == host && it.pid.to_string() == pid)
        });
        let found: Vec<i64> = here.map(|session| session.lease).collect();
        return match found[..] {
            [lease] => Ok(lease),
            [] => Err(Failure::Other(format!(
                "no session of process {pid} on {host}"
            ))),
            _ => {
                let ids: Vec<String> = found.into_iter().map(lease_hex).collect();
                let ids = ids.join(", ");
                Err(Failure::Usage(format!(
                    "{which} has several: give one of {ids}"
                )))
            }
        };
    }
    lease_id(which).map_err(|_| {
        let hint = "`handfast sessions` lists them";
        Failure::Usage(format!(
            "`{which}` is no session's id and no HOST:PID; {hint}"
        ))
    })
}

fn label(session: &Session) -> String {
    let lease = lease_hex(session.lease);
    match &session.record {
        Some(record) => {
            format!(
                "{} (pid {} on {}, session {lease})",
                record.app, record.pid, record.host
            )
        }
        None => lease,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overview::tests::busy;

    #[test]
    fn a_session_is_named_by_its_id_or_by_its_process() {
        let overview = Overview::of(&busy(), read::METADATA);
        assert_eq!(find(&overview, "a1").unwrap(), 0xa1);
        assert_eq!(find(&overview, "db-2:8").unwrap(), 0xb2);
        let unknown = find(&overview, "db-2:9").unwrap_err();
        assert_eq!(
            (unknown.code(), unknown.to_string().contains("db-2")),
            (1, true)
        );
        assert_eq!(find(&overview, "backup").unwrap_err().code(), 2);
    }
}
