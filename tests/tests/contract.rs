//! What the contract wants and Debian's etcd does otherwise, so that no comparison can show it.
//!
//! Every entry of `differential::accepted` that is a rule of its own has a test here.

use bytes::Bytes;
use handfast_proto::{
    etcdserverpb::{
        CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
        WatchCreateRequest, WatchRequest, WatchResponse, request_op::Request,
        watch_request::RequestUnion,
    },
    mvccpb::event::EventType,
};
use handfast_tests::{
    Result,
    client::{Client, answer},
    harness::{Server, Subject},
};
use tonic::{Code, Status};

const DUPLICATE: &str = "etcdserver: duplicate key given in txn request";

fn error<T: std::fmt::Debug>(answer: std::result::Result<T, Status>) -> (Code, String) {
    match answer {
        Ok(answer) => (Code::Ok, format!("{answer:?}")),
        Err(status) => (status.code(), status.message().to_owned()),
    }
}

fn put(key: &'static str) -> Request {
    Request::RequestPut(PutRequest {
        key: key.into(),
        ..PutRequest::default()
    })
}

fn delete(key: &'static str, range_end: &'static [u8]) -> Request {
    let range_end = Bytes::from_static(range_end);
    Request::RequestDeleteRange(DeleteRangeRequest {
        key: key.into(),
        range_end,
        ..DeleteRangeRequest::default()
    })
}

fn txn(success: Vec<Request>) -> TxnRequest {
    let success = success.into_iter().map(|request| RequestOp {
        request: Some(request),
    });
    TxnRequest {
        success: success.collect(),
        ..TxnRequest::default()
    }
}

/// Opens a watch and takes messages until `enough` of one.
async fn watch_until(
    client: &mut Client,
    create: WatchCreateRequest,
    enough: impl Fn(&WatchResponse) -> bool,
) -> Result<Vec<WatchResponse>> {
    let create = WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    };
    let requests = tokio_stream::iter([create]);
    let requests = tokio_stream::StreamExt::chain(requests, tokio_stream::pending());
    let mut stream = answer(client.watch.watch(requests)).await?;
    let mut taken = Vec::new();
    loop {
        let message = answer(async { stream.message().await.map(tonic::Response::new) }).await?;
        let message = message.ok_or("the watch ended")?;
        let is_enough = enough(&message);
        taken.push(message);
        if is_enough {
            return Ok(taken);
        }
    }
}

#[tokio::test]
async fn an_unknown_sort_option_is_refused_and_the_server_lives_on() -> Result<()> {
    let server = Server::start(Subject::Handfast).await?;
    let mut client = server.client()?;
    let expected = (
        Code::InvalidArgument,
        "etcdserver: invalid sort option".to_owned(),
    );
    for (sort_order, sort_target) in [(7, 0), (0, 9), (-1, 0), (1, 5)] {
        let request = RangeRequest {
            key: "k".into(),
            sort_order,
            sort_target,
            ..RangeRequest::default()
        };
        assert_eq!(
            error(answer(client.kv.range(request.clone())).await),
            expected
        );
        let nested = txn(vec![Request::RequestRange(request)]);
        assert_eq!(error(answer(client.kv.txn(nested)).await), expected);
    }
    answer(client.kv.range(RangeRequest {
        key: "k".into(),
        ..Default::default()
    }))
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_watch_from_a_negative_revision_is_refused_as_compacted() -> Result<()> {
    let server = Server::start(Subject::Handfast).await?;
    let create = WatchCreateRequest {
        key: "k".into(),
        start_revision: -1,
        ..Default::default()
    };
    let taken = watch_until(&mut server.client()?, create, |message| message.canceled).await?;
    let reply = &taken[0];
    assert_eq!(
        (reply.created, reply.canceled, reply.watch_id),
        (true, true, -1)
    );
    assert_eq!(
        reply.cancel_reason,
        "etcdserver: mvcc: required revision has been compacted"
    );
    Ok(())
}

#[tokio::test]
async fn a_put_within_an_open_ended_deletion_is_a_duplicate() -> Result<()> {
    let server = Server::start(Subject::Handfast).await?;
    let mut client = server.client()?;
    let expected = (Code::InvalidArgument, DUPLICATE.to_owned());
    let request = txn(vec![delete("a", b"\0"), put("b")]);
    assert_eq!(error(answer(client.kv.txn(request)).await), expected);
    let below = txn(vec![delete("b", b"\0"), put("a")]);
    answer(client.kv.txn(below)).await?;
    Ok(())
}

#[tokio::test]
async fn overlaps_of_nested_transactions_are_duplicates_in_either_order() -> Result<()> {
    let server = Server::start(Subject::Handfast).await?;
    let mut client = server.client()?;
    let expected = (Code::InvalidArgument, DUPLICATE.to_owned());
    let writes = || Request::RequestTxn(txn(vec![put("a")]));
    let deletes = || Request::RequestTxn(txn(vec![delete("a", b"")]));
    for both in [vec![writes(), deletes()], vec![deletes(), writes()]] {
        assert_eq!(error(answer(client.kv.txn(txn(both))).await), expected);
    }
    Ok(())
}

#[tokio::test]
async fn a_deletion_at_the_compacted_revision_is_still_seen() -> Result<()> {
    let server = Server::start(Subject::Handfast).await?;
    let mut client = server.client()?;
    let key = Bytes::from_static(b"k");
    answer(client.kv.put(PutRequest {
        key: key.clone(),
        ..Default::default()
    }))
    .await?;
    let request = DeleteRangeRequest {
        key: key.clone(),
        ..Default::default()
    };
    let deleted = answer(client.kv.delete_range(request)).await?;
    let revision = deleted.header.map_or(0, |header| header.revision);
    let request = CompactionRequest {
        revision,
        physical: true,
    };
    answer(client.kv.compact(request)).await?;
    let create = WatchCreateRequest {
        key,
        start_revision: revision,
        ..Default::default()
    };
    let taken = watch_until(&mut client, create, |message| !message.events.is_empty()).await?;
    let event = &taken.last().ok_or("no message")?.events[0];
    assert_eq!(event.r#type, EventType::Delete as i32);
    assert_eq!(
        event.kv.as_ref().map(|pair| pair.mod_revision),
        Some(revision)
    );
    Ok(())
}
