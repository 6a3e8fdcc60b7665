//! The rules of founding, joining and coming back, with the other members as a table.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;
use handfast_consensus::peer::{Pipe, Unreachable};
use handfast_proto::peer::{
    Joined, Refusal, Request, Response, refusal::Reason, request, response,
};
use parking_lot::Mutex;

use super::*;

/// What each address answers; the others are silent.
#[derive(Debug, Default)]
struct Others {
    descriptions: BTreeMap<String, Description>,
    joined: Option<Result<Joined, Reason>>,
    asked_to_join: Mutex<Vec<Join>>,
}

impl Others {
    fn at(mut self, url: &str, description: Description) -> Others {
        self.descriptions.insert(url.to_owned(), description);
        self
    }

    fn answer(&self, url: &str, request: Request) -> Option<response::Body> {
        match request.body? {
            request::Body::Describe(_) => {
                let description = self.descriptions.get(url)?;
                Some(response::Body::Description(description.clone()))
            }
            request::Body::Join(join) => {
                self.asked_to_join.lock().push(join);
                Some(match self.joined.clone()? {
                    Ok(joined) => response::Body::Joined(joined),
                    Err(reason) => response::Body::Refusal(Refusal {
                        reason: reason.into(),
                        detail: "not with this token".to_owned(),
                        ..Refusal::default()
                    }),
                })
            }
            _ => None,
        }
    }
}

impl Transport for Others {
    fn call(
        &self,
        to: &MemberInfo,
        request: Request,
        _: Duration,
    ) -> BoxFuture<'static, Result<Response, Unreachable>> {
        let answer = self.answer(&to.peer_urls[0], request);
        let answer = answer.map(|body| Response { body: Some(body) });
        Box::pin(std::future::ready(answer.ok_or_else(silence)))
    }

    fn pipe(&self, _: &MemberInfo) -> BoxFuture<'static, Result<Pipe, Unreachable>> {
        Box::pin(std::future::ready(Err(silence())))
    }
}

fn silence() -> Unreachable {
    Unreachable {
        detail: "connection refused".to_owned(),
        certain: true,
    }
}

fn url(number: u64) -> String {
    format!("http://10.0.0.{number}:2380")
}

fn config(name: &str, names: &[(&str, u64)]) -> Config {
    let own = names.iter().find(|(other, _)| *other == name);
    let urls = |number: u64| url(number).parse().unwrap();
    Config {
        name: name.to_owned(),
        initial_cluster: names
            .iter()
            .map(|(name, number)| ((*name).to_owned(), urls(*number)))
            .collect(),
        initial_advertise_peer_urls: own.map(|(_, number)| urls(*number)).into_iter().collect(),
        ..Config::default()
    }
}

const THREE: [(&str, u64); 3] = [("a", 1), ("b", 2), ("c", 3)];

fn three(name: &str) -> Wishes {
    Wishes::of(&config(name, &THREE))
}

fn existing(name: &str, names: &[(&str, u64)]) -> Wishes {
    Wishes {
        state: InitialClusterState::Existing,
        ..Wishes::of(&config(name, names))
    }
}

fn member(id: u64, number: u64, has_run: bool) -> MemberInfo {
    MemberInfo {
        id,
        name: format!("m{number}"),
        peer_urls: vec![url(number)],
        client_urls: has_run
            .then(|| "http://10.0.0.9:2379".to_owned())
            .into_iter()
            .collect(),
        ..MemberInfo::default()
    }
}

fn described(cluster_id: u64, member_id: u64, members: Vec<MemberInfo>) -> Description {
    Description {
        cluster_id,
        member_id,
        members,
        membership_index: 1,
        ..Description::default()
    }
}

