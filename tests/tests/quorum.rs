//! What a member answers that is alone: codes and texts, which clients decide by.
//!
//! The expected ones are the contract's, from etcd 3.5; Debian's 3.4 has other codes for some.

use handfast_proto::etcdserverpb::{
    LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseTimeToLiveRequest, MemberAddRequest,
    MemberListRequest, MoveLeaderRequest, PutRequest, RangeRequest, StatusRequest,
    WatchCreateRequest, WatchRequest, watch_request::RequestUnion,
};
use handfast_tests::{
    Result,
    client::{Client, answer},
    cluster::{Cluster, Program, Setup},
    harness::Subject,
};
use tonic::{Code, Request, Status};

/// A cluster of three of which only the member that is given runs, and knows it.
async fn alone() -> Result<(Cluster, usize)> {
    let setup = Setup::new(Program::of(Subject::under_test())?, 3);
    let mut cluster = setup.start().await?;
    let leader = cluster.settled().await?.leader;
    let mut client = cluster.client(leader)?;
    answer(client.kv.put(put("before"))).await?;
    // A follower stays, so that it has to find out that nobody leads.
    let stays = (leader + 1) % 3;
    cluster.kill(leader)?;
    cluster.kill((leader + 2) % 3)?;
    let mut client = cluster.client(stays)?;
    for _ in 0..600 {
        let status = answer(client.maintenance.status(StatusRequest {})).await?;
        if status.leader == 0 {
            return Ok((cluster, stays));
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    Err("the member never notices that it is alone".into())
}

fn put(key: &'static str) -> PutRequest {
    PutRequest {
        key: key.into(),
        ..PutRequest::default()
    }
}

fn range(serializable: bool) -> RangeRequest {
    RangeRequest {
        key: "before".into(),
        serializable,
        ..RangeRequest::default()
    }
}

fn demanding<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let yes = tonic::metadata::MetadataValue::from_static("true");
    request.metadata_mut().insert("hasleader", yes);
    request
}

type Told = (Code, String);

fn told<T: std::fmt::Debug>(answer: std::result::Result<T, Status>) -> Told {
    match answer {
        Ok(_) => (Code::Ok, String::new()),
        Err(status) => (status.code(), status.message().to_owned()),
    }
}

fn refused(code: Code, text: &str) -> Told {
    (code, text.to_owned())
}

async fn keep_alive(mut client: Client) -> Told {
    let requests = tokio_stream::iter([LeaseKeepAliveRequest { id: 7 }]);
    let requests = tokio_stream::StreamExt::chain(requests, tokio_stream::pending());
    match answer(client.lease.lease_keep_alive(requests)).await {
        Err(status) => told::<()>(Err(status)),
        Ok(mut stream) => {
            told(answer(async { stream.message().await.map(tonic::Response::new) }).await)
        }
    }
}

/// How a watch that demands a leader ends: with the stream's status or a cancellation.
async fn watch(mut client: Client) -> Told {
    let create = WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
            key: "k".into(),
            ..WatchCreateRequest::default()
        })),
    };
    let requests = tokio_stream::iter([create]);
    let requests = tokio_stream::StreamExt::chain(requests, tokio_stream::pending());
    let mut stream = match answer(client.watch.watch(demanding(requests))).await {
        Err(status) => return told::<()>(Err(status)),
        Ok(stream) => stream,
    };
    loop {
        match answer(async { stream.message().await.map(tonic::Response::new) }).await {
            Err(status) => return told::<()>(Err(status)),
            Ok(None) => return refused(Code::Ok, "the stream ended"),
            Ok(Some(message)) if message.canceled => {
                return refused(Code::Ok, &message.cancel_reason);
            }
            Ok(Some(_)) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_alone_says_so_in_the_words_of_the_contract() -> Result<()> {
    let (cluster, member) = alone().await?;
    let client = cluster.client(member)?;
    // At once.
    let mut now = client.clone();
    assert_eq!(told(answer(now.kv.range(range(true))).await).0, Code::Ok);
    let listing = MemberListRequest::default();
    assert_eq!(
        told(answer(now.cluster.member_list(listing)).await).0,
        Code::Ok
    );
    let leases = LeaseLeasesRequest {};
    assert_eq!(
        told(answer(now.lease.lease_leases(leases)).await).0,
        Code::Ok
    );
    let status = answer(now.maintenance.status(StatusRequest {})).await?;
    assert_eq!(status.leader, 0);
    if Subject::under_test() == Subject::Handfast {
        assert_eq!(status.errors, ["etcdserver: no leader"]);
    }
    let no_leader = refused(Code::Unavailable, "etcdserver: no leader");
    let demanded = answer(now.kv.range(demanding(range(false)))).await;
    assert_eq!(told(demanded), no_leader);
    let demanded = answer(now.kv.put(demanding(put("k")))).await;
    assert_eq!(told(demanded), no_leader);
    assert_eq!(watch(client.clone()).await, no_leader);
    let moving = MoveLeaderRequest { target_id: 1 };
    assert_eq!(
        told(answer(now.maintenance.move_leader(moving)).await),
        refused(Code::FailedPrecondition, "etcdserver: not leader")
    );
    // When an election should be over.
    let adding = MemberAddRequest {
        peer_ur_ls: vec!["http://127.0.0.1:5".to_owned()],
        is_learner: false,
    };
    assert_eq!(
        told(answer(now.cluster.member_add(adding)).await),
        refused(Code::Unavailable, "etcdserver: unhealthy cluster")
    );
    // When the server's time is up.
    let (mut reads, mut writes, mut looks) = (client.clone(), client.clone(), client.clone());
    let look = LeaseTimeToLiveRequest { id: 7, keys: false };
    let (read, write, kept, looked) = tokio::join!(
        answer(reads.kv.range(range(false))),
        answer(writes.kv.put(put("k"))),
        keep_alive(client.clone()),
        answer(looks.lease.lease_time_to_live(look)),
    );
    if Subject::under_test() == Subject::Etcd {
        // Debian's 3.4 gives another code for these.
        return Ok(());
    }
    let timed_out = refused(Code::Unavailable, "etcdserver: request timed out");
    let too_late = refused(Code::DeadlineExceeded, "context deadline exceeded");
    assert_eq!(told(read), timed_out);
    assert_eq!(told(write), too_late);
    assert_eq!(kept, no_leader);
    assert_eq!(told(looked), no_leader);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_demands_a_leader_is_cut_when_there_is_none() -> Result<()> {
    let setup = Setup::new(Program::of(Subject::under_test())?, 3);
    let mut cluster = setup.start().await?;
    let leader = cluster.settled().await?.leader;
    let stays = (leader + 1) % 3;
    let watching = tokio::spawn(watch(cluster.client(stays)?));
    // Only a watch that is there can be cut: it holds a stream open at the member.
    let mut client = cluster.client(stays)?;
    answer(client.kv.put(put("other"))).await?;
    cluster.kill(leader)?;
    cluster.kill((leader + 2) % 3)?;
    let cut = watching.await?;
    assert_eq!(cut, refused(Code::Unavailable, "etcdserver: no leader"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_majority_serves_on_and_who_comes_back_has_all() -> Result<()> {
    let setup = Setup::new(Program::of(Subject::under_test())?, 3);
    let mut cluster = setup.start().await?;
    let leader = cluster.settled().await?.leader;
    cluster.kill(leader)?;
    cluster.ready().await?;
    let mut client = cluster.client((leader + 1) % 3)?;
    answer(client.kv.put(put("without"))).await?;
    cluster.restart(leader)?;
    cluster.ready().await?;
    let mut back = cluster.client(leader)?;
    let read = RangeRequest {
        key: "without".into(),
        ..RangeRequest::default()
    };
    let found = answer(back.kv.range(read)).await?;
    assert_eq!(found.count, 1);
    handfast_tests::cluster::converged(&cluster).await?;
    Ok(())
}
