//! The cluster's member list as commands use it.
//!
//! Owns how a person names a member, and how a member is shown. It must not change the list.

use handfast_core::Client;
use handfast_core::proto::etcdserverpb::cluster_client::ClusterClient;
use handfast_core::proto::etcdserverpb::{Member, MemberListRequest};
use handfast_server::config::Url;
use serde_json::{Value, json};

use crate::exit::Failure;

/// The members of a cluster at some moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roster {
    pub(crate) cluster_id: u64,
    pub(crate) members: Vec<Member>,
}

impl Roster {
    pub(crate) fn new(header: Option<handfast_core::Header>, members: Vec<Member>) -> Roster {
        Roster {
            cluster_id: header.unwrap_or_default().cluster_id,
            members,
        }
    }

    /// The list as the leader knows it.
    pub(crate) async fn read(client: &Client) -> Result<Roster, Failure> {
        let answer = client.members().await?;
        Ok(Roster::new(answer.header, answer.members))
    }

    /// The list as the first endpoint that answers knows it: works without a leader.
    pub(crate) async fn read_anywhere(client: &Client) -> Option<Roster> {
        for endpoint in client.endpoints() {
            let asked = tokio::time::timeout(client.timeout(), local_list(client, &endpoint)).await;
            if let Ok(Some(roster)) = asked {
                return Some(roster);
            }
        }
        None
    }

    /// The member a person means: its name, or its id as `member list` prints it.
    pub(crate) fn find(&self, text: &str) -> Result<&Member, Failure> {
        let all: Vec<&Member> = self.members.iter().collect();
        match named(&all, text)? {
            Some(member) => Ok(member),
            None => Err(Failure::Usage(format!(
                "there is no member `{text}`; the members are {}",
                self.members
                    .iter()
                    .map(label)
                    .collect::<Vec<_>>()
                    .join(", ")
            ))),
        }
    }

    /// The same, but not the member at `url`, and that there may be none.
    pub(crate) fn find_other(&self, text: &str, url: &Url) -> Result<Option<&Member>, Failure> {
        let others: Vec<&Member> = self.members.iter().filter(|m| !is_at(m, url)).collect();
        named(&others, text)
    }

    pub(crate) fn by_id(&self, id: u64) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    /// The member whose peers reach it at `url`.
    pub(crate) fn at(&self, url: &Url) -> Option<&Member> {
        self.members.iter().find(|member| is_at(member, url))
    }

    /// A member's name for a sentence, though it may be gone.
    pub(crate) fn label(&self, id: u64) -> String {
        self.by_id(id).map_or_else(|| format!("{id:x}"), label)
    }

    /// Where clients reach the members that have started, one address each, by their names.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        let mut members: Vec<&Member> = self.members.iter().collect();
        members.sort_by_key(|member| &member.name);
        let first = |member: &Member| member.client_ur_ls.first().cloned();
        members.into_iter().filter_map(first).collect()
    }
}

async fn local_list(client: &Client, endpoint: &str) -> Option<Roster> {
    let channel = client.channel(Some(endpoint)).await.ok()?;
    let request = MemberListRequest {
        linearizable: false,
    };
    let answer = ClusterClient::new(channel).member_list(request).await;
    let answer = answer.ok()?.into_inner();
    Some(Roster::new(answer.header, answer.members))
}

fn named<'a>(members: &[&'a Member], text: &str) -> Result<Option<&'a Member>, Failure> {
    let id = text.strip_prefix("0x").unwrap_or(text);
    let id = u64::from_str_radix(id, 16).ok().filter(|id| *id != 0);
    let meant = |member: &&&'a Member| member.name == text || Some(member.id) == id;
    let mut found = members.iter().filter(meant);
    match (found.next(), found.next()) {
        (Some(first), Some(second)) => Err(Failure::Usage(format!(
            "`{text}` may be member {:x} or member {:x}: give the id",
            first.id, second.id
        ))),
        (first, _) => Ok(first.copied()),
    }
}

fn is_at(member: &Member, url: &Url) -> bool {
    let urls = member.peer_ur_ls.iter();
    urls.filter_map(|text| text.parse::<Url>().ok())
        .any(|other| other.reaches_the_same(url))
}

/// A member for a sentence.
pub(crate) fn label(member: &Member) -> String {
    match member.name.as_str() {
        "" => format!("{:x} (not started)", member.id),
        name => format!("{name} ({:x})", member.id),
    }
}

/// A member has no name until it has started for the first time.
pub(crate) fn standing(member: &Member) -> &'static str {
    match (member.name.is_empty(), member.is_learner) {
        (true, _) => "unstarted",
        (false, true) => "learner",
        (false, false) => "started",
    }
}

pub(crate) fn member_json(member: &Member) -> Value {
    json!({
        "id": format!("{:x}", member.id),
        "status": standing(member),
        "name": member.name,
        "client_urls": member.client_ur_ls,
        "peer_urls": member.peer_ur_ls,
        "learner": member.is_learner,
    })
}

/// A peer address as a person types it: a URL, or `HOST:PORT`.
pub(crate) fn peer_url(text: &str) -> Result<Url, String> {
    let url: Url = match text.contains("://") {
        true => text.parse()?,
        false => format!("http://{text}").parse()?,
    };
    match url.socket_file() {
        None => Ok(url),
        Some(_) => Err("members talk over TCP: write http://HOST:PORT".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster() -> Roster {
        let member = |id, name: &str, port| Member {
            id,
            name: name.to_owned(),
            peer_ur_ls: vec![format!("http://127.0.0.1:{port}")],
            ..Member::default()
        };
        let members = vec![
            member(0xa1, "n1", 1),
            member(0xa2, "n2", 2),
            member(0xa3, "a1", 3),
            member(0xa4, "", 4),
        ];
        Roster {
            cluster_id: 7,
            members,
        }
    }

    #[test]
    fn a_member_is_found_by_name_or_id() {
        let roster = roster();
        assert_eq!(roster.find("n2").unwrap().id, 0xa2);
        assert_eq!(roster.find("a2").unwrap().id, 0xa2);
        assert_eq!(roster.find("0xa4").unwrap().id, 0xa4);
        let unknown = roster.find("n9").unwrap_err().to_string();
        assert!(unknown.contains("n1 (a1)") && unknown.contains("a4 (not started)"));
        let both = roster.find("a1").unwrap_err().to_string();
        assert!(both.contains("a1 or member a3"), "{both}");
    }

    #[test]
    fn a_successor_may_have_the_name_of_its_predecessor() {
        let mut roster = roster();
        roster.members[3].name = "n2".to_owned();
        let url = peer_url("localhost:4").unwrap();
        assert_eq!(roster.at(&url).unwrap().id, 0xa4);
        assert!(roster.find("n2").is_err());
        assert_eq!(roster.find_other("n2", &url).unwrap().unwrap().id, 0xa2);
        roster.members.remove(1);
        assert!(roster.find_other("n2", &url).unwrap().is_none());
    }

    #[test]
    fn peer_addresses_may_leave_the_scheme_out() {
        assert_eq!(peer_url("h:1").unwrap().to_string(), "http://h:1");
        assert_eq!(peer_url("https://h:1").unwrap().to_string(), "https://h:1");
        assert!(peer_url("h").is_err() && peer_url("unix:///x").is_err());
    }
}
