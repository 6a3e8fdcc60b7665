//! How a member finds its cluster when it starts: which cluster, under which id, beside whom.
//!
//! Owns the rules of founding, of joining and of coming back. It must not know how data is kept,
//! and asks other members only who they are.
//!
//! Whoever a member is, is written down before anything else, so that a start that was cut short
//! can be repeated: founding again gives the same ids, and a member that has joined waits for its
//! leader.

mod ask;
mod error;
mod ids;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use handfast_consensus::Start;
use handfast_consensus::peer::Transport;
use handfast_proto::command::MemberInfo;
use handfast_proto::peer::{Description, Join};
use handfast_storage::wal::Identity;

use crate::config::{Config, Founder, InitialClusterState, JoinToken, Url};
use crate::ids::Ids;

pub use error::BootstrapError;
pub(crate) use ids::cluster_id;

/// What the configuration says about the cluster.
#[derive(Debug, Clone)]
pub(crate) struct Wishes {
    name: String,
    data_dir: PathBuf,
    /// What other members are told, and what clients are told.
    peer_urls: Vec<String>,
    client_urls: Vec<String>,
    founders: Vec<Founder>,
    /// Whether the founders were named, so that ids follow from their addresses.
    named: bool,
    state: InitialClusterState,
    cluster_token: String,
    join: Option<(Vec<String>, JoinToken)>,
}

/// Who a member is and how it gets going.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) identity: Identity,
    pub(crate) start: Start,
}

impl Wishes {
    /// Call it when all ports are known.
    pub(crate) fn of(config: &Config) -> Wishes {
        Wishes {
            name: config.name.clone(),
            data_dir: config.data_dir.clone(),
            peer_urls: texts(&config.initial_advertise_peer_urls),
            client_urls: texts(&config.advertise_client_urls),
            founders: config.founders(),
            named: !config.initial_cluster.is_empty(),
            state: config.initial_cluster_state,
            cluster_token: config.initial_cluster_token.clone(),
            join: config
                .join
                .as_ref()
                .map(|join| (texts(&join.addresses), join.token.clone())),
        }
    }

    /// Decides for a member without any data. Cancel safe, but a cluster that was asked to take
    /// the member in may have done so.
    pub(crate) async fn first_start(
        &self,
        transport: &dyn Transport,
    ) -> Result<Decision, BootstrapError> {
        if let Some((addresses, token)) = &self.join {
            return self.join(transport, addresses, token).await;
        }
        if self.state == InitialClusterState::Existing {
            return self.take_place(transport).await;
        }
        if !self.named {
            let ids = Ids::default();
            // Zero stands for "none" on the wire.
            let member_id = ids.draw().max(1);
            return Ok(self.found_alone(member_id));
        }
        let decision = self.found();
        self.check_not_started(transport, &decision).await?;
        Ok(decision)
    }

    /// Decides for a member that knows who it is, but whose log is still empty.
    pub(crate) fn start_over(&self, identity: Identity) -> Start {
        let repeated = match self.named && self.state == InitialClusterState::New {
            true => self.found(),
            false => self.found_alone(identity.member_id),
        };
        // Ids say what was decided the first time: whoever joined has a cluster id that follows
        // from other members' ids, and must never found a second cluster of that name.
        match repeated.identity == identity {
            true => repeated.start,
            false => Start::Join,
        }
    }

