//! The Cluster service: who the members are.
//!
//! Owns how a member is shown to clients, and what is checked before the leader is asked; the
//! rules of membership are consensus' affair.

use handfast_proto::command::MemberInfo;
use handfast_proto::etcdserverpb::{
    Member, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse,
    MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse,
    MemberUpdateRequest, MemberUpdateResponse, cluster_server::Cluster,
};
use tonic::{Request, Response, Status};

use super::Node;
use crate::config::Url;
use crate::error;
use crate::metrics::Method;

#[tonic::async_trait]
impl Cluster for Node {
    async fn member_list(
        &self,
        request: Request<MemberListRequest>,
    ) -> Result<Response<MemberListResponse>, Status> {
        let served = async {
            self.admit(request.metadata())?;
            if request.get_ref().linearizable {
                self.catch_up().await?;
            }
            Ok(Response::new(MemberListResponse {
                header: Some(self.header(0)),
                members: self.shown(self.consensus.members()),
            }))
        };
        self.counted(Method::MemberList, served).await
    }

    async fn member_add(
        &self,
        request: Request<MemberAddRequest>,
    ) -> Result<Response<MemberAddResponse>, Status> {
        let served = async {
            self.admit(request.metadata())?;
            let asked = request.into_inner();
            let urls = peer_urls(&asked.peer_ur_ls).ok_or(error::MEMBER_URLS_INVALID)?;
            let adding = self.consensus.member_add(urls, asked.is_learner);
            let (id, members) = adding.await.map_err(error::from_member)?;
            let members = self.shown(members);
            Ok(Response::new(MemberAddResponse {
                header: Some(self.header(0)),
                member: members.iter().find(|member| member.id == id).cloned(),
                members,
            }))
        };
        self.counted(Method::MemberAdd, served).await
    }

    async fn member_remove(
        &self,
        request: Request<MemberRemoveRequest>,
    ) -> Result<Response<MemberRemoveResponse>, Status> {
        let served = async {
            self.admit(request.metadata())?;
            let removing = self.consensus.member_remove(request.get_ref().id);
            let members = removing.await.map_err(error::from_member)?;
            Ok(Response::new(MemberRemoveResponse {
                header: Some(self.header(0)),
                members: self.shown(members),
            }))
        };
        self.counted(Method::MemberRemove, served).await
    }

    async fn member_update(
        &self,
        request: Request<MemberUpdateRequest>,
    ) -> Result<Response<MemberUpdateResponse>, Status> {
        let served = async {
            self.admit(request.metadata())?;
            // Not even their syntax is checked, as it never was.
            let MemberUpdateRequest { id, peer_ur_ls } = request.into_inner();
            let updating = self.consensus.member_update(id, peer_ur_ls);
            let members = updating.await.map_err(error::from_member)?;
            Ok(Response::new(MemberUpdateResponse {
                header: Some(self.header(0)),
                members: self.shown(members),
            }))
        };
        self.counted(Method::MemberUpdate, served).await
    }

    async fn member_promote(
        &self,
        request: Request<MemberPromoteRequest>,
    ) -> Result<Response<MemberPromoteResponse>, Status> {
        let served = async {
            self.admit(request.metadata())?;
            let promoting = self.consensus.member_promote(request.get_ref().id);
            let members = promoting.await.map_err(error::from_member)?;
            Ok(Response::new(MemberPromoteResponse {
                header: Some(self.header(0)),
                members: self.shown(members),
            }))
        };
        self.counted(Method::MemberPromote, served).await
    }
}

impl Node {
    /// The members as clients see them, by ascending id.
    pub(crate) fn shown(&self, members: Vec<MemberInfo>) -> Vec<Member> {
        let mut members: Vec<Member> = members
            .into_iter()
            .map(|member| match member.id == self.member.id {
                // What this member is called and where it listens it knows best.
                true => MemberInfo {
                    name: self.member.name.clone(),
                    client_urls: self.member.client_urls.clone(),
                    ..member
                },
                false => member,
            })
            .map(shown)
            .collect();
        members.sort_by_key(|member| member.id);
        members
    }
}

fn shown(member: MemberInfo) -> Member {
    Member {
        id: member.id,
        name: member.name,
        peer_ur_ls: member.peer_urls,
        client_ur_ls: member.client_urls,
        // A voter learns at first, too, but whoever added it asked for a voter.
        is_learner: member.is_learner && !member.voter_intent,
    }
}

/// The URLs in their usual form and order; `None` when there is none, or one that is none.
fn peer_urls(asked: &[String]) -> Option<Vec<String>> {
    let parsed = asked.iter().map(|text| text.trim().parse::<Url>());
    let mut urls: Vec<String> = parsed
        .map(|url| url.map(|url| url.to_string()))
        .collect::<Result<_, _>>()
        .ok()?;
    urls.sort();
    (!urls.is_empty()).then_some(urls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_members_have_scheme_host_and_port_and_come_sorted() {
        let of = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            peer_urls(&texts)
        };
        let sorted = of(&["http://b:2380", " http://a:2380"]).unwrap();
        assert_eq!(sorted, ["http://a:2380", "http://b:2380"]);
        assert!(of(&["https://[::1]:1", "unix:///run/peer.sock"]).is_some());
        let wrong: [&[&str]; 6] = [
            &[],
            &[""],
            &["a:2380"],
            &["http://a"],
            &["ftp://a:1"],
            &["http://a:2380", "http://b:2380/path"],
        ];
        for texts in wrong {
            assert_eq!(of(texts), None, "{texts:?}");
        }
    }

    #[test]
    fn a_learner_that_is_to_vote_is_shown_as_a_voter() {
        let learner = MemberInfo {
            id: 1,
            is_learner: true,
            ..MemberInfo::default()
        };
        let voter = MemberInfo {
            voter_intent: true,
            ..learner.clone()
        };
        assert!(shown(learner).is_learner);
        assert!(!shown(voter).is_learner);
    }
}
