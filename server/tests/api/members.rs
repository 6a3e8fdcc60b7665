//! Members: the rules by which they come and go, and what each of them answers.

use std::time::{Duration, Instant};

use handfast_proto::etcdserverpb::{
    HashKvRequest, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest,
    LeaseTimeToLiveRequest, Member, MemberAddRequest, MemberListRequest, MemberPromoteRequest,
    MemberRemoveRequest, MemberUpdateRequest, MoveLeaderRequest, RangeRequest,
};
use tokio::time::sleep;
use tonic::{Code, Request, Status};

use crate::clients::{Clients, get, http, put, soon, start, watch};
use crate::group::{ELECTION_TIMEOUT, Group, LOOK, free_url};

fn add(urls: &[&str], is_learner: bool) -> MemberAddRequest {
    MemberAddRequest {
        peer_ur_ls: urls.iter().map(|url| (*url).to_owned()).collect(),
        is_learner,
    }
}

fn check<T: std::fmt::Debug>(outcome: Result<T, Status>, code: Code, text: &str) {
    let status = outcome.unwrap_err();
    assert_eq!((status.code(), status.message()), (code, text));
}

async fn list(clients: &Clients) -> Vec<Member> {
    let request = MemberListRequest { linearizable: true };
    let listed = soon(clients.cluster.clone().member_list(request)).await;
    listed.unwrap().into_inner().members
}

#[tokio::test]
async fn each_rule_of_membership_has_its_text_and_code() {
    use Code::{FailedPrecondition, InvalidArgument, NotFound, Unknown};
    let (server, clients) = start().await;
    let (id, mut cluster) = (server.member_id(), clients.cluster.clone());
    let own = list(&clients).await[0].peer_ur_ls[0].clone();
    for urls in [&[][..], &["nonsense"], &["http://a"], &["http://a:1/b"]] {
        let added = soon(cluster.member_add(add(urls, false))).await;
        check(
            added,
            InvalidArgument,
            "etcdserver: given member URLs are invalid",
        );
    }
    let twice = soon(cluster.member_add(add(&[&own], true))).await;
    check(
        twice,
        FailedPrecondition,
        "etcdserver: Peer URLs already exists",
    );

    let not_found = "etcdserver: member not found";
    let removed = soon(cluster.member_remove(MemberRemoveRequest { id: 9 })).await;
    check(removed, NotFound, not_found);
    let promoted = soon(cluster.member_promote(MemberPromoteRequest { id: 9 })).await;
    check(promoted, NotFound, not_found);
    let update = |id, url: &str| MemberUpdateRequest {
        id,
        peer_ur_ls: vec![url.to_owned()],
    };
    check(
        soon(cluster.member_update(update(9, "x"))).await,
        NotFound,
        not_found,
    );

    let voter = soon(cluster.member_promote(MemberPromoteRequest { id })).await;
    let text = "etcdserver: can only promote a learner member";
    check(voter, FailedPrecondition, text);
    let last = soon(cluster.member_remove(MemberRemoveRequest { id })).await;
    let text = "etcdserver: re-configuration failed due to not enough started members";
    check(last, Unknown, text);
}

