//! Single changes of the member list: add, remove, promote, update.
//!
//! Owns what is said about them and what a refusal means. The rules are the server's.

use handfast_core::proto::etcdserverpb::Member;
use handfast_core::{Client, Error, ErrorKind};
use handfast_server::config::Url;
use serde_json::json;

use super::AddArgs;
use super::howto::HowTo;
use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::output::Output;
use crate::roster::{Roster, label, member_json};

pub(super) async fn add(
    args: AddArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let client = connection.client()?;
    let roster = Roster::read(&client).await?;
    if let Some(member) = roster.members.iter().find(|m| m.name == args.name) {
        return Err(Failure::Usage(format!(
            "member {:x} has the name `{}` already; choose another, or use `handfast member \
             replace` to put a new machine in its place",
            member.id, args.name
        )));
    }
    let answer = client
        .member_add(texts(&args.peer_urls), args.learner)
        .await;
    let answer = answer.map_err(|error| explain(error, &roster, &args.peer_urls))?;
    let member = answer.member.unwrap_or_default();
    let howto = HowTo::new(&args.name, member.id, &args.peer_urls, &answer.members);
    if output.is_json() {
        output.json(&json!({
            "cluster_id": format!("{:x}", roster.cluster_id),
            "member": member_json(&member),
            "start": howto.json(),
        }))?;
        return Ok(exit::OK);
    }
    let what = if args.learner {
        "as a learner"
    } else {
        "as a member"
    };
    output.line(format!(
        "{} was added to cluster {:x} {what}, with the id {:x}. Start it now, on its machine:",
        args.name, roster.cluster_id, member.id
    ))?;
    howto.print(output)?;
    Ok(exit::OK)
}

pub(super) async fn remove(
    name: &str,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let request = async |client: &Client, id| Ok(client.member_remove(id).await?.members);
    let change = Change::of(name, connection).await?;
    change
        .carry_out(&[], request, output, |member| {
            format!(
                "{member} was removed; it stops by itself and can never come back under this id"
            )
        })
        .await
}

pub(super) async fn promote(
    name: &str,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let request = async |client: &Client, id| Ok(client.member_promote(id).await?.members);
    let change = Change::of(name, connection).await?;
    change
        .carry_out(&[], request, output, |member| {
            format!("{member} votes from now on")
        })
        .await
}

pub(super) async fn update(
    name: &str,
    peer_urls: &[Url],
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let urls = texts(peer_urls);
    let request = async |client: &Client, id| {
        let answer = client.member_update(id, urls.clone()).await?;
        Ok(answer.members)
    };
    let change = Change::of(name, connection).await?;
    change
        .carry_out(peer_urls, request, output, |member| {
            let urls = urls.join(",");
            format!("the others reach {member} at {urls} from now on")
        })
        .await
}

/// A change of one member that is in the list.
struct Change {
    client: Client,
    roster: Roster,
    member: Member,
}

impl Change {
    /// Looks the member up by its name or id.
    async fn of(name: &str, connection: &Connection) -> Result<Change, Failure> {
        let client = connection.client()?;
        let roster = Roster::read(&client).await?;
        let member = roster.find(name)?.clone();
        Ok(Change {
            client,
            roster,
            member,
        })
    }

    /// Asks for it, and says what `told` makes of the member's name.
    async fn carry_out(
        &self,
        peer_urls: &[Url],
        request: impl AsyncFnOnce(&Client, u64) -> Result<Vec<Member>, Error>,
        output: &mut Output,
        told: impl FnOnce(&str) -> String,
    ) -> Result<i32, Failure> {
        let id = self.member.id;
        let members = request(&self.client, id).await;
        let members = members.map_err(|error| explain(error, &self.roster, peer_urls))?;
        match output.is_json() {
            true => output.json(&json!({
                "member_id": format!("{id:x}"),
                "members": members.len(),
            }))?,
            false => output.line(told(&label(&self.member)))?,
        }
        Ok(exit::OK)
    }
}

pub(super) fn texts(urls: &[Url]) -> Vec<String> {
    urls.iter().map(Url::to_string).collect()
}

/// A refusal, with what to do about it where that takes the member list to know.
pub(super) fn explain(error: Error, roster: &Roster, peer_urls: &[Url]) -> Failure {
    let advice = if error.kind() == ErrorKind::MemberExists {
        peer_urls
            .iter()
            .find_map(|url| roster.at(url))
            .map(|member| {
                format!(
                    "{} has that address; remove or update it first",
                    label(member)
                )
            })
    } else if error.message().contains("too many learner") {
        let learner = roster.members.iter().find(|member| member.is_learner);
        learner.map(|member| {
            format!(
                "promote or remove {} first, or raise --max-learners",
                label(member)
            )
        })
    } else if error.message().contains("in sync with leader") {
        Some("wait until `handfast status --cluster` shows it a few entries behind".to_owned())
    } else if error.message().contains("not enough started members") {
        let waiting: Vec<String> = roster
            .members
            .iter()
            .filter(|member| member.name.is_empty())
            .map(label)
            .collect();
        match waiting.as_slice() {
            [] => Some("bring all members up first: too few of them are running".to_owned()),
            waiting => Some(format!("start or remove {} first", waiting.join(", "))),
        }
    } else {
        None
    };
    match advice {
        Some(advice) => Failure::Other(format!(
            "{}: {}; {advice}",
            error.operation(),
            error.message()
        )),
        None => Failure::Call(error),
    }
}