fn founders(start: &Start) -> &[MemberInfo] {
    match start {
        Start::Found(members) => members,
        other => panic!("not a founding: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn founders_agree_on_everything_and_a_repeated_start_founds_the_same_again() {
    let silent = Others::default();
    let first = three("a").first_start(&silent).await.unwrap();
    let other = three("c").first_start(&silent).await.unwrap();
    assert_eq!(first.identity.cluster_id, other.identity.cluster_id);
    assert_ne!(first.identity.member_id, other.identity.member_id);
    assert_eq!(founders(&first.start), founders(&other.start));
    assert_eq!(founders(&first.start).len(), 3);
    assert_eq!(three("a").start_over(first.identity), first.start);
}

#[tokio::test(start_paused = true)]
async fn two_clusters_founded_without_flags_never_have_one_id() {
    let wishes = Wishes::of(&Config::default());
    let one = wishes.first_start(&Others::default()).await.unwrap();
    let other = wishes.first_start(&Others::default()).await.unwrap();
    assert_ne!(one.identity.cluster_id, other.identity.cluster_id);
    assert_eq!(wishes.start_over(one.identity), one.start);
    assert!(!founders(&one.start)[0].client_urls.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_founder_that_lost_its_data_is_refused_and_so_is_a_removed_one() {
    let ours = three("a").first_start(&Others::default()).await.unwrap();
    let (cluster, id) = (ours.identity.cluster_id, ours.identity.member_id);
    let answers = |members| Others::default().at(&url(2), described(cluster, 77, members));

    let ran = answers(vec![member(id, 1, true)]);
    let error = three("a").first_start(&ran).await.unwrap_err();
    assert!(matches!(error, BootstrapError::DataLost { member_id, .. } if member_id == id));

    let removed = answers(vec![member(77, 2, true)]);
    let error = three("a").first_start(&removed).await.unwrap_err();
    assert!(
        matches!(error, BootstrapError::WasRemoved { .. }),
        "{error}"
    );

    let only_founded = answers(vec![member(id, 1, false)]);
    three("a").first_start(&only_founded).await.unwrap();
    let not_even_that = answers(Vec::new());
    three("a").first_start(&not_even_that).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn founders_with_other_settings_are_told() {
    let other = Others::default().at(&url(3), described(5, 6, Vec::new()));
    let error = three("a").first_start(&other).await.unwrap_err();
    assert!(
        matches!(error, BootstrapError::FoundersDisagree { other: 5, .. }),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_added_member_takes_its_place_by_its_address() {
    let members = vec![member(7, 1, true), member(8, 2, false)];
    let others = Others::default().at(&url(1), described(5, 7, members));
    let wishes = existing("b", &[("m1", 1), ("b", 2)]);
    let taken = wishes.first_start(&others).await.unwrap();
    let identity = Identity {
        cluster_id: 5,
        member_id: 8,
    };
    assert_eq!((taken.identity, taken.start), (identity, Start::Join));
    // Cut short here, it waits for its leader the next time: it must not found anything.
    assert_eq!(wishes.start_over(identity), Start::Join);
    assert_eq!(three("b").start_over(identity), Start::Join);
    assert_eq!(
        Wishes::of(&Config::default()).start_over(identity),
        Start::Join
    );
}

#[tokio::test(start_paused = true)]
async fn a_member_that_was_not_added_or_lists_others_is_told_what_to_do() {
    let wishes = existing("b", &[("m1", 1), ("b", 2)]);
    let refused = async |members| {
        let others = Others::default().at(&url(1), described(5, 7, members));
        wishes.first_start(&others).await.unwrap_err()
    };
    let error = refused(vec![member(7, 1, true)]).await;
    assert!(
        error.to_string().contains("handfast member add b"),
        "{error}"
    );
    let error = refused(vec![member(7, 1, true), member(8, 2, true)]).await;
    assert!(matches!(error, BootstrapError::DataLost { .. }), "{error}");
    let error = refused(vec![
        member(7, 1, true),
        member(8, 2, false),
        member(9, 3, true),
    ])
    .await;
    let right = format!("m1={},b={},m3={}", url(1), url(2), url(3));
    assert!(error.to_string().contains(&right), "{error}");
    let error = wishes.first_start(&Others::default()).await.unwrap_err();
    assert!(error.to_string().contains("connection refused"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn joining_shows_the_token_and_takes_the_ids_it_is_given() {
    let token = "0000000000000005-00112233445566778899aabbccddeeff";
    let mut config = Config::default();
    config.join = Some(crate::config::Join::new(
        vec![url(1).parse().unwrap()],
        token.parse().unwrap(),
    ));
    let wishes = Wishes::of(&config);
    let cluster = |members| Others::default().at(&url(1), described(5, 7, members));
    let others = Others {
        joined: Some(Ok(Joined {
            cluster_id: 5,
            member_id: 8,
            members: Vec::new(),
        })),
        ..cluster(vec![member(7, 1, true)])
    };
    let joined = wishes.first_start(&others).await.unwrap();
    assert_eq!(
        (joined.identity.cluster_id, joined.identity.member_id),
        (5, 8)
    );
    assert_eq!(joined.start, Start::Join);
    assert_eq!(others.asked_to_join.lock()[0].token, token);
    assert_eq!(wishes.start_over(joined.identity), Start::Join);

    let refusing = Others {
        joined: Some(Err(Reason::BadToken)),
        ..cluster(vec![member(7, 1, true)])
    };
    let error = wishes.first_start(&refusing).await.unwrap_err();
    assert!(error.to_string().contains("not with this token"), "{error}");

    // The default address of this member, which votes already.
    let voter = MemberInfo {
        peer_urls: vec!["http://localhost:2380".to_owned()],
        ..member(8, 2, true)
    };
    let error = wishes.first_start(&cluster(vec![voter])).await.unwrap_err();
    assert!(matches!(error, BootstrapError::DataLost { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_member_with_data_comes_back_only_as_itself_and_to_its_own_cluster() {
    let identity = Identity {
        cluster_id: 5,
        member_id: 7,
    };
    let known = vec![member(7, 1, true), member(8, 2, true), member(9, 3, true)];
    let check = async |name: &str, others: &Others| {
        three(name).check_return(identity, &known, others).await
    };
    check("a", &Others::default()).await.unwrap();

    let stranger = |id| described(6, id, Vec::new());
    let strangers = Others::default()
        .at(&url(2), stranger(1))
        .at(&url(3), stranger(2));
    let error = check("a", &strangers).await.unwrap_err();
    assert!(
        matches!(error, BootstrapError::OtherClustersData { other: 6, .. }),
        "{error}"
    );

    let one_stranger = Others::default()
        .at(&url(2), stranger(1))
        .at(&url(3), described(5, 9, Vec::new()));
    check("a", &one_stranger).await.unwrap();

    // The data of `a` under the flags of `b`.
    let error = check("b", &Others::default()).await.unwrap_err();
    assert!(
        matches!(error, BootstrapError::OtherMembersData { owner: 8, .. }),
        "{error}"
    );

    let copy = Others::default().at(&url(3), described(5, 7, Vec::new()));
    let error = check("a", &copy).await.unwrap_err();
    assert!(
        matches!(error, BootstrapError::CopiedData { .. }),
        "{error}"
    );
}
