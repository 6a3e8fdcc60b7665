//! Single behaviours that etcd's clients rely on, one by one.

use handfast_proto::etcdserverpb::{TxnResponse, response_op::Response};

use super::*;
use crate::{Error, Outcome};

fn txn_response(applied: Applied) -> TxnResponse {
    match applied.result {
        Ok(Outcome::Txn(response)) => response,
        other => panic!("{other:?}"),
    }
}

fn revisions(response: &TxnResponse) -> Vec<i64> {
    let header = |response: &Response| match response {
        Response::ResponseRange(response) => response.header,
        Response::ResponsePut(response) => response.header,
        Response::ResponseDeleteRange(response) => response.header,
        Response::ResponseTxn(response) => response.header,
    };
    let responses = response.responses.iter().flat_map(|op| &op.response);
    responses
        .map(|response| header(response).unwrap().revision)
        .collect()
}

#[test]
fn revisions_start_at_one_and_count_requests_that_change() {
    let mut fixture = Fixture::new();
    assert_eq!(
        (
            fixture.store().revision(),
            fixture.store().compact_revision()
        ),
        (1, -1)
    );
    assert_eq!(fixture.one(put("a", "")).revision, 2);
    assert_eq!(fixture.one(put("a", "")).revision, 3);
    assert_eq!(fixture.one(delete("x", "")).revision, 3);
    assert_eq!(fixture.one(grant(1)).revision, 3);
    assert_eq!(fixture.one(revoke(1)).revision, 3);
    assert_eq!(fixture.one(compact(2)).revision, 3);
    assert_eq!(fixture.one(delete("a", "")).revision, 4);
    assert_eq!(fixture.one(Op::Txn(TxnRequest::default())).revision, 4);
}

#[test]
fn headers_inside_a_transaction_tell_where_its_first_change_is() {
    let mut fixture = Fixture::new();
    fixture.one(put("a", "1"));
    let response = txn_response(fixture.one(Op::Txn(txn(vec![
        Request::RequestRange(range("a", "")),
        Request::RequestDeleteRange(delete_request("nothing", "")),
        Request::RequestPut(put_request("b", "")),
        Request::RequestRange(range("\0", "\0")),
        Request::RequestTxn(txn(vec![Request::RequestPut(put_request("c", ""))])),
        Request::RequestDeleteRange(delete_request("nothing", "")),
    ]))));
    assert_eq!(revisions(&response), [2, 2, 3, 3, 0, 3]);
    assert_eq!(response.header.unwrap().revision, 3);
    let Some(Response::ResponseRange(all)) = &response.responses[3].response else {
        panic!()
    };
    assert_eq!(all.count, 2);
}

#[test]
fn leases_move_detach_and_take_their_keys_along() {
    let mut fixture = Fixture::new();
    let with_lease = |key: &str, lease| {
        Op::Put(PutRequest {
            lease,
            ..put_request(key, "v")
        })
    };
    assert!(matches!(
        fixture.one(with_lease("a", 9)).result,
        Err(Error::LeaseNotFound(9))
    ));
    fixture.apply(vec![grant(1), grant(2)]);
    assert!(matches!(
        fixture.one(grant(1)).result,
        Err(Error::LeaseExists(1))
    ));
    fixture.apply(vec![
        with_lease("b", 1),
        with_lease("a", 1),
        with_lease("c", 1),
    ]);
    fixture.apply(vec![with_lease("c", 2), put("b", "detached")]);
    let keys = |fixture: &Fixture, id| fixture.store().leases().keys_of(id).unwrap();
    assert_eq!(
        (keys(&fixture, 1), keys(&fixture, 2)),
        (vec![bytes("a")], vec![bytes("c")])
    );
    fixture.one(with_lease("b", 1));
    let before = fixture.store().revision();
    assert_eq!(fixture.one(revoke(1)).revision, before + 1);
    assert!(matches!(
        fixture.one(revoke(1)).result,
        Err(Error::LeaseNotFound(1))
    ));
    let left = fixture.store().range(&range("\0", "\0")).unwrap();
    assert_eq!(
        left.kvs.iter().map(|kv| kv.key.clone()).collect::<Vec<_>>(),
        [bytes("c")]
    );
    let commit = fixture.store().watch().recent().get(before + 1).unwrap();
    let deleted: Vec<_> = commit
        .events()
        .iter()
        .map(|event| event.kv.key.clone())
        .collect();
    assert_eq!(deleted, [bytes("a"), bytes("b")]);
    assert!(commit.events().iter().all(|event| event.tombstone));
}

