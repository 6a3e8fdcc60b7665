//! A lone member from outside: what it acknowledges it still knows after a restart.

#![allow(clippy::unwrap_used)]

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use handfast_consensus::{
    Consensus, Failure, Options, ProposeError, SpoolOptions, Start, StartError,
    peer::{Pipe, Transport, Unreachable},
};
use handfast_mvcc::{Applied, Clock, MonotonicClock, Outcome, Store, StoreOptions};
use handfast_proto::{
    command::{Command, LeaseGrant, MemberInfo, command::Op},
    etcdserverpb::{PutRequest, RangeRequest},
    peer::{Request, Response},
};
use handfast_storage::{
    disk::RealDisk,
    state::{State, StateOptions},
    wal::{Identity, Wal, WalOptions},
};

const MEMBER: u64 = 0xfeed;

#[derive(Debug)]
struct Nobody;

impl Transport for Nobody {
    fn call(
        &self,
        to: &MemberInfo,
        _: Request,
        _: Duration,
    ) -> BoxFuture<'static, Result<Response, Unreachable>> {
        panic!("a lone member has nobody to ask, but asked {}", to.id)
    }

    fn pipe(&self, to: &MemberInfo) -> BoxFuture<'static, Result<Pipe, Unreachable>> {
        panic!("a lone member has nobody to ask, but asked {}", to.id)
    }
}

async fn start(dir: &Path) -> Consensus {
    try_start(dir).await.unwrap()
}

async fn try_start(dir: &Path) -> Result<Consensus, StartError> {
    let disk = Arc::new(RealDisk);
    let identity = Identity {
        cluster_id: 7,
        member_id: MEMBER,
    };
    let options = WalOptions {
        segment_bytes: 1 << 20,
        ..WalOptions::default()
    };
    let wal = Wal::open(disk.clone(), &dir.join("wal"), identity, options).unwrap();
    let path = dir.join("state.redb");
    let state = Arc::new(State::open(disk.clone(), &path, StateOptions::default()).unwrap());
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::default());
    let store_options = StoreOptions {
        clock: clock.clone(),
        ..StoreOptions::default()
    };
    let store = Arc::new(Store::open(state, store_options).unwrap());
    let member = MemberInfo {
        id: MEMBER,
        name: "lone".to_owned(),
        ..MemberInfo::default()
    };
    Consensus::start(Options {
        start: Start::Found(vec![member.clone()]),
        member,
        cluster_id: 7,
        transport: Arc::new(Nobody),
        spool: SpoolOptions {
            disk,
            path: dir.join("spool"),
        },
        lease_read: false,
        strict_reconfig: true,
        max_learners: 1,
        compare_rows_every: Duration::ZERO,
        blocking: true,
        wal,
        store,
        clock,
        heartbeat_interval: Duration::from_millis(100),
        election_timeout: Duration::from_secs(1),
        request_timeout: Duration::from_secs(7),
        max_request_bytes: 1 << 20,
        log_tail_entries: 100,
    })
    .await
}

fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Command {
    let (key, value) = (key.into(), value.into());
    Command {
        op: Some(Op::Put(PutRequest {
            key,
            value,
            ..PutRequest::default()
        })),
    }
}

fn revision_of(applied: Applied) -> i64 {
    assert!(matches!(applied.result, Ok(Outcome::Put(_))));
    applied.revision
}

fn read(consensus: &Consensus, key: &'static str) -> Option<Bytes> {
    let request = RangeRequest {
        key: Bytes::from(key),
        ..RangeRequest::default()
    };
    consensus
        .store()
        .range(&request)
        .unwrap()
        .kvs
        .pop()
        .map(|pair| pair.value)
}

#[tokio::test]
async fn an_acknowledged_write_is_read_at_once_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let first = start(dir.path()).await;
    let applied = first.propose(put("greeting", "hello")).await.unwrap();
    assert_eq!(revision_of(applied), 2);
    first.linearizable().await.unwrap();
    assert_eq!(read(&first, "greeting").unwrap(), "hello");
    let term = first.status().term;
    first.shutdown().await;
    drop(first);

    let second = start(dir.path()).await;
    assert_eq!(read(&second, "greeting").unwrap(), "hello");
    let applied = second.propose(put("greeting", "again")).await.unwrap();
    assert_eq!(revision_of(applied), 3);
    assert!(second.status().term > term, "a term is never led twice");
    second.shutdown().await;
}

