//! What is asked of a server with many keys.
//!
//! Owns keys, values and requests. It must not know when a step comes.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::LocalBoxFuture;
use handfast_proto::etcdserverpb::kv_client::KvClient;
use handfast_proto::etcdserverpb::{CompactionRequest, PutRequest, RangeRequest};
use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::Channel;

use super::super::gauge::{Budget, Gauge, Pace, Round};
use super::super::target::refused;
use super::MillionArgs;
use super::instance::Instance;
use crate::exit::Failure;

const PUTS_INFLIGHT: usize = 256;
const GETS_INFLIGHT: usize = 64;
/// Before the rounds of puts and gets.
const WARMUP: Duration = Duration::from_millis(200);
/// A prime above every number of keys: steps of its size meet each key once.
const STRIDE: usize = 2_147_483_647;
/// How often a put is issued beside something else.
const PROBE_EVERY: Duration = Duration::from_millis(1);

/// The `index`-th key in an order that is not theirs; 16 bytes.
fn key(index: usize, keys: usize) -> Bytes {
    let scattered = (index % keys) * STRIDE % keys;
    format!("million/{scattered:08}").into()
}

fn put(index: usize, args: &MillionArgs) -> PutRequest {
    PutRequest {
        key: key(index, args.keys),
        value: Bytes::from(vec![b'v'; args.value_size]),
        ..PutRequest::default()
    }
}

/// Writes `count` keys, from the `from`-th on.
pub(super) async fn fill(
    server: &Instance,
    args: &MillionArgs,
    from: usize,
    count: usize,
) -> Result<Round, Failure> {
    let budget = Budget::Ops(count as u64);
    let work = write(args);
    drive(server, PUTS_INFLIGHT, Duration::ZERO, budget, from, work).await
}

/// Writes keys that are there.
pub(super) async fn puts(
    server: &Instance,
    args: &MillionArgs,
    budget: Budget,
) -> Result<Round, Failure> {
    drive(server, PUTS_INFLIGHT, WARMUP, budget, 0, write(args)).await
}

/// Reads keys that are there, linearizably.
pub(super) async fn gets(
    server: &Instance,
    args: &MillionArgs,
    budget: Budget,
) -> Result<Round, Failure> {
    let keys = args.keys;
    let work = move |mut client: KvClient<Channel>, index| async move {
        let request = RangeRequest {
            key: key(index, keys),
            ..RangeRequest::default()
        };
        client.range(request).await.map(drop)
    };
    drive(server, GETS_INFLIGHT, WARMUP, budget, 0, work).await
}

/// A call that is under way on this thread.
type Call = LocalBoxFuture<'static, Result<(), Status>>;

fn write(args: &MillionArgs) -> impl Fn(KvClient<Channel>, usize) -> Call + Clone + 'static {
    let args = args.clone();
    move |mut client, index| {
        let request = put(index, &args);
        Box::pin(async move { client.put(request).await.map(drop) })
    }
}

/// Does `work` with one number after the other, `inflight` at a time.
async fn drive<F, W>(
    server: &Instance,
    inflight: usize,
    warmup: Duration,
    budget: Budget,
    from: usize,
    work: W,
) -> Result<Round, Failure>
where
    F: Future<Output = Result<(), Status>> + 'static,
    W: Fn(KvClient<Channel>, usize) -> F + Clone + 'static,
{
    let gauge = Gauge::new(Pace::Steady { warmup, budget });
    let end = match budget {
        Budget::Ops(count) => from + count as usize,
        Budget::Time(_) => usize::MAX,
    };
    let next = Rc::new(Cell::new(from));
    let mut workers = JoinSet::new();
    for channel in server.channels().iter().cycle().take(inflight) {
        let client = KvClient::new(channel.clone());
        let (gauge, next, work) = (Rc::clone(&gauge), Rc::clone(&next), work.clone());
        workers.spawn_local(async move {
            while gauge.goes_on() && next.get() < end {
                let index = next.replace(next.get() + 1);
                let start = std::time::Instant::now();
                if let Err(status) = work(client.clone(), index).await {
                    gauge.finish();
                    return Err(refused(&status));
                }
                gauge.record(start);
            }
            Ok(())
        });
    }
    let round = gauge.run(&server.pids()).await;
    while let Some(worker) = workers.join_next().await {
        worker.map_err(died)??;
    }
    round
}

/// Issues a put each millisecond until `work` is done. Latencies count from when a put was due,
/// so that a stall counts for every put it delays.
pub(super) async fn probe<T>(
    server: &Instance,
    args: &MillionArgs,
    work: impl Future<Output = T>,
) -> Result<(Round, T), Failure> {
    let gauge = Gauge::new(Pace::Once);
    let mut puts = JoinSet::new();
    let probing = async {
        let client = KvClient::new(server.channels()[0].clone());
        let mut ticks = tokio::time::interval(PROBE_EVERY);
        let mut work = std::pin::pin!(work);
        gauge.begin();
        let mut index = 0;
        let done = loop {
            tokio::select! {
                biased;
                done = &mut work => break done,
                due = ticks.tick() => {
                    let (mut client, gauge) = (client.clone(), Rc::clone(&gauge));
                    let request = put(index, args);
                    puts.spawn_local(async move {
                        client.put(request).await.map_err(|status| refused(&status))?;
                        gauge.record(due.into_std());
                        Ok::<(), Failure>(())
                    });
                    index += 1;
                }
            }
        };
        let mut failed = Ok(());
        while let Some(answered) = puts.join_next().await {
            failed = failed.and(answered.map_err(died).flatten());
        }
        gauge.finish();
        failed.map(|()| done)
    };
    let pids = server.pids();
    let (round, done) = tokio::join!(gauge.run(&pids), probing);
    Ok((round?, done?))
}

/// Compacts at the present revision, and waits until that is done on disk.
pub(super) async fn compact(server: &Instance) -> Result<(), Failure> {
    // On a connection of its own, as an operator would.
    let mut client = KvClient::new(server.channels()[1].clone());
    let compacting = async {
        let present = client.range(RangeRequest {
            key: "first".into(),
            ..RangeRequest::default()
        });
        let header = present.await?.into_inner().header;
        let request = CompactionRequest {
            revision: header.map_or(0, |header| header.revision),
            physical: true,
        };
        client.compact(request).await.map(drop)
    };
    compacting.await.map_err(|status| refused(&status))
}

/// Whether all keys are still there.
pub(super) async fn check(server: &Instance, args: &MillionArgs) -> Result<(), Failure> {
    let request = RangeRequest {
        key: "million/".into(),
        range_end: "million0".into(),
        count_only: true,
        ..RangeRequest::default()
    };
    let mut client = KvClient::new(server.channels()[0].clone());
    let counted = client.range(request).await;
    let count = counted
        .map_err(|status| refused(&status))?
        .into_inner()
        .count;
    match count == args.keys as i64 {
        true => Ok(()),
        false => Err(Failure::Other(format!(
            "{} has {count} keys after a restart, not {}",
            server.label(),
            args.keys
        ))),
    }
}

fn died(error: tokio::task::JoinError) -> Failure {
    Failure::Other(format!("a worker died: {error}"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_key_comes_once_and_none_is_in_order() {
        let keys: Vec<Bytes> = (0..1_000).map(|index| key(index, 1_000)).collect();
        assert!(keys.iter().all(|key| key.len() == 16));
        assert!(!keys.is_sorted());
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), 1_000);
        assert_eq!(key(1_000, 1_000), keys[0]);
    }
}
