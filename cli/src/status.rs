//! `handfast status`: how each server is doing.
//!
//! Owns who is asked, and what the answers say together. Their form is in `status::show`.

mod fsync;
mod show;

use clap::Args;
use futures::future::join_all;
use handfast_core::proto::etcdserverpb::StatusResponse;
use handfast_core::{Client, ErrorKind};

use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::output::{Output, tell};
use crate::roster::{Roster, label};
use fsync::Fsync;

/// Options of `status`.
#[derive(Args, Debug, Clone)]
pub(crate) struct StatusArgs {
    /// All members of the cluster, not only the chosen servers
    #[arg(long)]
    cluster: bool,
}

/// What one server said of itself.
struct Report {
    endpoint: String,
    answer: Result<Answer, handfast_core::Error>,
}

struct Answer {
    status: StatusResponse,
    /// Why it cannot serve, if it cannot.
    trouble: Option<String>,
    /// How long its disk takes, if it tells.
    fsync: Option<Fsync>,
}

/// All answers, and what is known of the cluster.
struct Picture {
    reports: Vec<Report>,
    roster: Roster,
    /// The last entry of the log that is known to be committed.
    committed: u64,
}

pub(crate) async fn run(
    args: StatusArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let mut client = connection.client()?;
    if args.cluster {
        client = whole_cluster(&client, connection).await?;
    }
    let asked = client.endpoints();
    let asked = join_all(asked.into_iter().map(|endpoint| ask(&client, endpoint)));
    let (reports, roster) = tokio::join!(asked, Roster::read_anywhere(&client));
    let picture = Picture::new(reports, roster.unwrap_or_default());
    show::print(&picture, output)?;
    output.flush()?;
    if args.cluster {
        for member in &picture.roster.members {
            if member.client_ur_ls.is_empty() {
                tell!("{} cannot be asked", label(member));
            }
        }
    }
    Ok(picture.exit_code())
}

/// A client of all members that tell clients an address.
async fn whole_cluster(client: &Client, connection: &Connection) -> Result<Client, Failure> {
    let roster = match Roster::read_anywhere(client).await {
        Some(roster) => roster,
        // Says best what is wrong.
        None => Roster::read(client).await?,
    };
    match roster.endpoints() {
        endpoints if endpoints.is_empty() => Ok(client.clone()),
        endpoints => connection.client_of(endpoints),
    }
}

async fn ask(client: &Client, endpoint: String) -> Report {
    let (status, health, fsync) = tokio::join!(
        client.status(&endpoint),
        client.health(&endpoint),
        fsync::ask(&endpoint)
    );
    let answer = status.map(|status| Answer {
        // A learner cannot do what health asks for, and is none the worse for it.
        trouble: health
            .err()
            .filter(|error| error.kind() != ErrorKind::Learner)
            .map(|error| error.to_string()),
        status,
        fsync,
    });
    Report { endpoint, answer }
}

impl Answer {
    fn member_id(&self) -> u64 {
        self.status.header.unwrap_or_default().member_id
    }

    fn role(&self) -> &'static str {
        match self.status.leader {
            _ if self.status.is_learner => "learner",
            0 => "no leader",
            leader if leader == self.member_id() => "leader",
            _ => "follower",
        }
    }
}

impl Picture {
    fn new(reports: Vec<Report>, roster: Roster) -> Picture {
        let answers = reports.iter().filter_map(|r| r.answer.as_ref().ok());
        // The leader knows; without one the member that has heard most comes nearest.
        let committed = answers.map(|answer| {
            let leads = answer.role() == "leader";
            (leads, answer.status.raft_term, answer.status.raft_index)
        });
        let committed = committed.max().map_or(0, |(_, _, index)| index);
        Picture {
            reports,
            roster,
            committed,
        }
    }

    /// Entries that a member has yet to apply.
    fn behind(&self, answer: &Answer) -> u64 {
        self.committed
            .saturating_sub(answer.status.raft_applied_index)
    }

    fn name(&self, answer: &Answer) -> &str {
        let member = self.roster.by_id(answer.member_id());
        member.map_or("", |member| &member.name)
    }

    fn exit_code(&self) -> i32 {
        let failures = self.reports.iter().filter_map(|r| r.answer.as_ref().err());
        let code = failures
            .map(|error| Failure::Call(error.clone()).code())
            .max();
        let sick = |report: &Report| matches!(&report.answer, Ok(a) if a.trouble.is_some());
        let sick = self.reports.iter().any(sick);
        code.unwrap_or(if sick { exit::FAILED } else { exit::OK })
    }
}

#[cfg(test)]
mod tests {
    use handfast_core::Header;

    use super::*;

    fn answer(member_id: u64, leader: u64, index: u64, applied: u64) -> Answer {
        let header = Some(Header {
            member_id,
            ..Header::default()
        });
        Answer {
            status: StatusResponse {
                header,
                leader,
                raft_index: index,
                raft_applied_index: applied,
                ..StatusResponse::default()
            },
            trouble: None,
            fsync: None,
        }
    }

    #[test]
    fn role_compares_the_member_with_the_leader() {
        assert_eq!(answer(7, 7, 0, 0).role(), "leader");
        assert_eq!(answer(7, 8, 0, 0).role(), "follower");
        assert_eq!(answer(7, 0, 0, 0).role(), "no leader");
    }

    #[test]
    fn members_are_behind_what_the_leader_has() {
        let report = |answer| Report {
            endpoint: String::new(),
            answer: Ok(answer),
        };
        let reports = vec![
            report(answer(1, 2, 105, 90)),
            report(answer(2, 2, 100, 100)),
        ];
        let picture = Picture::new(reports, Roster::default());
        let behind = picture.reports.iter();
        let behind: Vec<u64> = behind
            .map(|r| picture.behind(r.answer.as_ref().unwrap()))
            .collect();
        assert_eq!(behind, [10, 0]);
    }
}
