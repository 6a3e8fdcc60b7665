//! `handfast member replace`: a new member takes the place of another.
//!
//! Owns the order of steps: the old one goes only when the new one votes, so the cluster is never
//! weaker than before. Each step looks at what is there, so the command may be run again.

use std::time::Duration;

use clap::Args;
use handfast_core::proto::etcdserverpb::Member;
use handfast_core::{Client, Error, ErrorKind};
use handfast_server::config::Url;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::change::{explain, texts};
use super::howto::HowTo;
use crate::connect::{Connection, duration};
use crate::exit::{self, Failure};
use crate::output::{Output, tell};
use crate::roster::{Roster, label, peer_url};

/// Pause between two looks at the new member.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How long a change is tried again while the cluster thinks itself unwell: members that were just
/// started or promoted have to see each other for a while first.
const UNWELL: Duration = Duration::from_secs(30);

const AFTER_HELP: &str = "\
The new member is added as a learner, which needs no votes. Start it as the command says. When it
has caught up it is promoted, and only then the old member is removed. It may be interrupted at any
point: run it again, and it goes on where it was.";

/// Options of `member replace`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ReplaceArgs {
    /// Name or id of the member that goes
    old: String,
    /// Where the others will reach the new member: http://HOST:PORT
    #[arg(value_name = "NEW-PEER-URL", value_parser = peer_url)]
    new: Url,
    /// Name of the new member [default: that of the old one]
    #[arg(long)]
    name: Option<String>,
    /// How long to wait for the new member to start and catch up [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    wait: Option<Duration>,
}

pub(super) async fn run(
    args: ReplaceArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let client = connection.client()?;
    let roster = Roster::read(&client).await?;
    let new = roster.at(&args.new).cloned();
    let Some(old) = roster.find_other(&args.old, &args.new)?.cloned() else {
        return without_old(&args, &roster, new.as_ref(), output);
    };
    // The old member may be the only one that was named, and it goes.
    let mut endpoints = connection.endpoints();
    endpoints.extend(roster.endpoints());
    let client = connection.client_of(endpoints)?;
    let mut work = Replacement {
        client,
        old,
        deadline: args.wait.map(|time| Instant::now() + time),
        shown: String::new(),
    };
    let id = match new {
        Some(member) => member.id,
        None => work.add(&args, &roster, output).await?,
    };
    let new = work.wait_until_promoted(id, output).await?;
    work.remove_old(&new, output).await?;
    Ok(exit::OK)
}

/// The old member is not in the list: all done, or a slip of the pen.
fn without_old(
    args: &ReplaceArgs,
    roster: &Roster,
    new: Option<&Member>,
    output: &mut Output,
) -> Result<i32, Failure> {
    match new {
        Some(new) if new.name == args.old || format!("{:x}", new.id) == args.old => {
            if new.is_learner {
                return Err(Failure::Usage(format!(
                    "{} is itself the member at {}; promote it with `handfast member promote {:x}`",
                    label(new),
                    args.new,
                    new.id
                )));
            }
        }
        Some(new) if !new.is_learner => {}
        // Names the members there are.
        _ => return roster.find(&args.old).map(|_| exit::OK),
    }
    let id = new.map(|member| member.id).unwrap_or_default();
    let text = format!(
        "nothing is left to do: there is no other member `{}`, and {} votes",
        args.old,
        roster.label(id)
    );
    step(output, "done", id, &text, json!({}))?;
    Ok(exit::OK)
}

/// A replacement under way.
struct Replacement {
    client: Client,
    old: Member,
    deadline: Option<Instant>,
    /// The last progress that was shown.
    shown: String,
}

impl Replacement {
    async fn add(
        &mut self,
        args: &ReplaceArgs,
        roster: &Roster,
        output: &mut Output,
    ) -> Result<u64, Failure> {
        let urls = std::slice::from_ref(&args.new);
        let patience = Instant::now() + UNWELL;
        let answer = loop {
            match self.client.member_add(texts(urls), true).await {
                Ok(answer) => break answer,
                Err(error)
                    if error.kind() == ErrorKind::UnhealthyCluster && Instant::now() < patience =>
                {
                    self.show(format!(
                        "waiting to add the new member: {}",
                        error.message()
                    ));
                    sleep(LOOK_AGAIN).await;
                }
                Err(error) => return Err(explain(error, roster, urls)),
            }
        };
        let id = answer.member.unwrap_or_default().id;
        let name = match (&args.name, self.old.name.as_str()) {
            (Some(name), _) => name.clone(),
            (None, "") => "replacement".to_owned(),
            (None, old) => old.to_owned(),
        };
        // The old one need not be known to the new one, but it is a member still.
        let howto = HowTo::new(&name, id, urls, &answer.members);
        let text = format!("{id:x} was added as a learner. Start it now, on its machine:");
        step(output, "added", id, &text, json!({ "start": howto.json() }))?;
        if !output.is_json() {
            howto.print(output)?;
            output.line("")?;
        }
        output.flush()?;
        Ok(id)
    }