    /// Checks that a member with data starts beside its own cluster, and as itself.
    ///
    /// `known` are the members of its cluster as its data has it. Others that do not answer prove
    /// nothing, and are not waited for long.
    pub(crate) async fn check_return(
        &self,
        identity: Identity,
        known: &[MemberInfo],
        transport: &dyn Transport,
    ) -> Result<(), BootstrapError> {
        let own = known.iter().find(|member| member.id == identity.member_id);
        let is_own = |url: &String| {
            self.peer_urls.contains(url) || own.is_some_and(|own| own.peer_urls.contains(url))
        };
        let of_other = known.iter().find_map(|member| {
            let taken = |url: &&String| self.peer_urls.contains(url);
            let url = member.peer_urls.iter().find(taken)?;
            (member.id != identity.member_id).then_some((member, url))
        });
        if let Some((owner, url)) = of_other
            && own.is_some_and(|own| !own.peer_urls.contains(url))
        {
            return Err(BootstrapError::OtherMembersData {
                data_dir: self.data_dir.clone(),
                member_id: identity.member_id,
                url: url.clone(),
                owner: owner.id,
            });
        }
        let elsewhere = |urls: Vec<String>| -> Vec<String> {
            urls.into_iter().filter(|url| !is_own(url)).collect()
        };
        let named = elsewhere(self.others());
        let stored = known.iter().flat_map(|member| member.peer_urls.clone());
        let stored = elsewhere(stored.filter(|url| !named.contains(url)).collect());
        let (named, stored) = tokio::join!(
            ask::describe_each(transport, &named),
            ask::describe_each(transport, &stored),
        );
        self.check_answers(identity, &named)?;
        self.check_answers(identity, &stored)
    }

    fn check_answers(
        &self,
        identity: Identity,
        answers: &[(String, Description)],
    ) -> Result<(), BootstrapError> {
        let copied = answers
            .iter()
            .find(|(_, other)| other.member_id == identity.member_id);
        if let Some((url, _)) = copied {
            return Err(BootstrapError::CopiedData {
                data_dir: self.data_dir.clone(),
                member_id: identity.member_id,
                url: url.clone(),
            });
        }
        let ours = |answer: &(String, Description)| answer.1.cluster_id == identity.cluster_id;
        match answers.first() {
            // A single stranger may have taken over a port; a cluster of strangers is meant.
            Some((url, other)) if !answers.iter().any(ours) => {
                Err(BootstrapError::OtherClustersData {
                    data_dir: self.data_dir.clone(),
                    cluster_id: identity.cluster_id,
                    url: url.clone(),
                    other: other.cluster_id,
                })
            }
            _ => Ok(()),
        }
    }

    /// A cluster of this member only.
    fn found_alone(&self, member_id: u64) -> Decision {
        let member = MemberInfo {
            id: member_id,
            name: self.name.clone(),
            peer_urls: self.peer_urls.clone(),
            client_urls: self.client_urls.clone(),
            ..MemberInfo::default()
        };
        Decision {
            identity: Identity {
                cluster_id: cluster_id(&[member_id]),
                member_id,
            },
            start: Start::Found(vec![member]),
        }
    }

    /// The cluster of all named founders, the same on each of them.
    fn found(&self) -> Decision {
        let member = |founder: &Founder| {
            let peer_urls = texts(&founder.peer_urls);
            MemberInfo {
                id: ids::member_id(&peer_urls, &self.cluster_token),
                name: founder.name.clone(),
                peer_urls,
                // Each member says itself where its clients find it, once it runs.
                ..MemberInfo::default()
            }
        };
        let mut members: Vec<MemberInfo> = self.founders.iter().map(member).collect();
        members.sort_by_key(|member| member.id);
        let ids: Vec<u64> = members.iter().map(|member| member.id).collect();
        let own = members.iter().find(|member| member.name == self.name);
        Decision {
            identity: Identity {
                cluster_id: cluster_id(&ids),
                member_id: own.map_or(0, |own| own.id),
            },
            start: Start::Found(members),
        }
    }

