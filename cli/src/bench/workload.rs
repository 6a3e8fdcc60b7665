//! The things that are measured.
//!
//! Owns what all workloads share: the arena with connections, gauge and sizes. Each workload
//! prepares its data, then starts workers that go on until the gauge stops them.

mod election;
mod fresh;
mod handoff;
mod kv;
mod lease;
mod lock;
mod paced;
mod queue;
mod recipe;
mod renewal;
mod storm;
mod stream;
mod watch;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;

use bytes::Bytes;
use handfast_proto::etcdserverpb::kv_client::KvClient;
use handfast_proto::etcdserverpb::lease_client::LeaseClient;
use tokio::task::{JoinHandle, spawn_local};
use tonic::transport::Channel;

use super::gauge::Gauge;
use super::target::{Target, refused};
use super::{BenchArgs, Kind};
use crate::exit::Failure;

/// Requests under way at once before and after a round.
const PREPARING_INFLIGHT: usize = 64;

/// A worker of a round.
pub(super) type Worker = JoinHandle<Result<(), Failure>>;

/// What the workers of one round share.
pub(super) struct Arena {
    args: BenchArgs,
    channels: Vec<Channel>,
    /// For what connects by itself.
    endpoints: String,
    gauge: Rc<Gauge>,
    value: Bytes,
    /// Leases to end after the round.
    leases: RefCell<Vec<i64>>,
    /// Leases that the next round uses again.
    kept_leases: Rc<RefCell<Vec<i64>>>,
    random: Cell<u64>,
}

impl Arena {
    pub(super) fn new(args: &BenchArgs, target: &Target, gauge: Rc<Gauge>) -> Arena {
        Arena {
            args: args.clone(),
            channels: target.channels().to_vec(),
            endpoints: target.address(),
            gauge,
            value: Bytes::from(vec![b'x'; args.value_size]),
            leases: RefCell::default(),
            kept_leases: Rc::clone(target.kept_leases()),
            // Any odd number: runs shall be alike.
            random: Cell::new(0x9e37_79b9_7f4a_7c15),
        }
    }

    fn channel(&self, worker: usize) -> Channel {
        self.channels[worker % self.channels.len()].clone()
    }

    fn kv(&self, worker: usize) -> KvClient<Channel> {
        KvClient::new(self.channel(worker)).max_decoding_message_size(usize::MAX)
    }

    fn lease(&self, worker: usize) -> LeaseClient<Channel> {
        LeaseClient::new(self.channel(worker))
    }

    /// A number below `bound`; an xorshift step, because the bench shall cost nothing.
    fn below(&self, bound: usize) -> usize {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.set(x);
        (x % bound as u64) as usize
    }
}

/// Prepares the workload and starts its workers.
pub(super) async fn start(kind: Kind, arena: &Rc<Arena>) -> Result<Vec<Worker>, Failure> {
    match kind {
        Kind::Put => Ok(kv::put(arena)),
        Kind::Get => kv::get(arena).await,
        Kind::Range => kv::range(arena).await,
        Kind::Txn => Ok(kv::txn(arena)),
        Kind::Watch => watch::start(arena).await,
        Kind::WatchFresh => Ok(fresh::start(arena)),
        Kind::LeaseGrant => Ok(lease::grant(arena)),
        Kind::LeaseKeepalive => lease::keep_alive(arena).await,
        Kind::LeaseRevoke => lease::revoke(arena).await,
        Kind::LeasePaced => paced::start(arena).await,
        Kind::LeaseStorm => storm::start(arena).await,
        Kind::Lock => lock::start(arena).await,
        Kind::Handoff => handoff::start(arena).await,
        Kind::HandoffRecipe => handoff::recipe::start(arena).await,
        Kind::HandoffGo => handoff::go::start(arena).await,
        Kind::Election => Ok(election::start(arena)),
        Kind::ElectionRecipe => election::recipe::start(arena).await,
        Kind::Queue => queue::recipe(arena).await,
        Kind::QueueGo => queue::go(arena).await,
    }
}

/// Ends what outlives a round.
pub(super) async fn clean_up(arena: &Rc<Arena>) -> Result<(), Failure> {
    lease::revoke_all(arena).await
}

/// Starts `count` workers. One that fails ends the round, so that the failure is seen.
fn workers<F, W>(arena: &Rc<Arena>, count: usize, work: W) -> Vec<Worker>
where
    F: Future<Output = Result<(), tonic::Status>> + 'static,
    W: Fn(Rc<Arena>, usize) -> F,
{
    (0..count)
        .map(|index| {
            let work = work(Rc::clone(arena), index);
            let gauge = Rc::clone(&arena.gauge);
            spawn_local(async move {
                let done = work.await;
                if done.is_err() {
                    gauge.finish();
                }
                done.map_err(|status| refused(&status))
            })
        })
        .collect()
}

/// Does `work` for every index below `count`, many at a time: what prepares a round may be quick.
async fn for_each<F, W>(arena: &Rc<Arena>, count: usize, work: W) -> Result<(), Failure>
where
    F: Future<Output = Result<(), tonic::Status>> + 'static,
    W: Fn(Rc<Arena>, usize) -> F + Clone + 'static,
{
    let next = Rc::new(Cell::new(0));
    let helpers = workers(arena, PREPARING_INFLIGHT.min(count), move |arena, _| {
        let (next, work) = (Rc::clone(&next), work.clone());
        async move {
            loop {
                let index = next.replace(next.get() + 1);
                if index >= count {
                    return Ok(());
                }
                work(Rc::clone(&arena), index).await?;
            }
        }
    });
    for helper in helpers {
        helper
            .await
            .map_err(|error| Failure::Other(format!("a worker died: {error}")))??;
    }
    Ok(())
}
