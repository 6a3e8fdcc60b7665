//! What the listeners for members answer in plain HTTP, beside health and version.
//!
//! Owns the list of members as etcd's peer port gives it.

use bytes::Bytes;
use handfast_proto::command::MemberInfo;
use http::{HeaderValue, Response, header};
use http_body_util::Full;
use serde::Serialize;
use tonic::body::Body;

use crate::api::Node;

/// Where the list of members is.
pub(crate) const MEMBERS_PATH: &str = "/members";

#[derive(Serialize)]
struct Shown {
    id: u64,
    #[serde(rename = "peerURLs")]
    peer_urls: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(rename = "clientURLs", skip_serializing_if = "Vec::is_empty")]
    client_urls: Vec<String>,
    #[serde(rename = "isLearner", skip_serializing_if = "std::ops::Not::not")]
    is_learner: bool,
}

/// The members as this one knows them.
pub(crate) fn member_list(node: &Node) -> Response<Body> {
    let body = render(node.consensus.members());
    let mut response = Response::new(Body::new(Full::new(Bytes::from(body))));
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    if let Ok(cluster) = HeaderValue::try_from(format!("{:x}", node.cluster_id)) {
        headers.insert("X-Etcd-Cluster-ID", cluster);
    }
    response
}

fn render(members: Vec<MemberInfo>) -> String {
    let shown = members.into_iter().map(|member| Shown {
        id: member.id,
        peer_urls: member.peer_urls,
        name: member.name,
        client_urls: member.client_urls,
        is_learner: member.is_learner && !member.voter_intent,
    });
    let shown: Vec<Shown> = shown.collect();
    serde_json::to_string(&shown).expect("texts and numbers are always JSON") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_listed_as_etcd_does() {
        let member = MemberInfo {
            id: u64::MAX,
            name: "a \"b\"".to_owned(),
            peer_urls: vec!["http://h:1".to_owned()],
            is_learner: true,
            ..MemberInfo::default()
        };
        assert_eq!(
            render(vec![member]),
            "[{\"id\":18446744073709551615,\"peerURLs\":[\"http://h:1\"],\
             \"name\":\"a \\\"b\\\"\",\"isLearner\":true}]\n"
        );
    }
}
