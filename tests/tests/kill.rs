//! SIGKILL under load: what was acknowledged is there after the restart, and history never changes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use handfast_proto::{
    etcdserverpb::{
        Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
        WatchCreateRequest, WatchRequest, compare::TargetUnion, request_op::Request,
        watch_request::RequestUnion,
    },
    mvccpb::Event,
};
use handfast_tests::{
    Result,
    client::Client,
    dice::Dice,
    harness::{Server, Subject},
    history::{Fate, History, Write},
};
use tonic::{Code, Status};

const KILLS: u64 = 20;
const WRITERS: u64 = 6;
/// Keys that all writers fight for, beside one of each writer's own.
const SHARED_KEYS: u64 = 4;
/// A server is killed after a number of acknowledged writes below this one.
const MOST_WRITES: u64 = 300;
/// A call into a killed server must not hold its writer up for long.
const CALL_LIMIT: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_write_is_lost_by_twenty_kills() -> Result<()> {
    let mut server = Server::start(Subject::under_test()).await?;
    let mut dice = Dice::new(seed()?);
    let mut history = History::default();
    let mut acknowledged = 0;
    for round in 0..KILLS {
        let writes = load_and_kill(&mut server, round, &mut dice).await?;
        server.restart().await?;
        let client = server.client()?;
        let count = |writes: &[Write]| {
            writes
                .iter()
                .filter(|write| matches!(write.fate, Fate::Acknowledged(_)))
                .count()
        };
        acknowledged += count(&writes);
        let last = last_acknowledged(&writes);
        let context = |what: String| format!("seed {}, kill {round}: {what}", seed().unwrap_or(0));
        let now = read_revision(&client).await?;
        if now < last.max(history.revision()) {
            return Err(context(format!("revision {now} after {last} was acknowledged")).into());
        }
        let news = events(&client, history.revision() + 1, now).await?;
        history.extend(news).map_err(context)?;
        history.agrees(&writes).map_err(context)?;
    }
    let client = server.client()?;
    let again = events(&client, 1, history.revision()).await?;
    history.same(&again)?;
    history.leads_to(&all_pairs(&client).await?)?;
    println!(
        "{KILLS} kills, {acknowledged} acknowledged writes, {} events",
        history.len()
    );
    assert!(
        acknowledged > 1_000,
        "the load was too light to prove anything: {acknowledged}"
    );
    Ok(())
}

fn seed() -> Result<u64> {
    Ok(std::env::var("HANDFAST_SEED")
        .as_deref()
        .unwrap_or("1")
        .parse()?)
}

/// Runs the writers until a chosen number of writes is acknowledged, and kills in their midst.
async fn load_and_kill(server: &mut Server, round: u64, dice: &mut Dice) -> Result<Vec<Write>> {
    let done = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let load = Load {
            client: server.client()?,
            name: format!("{round}-{writer}"),
            own_key: format!("own/{writer}").into(),
            dice: Dice::new(dice.bits()),
            done: Arc::clone(&done),
            stop: Arc::clone(&stop),
        };
        writers.push(tokio::spawn(load.run()));
    }
    let enough = 30 + dice.below(MOST_WRITES);
    while done.load(Ordering::Relaxed) < enough && !writers.iter().any(|it| it.is_finished()) {
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    server.kill()?;
    stop.store(true, Ordering::Relaxed);
    let mut writes = Vec::new();
    for writer in writers {
        writes.extend(writer.await?);
    }
    Ok(writes)
}