    /// Waits until the member has started and caught up, and promotes it.
    async fn wait_until_promoted(
        &mut self,
        id: u64,
        output: &mut Output,
    ) -> Result<Member, Failure> {
        loop {
            match self.look(id).await {
                Ok(Some(member)) => {
                    let text = format!("{} has caught up and votes", label(&member));
                    step(output, "promoted", id, &text, json!({}))?;
                    return Ok(member);
                }
                Ok(None) => {}
                Err(Failure::Call(error)) if error.is_retryable() => {
                    self.show(format!("waiting for the cluster: {error}"));
                }
                Err(failure) => return Err(failure),
            }
            if self.deadline.is_some_and(|end| Instant::now() >= end) {
                return Err(Failure::Other(format!(
                    "the new member did not catch up within --wait (last seen: {}); run the same \
                     command again to go on",
                    self.shown
                )));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// The new member once it votes.
    async fn look(&mut self, id: u64) -> Result<Option<Member>, Failure> {
        let roster = Roster::read(&self.client).await?;
        let Some(member) = roster.by_id(id).cloned() else {
            return Err(Failure::Other(format!(
                "member {id:x} was removed by somebody else meanwhile; run the same command again \
                 to start anew"
            )));
        };
        if !member.is_learner {
            return Ok(Some(member));
        }
        if member.name.is_empty() {
            self.show("waiting for the new member to be started".to_owned());
            return Ok(None);
        }
        match self.client.member_promote(id).await {
            Ok(_) => Ok(Some(member)),
            Err(error) if is_behind(&error) => {
                let progress = self.progress(&roster, &member).await;
                self.show(progress);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn progress(&self, roster: &Roster, member: &Member) -> String {
        let index = async |member: &Member| {
            let endpoint = member.client_ur_ls.first()?;
            let status = self.client.status(endpoint).await.ok()?;
            Some((status.raft_applied_index, status.leader))
        };
        let Some((applied, leader)) = index(member).await else {
            return format!("{} is catching up", label(member));
        };
        let leader = roster.by_id(leader).or_else(|| roster.members.first());
        match leader {
            Some(leader) => match index(leader).await {
                Some((all, _)) => format!("{} has {applied} of {all} entries", label(member)),
                None => format!("{} has {applied} entries", label(member)),
            },
            None => format!("{} has {applied} entries", label(member)),
        }
    }

    async fn remove_old(&mut self, new: &Member, output: &mut Output) -> Result<(), Failure> {
        self.lead_elsewhere(new).await;
        let patience = Instant::now() + UNWELL;
        loop {
            let error = match self.client.member_remove(self.old.id).await {
                Ok(_) => break,
                Err(error) => error,
            };
            let roster = Roster::read(&self.client).await;
            if roster
                .as_ref()
                .is_ok_and(|r| r.by_id(self.old.id).is_none())
            {
                break;
            }
            if !error.is_retryable() || Instant::now() >= patience {
                return Err(explain(error, &roster.unwrap_or_default(), &[]));
            }
            self.show(format!("waiting to remove {}: {error}", label(&self.old)));
            sleep(LOOK_AGAIN).await;
        }
        let text = format!(
            "{} was removed; {} is in its place",
            label(&self.old),
            label(new)
        );
        step(output, "removed", self.old.id, &text, json!({}))
    }

    /// A leader that is removed leaves the cluster without one for an election. This spares it
    /// that; when it fails the removal still works.
    async fn lead_elsewhere(&self, new: &Member) {
        let Some(endpoint) = self.old.client_ur_ls.first() else {
            return;
        };
        let status = self
            .client
            .with_timeout(Duration::from_secs(2))
            .status(endpoint)
            .await;
        if status.is_ok_and(|status| status.leader == self.old.id) {
            let _ = self.client.move_leader(endpoint, new.id).await;
        }
    }

    /// Progress for a person; said once.
    fn show(&mut self, text: String) {
        if self.shown != text {
            tell!("{text}");
            self.shown = text;
        }
    }
}

fn is_behind(error: &Error) -> bool {
    error.message().contains("in sync with leader")
}

/// One step that is done, for people or for programs.
fn step(
    output: &mut Output,
    step: &str,
    id: u64,
    text: &str,
    mut more: Value,
) -> Result<(), Failure> {
    if output.is_json() {
        more["step"] = json!(step);
        more["member_id"] = json!(format!("{id:x}"));
        output.json(&more)?;
    } else {
        output.line(text)?;
    }
    output.flush()
}