#[tokio::test]
async fn writes_that_wait_together_each_get_their_own_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let member = start(dir.path()).await;
    let writes = (0..1000).map(|i| {
        let member = member.clone();
        tokio::spawn(async move {
            let applied = member.propose(put(format!("k{i}"), format!("v{i}"))).await;
            revision_of(applied.unwrap())
        })
    });
    let mut revisions = Vec::new();
    for write in writes.collect::<Vec<_>>() {
        revisions.push(write.await.unwrap());
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (2..1002).collect::<Vec<_>>());
    let entries = member.status().applied_index;
    assert!(
        entries < 900,
        "{entries} log entries for 1000 writes: nothing was batched"
    );
    member.shutdown().await;
}

#[tokio::test]
async fn a_command_over_the_limit_is_refused_before_raft_sees_it() {
    let dir = tempfile::tempdir().unwrap();
    let member = start(dir.path()).await;
    let before = member.status().applied_index;
    let error = member
        .propose(put("big", vec![0; 2 << 20]))
        .await
        .unwrap_err();
    assert!(matches!(error, ProposeError::TooLarge { limit, .. } if limit == 1 << 20));
    assert_eq!(member.status().applied_index, before);
    member.shutdown().await;
}

#[tokio::test]
async fn what_comes_after_shutdown_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let member = start(dir.path()).await;
    member.shutdown().await;
    assert_eq!(
        member.propose(put("late", "x")).await.unwrap_err(),
        ProposeError::Stopped
    );
    assert!(member.linearizable().await.is_err());
}

#[tokio::test]
async fn a_lease_ends_by_itself_and_not_before_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let member = start(dir.path()).await;
    let grant = LeaseGrant {
        id: 5,
        ttl_seconds: 2,
    };
    member
        .propose(Command {
            op: Some(Op::LeaseGrant(grant)),
        })
        .await
        .unwrap();
    let granted = std::time::Instant::now();
    let held = PutRequest {
        key: "held".into(),
        lease: 5,
        ..PutRequest::default()
    };
    member
        .propose(Command {
            op: Some(Op::Put(held)),
        })
        .await
        .unwrap();
    assert_eq!(member.lease_keep_alive(5).await.unwrap(), Some(2));
    assert_eq!(member.lease_keep_alive(6).await.unwrap(), None);
    let renewed = std::time::Instant::now();
    while read(&member, "held").is_some() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Counted from before the renewal was asked for, so the bound holds on a slow machine, too.
    assert!(granted.elapsed() >= Duration::from_secs(2) - (renewed - granted));
    assert_eq!(member.lease_keep_alive(5).await.unwrap(), None);
    member.shutdown().await;
}

/// As after a crash of a member whose own sync was slower than that of a majority.
#[tokio::test]
async fn a_log_that_ends_before_the_state_goes_on_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, older) = (dir.path().join("wal"), dir.path().join("older"));
    let member = start(dir.path()).await;
    member.propose(put("greeting", "hello")).await.unwrap();
    member.shutdown().await;
    drop(member);
    std::fs::create_dir(&older).unwrap();
    for file in std::fs::read_dir(&wal).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), older.join(file.file_name())).unwrap();
    }
    let member = start(dir.path()).await;
    for n in 0..10 {
        member
            .propose(put("greeting", format!("{n}")))
            .await
            .unwrap();
    }
    member.store().flush().unwrap();
    member.shutdown().await;
    drop(member);
    std::fs::remove_dir_all(&wal).unwrap();
    std::fs::rename(&older, &wal).unwrap();

    let member = start(dir.path()).await;
    assert_eq!(read(&member, "greeting").unwrap(), "9");
    let applied = member.propose(put("greeting", "bye")).await.unwrap();
    assert_eq!(revision_of(applied), 13);
    member.shutdown().await;
    drop(member);
    let member = start(dir.path()).await;
    assert_eq!(read(&member, "greeting").unwrap(), "bye");
}

#[tokio::test]
async fn a_state_without_its_log_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let member = start(dir.path()).await;
    member.propose(put("greeting", "hello")).await.unwrap();
    member.store().flush().unwrap();
    member.shutdown().await;
    drop(member);
    std::fs::remove_dir_all(dir.path().join("wal")).unwrap();
    let Err(refused) = try_start(dir.path()).await else {
        panic!("it started without its log");
    };
    assert!(
        matches!(refused, StartError::LogMissing { last: 0, .. }),
        "{refused}"
    );
    assert!(refused.to_string().contains("the log was deleted"));
}

#[tokio::test]
async fn a_state_that_cannot_be_written_stops_the_member() {
    let dir = tempfile::tempdir().unwrap();
    let member = start(dir.path()).await;
    member.store().halt("as the test wants it");
    assert!(member.propose(put("late", "x")).await.is_err());
    let failure = member.failed().await;
    assert!(
        matches!(&failure, Failure::Fatal(why) if why.contains("as the test wants it")),
        "{failure:?}"
    );
}
