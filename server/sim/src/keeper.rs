//! Keeps the changes of all revisions, also of those that are compacted: the reference that
//! watches and operations in doubt are judged by.
//!
//! Owns reading the changes, and compaction, which it makes only of what it has read. Reads
//! through a watch of its own, which the checks compare with everything else there is.

use std::sync::Arc;
use std::time::Duration;

use handfast_checker::{Event, EventLog, Recorder};
use handfast_core::{Client, WatchEvent, WatchOptions};
use parking_lot::Mutex;
use tokio::time::timeout;

use crate::workload::event;

/// How long reading up to a revision may take while the cluster is well.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Keeper {
    client: Client,
    recorder: Recorder,
    /// Whether a progress notification comes after the events before it.
    progress_is_true: bool,
    kept: Mutex<Vec<Event>>,
    /// The last revision kept; one reader at a time.
    to: tokio::sync::Mutex<i64>,
}

impl Keeper {
    pub(crate) fn new(client: Client, recorder: &Recorder) -> Arc<Keeper> {
        Keeper::of(client, recorder, true)
    }

    /// Reads from a server whose progress notifications can be ahead of the events, as those of
    /// etcd 3.4 are.
    #[cfg(test)]
    pub(crate) fn without_progress(client: Client, recorder: &Recorder) -> Arc<Keeper> {
        Keeper::of(client, recorder, false)
    }

    fn of(client: Client, recorder: &Recorder, progress_is_true: bool) -> Arc<Keeper> {
        Arc::new(Keeper {
            client,
            recorder: recorder.clone(),
            progress_is_true,
            kept: Mutex::default(),
            to: tokio::sync::Mutex::new(1),
        })
    }

    /// Compacts at some revision that is kept already.
    pub(crate) async fn compact(&self) {
        let Ok(answer) = self.client.range("k/").prefix().count_only().await else {
            return;
        };
        let revision = answer.header.revision;
        if self.read_to(revision).await.is_err() {
            return;
        }
        // Not all of it, so that watches that lag a little can still go on.
        let at = revision - 20;
        if at > 1 {
            self.recorder
                .edit(|run| run.compacted = run.compacted.max(at));
            // In doubt is as good as done.
            let _ = self.client.compact(at, false).await;
        }
    }

    /// Compacts at the latest revision there is, or close to it.
    pub(crate) async fn compact_close(&self) {
        let Ok(answer) = self.client.range("k/").prefix().count_only().await else {
            return;
        };
        let revision = answer.header.revision;
        if revision > 1 && self.read_to(revision).await.is_ok() {
            // In doubt is as good as done.
            let _ = self.client.compact(revision, false).await;
        }
    }

    /// All changes up to a revision, for the record.
    ///
    /// # Errors
    /// When they cannot be read in time.
    pub(crate) async fn log(&self, revision: i64) -> Result<EventLog, String> {
        self.read_to(revision).await?;
        Ok(EventLog {
            from: 2,
            to: revision,
            events: self.kept.lock().clone(),
        })
    }

    async fn read_to(&self, revision: i64) -> Result<(), String> {
        let mut to = self.to.lock().await;
        if *to >= revision {
            return Ok(());
        }
        let options = WatchOptions::prefix("").prev_kv().start_revision(*to + 1);
        let mut stream = self.client.watch(options);
        let mut new = Vec::new();
        let reading = timeout(PATIENCE, async {
            let mut reached = *to;
            while reached < revision {
                match stream.next().await {
                    Some(Ok(WatchEvent::Events { events, revision })) => {
                        reached = revision;
                        new.extend(events.into_iter().map(event));
                    }
                    Some(Ok(WatchEvent::Compacted { compact_revision })) => {
                        return Err(format!("compacted up to {compact_revision}"));
                    }
                    Some(Ok(_)) if !self.progress_is_true => {}
                    Some(Ok(WatchEvent::Progress { revision })) => reached = revision,
                    Some(Ok(_)) => stream.request_progress(),
                    Some(Err(error)) => return Err(error.to_string()),
                    None => return Err("the watch ended".to_owned()),
                }
            }
            Ok(reached)
        });
        let reached = reading
            .await
            .map_err(|_| format!("the changes up to {revision} cannot be read in {PATIENCE:?}"))?
            .map_err(|why| format!("the changes up to {revision} cannot be read: {why}"))?;
        new.retain(|event| event.revision() <= reached);
        self.kept.lock().append(&mut new);
        *to = reached;
        Ok(())
    }
}
