//! Reads, writes, transactions and namespaces.

use handfast_core::{Compare, ErrorKind, Op, OpResponse, SortOrder, SortTarget};

use crate::common::Etcd;

#[tokio::test]
async fn what_was_put_is_read_and_deleted() {
    let etcd = Etcd::start().await;
    let client = etcd.client().await;
    assert_eq!(client.get("a/1").await.unwrap(), None);
    let first = client.put("a/1", "one").await.unwrap();
    client.put("a/2", vec![0u8, 255]).await.unwrap();
    client.put("b", "x").await.unwrap();
    let put = client.put("a/1", "uno").prev_kv().await.unwrap();
    assert_eq!(put.prev_kv.unwrap().value, "one");
    let pair = client.get("a/1").await.unwrap().unwrap();
    assert_eq!((&*pair.value, pair.version), (&b"uno"[..], 2));
    assert_eq!(pair.create_revision, first.header.revision);

    let all = client.range("a/").prefix().await.unwrap();
    assert_eq!((all.count, all.more), (2, false));
    let one = client
        .range("a/")
        .prefix()
        .sort_by(SortTarget::Mod, SortOrder::Descend)
        .limit(1)
        .keys_only()
        .await
        .unwrap();
    assert_eq!(
        (&*one.kvs[0].key, one.kvs[0].value.len(), one.more),
        (&b"a/1"[..], 0, true)
    );
    let old = client
        .range("a/1")
        .revision(first.header.revision)
        .await
        .unwrap();
    assert_eq!(old.kvs[0].value, "one");
    assert_eq!(
        client.range("").prefix().count_only().await.unwrap().count,
        3
    );
    assert_eq!(client.range("a/2").from_key().await.unwrap().kvs.len(), 2);
    assert_eq!(
        client
            .range("a")
            .range_end("b")
            .serializable()
            .await
            .unwrap()
            .kvs
            .len(),
        2
    );

    let deleted = client.delete("a/").prefix().prev_kv().await.unwrap();
    assert_eq!((deleted.deleted, deleted.prev_kvs.len()), (2, 2));
}

#[tokio::test]
async fn a_transaction_takes_one_branch_and_answers_each_operation() {
    let etcd = Etcd::start().await;
    let client = etcd.client().await;
    let outcome = client
        .txn()
        .when([Compare::create_revision("lock/").prefix().eq(0)])
        .then([
            Op::put("lock/1", "me"),
            Op::get("lock/").prefix(),
            Op::txn([Compare::version("none").eq(0)], [Op::put("inner", "")], []),
        ])
        .otherwise([Op::range("lock/").prefix().limit(1)])
        .commit()
        .await
        .unwrap();
    assert!(outcome.succeeded);
    assert_eq!(
        outcome.range(1).unwrap().kvs[0].create_revision,
        outcome.header.revision
    );
    let OpResponse::Txn(inner) = &outcome.responses[2] else {
        panic!()
    };
    assert!(inner.succeeded && inner.responses[0].as_put().is_some());
    assert!(outcome.range(0).is_err(), "a put is no read");

    let refused = client
        .txn()
        .when([
            Compare::create_revision("lock/").prefix().eq(0),
            Compare::value("inner").eq(""),
        ])
        .then([Op::put("lock/2", "")])
        .otherwise([Op::delete("inner").prev_kv(), Op::range("lock/").prefix()])
        .commit()
        .await
        .unwrap();
    assert!(!refused.succeeded);
    assert_eq!(
        refused.responses[0].as_delete().unwrap().prev_kvs[0].key,
        "inner"
    );
    assert_eq!(refused.range(1).unwrap().kvs[0].value, "me");

    for (compare, holds) in [
        (Compare::value("lock/1").gt("ma"), true),
        (Compare::value("lock/1").lt("ma"), false),
        (Compare::value("missing").ne("x"), false),
        (Compare::version("lock/1").gt(0), true),
        (
            Compare::mod_revision("lock/1").ne(outcome.header.revision),
            false,
        ),
        (Compare::lease("lock/1").eq(0), true),
        (Compare::version("lock/").range_end("lock0").lt(2), true),
    ] {
        let answer = client.txn().when([compare.clone()]).commit().await.unwrap();
        assert_eq!(answer.succeeded, holds, "{compare:?}");
    }
}