#[test]
fn an_expiry_takes_one_revision_per_lease_and_none_under_an_old_term() {
    let mut fixture = Fixture::new();
    let with_lease = |key: &str, lease| {
        Op::Put(PutRequest {
            lease,
            ..put_request(key, "v")
        })
    };
    fixture.apply(vec![grant(1), grant(2), grant(3)]);
    fixture.apply(vec![
        with_lease("a", 1),
        with_lease("b", 2),
        with_lease("c", 2),
    ]);
    let revision = fixture.store().revision();
    let stale = fixture
        .apply_in(5, vec![expire(&[1, 2, 3], 4)])
        .pop()
        .unwrap();
    assert_eq!(
        seen(&stale),
        format!("{revision} Ok(LeaseExpire {{ revoked: 0 }})")
    );
    let valid = fixture
        .apply_in(5, vec![expire(&[1, 8, 2, 3], 5)])
        .pop()
        .unwrap();
    assert_eq!(
        seen(&valid),
        format!("{} Ok(LeaseExpire {{ revoked: 3 }})", revision + 2)
    );
    assert!(fixture.store().leases().is_empty());
    fixture.reopen();
    assert!(fixture.store().leases().is_empty());
    assert_eq!(fixture.store().stats().keys, 0);
}

#[test]
fn compaction_refuses_what_is_compacted_before_what_is_future() {
    let mut fixture = Fixture::new();
    assert!(matches!(
        fixture.one(compact(-1)).result,
        Err(Error::Compacted { .. })
    ));
    assert!(matches!(
        fixture.one(compact(2)).result,
        Err(Error::FutureRevision { .. })
    ));
    assert!(fixture.one(compact(0)).result.is_ok());
    assert!(matches!(
        fixture.one(compact(0)).result,
        Err(Error::Compacted { .. })
    ));
    fixture.apply(vec![put("a", "1"), put("a", "2")]);
    assert!(fixture.one(compact(3)).result.is_ok());
    let at = |revision| {
        fixture.store().range(&RangeRequest {
            revision,
            ..range("a", "")
        })
    };
    assert!(matches!(
        at(2),
        Err(Error::Compacted {
            requested: 2,
            compacted: 3
        })
    ));
    assert!(matches!(
        at(4),
        Err(Error::FutureRevision {
            requested: 4,
            current: 3
        })
    ));
    assert_eq!(at(3).unwrap().kvs[0].value, "2");
    assert_eq!(at(-5).unwrap().kvs[0].value, "2");
}

#[test]
fn malformed_entries_change_nothing_and_do_not_stop_the_log() {
    let mut fixture = Fixture::new();
    let entry = |index, payload| LogEntry {
        position: LogPosition { term: 1, index },
        payload,
    };
    let entries = vec![
        entry(1, Payload::Blank),
        entry(2, Payload::Command(bytes([0xff, 0xff]))),
        entry(3, Payload::Command(Bytes::new())),
    ];
    fixture.log = entries.clone();
    let answers = fixture.store().apply(entries);
    assert!(matches!(answers[0].result, Ok(Outcome::Blank)));
    assert!(matches!(answers[1].result, Err(Error::Malformed(_))));
    assert!(matches!(answers[2].result, Err(Error::Malformed(_))));
    assert_eq!(fixture.one(put("a", "")).revision, 2);
}

#[test]
fn a_large_request_is_not_kept_alive_by_the_key_it_wrote() {
    let mut fixture = Fixture::new();
    let key = fixture.one(put("key", "value"));
    assert!(key.result.is_ok());
    let kv = fixture
        .store()
        .range(&range("key", ""))
        .unwrap()
        .kvs
        .remove(0);
    let commit = fixture.store().watch().recent().get(2).unwrap();
    assert_eq!(
        kv.value.as_ptr(),
        commit.events()[0].kv.value.as_ptr(),
        "one copy for all"
    );
    let log = fixture.log[0].clone();
    let Payload::Command(payload) = log.payload else {
        panic!()
    };
    let within = payload.as_ptr_range().contains(&kv.value.as_ptr());
    assert!(!within, "the store has its own");
}
