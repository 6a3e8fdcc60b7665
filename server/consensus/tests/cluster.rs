//! What a cluster promises, on members in one process.

#![allow(clippy::unwrap_used)]

mod net;

use std::time::Duration;

use handfast_consensus::{Failure, MemberError, Role, Start};
use handfast_mvcc::Outcome;
use handfast_proto::{
    command::{Command, LeaseGrant, command::Op},
    peer::MemberRefusal,
};
use net::{Cluster, until};

const THREE: [u64; 3] = [1, 2, 3];

fn others(id: u64) -> Vec<u64> {
    THREE.into_iter().filter(|other| *other != id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_member_writes_and_reads_what_others_wrote() {
    let cluster = Cluster::found(&THREE).await;
    cluster.leader(&THREE).await;
    let mut last = 0;
    for id in THREE {
        let revision = cluster.put(id, "k", &format!("from {id}")).await;
        assert!(revision > last);
        last = revision;
        // Whoever acknowledged a write can serve it without asking anyone.
        assert_eq!(cluster.local(id, "k"), Some(format!("from {id}")));
        for reader in THREE {
            assert_eq!(cluster.get(reader, "k").await, Some(format!("from {id}")));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_others_go_on_when_the_leader_is_cut_off_and_it_leads_nobody() {
    let cluster = Cluster::found(&THREE).await;
    let old = cluster.leader(&THREE).await;
    cluster.put(old, "k", "before").await;
    cluster.net.isolate(old, &others(old));
    let new = cluster.leader(&others(old)).await;
    assert_ne!(new, old);
    cluster.put(others(old)[0], "k", "after").await;
    let status = until("the old leader to notice", async || {
        let status = cluster.members[&old].status();
        status.leader.is_none().then_some(status)
    })
    .await;
    assert_ne!(status.role, Role::Leader);
    cluster.net.heal();
    assert_eq!(cluster.get(old, "k").await.as_deref(), Some("after"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_comes_back_does_not_depose_the_leader() {
    let cluster = Cluster::found(&THREE).await;
    let leader = cluster.leader(&THREE).await;
    let away = others(leader)[0];
    let term = cluster.members[&leader].term();
    cluster.net.isolate(away, &others(away));
    until("the absent member to miss its leader", async || {
        cluster.members[&away].leader().is_none().then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.net.heal();
    cluster.put(leader, "k", "v").await;
    assert_eq!(cluster.get(away, "k").await.as_deref(), Some("v"));
    assert_eq!(cluster.members[&leader].term(), term);
    assert!(cluster.members[&leader].status().is_leader);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_member_catches_up_from_the_log() {
    let mut cluster = Cluster::found(&THREE).await;
    let leader = cluster.leader(&THREE).await;
    let away = others(leader)[0];
    cluster.stop(away).await;
    for n in 0..50 {
        cluster.put(leader, &format!("k{n}"), "v").await;
    }
    cluster.start(away, Start::Resume).await;
    assert_eq!(cluster.get(away, "k49").await.as_deref(), Some("v"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_behind_the_log_gets_a_snapshot() {
    let mut cluster = Cluster::found(&THREE).await;
    cluster.log_tail_entries = 10;
    let leader = cluster.leader(&THREE).await;
    // The tail is a setting of each start.
    for id in THREE {
        cluster.stop(id).await;
    }
    for id in THREE {
        cluster.start(id, Start::Resume).await;
    }
    let leader_now = cluster.leader(&THREE).await;
    let away = others(leader_now)[0];
    cluster.stop(away).await;
    for n in 0..600 {
        cluster.put(leader_now, &format!("k{n}"), "v").await;
    }
    until("the log to be purged", async || {
        cluster.members[&leader_now].store().flush().unwrap();
        let applied = cluster.members[&leader_now].status().applied_index;
        let purged = cluster.members[&leader_now].purged_index();
        // Up to 255 entries may be too few to purge for, if the first were purged on the way.
        (purged + 300 > applied).then_some(())
    })
    .await;
    cluster.start(away, Start::Resume).await;
    assert_eq!(cluster.get(away, "k599").await.as_deref(), Some("v"));
    let hash = |id: u64| cluster.members[&id].store().hash_kv(600).unwrap();
    assert_eq!(hash(away), hash(leader_now));
    let _ = leader;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_added_member_votes_once_it_has_caught_up_and_a_removed_one_is_told() {
    let mut cluster = Cluster::found(&THREE).await;
    let leader = cluster.leader(&THREE).await;
    cluster.put(leader, "k", "v").await;
    let asked = others(leader)[0];
    let urls = vec!["mem://4".to_owned()];
    let (id, members) = cluster.members[&asked]
        .member_add(urls.clone(), false)
        .await
        .unwrap();
    assert_eq!(members.len(), 4);
    let again = cluster.members[&asked].member_add(urls, false).await;
    let exists = MemberError::Refused(MemberRefusal::PeerUrlExists);
    assert_eq!(again.unwrap_err(), exists);
    cluster.start(id, Start::Join).await;
    until("the new member to vote", async || {
        let members = cluster.members[&leader].members();
        members
            .iter()
            .any(|m| m.id == id && !m.is_learner)
            .then_some(())
    })
    .await;
    assert_eq!(cluster.get(id, "k").await.as_deref(), Some("v"));

    let left = cluster.members[&asked].member_remove(id).await.unwrap();
    assert_eq!(left.len(), 3);
    let failure = cluster.members[&id].failed().await;
    assert!(
        matches!(&failure, Failure::Removed(why) if why.contains("was removed")),
        "{failure:?}"
    );
    let again = cluster.members[&asked].member_remove(id).await;
    assert_eq!(
        again.unwrap_err(),
        MemberError::Refused(MemberRefusal::NotFound)
    );
}

/// It never stands for election, so nobody's refusal of a vote tells it.
#[tokio::test(flavor = "multi_thread")]
async fn a_learner_that_was_removed_while_it_was_cut_off_is_told() {
    let mut cluster = Cluster::found(&THREE).await;
    let leader = cluster.leader(&THREE).await;
    let urls = vec!["mem://4".to_owned()];
    let added = cluster.members[&leader].member_add(urls, true).await;
    let (id, _) = added.unwrap();
    cluster.start(id, Start::Join).await;
    cluster.put(leader, "k", "v").await;
    until("the learner to follow", async || {
        cluster.local(id, "k").map(|_| ())
    })
    .await;
    cluster.net.isolate(id, &THREE);
    let left = cluster.members[&leader].member_remove(id).await.unwrap();
    assert_eq!(left.len(), 3);
    cluster.net.heal();
    let failure = cluster.members[&id].failed().await;
    assert!(matches!(&failure, Failure::Removed(_)), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_leader_hands_over_first_and_learns_of_its_end() {
    let cluster = Cluster::found(&THREE).await;
    let leader = cluster.leader(&THREE).await;
    cluster.put(leader, "k", "v").await;
    let left = cluster.members[&leader]
        .member_remove(leader)
        .await
        .unwrap();
    assert_eq!(left.len(), 2);
    let failure = cluster.members[&leader].failed().await;
    assert!(matches!(&failure, Failure::Removed(_)), "{failure:?}");
    let rest = others(leader);
    cluster.leader(&rest).await;
    assert_eq!(cluster.get(rest[0], "k").await.as_deref(), Some("v"));
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_moves_on_request() {
    let cluster = Cluster::found(&THREE).await;
    let old = cluster.leader(&THREE).await;
    let to = others(old)[0];
    assert_eq!(
        cluster.members[&to].move_leader(old).await,
        Err(MemberError::NotLeader)
    );
    assert_eq!(
        cluster.members[&old].move_leader(99).await,
        Err(MemberError::Refused(MemberRefusal::BadTransferee))
    );
    cluster.members[&old].move_leader(to).await.unwrap();
    assert_eq!(cluster.leader(&THREE).await, to);
    // It gives up after an election timeout, which a busy machine may need for more.
    until("the leadership to be handed over", async || {
        cluster.members[&to].hand_over().await.then_some(())
    })
    .await;
    assert_ne!(cluster.leader(&THREE).await, to);
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_are_kept_alive_through_any_member() {
    let cluster = Cluster::found(&THREE).await;
    let leader = cluster.leader(&THREE).await;
    let grant = Op::LeaseGrant(LeaseGrant {
        id: 7,
        ttl_seconds: 60,
    });
    let command = Command { op: Some(grant) };
    let granted = cluster.members[&others(leader)[0]]
        .propose(command)
        .await
        .unwrap();
    assert!(matches!(granted.result, Ok(Outcome::LeaseGrant { .. })));
    for id in THREE {
        assert_eq!(cluster.members[&id].lease_keep_alive(7).await, Ok(Some(60)));
        assert_eq!(cluster.members[&id].lease_keep_alive(8).await, Ok(None));
        let left = cluster.members[&id]
            .lease_time_to_live(7, true)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(left.granted_seconds, 60);
        assert!(left.remaining_seconds >= 58, "{left:?}");
        assert_eq!(
            cluster.members[&id].lease_time_to_live(8, false).await,
            Ok(None)
        );
    }
}

/// What the leader proposed before it lost its majority may be committed after it has it back.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_ran_out_while_no_majority_answered_is_not_renewed_in_the_same_term() {
    let election = Duration::from_secs(2);
    let cluster = Cluster::found_with(&THREE, election).await;
    let leader = cluster.leader(&THREE).await;
    let grant = Op::LeaseGrant(LeaseGrant {
        id: 7,
        ttl_seconds: 2,
    });
    let command = Command { op: Some(grant) };
    cluster.members[&leader].propose(command).await.unwrap();
    let granted = tokio::time::Instant::now();
    let term = cluster.members[&leader].term();
    // Nobody reaches anybody, so nobody else is elected.
    for id in THREE {
        cluster.net.isolate(id, &others(id));
    }
    until("the leader to miss its majority", async || {
        cluster.members[&leader].leader().is_none().then_some(())
    })
    .await;
    tokio::time::sleep_until(granted + Duration::from_millis(2500)).await;
    cluster.net.heal();
    let renewed = cluster.members[&leader].lease_keep_alive(7).await;
    // Another election would have given it its full time again.
    if cluster.members[&leader].term() == term {
        assert_eq!(renewed, Ok(None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_another_cluster_is_refused() {
    use handfast_proto::peer::{Describe, ReadIndex, Request, refusal::Reason, request, response};
    let cluster = Cluster::found(&[1]).await;
    let service = cluster.members[&1].peers();
    let mut request = Request {
        cluster_id: 0xbad,
        from: 2,
        to: 1,
        body: Some(request::Body::ReadIndex(ReadIndex {})),
    };
    let reason = async |request: &Request| match service.call(request.clone()).await.body {
        Some(response::Body::Refusal(refusal)) => Some(refusal.reason()),
        _ => None,
    };
    assert_eq!(reason(&request).await, Some(Reason::WrongCluster));
    request.cluster_id = net::CLUSTER;
    assert_eq!(reason(&request).await, Some(Reason::NotAMember));
    request.to = 3;
    assert_eq!(reason(&request).await, Some(Reason::WrongMember));
    request.cluster_id = 0;
    request.body = Some(request::Body::Describe(Describe {}));
    assert_eq!(reason(&request).await, None);
}

/// Requests between members while the leader answers `READS` reads, one after the other.
async fn requests_of_reads(lease_read: bool) -> u64 {
    let cluster = Cluster::found_reading(&THREE, Duration::from_secs(3), lease_read).await;
    let leader = cluster.leader(&THREE).await;
    cluster.put(leader, "k", "v").await;
    let before = cluster.net.requests();
    for _ in 0..READS {
        assert_eq!(cluster.get(leader, "k").await.as_deref(), Some("v"));
    }
    cluster.net.requests() - before
}

const READS: u64 = 400;

#[tokio::test(flavor = "multi_thread")]
async fn a_read_under_the_leaders_lease_asks_no_other_member() {
    // Heartbeats go on meanwhile, two every 300 ms.
    let under_lease = requests_of_reads(true).await;
    assert!(under_lease < READS / 2, "{under_lease} for {READS} reads");
    let by_read_index = requests_of_reads(false).await;
    assert!(by_read_index >= READS, "{by_read_index} for {READS} reads");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_lease_ran_out_answers_no_read_under_it() {
    let election = Duration::from_millis(500);
    let cluster = Cluster::found_reading(&THREE, election, true).await;
    let old = cluster.leader(&THREE).await;
    cluster.put(old, "k", "before").await;
    cluster.net.isolate(old, &others(old));
    let new = cluster.leader(&others(old)).await;
    cluster.put(new, "k", "after").await;
    // As soon as a rival could write, and for as long as the old leader is cut off.
    let stale = cluster.members[&old].linearizable();
    assert!(
        stale.await.is_err(),
        "it answered under a lease it had lost"
    );
    cluster.net.heal();
    for id in THREE {
        assert_eq!(cluster.get(id, "k").await.as_deref(), Some("after"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_members_waits_for_the_next_leader() {
    let mut cluster = Cluster::found(&THREE).await;
    let leader = cluster.leader(&THREE).await;
    let asked = others(leader)[0];
    cluster.stop(leader).await;
    // The one that is asked has just lost its leader, or is about to notice.
    let removed = cluster.members[&asked].member_remove(leader).await.unwrap();
    let left: Vec<u64> = removed.iter().map(|member| member.id).collect();
    assert_eq!(left, others(leader));
}
