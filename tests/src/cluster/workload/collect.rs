//! A watch of all keys from the first revision on: the log that everything is held against.
//!
//! Owns the log while it grows. Who waits for a change looks here.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use handfast_checker::{Event, EventKind, EventLog};
use handfast_core::{Client, WatchEvent, WatchOptions};
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{Scene, convert};
use crate::Result;

/// The first revision that a store writes.
const FIRST: i64 = 2;
const DRAIN_LIMIT: Duration = Duration::from_secs(60);
const ASK: Duration = Duration::from_millis(200);

/// What was collected so far. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Collected {
    events: Arc<Mutex<Vec<Event>>>,
    revision: watch::Receiver<i64>,
}

impl Collected {
    /// Everything up to this revision is there.
    #[must_use]
    pub fn revision(&self) -> i64 {
        *self.revision.borrow()
    }

    /// Waits until there is something new, or `limit` has passed.
    pub(super) async fn changed(&mut self, limit: Duration) {
        let _ = timeout(limit, self.revision.changed()).await;
    }

    /// Whether `key` was deleted after revision `after`.
    pub(super) fn is_deleted(&self, key: &Bytes, after: i64) -> bool {
        let events = self.events.lock();
        let later = events.iter().rev().take_while(|it| it.revision() > after);
        later
            .filter(|it| it.kind == EventKind::Delete)
            .any(|it| it.kv.key == *key)
    }

    /// The changes from revision `from` on.
    #[must_use]
    pub fn since(&self, from: i64) -> Vec<Event> {
        let events = self.events.lock();
        let at = events.partition_point(|it| it.revision() < from);
        events[at..].to_vec()
    }
}

/// The watch and what it has brought.
#[derive(Debug)]
pub(super) struct Collector {
    collected: Collected,
    failure: Arc<Mutex<Option<String>>>,
    /// Ends when dropped.
    _task: JoinSet<()>,
}

impl Collector {
    pub(super) fn start(scene: &Scene) -> Result<Self> {
        let client = Client::builder()
            .endpoints(scene.endpoints.to_vec())
            .build()?;
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let failure: Arc<Mutex<Option<String>>> = Arc::default();
        let (sender, revision) = watch::channel(FIRST - 1);
        let mut task = JoinSet::new();
        task.spawn(collect(
            client,
            Arc::clone(&events),
            sender,
            Arc::clone(&failure),
        ));
        Ok(Self {
            collected: Collected { events, revision },
            failure,
            _task: task,
        })
    }

    pub(super) fn collected(&self) -> Collected {
        self.collected.clone()
    }

    /// Waits until everything up to `revision` is there.
    pub(super) async fn drain(&mut self, revision: i64) -> Result<EventLog> {
        let begun = Instant::now();
        while self.collected.revision() < revision {
            if let Some(failure) = self.failure.lock().clone() {
                return Err(format!("the watch of all keys ended: {failure}").into());
            }
            if begun.elapsed() > DRAIN_LIMIT {
                let at = self.collected.revision();
                return Err(format!("the watch of all keys is at {at} of {revision}").into());
            }
            self.collected.changed(ASK).await;
        }
        Ok(EventLog {
            from: FIRST,
            to: revision,
            events: self.collected.events.lock().clone(),
        })
    }
}

async fn collect(
    client: Client,
    events: Arc<Mutex<Vec<Event>>>,
    revision: watch::Sender<i64>,
    failure: Arc<Mutex<Option<String>>>,
) {
    let options = WatchOptions::prefix("").start_revision(FIRST).prev_kv();
    let mut stream = client.watch(options);
    loop {
        match stream.next().await {
            Some(Ok(WatchEvent::Events {
                revision: to,
                events: news,
            })) => {
                events.lock().extend(news.into_iter().map(convert::event));
                revision.send_replace(to);
            }
            Some(Ok(WatchEvent::Compacted { compact_revision })) => {
                *failure.lock() = Some(format!("compacted at {compact_revision}"));
                return;
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                *failure.lock() = Some(error.to_string());
                return;
            }
            None => return,
        }
    }
}
