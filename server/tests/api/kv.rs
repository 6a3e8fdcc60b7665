//! The KV service: what comes back, and which header fields are set.

use handfast_proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, MemberListRequest, PutRequest, RangeRequest,
    ResponseHeader, StatusRequest, TxnRequest, compare, request_op::Request as Op,
    response_op::Response as Answer,
};

use crate::clients::{get, op, put, soon, start};

fn is_complete(header: &Option<ResponseHeader>) -> bool {
    let header = header.as_ref().unwrap();
    header.cluster_id != 0 && header.member_id != 0 && header.raft_term != 0
}

#[tokio::test]
async fn a_key_is_put_read_overwritten_and_deleted() {
    let (server, clients) = start().await;
    let mut kv = clients.kv.clone();

    let first = soon(kv.put(put("a", "1"))).await.unwrap().into_inner();
    assert!(is_complete(&first.header));
    assert_eq!(first.header.unwrap().revision, 2);
    assert_eq!(first.header.unwrap().member_id, server.member_id());
    assert_eq!(first.header.unwrap().cluster_id, server.cluster_id());
    assert_eq!(first.prev_kv, None);

    let again = PutRequest {
        prev_kv: true,
        ..put("a", "2")
    };
    let again = soon(kv.put(again)).await.unwrap().into_inner();
    assert_eq!(again.header.unwrap().revision, 3);
    assert_eq!(again.prev_kv.unwrap().value, "1");

    let read = clients.get("a").await;
    assert!(is_complete(&read.header));
    assert_eq!(
        (read.count, read.more, read.header.unwrap().revision),
        (1, false, 3)
    );
    let pair = &read.kvs[0];
    assert_eq!((&pair.key[..], &pair.value[..]), (&b"a"[..], &b"2"[..]));
    assert_eq!(
        (pair.create_revision, pair.mod_revision, pair.version),
        (2, 3, 2)
    );

    // An old revision is read under the header of the present one.
    let old = RangeRequest {
        revision: 2,
        ..get("a")
    };
    let old = soon(kv.range(old)).await.unwrap().into_inner();
    assert_eq!(
        (&old.kvs[0].value[..], old.header.unwrap().revision),
        (&b"1"[..], 3)
    );

    let delete = DeleteRangeRequest {
        key: "a".into(),
        prev_kv: true,
        ..DeleteRangeRequest::default()
    };
    let deleted = soon(kv.delete_range(delete.clone()))
        .await
        .unwrap()
        .into_inner();
    assert!(is_complete(&deleted.header));
    assert_eq!((deleted.deleted, deleted.header.unwrap().revision), (1, 4));
    assert_eq!(deleted.prev_kvs[0].value, "2");
    let nothing = soon(kv.delete_range(delete)).await.unwrap().into_inner();
    assert_eq!((nothing.deleted, nothing.header.unwrap().revision), (0, 4));
    assert_eq!(clients.get("a").await.count, 0);
}

#[tokio::test]
async fn a_txn_sees_its_own_writes_and_only_its_own_header_is_complete() {
    let (_server, clients) = start().await;
    clients.put("a", "1").await;
    let txn = TxnRequest {
        compare: vec![Compare {
            key: "a".into(),
            target: compare::CompareTarget::Value.into(),
            result: compare::CompareResult::Equal.into(),
            target_union: Some(compare::TargetUnion::Value("1".into())),
            ..Compare::default()
        }],
        success: vec![
            op(Op::RequestRange(get("b"))),
            op(Op::RequestPut(put("b", "2"))),
            op(Op::RequestRange(get("b"))),
        ],
        failure: vec![],
    };
    let done = soon(clients.kv.clone().txn(txn))
        .await
        .unwrap()
        .into_inner();
    assert!(done.succeeded && is_complete(&done.header));
    assert_eq!(done.header.unwrap().revision, 3);
    let answers: Vec<_> = done
        .responses
        .into_iter()
        .map(|r| r.response.unwrap())
        .collect();
    let [
        Answer::ResponseRange(before),
        Answer::ResponsePut(put),
        Answer::ResponseRange(after),
    ] = &answers[..]
    else {
        panic!("{answers:?}")
    };
    let inner = |revision| ResponseHeader {
        revision,
        ..ResponseHeader::default()
    };
    assert_eq!((before.count, before.header), (0, Some(inner(2))));
    assert_eq!(put.header, Some(inner(3)));
    assert_eq!((after.count, after.header), (1, Some(inner(3))));
}

