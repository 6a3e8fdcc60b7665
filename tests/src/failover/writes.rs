//! A client that writes without a pause through several members, and when its writes succeeded.
//!
//! Bare clients, so that what is measured is the server: a new write begins at each member every
//! few milliseconds, whether or not the one before was answered.

use std::{sync::Arc, time::Duration};

use handfast_proto::etcdserverpb::PutRequest;
use parking_lot::Mutex;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use crate::{Result, client::Client};

/// Between two writes at one member: the resolution of what is measured.
const PACE: Duration = Duration::from_millis(10);
/// A write nobody answers is given up.
const LIMIT: Duration = Duration::from_secs(5);
/// Writes before a measurement begins.
const WARM: usize = 20;
const WARM_LIMIT: Duration = Duration::from_secs(10);

/// A write that succeeded.
#[derive(Clone, Copy, Debug)]
struct Write {
    begun: Instant,
    done: Instant,
}

/// The client at work. Dropping it stops it.
#[derive(Debug)]
pub(super) struct Writer {
    done: Arc<Mutex<Vec<Write>>>,
    _tasks: JoinSet<()>,
}

impl Writer {
    pub(super) fn start(endpoints: Vec<String>) -> Result<Self> {
        let done: Arc<Mutex<Vec<Write>>> = Arc::default();
        let mut tasks = JoinSet::new();
        for endpoint in endpoints {
            tasks.spawn(write(Client::lazy(&endpoint)?, Arc::clone(&done)));
        }
        Ok(Self {
            done,
            _tasks: tasks,
        })
    }

    /// Waits until writes succeed.
    pub(super) async fn warm(&self) -> Result<()> {
        let begun = Instant::now();
        while self.done.lock().len() < WARM {
            if begun.elapsed() > WARM_LIMIT {
                return Err("no writes succeed before the measurement".into());
            }
            sleep(PACE).await;
        }
        Ok(())
    }

    /// When the first write was done that began at `since` or later.
    pub(super) async fn first_since(&self, since: Instant, limit: Duration) -> Result<Instant> {
        let begun = Instant::now();
        while begun.elapsed() < limit {
            let first = {
                let done = self.done.lock();
                let later = done.iter().filter(|it| it.begun >= since);
                later.map(|it| it.done).min()
            };
            if let Some(first) = first {
                return Ok(first);
            }
            sleep(Duration::from_millis(2)).await;
        }
        Err(format!("no write succeeds within {limit:?}").into())
    }

    /// The longest time from `since` until now in which no write was done.
    pub(super) fn longest_gap(&self, since: Instant) -> Result<Duration> {
        let mut times: Vec<Instant> = self.done.lock().iter().map(|it| it.done).collect();
        times.push(since);
        times.push(Instant::now());
        times.retain(|time| *time >= since);
        times.sort();
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().ok_or_else(|| "no writes were seen".into())
    }
}

async fn write(client: Client, done: Arc<Mutex<Vec<Write>>>) {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut open = JoinSet::new();
    loop {
        pace.tick().await;
        while open.try_join_next().is_some() {}
        let (mut client, done) = (client.clone(), Arc::clone(&done));
        open.spawn(async move {
            let put = PutRequest {
                key: "failover".into(),
                value: "x".into(),
                ..PutRequest::default()
            };
            let begun = Instant::now();
            if let Ok(Ok(_)) = timeout(LIMIT, client.kv.put(put)).await {
                let write = Write {
                    begun,
                    done: Instant::now(),
                };
                done.lock().push(write);
            }
        });
    }
}