#[tokio::test]
async fn a_learner_is_added_listed_not_promoted_and_removed() {
    let (server, clients) = start().await;
    let mut cluster = clients.cluster.clone();
    let added = soon(cluster.member_add(add(&["http://127.0.0.1:1"], true))).await;
    let added = added.unwrap().into_inner();
    assert_eq!(added.header.unwrap().revision, 0);
    let learner = added.member.unwrap();
    assert!(learner.is_learner && learner.name.is_empty() && learner.client_ur_ls.is_empty());
    assert_eq!(learner.peer_ur_ls, ["http://127.0.0.1:1"]);
    assert_eq!(added.members.len(), 2);
    assert!(added.members.is_sorted_by_key(|member| member.id));
    assert_eq!(list(&clients).await, added.members);

    let second = soon(cluster.member_add(add(&["http://127.0.0.1:2"], true))).await;
    let text = "etcdserver: too many learner members in cluster";
    check(second, Code::FailedPrecondition, text);
    let promote = MemberPromoteRequest { id: learner.id };
    let text = "etcdserver: can only promote a learner member which is in sync with leader";
    check(
        soon(cluster.member_promote(promote)).await,
        Code::FailedPrecondition,
        text,
    );
    let update = |id, url: &str| MemberUpdateRequest {
        id,
        peer_ur_ls: vec![url.to_owned()],
    };
    let own = list(&clients).await;
    let own = own
        .iter()
        .find(|member| member.id == server.member_id())
        .unwrap();
    let clash = soon(cluster.member_update(update(learner.id, &own.peer_ur_ls[0]))).await;
    let text = "etcdserver: Peer URLs already exists";
    check(clash, Code::FailedPrecondition, text);
    let moved = soon(cluster.member_update(update(learner.id, "http://127.0.0.1:3"))).await;
    let moved = moved.unwrap().into_inner().members;
    let moved = moved.iter().find(|member| member.id == learner.id).unwrap();
    assert_eq!(moved.peer_ur_ls, ["http://127.0.0.1:3"]);
    let transfer = MoveLeaderRequest {
        target_id: learner.id,
    };
    let to_learner = soon(clients.maintenance.clone().move_leader(transfer)).await;
    let text = "etcdserver: bad leader transferee";
    check(to_learner, Code::FailedPrecondition, text);

    let remove = MemberRemoveRequest { id: learner.id };
    let left = soon(cluster.member_remove(remove))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(left.members.len(), 1);
    let again = soon(cluster.member_remove(remove)).await;
    check(again, Code::NotFound, "etcdserver: member not found");
    clients.put("a", "still served").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_member_serves_every_request() {
    let group = Group::found(3).await;
    let leader = group.leader().await;
    for (at, member) in group.members.iter().enumerate() {
        let clients = &member.clients;
        assert_eq!(clients.put("a", "1").await, 2 + at as i64);
        for reader in &group.members {
            let read = reader.clients.get("a").await;
            assert_eq!(read.kvs[0].mod_revision, 2 + at as i64);
            assert_eq!(read.header.unwrap().member_id, reader.id);
        }
        let id = 100 + at as i64;
        clients.grant(60, id).await;
        let asked = LeaseTimeToLiveRequest { id, keys: true };
        let left = soon(clients.lease.clone().lease_time_to_live(asked)).await;
        let left = left.unwrap().into_inner();
        assert_eq!(left.granted_ttl, 60);
        assert!((50..=60).contains(&left.ttl), "{left:?}");
        let renewals = futures::stream::iter([LeaseKeepAliveRequest { id }]);
        let renewed = soon(clients.lease.clone().lease_keep_alive(renewals)).await;
        let renewed = soon(renewed.unwrap().into_inner().message()).await;
        assert_eq!(renewed.unwrap().unwrap().ttl, 60);
        assert_eq!(
            list(clients).await,
            list(&group.members[leader].clients).await
        );
    }
    let mut hashes = Vec::new();
    for member in &group.members {
        member.clients.get("a").await;
        let request = HashKvRequest { revision: 4 };
        let hashed = soon(member.clients.maintenance.clone().hash_kv(request)).await;
        hashes.push(hashed.unwrap().into_inner().hash);
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");

    // A busy machine may have made the members choose another one meanwhile.
    let leader = group.leader().await;
    let status = group.members[leader].status().await;
    assert_eq!(
        (status.leader, status.is_learner),
        (group.members[leader].id, false)
    );
    assert!(status.errors.is_empty() && status.raft_applied_index <= status.raft_index);
    let page = http(&group.members[leader].server.endpoint(), "GET /metrics").await;
    for follower in group.members.iter().filter(|it| it.id != status.leader) {
        let lag = format!(
            "handfast_raft_follower_lag_entries{{follower=\"{:x}\"}} ",
            follower.id
        );
        assert!(page.contains(&lag), "{lag} is missing");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_moves_when_the_leader_is_asked() {
    let group = Group::found(3).await;
    let leader = group.leader().await;
    let next = (leader + 1) % 3;
    let target_id = group.members[next].id;
    let ask = |at: usize, target_id| {
        let mut maintenance = group.members[at].clients.maintenance.clone();
        soon(async move {
            maintenance
                .move_leader(MoveLeaderRequest { target_id })
                .await
        })
    };
    check(
        ask(next, target_id).await,
        Code::FailedPrecondition,
        "etcdserver: not leader",
    );
    check(
        ask(leader, 99).await,
        Code::FailedPrecondition,
        "etcdserver: bad leader transferee",
    );
    ask(leader, target_id).await.unwrap();
    assert_eq!(group.leader().await, next);
    group.members[leader].clients.put("a", "1").await;
}

/// The same request with the wish for an error when there is no leader.
fn needs_leader<T>(request: T) -> Request<T> {
    let mut request = Request::new(request);
    let yes = "true".parse().unwrap();
    request.metadata_mut().insert("hasleader", yes);
    request
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_leader_each_request_gets_its_answer_in_its_time() {
    let mut group = Group::found(3).await;
    group.members[0].clients.grant(600, 7).await;
    group.members[0].clients.put("a", "1").await;
    group.members[2].clients.get("a").await;
    let mut strict = group.members[2]
        .clients
        .open_watch_with(|metadata| drop(metadata.insert("hasleader", "true".parse().unwrap())));
    strict.create(watch("a")).await;
    let mut patient = group.members[2].clients.open_watch();
    patient.create(watch("a")).await;
    group.stop(0).await;
    group.stop(0).await;
    let alone = &group.members[0];
    alone
        .reaches("without a leader", |status| status.leader == 0)
        .await;
    let clients = &alone.clients;

    let status = alone.status().await;
    assert_eq!(status.errors, ["etcdserver: no leader"]);
    let local = RangeRequest {
        serializable: true,
        ..get("a")
    };
    let read = soon(clients.kv.clone().range(local))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(read.kvs[0].value, "1");
    let leases = soon(clients.lease.clone().lease_leases(LeaseLeasesRequest {})).await;
    assert_eq!(leases.unwrap().into_inner().leases[0].id, 7);
    assert_eq!(alone.list().await.len(), 3);

    let at_once = Instant::now();
    let no_leader = "etcdserver: no leader";
    let asked = soon(clients.kv.clone().put(needs_leader(put("a", "2")))).await;
    check(asked, Code::Unavailable, no_leader);
    let mut cluster = clients.cluster.clone();
    let added = soon(cluster.member_add(add(&["http://127.0.0.1:1"], false))).await;
    check(added, Code::Unavailable, "etcdserver: unhealthy cluster");
    let health = http(&alone.server.endpoint(), "GET /health").await;
    assert!(
        health.ends_with("\"reason\":\"RAFT NO LEADER\"}"),
        "{health}"
    );
    // None of them has waited for a leader.
    let timeout = Duration::from_secs(5) + 2 * ELECTION_TIMEOUT;
    assert!(at_once.elapsed() < timeout);

    let begun = Instant::now();
    let mut kv = clients.kv.clone();
    let (mut lease, mut other_lease) = (clients.lease.clone(), clients.lease.clone());
    let ttl = LeaseTimeToLiveRequest { id: 7, keys: false };
    let renewals = futures::stream::iter([LeaseKeepAliveRequest { id: 7 }]);
    let grant = LeaseGrantRequest { ttl: 60, id: 8 };
    let mut granting = clients.lease.clone();
    let renewing = async {
        let mut replies = other_lease.lease_keep_alive(renewals).await?.into_inner();
        replies.message().await
    };
    // More at once than are brought to a leader at once.
    let writing = futures::future::join_all((0..5).map(|_| {
        let mut kv = clients.kv.clone();
        async move { soon(kv.put(put("a", "2"))).await }
    }));
    let (read, written, left, renewed, granted, cut) = tokio::join!(
        soon(kv.range(get("a"))),
        writing,
        soon(lease.lease_time_to_live(ttl)),
        soon(renewing),
        soon(granting.lease_grant(grant)),
        strict.result(),
    );
    assert!(begun.elapsed() >= timeout - Duration::from_millis(100));
    check(read, Code::Unavailable, "etcdserver: request timed out");
    let written = written.into_iter().map(|it| it.map(drop));
    for outcome in written.chain([granted.map(drop)]) {
        let text = "context deadline exceeded";
        check(outcome, Code::DeadlineExceeded, text);
    }
    check(left, Code::Unavailable, no_leader);
    check(renewed, Code::Unavailable, no_leader);
    check(cut, Code::Unavailable, no_leader);
    // The other stream is still open.
    patient.create(watch("b")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_answers_what_needs_no_vote_until_it_is_promoted() {
    let mut group = Group::found(1).await;
    group.members[0].clients.put("a", "1").await;
    let url = free_url();
    let mut cluster = group.members[0].clients.cluster.clone();
    let added = soon(cluster.member_add(add(&[&url.to_string()], true))).await;
    let id = added.unwrap().into_inner().member.unwrap().id;
    group.start_added("learner", &url).await;
    let learner = &group.members[1];
    assert_eq!(learner.id, id);
    learner
        .reaches("caught up", |status| {
            status.raft_applied_index > 2 && status.leader != 0
        })
        .await;
    assert!(learner.status().await.is_learner);

    let clients = &learner.clients;
    let local = RangeRequest {
        serializable: true,
        ..get("a")
    };
    let read = soon(clients.kv.clone().range(local))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(read.kvs[0].value, "1");
    let refusal = "etcdserver: rpc not supported for learner";
    let refused = [
        soon(clients.kv.clone().range(get("a"))).await.map(drop),
        soon(clients.kv.clone().put(put("a", "2"))).await.map(drop),
        soon(
            clients
                .cluster
                .clone()
                .member_list(MemberListRequest::default()),
        )
        .await
        .map(drop),
        soon(clients.lease.clone().lease_leases(LeaseLeasesRequest {}))
            .await
            .map(drop),
        soon(
            clients
                .maintenance
                .clone()
                .hash_kv(HashKvRequest { revision: 0 }),
        )
        .await
        .map(drop),
        soon(
            clients
                .health
                .clone()
                .check(handfast_proto::health::HealthCheckRequest::default()),
        )
        .await
        .map(drop),
        clients.open_watch().result().await.map(drop),
    ];
    for outcome in refused {
        check(outcome, Code::FailedPrecondition, refusal);
    }
    let ready = http(&learner.server.endpoint(), "GET /readyz").await;
    assert!(ready.contains("[-]non_learner failed: "), "{ready}");

    // The leader may not have heard yet how far it is.
    let mut promoting = cluster.clone();
    let promoted = async {
        let not_yet = "which is in sync with leader";
        loop {
            match promoting.member_promote(MemberPromoteRequest { id }).await {
                Err(status) if status.message().ends_with(not_yet) => sleep(LOOK).await,
                promoted => return promoted,
            }
        }
    };
    soon(promoted).await.unwrap();
    learner
        .reaches("a voter", |status| !status.is_learner)
        .await;
    assert_eq!(clients.put("a", "2").await, 3);
    let shown = list(clients).await;
    assert!(
        shown
            .iter()
            .all(|member| !member.is_learner && !member.name.is_empty())
    );
}