#[tokio::test]
async fn a_read_only_txn_makes_no_revision() {
    let (_server, clients) = start().await;
    clients.put("a", "1").await;
    for serializable in [false, true] {
        let range = RangeRequest {
            serializable,
            ..get("a")
        };
        let txn = TxnRequest {
            success: vec![op(Op::RequestRange(range))],
            ..TxnRequest::default()
        };
        let before = raft_index(&clients).await;
        let done = soon(clients.kv.clone().txn(txn))
            .await
            .unwrap()
            .into_inner();
        assert!(done.succeeded && is_complete(&done.header));
        assert_eq!(done.header.unwrap().revision, 2);
        assert_eq!(
            raft_index(&clients).await,
            before,
            "it went through the log"
        );
    }
}

async fn raft_index(clients: &crate::clients::Clients) -> u64 {
    let status = soon(clients.maintenance.clone().status(StatusRequest {}))
        .await
        .unwrap();
    status.into_inner().raft_applied_index
}

#[tokio::test]
async fn a_physical_compaction_returns_once_the_history_is_gone() {
    let (_server, clients) = start().await;
    for value in 0..50 {
        clients.put("a", &value.to_string()).await;
    }
    let compact = CompactionRequest {
        revision: 40,
        physical: true,
    };
    let done = soon(clients.kv.clone().compact(compact))
        .await
        .unwrap()
        .into_inner();
    assert!(is_complete(&done.header));
    assert_eq!(done.header.unwrap().revision, 51);
    let at = |revision| RangeRequest {
        revision,
        ..get("a")
    };
    assert_eq!(
        soon(clients.kv.clone().range(at(40)))
            .await
            .unwrap()
            .into_inner()
            .count,
        1
    );
    soon(clients.kv.clone().range(at(39))).await.unwrap_err();
}

#[tokio::test]
async fn many_writers_on_one_connection_get_one_revision_each() {
    let (_server, clients) = start().await;
    let writes = (0..500).map(|i| {
        let clients = clients.clone();
        tokio::spawn(async move { clients.put(&format!("k{i}"), "v").await })
    });
    let mut revisions = Vec::new();
    for write in writes.collect::<Vec<_>>() {
        revisions.push(write.await.unwrap());
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (2..502).collect::<Vec<i64>>());
}

#[tokio::test]
async fn status_and_member_list_describe_the_one_member() {
    let (server, clients) = start().await;
    clients.put("a", "1").await;
    let status = soon(clients.maintenance.clone().status(StatusRequest {}))
        .await
        .unwrap();
    let status = status.into_inner();
    assert!(is_complete(&status.header));
    assert_eq!(status.header.unwrap().revision, 2);
    assert_eq!(
        status
            .version
            .split('.')
            .filter(|part| part.parse::<u32>().is_ok())
            .count(),
        3
    );
    assert_eq!(status.leader, server.member_id());
    assert!(status.db_size > 0 && status.raft_index >= status.raft_applied_index);
    assert!(status.raft_applied_index > 0 && status.raft_term > 0);
    assert!(status.errors.is_empty() && status.downgrade_info.is_some());
    assert_eq!(status.db_size_quota, 2 << 30);

    for linearizable in [false, true] {
        let list = MemberListRequest { linearizable };
        let list = soon(clients.cluster.clone().member_list(list))
            .await
            .unwrap()
            .into_inner();
        assert!(is_complete(&list.header));
        assert_eq!(list.header.unwrap().revision, 0);
        let [member] = &list.members[..] else {
            panic!("{list:?}")
        };
        assert_eq!(
            (member.id, &member.name[..]),
            (server.member_id(), "default")
        );
        assert_eq!(member.client_ur_ls, server.client_urls());
        assert!(!member.is_learner);
    }
}