#[tokio::test]
async fn the_servers_refusals_are_typed() {
    let etcd = Etcd::start().await;
    let client = etcd.client().await;
    client.put("k", "1").await.unwrap();
    let revision = client.put("k", "2").await.unwrap().header.revision;
    client.compact(revision, true).await.unwrap();

    let refused = [
        client.range("k").revision(revision - 1).await.unwrap_err(),
        client.range("k").revision(revision + 9).await.unwrap_err(),
        client.compact(revision, false).await.unwrap_err(),
        client.put("none", "").ignore_value().await.unwrap_err(),
        client.put("k", "v").ignore_value().await.unwrap_err(),
        client.put("k", "v").lease(77).await.unwrap_err(),
        client.put("k", vec![0; 3 << 20]).await.unwrap_err(),
        client
            .txn()
            .then([Op::put("k", ""), Op::put("k", "")])
            .commit()
            .await
            .unwrap_err(),
    ];
    let kinds = refused.each_ref().map(handfast_core::Error::kind);
    assert_eq!(
        kinds,
        [
            ErrorKind::Compacted,
            ErrorKind::FutureRevision,
            ErrorKind::Compacted,
            ErrorKind::KeyNotFound,
            ErrorKind::ValueProvided,
            ErrorKind::LeaseNotFound,
            ErrorKind::TooLarge,
            ErrorKind::DuplicateKey,
        ]
    );
    for error in &refused {
        assert!(!error.in_doubt() && !error.is_retryable(), "{error}");
        assert_eq!(error.endpoint(), Some(&*etcd.endpoint()));
        assert_eq!(error.attempts(), 1, "{error}");
    }
}

#[tokio::test]
async fn a_namespace_is_invisible_from_inside() {
    let etcd = Etcd::start().await;
    let outer = etcd.client().await;
    let inner = outer.namespace("ns/");
    outer.put("nr", "before").await.unwrap();
    outer.put("ns0", "after").await.unwrap();
    inner.put("a", "1").await.unwrap();
    inner.put("b", "2").await.unwrap();
    assert_eq!(outer.get("ns/a").await.unwrap().unwrap().value, "1");
    assert_eq!(inner.get("a").await.unwrap().unwrap().key, "a");
    let keys = |response: handfast_core::RangeResponse| {
        response
            .kvs
            .iter()
            .map(|pair| pair.key.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(inner.range("").prefix().await.unwrap()), ["a", "b"]);
    assert_eq!(keys(inner.range("b").from_key().await.unwrap()), ["b"]);
    assert_eq!(keys(inner.range("a").range_end("b").await.unwrap()), ["a"]);
    assert_eq!(
        inner
            .put("a", "3")
            .prev_kv()
            .await
            .unwrap()
            .prev_kv
            .unwrap()
            .key,
        "a"
    );

    let answer = inner
        .txn()
        .when([
            Compare::version("").prefix().gt(0),
            Compare::value("a").eq("3"),
        ])
        .then([
            Op::range("").prefix(),
            Op::txn(
                [Compare::version("a").eq(2)],
                [Op::delete("a").prev_kv()],
                [],
            ),
        ])
        .commit()
        .await
        .unwrap();
    assert!(answer.succeeded);
    assert_eq!(keys(answer.range(0).unwrap().clone()), ["a", "b"]);
    let nested = answer.responses[1].as_txn().unwrap();
    assert_eq!(
        nested.responses[0].as_delete().unwrap().prev_kvs[0].key,
        "a"
    );

    let deeper = inner.namespace("deep/");
    deeper.put("k", "v").await.unwrap();
    assert_eq!(outer.get("ns/deep/k").await.unwrap().unwrap().value, "v");
    assert_eq!(inner.get("").await.unwrap_err().kind(), ErrorKind::EmptyKey);
    assert_eq!(inner.delete("").prefix().await.unwrap().deleted, 2);
    assert_eq!(
        outer.range("n").prefix().count_only().await.unwrap().count,
        2
    );
}