    /// Refuses to found a cluster that runs already: a member whose data is gone would vote twice.
    async fn check_not_started(
        &self,
        transport: &dyn Transport,
        decision: &Decision,
    ) -> Result<(), BootstrapError> {
        let identity = decision.identity;
        for (url, other) in ask::describe_each(transport, &self.others()).await {
            if other.cluster_id != identity.cluster_id {
                return Err(BootstrapError::FoundersDisagree {
                    url,
                    cluster_id: identity.cluster_id,
                    other: other.cluster_id,
                });
            }
            if other.members.is_empty() {
                continue;
            }
            let own = other
                .members
                .iter()
                .find(|member| member.id == identity.member_id);
            match own {
                None => {
                    return Err(BootstrapError::WasRemoved {
                        name: self.name.clone(),
                        member_id: identity.member_id,
                        url,
                        peer_urls: self.peer_urls.join(","),
                    });
                }
                // Its client addresses are known only once it has run.
                Some(own) if !own.client_urls.is_empty() => return Err(self.lost_data(own)),
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Takes the place that `handfast member add` made in a cluster.
    async fn take_place(&self, transport: &dyn Transport) -> Result<Decision, BootstrapError> {
        let (url, cluster) = ask::describe_any(transport, &self.others()).await?;
        let Some(own) = self.own_entry(&cluster) else {
            return Err(BootstrapError::NotAdded {
                name: self.name.clone(),
                url,
                peer_urls: self.peer_urls.join(","),
            });
        };
        if !own.client_urls.is_empty() {
            return Err(self.lost_data(own));
        }
        self.check_listed(&url, &cluster)?;
        Ok(Decision {
            identity: Identity {
                cluster_id: cluster.cluster_id,
                member_id: own.id,
            },
            start: Start::Join,
        })
    }

    /// The members that the flags name must be those of the cluster.
    fn check_listed(&self, url: &str, cluster: &Description) -> Result<(), BootstrapError> {
        let is_member = |founder: &Founder| {
            let urls = texts(&founder.peer_urls);
            let same = |member: &MemberInfo| member.peer_urls.iter().any(|u| urls.contains(u));
            cluster.members.iter().any(same)
        };
        let stranger = self.founders.iter().find(|founder| !is_member(founder));
        if stranger.is_none() && self.founders.len() == cluster.members.len() {
            return Ok(());
        }
        let entry = |name: &str, urls: &[String]| {
            let entries: Vec<_> = urls.iter().map(|url| format!("{name}={url}")).collect();
            entries.join(",")
        };
        let right = cluster.members.iter().map(|member| {
            let own = member
                .peer_urls
                .iter()
                .any(|url| self.peer_urls.contains(url));
            let name = if own { &self.name } else { &member.name };
            entry(name, &member.peer_urls)
        });
        Err(BootstrapError::ListDiffers {
            url: url.to_owned(),
            listed: self.founders.len(),
            members: cluster.members.len(),
            right: right.collect::<Vec<_>>().join(","),
        })
    }

    /// Asks a cluster to take this member in.
    async fn join(
        &self,
        transport: &dyn Transport,
        addresses: &[String],
        token: &JoinToken,
    ) -> Result<Decision, BootstrapError> {
        let (_, cluster) = ask::describe_any(transport, addresses).await?;
        let waits = |member: &MemberInfo| member.is_learner && member.voter_intent;
        match self.own_entry(&cluster) {
            // The answer to an earlier attempt may have been lost.
            Some(own) if !waits(own) => return Err(self.lost_data(own)),
            _ => {}
        }
        let wish = Join {
            token: token.as_str().to_owned(),
            name: self.name.clone(),
            peer_urls: self.peer_urls.clone(),
            client_urls: self.client_urls.clone(),
        };
        let joined = ask::join(transport, addresses, &wish).await?;
        Ok(Decision {
            identity: Identity {
                cluster_id: joined.cluster_id,
                member_id: joined.member_id,
            },
            start: Start::Join,
        })
    }

    /// This member as the cluster knows it, by its address.
    fn own_entry<'a>(&self, cluster: &'a Description) -> Option<&'a MemberInfo> {
        let own = |url: &String| self.peer_urls.contains(url);
        let mut members = cluster.members.iter();
        members.find(|member| member.peer_urls.iter().any(own))
    }

    fn lost_data(&self, own: &MemberInfo) -> BootstrapError {
        BootstrapError::DataLost {
            data_dir: self.data_dir.clone(),
            name: own.name.clone(),
            member_id: own.id,
        }
    }

    /// Where the other members are, as the flags say.
    fn others(&self) -> Vec<String> {
        let named = self
            .founders
            .iter()
            .filter(|founder| founder.name != self.name)
            .flat_map(|founder| texts(&founder.peer_urls));
        let joined = self
            .join
            .iter()
            .flat_map(|(addresses, _)| addresses.clone());
        let mut urls: Vec<String> = named.chain(joined).collect();
        urls.retain(|url| !self.peer_urls.contains(url));
        urls
    }
}

fn texts(urls: &[Url]) -> Vec<String> {
    urls.iter().map(Url::to_string).collect()
}
