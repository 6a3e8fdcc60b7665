//! Alarms, hashes and the status report, as their clients see them.

use handfast_proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmResponse, AlarmType, CompactionRequest, DeleteRangeRequest,
    HashKvRequest, HashRequest, LeaseGrantRequest, LeaseRevokeRequest, MoveLeaderRequest,
    PutRequest, StatusRequest, TxnRequest, alarm_request::AlarmAction, request_op::Request as Op,
};
use tonic::{Code, Status};

use crate::clients::{Clients, get, http, op, put, soon, start};

async fn alarm(
    clients: &Clients,
    action: AlarmAction,
    member_id: u64,
    kind: i32,
) -> Result<AlarmResponse, Status> {
    let request = AlarmRequest {
        action: action.into(),
        member_id,
        alarm: kind,
    };
    let answered = soon(clients.maintenance.clone().alarm(request)).await;
    answered.map(tonic::Response::into_inner)
}

async fn listed(clients: &Clients, kind: i32) -> Vec<(u64, i32)> {
    let response = alarm(clients, AlarmAction::Get, 0, kind).await.unwrap();
    assert!(response.header.unwrap().member_id != 0);
    numbers(&response.alarms)
}

fn numbers(alarms: &[AlarmMember]) -> Vec<(u64, i32)> {
    let mut numbers: Vec<_> = alarms.iter().map(|a| (a.member_id, a.alarm)).collect();
    numbers.sort_unstable();
    numbers
}

const NOSPACE: i32 = AlarmType::Nospace as i32;
const CORRUPT: i32 = AlarmType::Corrupt as i32;