struct Load {
    client: Client,
    name: String,
    own_key: Bytes,
    dice: Dice,
    done: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Load {
    async fn run(mut self) -> Vec<Write> {
        let mut writes = Vec::new();
        let mut number = 0;
        while !self.stop.load(Ordering::Relaxed) {
            number += 1;
            let shared = format!("shared/{}", self.dice.below(SHARED_KEYS));
            let key = if self.dice.percent(50) {
                self.own_key.clone()
            } else {
                shared.into()
            };
            let value = Bytes::from(format!("{}-{number}", self.name));
            let kind = self.dice.below(10);
            let call = tokio::time::timeout(CALL_LIMIT, self.write(kind, &key, &value));
            let fate = match call.await {
                Ok(Ok(fate)) => fate,
                Ok(Err(status)) if is_refusal(&status) => Fate::Refused,
                Ok(Err(_)) | Err(_) => Fate::Unknown,
            };
            if matches!(fate, Fate::Acknowledged(_)) {
                self.done.fetch_add(1, Ordering::Relaxed);
            }
            let is_unknown = fate == Fate::Unknown;
            let value = (kind != 9).then_some(value);
            writes.push(Write { key, value, fate });
            if is_unknown {
                // The connection is gone; what would follow says nothing more.
                break;
            }
        }
        writes
    }

    async fn write(&mut self, kind: u64, key: &Bytes, value: &Bytes) -> Result<Fate, Status> {
        let put = PutRequest {
            key: key.clone(),
            value: value.clone(),
            ..PutRequest::default()
        };
        match kind {
            0..5 => {
                let answer = self.client.kv.put(put).await?.into_inner();
                Ok(Fate::Acknowledged(
                    answer.header.map_or(0, |header| header.revision),
                ))
            }
            5..9 => self.put_if_unchanged(put).await,
            _ => {
                let request = DeleteRangeRequest {
                    key: key.clone(),
                    ..Default::default()
                };
                let answer = self.client.kv.delete_range(request).await?.into_inner();
                let revision = answer.header.map_or(0, |header| header.revision);
                Ok(if answer.deleted == 0 {
                    Fate::Refused
                } else {
                    Fate::Acknowledged(revision)
                })
            }
        }
    }

    /// Reads a key and writes it if nobody else did meanwhile.
    async fn put_if_unchanged(&mut self, put: PutRequest) -> Result<Fate, Status> {
        let read = RangeRequest {
            key: put.key.clone(),
            ..RangeRequest::default()
        };
        let seen = self.client.kv.range(read).await?.into_inner();
        let mod_revision = seen.kvs.first().map_or(0, |pair| pair.mod_revision);
        let unchanged = Compare {
            target: 2,
            key: put.key.clone(),
            target_union: Some(TargetUnion::ModRevision(mod_revision)),
            ..Compare::default()
        };
        let put = RequestOp {
            request: Some(Request::RequestPut(put)),
        };
        let txn = TxnRequest {
            compare: vec![unchanged],
            success: vec![put],
            failure: vec![],
        };
        let answer = self.client.kv.txn(txn).await?.into_inner();
        let revision = answer.header.map_or(0, |header| header.revision);
        Ok(if answer.succeeded {
            Fate::Acknowledged(revision)
        } else {
            Fate::Refused
        })
    }
}

/// Whether the server itself said no; a broken connection says nothing.
fn is_refusal(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument | Code::NotFound | Code::OutOfRange
    )
}

fn last_acknowledged(writes: &[Write]) -> i64 {
    let revisions = writes.iter().filter_map(|write| match write.fate {
        Fate::Acknowledged(revision) => Some(revision),
        _ => None,
    });
    revisions.max().unwrap_or(1)
}

async fn read_revision(client: &Client) -> Result<i64> {
    let read = RangeRequest {
        key: "any".into(),
        ..RangeRequest::default()
    };
    let answer = client.kv.clone().range(read).await?.into_inner();
    Ok(answer.header.map_or(0, |header| header.revision))
}

async fn all_pairs(client: &Client) -> Result<Vec<handfast_proto::mvccpb::KeyValue>> {
    let all = RangeRequest {
        key: "\0".into(),
        range_end: "\0".into(),
        ..Default::default()
    };
    Ok(client.kv.clone().range(all).await?.into_inner().kvs)
}

/// All events from revision `from` to revision `to`, as a watch replays them.
async fn events(client: &Client, from: i64, to: i64) -> Result<Vec<Event>> {
    if from > to {
        return Ok(Vec::new());
    }
    let create = WatchCreateRequest {
        key: "\0".into(),
        range_end: "\0".into(),
        start_revision: from,
        ..WatchCreateRequest::default()
    };
    let create = WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    };
    // The stream of requests stays open, or the server may end the watch.
    let requests =
        tokio_stream::StreamExt::chain(tokio_stream::iter([create]), tokio_stream::pending());
    let mut responses = client.watch.clone().watch(requests).await?.into_inner();
    let mut events: Vec<Event> = Vec::new();
    loop {
        let last = events.last().and_then(|event| event.kv.as_ref());
        if last.is_some_and(|pair| pair.mod_revision >= to) {
            return Ok(events);
        }
        let response = tokio::time::timeout(CALL_LIMIT, responses.message()).await??;
        events.extend(response.ok_or("the watch ended")?.events);
    }
}