#[tokio::test]
async fn alarms_are_raised_listed_and_disarmed_one_by_one() {
    use AlarmAction::{Activate, Deactivate};
    let (_server, clients) = start().await;
    assert_eq!(listed(&clients, 0).await, []);
    for _ in 0..2 {
        // Whether there is such a member is not asked, nor whether the alarm is raised already.
        let raised = alarm(&clients, Activate, 99, NOSPACE).await.unwrap();
        assert_eq!(numbers(&raised.alarms), [(99, NOSPACE)]);
    }
    alarm(&clients, Activate, 7, CORRUPT).await.unwrap();
    let nothing = alarm(&clients, Activate, 7, 0).await.unwrap();
    assert_eq!(numbers(&nothing.alarms), []);
    assert_eq!(listed(&clients, 0).await, [(7, CORRUPT), (99, NOSPACE)]);
    assert_eq!(listed(&clients, CORRUPT).await, [(7, CORRUPT)]);

    let other = alarm(&clients, Deactivate, 7, NOSPACE).await.unwrap();
    assert_eq!(numbers(&other.alarms), []);
    let gone = alarm(&clients, Deactivate, 99, NOSPACE).await.unwrap();
    assert_eq!(numbers(&gone.alarms), [(99, NOSPACE)]);
    assert_eq!(listed(&clients, 0).await, [(7, CORRUPT)]);

    let unknown = AlarmRequest {
        action: 9,
        ..AlarmRequest::default()
    };
    let status = soon(clients.maintenance.clone().alarm(unknown))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

fn with_put() -> TxnRequest {
    TxnRequest {
        failure: vec![op(Op::RequestPut(put("a", "x")))],
        ..TxnRequest::default()
    }
}

fn delete(key: &str) -> DeleteRangeRequest {
    DeleteRangeRequest {
        key: key.to_owned().into(),
        ..DeleteRangeRequest::default()
    }
}

fn with_delete() -> TxnRequest {
    TxnRequest {
        success: vec![op(Op::RequestDeleteRange(delete("gone")))],
        ..TxnRequest::default()
    }
}

/// The outcome of every kind of change, under a name.
async fn changes(clients: &Clients) -> Vec<(&'static str, Result<(), Status>)> {
    let mut kv = clients.kv.clone();
    let mut lease = clients.lease.clone();
    let grant = LeaseGrantRequest { ttl: 60, id: 0 };
    let compact = CompactionRequest {
        revision: 2,
        physical: false,
    };
    vec![
        ("put", soon(kv.put(put("a", "x"))).await.map(drop)),
        ("txn with a put", soon(kv.txn(with_put())).await.map(drop)),
        ("grant", soon(lease.lease_grant(grant)).await.map(drop)),
        (
            "delete",
            soon(kv.delete_range(delete("gone"))).await.map(drop),
        ),
        (
            "txn without a put",
            soon(kv.txn(with_delete())).await.map(drop),
        ),
        ("compact", soon(kv.compact(compact)).await.map(drop)),
        (
            "revoke",
            soon(lease.lease_revoke(LeaseRevokeRequest { id: 7 }))
                .await
                .map(drop),
        ),
    ]
}

async fn check_changes(clients: &Clients, refused: &[&str], code: Code, text: &str) {
    for (name, outcome) in changes(clients).await {
        match outcome {
            Ok(()) => assert!(!refused.contains(&name), "{name} was not refused"),
            Err(status) => {
                assert!(refused.contains(&name), "{name}: {status}");
                assert_eq!((status.code(), status.message()), (code, text), "{name}");
            }
        }
    }
}

#[tokio::test]
async fn a_corrupt_cluster_is_read_but_not_changed() {
    let (server, clients) = start().await;
    clients.put("a", "1").await;
    clients.grant(60, 7).await;
    alarm(&clients, AlarmAction::Activate, 5, CORRUPT)
        .await
        .unwrap();
    let all = [
        "put",
        "txn with a put",
        "grant",
        "delete",
        "txn without a put",
        "compact",
        "revoke",
    ];
    check_changes(
        &clients,
        &all,
        Code::DataLoss,
        "etcdserver: corrupt cluster",
    )
    .await;
    assert_eq!(clients.get("a").await.kvs[0].value, "1");
    let read_only = TxnRequest {
        success: vec![op(Op::RequestRange(get("a")))],
        ..TxnRequest::default()
    };
    soon(clients.kv.clone().txn(read_only)).await.unwrap();

    let endpoint = server.endpoint();
    let health = http(&endpoint, "GET /health").await;
    assert!(health.starts_with("HTTP/1.1 503"), "{health}");
    assert!(
        health.ends_with("{\"health\":\"false\",\"reason\":\"ALARM CORRUPT\"}"),
        "{health}"
    );
    let ready = http(&endpoint, "GET /readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    let lines = "[-]data_corruption failed: alarm activated: CORRUPT\n[+]serializable_read ok\n\
                 [+]linearizable_read ok\n[+]non_learner ok\n\n";
    assert!(ready.ends_with(lines), "{ready}");
    let live = http(&endpoint, "GET /livez").await;
    assert!(live.starts_with("HTTP/1.1 200"), "{live}");

    alarm(&clients, AlarmAction::Deactivate, 5, CORRUPT)
        .await
        .unwrap();
    check_changes(&clients, &[], Code::Ok, "").await;
}

#[tokio::test]
async fn without_space_only_what_needs_some_is_refused() {
    let (server, clients) = start().await;
    clients.put("a", "1").await;
    clients.grant(60, 7).await;
    let id = server.member_id();
    alarm(&clients, AlarmAction::Activate, id, NOSPACE)
        .await
        .unwrap();
    let text = "etcdserver: mvcc: database space exceeded";
    let refused = ["put", "txn with a put", "grant"];
    check_changes(&clients, &refused, Code::ResourceExhausted, text).await;

    let status = clients.maintenance.clone().status(StatusRequest {}).await;
    let errors = status.unwrap().into_inner().errors;
    assert_eq!(errors, [format!("memberID:{id} alarm:NOSPACE ")]);
    let endpoint = server.endpoint();
    for (path, status) in [
        ("/health", "503"),
        ("/health?exclude=NOSPACE", "200"),
        ("/health?serializable=true", "503"),
        ("/readyz", "200"),
    ] {
        let reply = http(&endpoint, &format!("GET {path}")).await;
        assert!(
            reply.starts_with(&format!("HTTP/1.1 {status}")),
            "{path}: {reply}"
        );
    }
    // Both at once: what is said first is that there is no space.
    alarm(&clients, AlarmAction::Activate, id, CORRUPT)
        .await
        .unwrap();
    let status = soon(clients.kv.clone().put(put("a", "x")))
        .await
        .unwrap_err();
    assert_eq!(status.message(), text);
}

#[tokio::test]
async fn an_alarm_outlives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let builder = || {
        handfast_server::Server::builder()
            .data_dir(dir.path())
            .listen("127.0.0.1:0")
    };
    let server = soon(builder().start()).await.unwrap();
    let clients = Clients::connect(&server.endpoint()).await;
    alarm(&clients, AlarmAction::Activate, 5, CORRUPT)
        .await
        .unwrap();
    soon(server.shutdown()).await.unwrap();
    let server = soon(builder().start()).await.unwrap();
    let clients = Clients::connect(&server.endpoint()).await;
    assert_eq!(listed(&clients, 0).await, [(5, CORRUPT)]);
    soon(server.shutdown()).await.unwrap();
}

async fn hash_kv(clients: &Clients, revision: i64) -> Result<(u32, i64, i64), Status> {
    let mut maintenance = clients.maintenance.clone();
    let asked = soon(maintenance.hash_kv(HashKvRequest { revision })).await;
    let hashed = asked?.into_inner();
    Ok((hashed.hash, hashed.compact_revision, hashed.hash_revision))
}

#[tokio::test]
async fn the_hash_covers_history_up_to_a_revision() {
    let ((_one, to_one), (_other, to_other)) = (start().await, start().await);
    for clients in [&to_one, &to_other] {
        clients.put("a", "1").await;
        clients.put("a", "2").await;
    }
    let now = hash_kv(&to_one, 0).await.unwrap();
    assert_eq!((now.1, now.2), (-1, 3));
    assert_eq!(hash_kv(&to_other, 3).await.unwrap(), now);
    let old = hash_kv(&to_one, 2).await.unwrap();
    assert!(old.0 != now.0 && old.2 == 2);
    to_other.put("a", "other").await;
    assert_ne!(hash_kv(&to_other, 0).await.unwrap().0, now.0);
    assert_eq!(hash_kv(&to_other, 3).await.unwrap(), now);

    let future = hash_kv(&to_one, 99).await.unwrap_err();
    assert_eq!(
        (future.code(), future.message()),
        (
            Code::OutOfRange,
            "etcdserver: mvcc: required revision is a future revision"
        )
    );
    let compact = CompactionRequest {
        revision: 3,
        physical: false,
    };
    soon(to_one.kv.clone().compact(compact)).await.unwrap();
    let compacted = hash_kv(&to_one, 2).await.unwrap_err();
    assert_eq!(
        (compacted.code(), compacted.message()),
        (
            Code::OutOfRange,
            "etcdserver: mvcc: required revision has been compacted"
        )
    );
    assert_eq!(hash_kv(&to_one, 0).await.unwrap().1, 3);
    let whole = soon(to_one.maintenance.clone().hash(HashRequest {})).await;
    assert!(whole.unwrap().into_inner().header.unwrap().member_id != 0);
}

#[tokio::test]
async fn leadership_moves_to_a_voter_only() {
    let (server, clients) = start().await;
    let mut maintenance = clients.maintenance.clone();
    let to = |target_id| MoveLeaderRequest { target_id };
    let itself = soon(maintenance.move_leader(to(server.member_id()))).await;
    assert_eq!(itself.unwrap().into_inner().header, None);
    let nobody = soon(maintenance.move_leader(to(99))).await.unwrap_err();
    assert_eq!(
        (nobody.code(), nobody.message()),
        (
            Code::FailedPrecondition,
            "etcdserver: bad leader transferee"
        )
    );
}

#[tokio::test]
async fn a_put_that_waits_for_no_disk_is_in_the_hash_at_once() {
    let (_server, clients) = start().await;
    let empty = hash_kv(&clients, 0).await.unwrap();
    let large = PutRequest {
        value: vec![1; 1 << 20].into(),
        ..put("a", "")
    };
    soon(clients.kv.clone().put(large)).await.unwrap();
    let filled = hash_kv(&clients, 0).await.unwrap();
    assert!(filled.0 != empty.0 && filled.2 == 2);
}
