//! The task that keeps a mirror's copy in step with the store.
//!
//! Owns the first read, the watch, and what to do when the watch cannot go on.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use tokio_util::sync::CancellationToken;

use super::{Shared, View};
use crate::{
    Error, ErrorKind, WatchEvent, WatchOptions, WatchStream, backoff::Backoff, prefix_end,
};

const PAGE: i64 = 1000;
const FIRST_WAIT: Duration = Duration::from_millis(50);
const WAIT_LIMIT: Duration = Duration::from_secs(5);
/// How often a quiet server is asked how far it is, so that a compaction rarely costs a re-read.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(60);

pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = follow(&shared) => {}
    }
}

async fn follow(shared: &Shared) {
    let mut cluster = None;
    let mut backoff = Backoff::new(FIRST_WAIT, WAIT_LIMIT);
    loop {
        match load(shared).await {
            Ok((view, id)) => {
                let other = *cluster.get_or_insert(id) != id;
                cluster = Some(id);
                install(shared, view, other);
                shared.failure.send_replace(None);
                let begun = tokio::time::Instant::now();
                if let Err(error) = watch(shared, id).await {
                    shared.failure.send_replace(Some(error));
                }
                if begun.elapsed() > WAIT_LIMIT {
                    backoff.reset();
                }
            }
            Err(error) => {
                tracing::debug!(target: "handfast::mirror", %error, "cannot read");
                shared.failure.send_replace(Some(error));
            }
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

/// Reads all pairs, page by page, at one revision; also tells the cluster's id.
async fn load(shared: &Shared) -> Result<(View, u64), Error> {
    loop {
        match load_once(shared).await {
            // Compacted between two pages: start over at a newer revision.
            Err(error) if error.kind() == ErrorKind::Compacted => {}
            other => return other,
        }
    }
}

async fn load_once(shared: &Shared) -> Result<(View, u64), Error> {
    let end = prefix_end(&shared.prefix);
    let mut pairs = BTreeMap::new();
    let first = shared
        .client
        .range(&shared.prefix)
        .prefix()
        .limit(PAGE)
        .await?;
    let (revision, cluster) = (first.header.revision, first.header.cluster_id);
    let mut page = first;
    loop {
        let mut last = Bytes::new();
        for pair in page.kvs {
            last = pair.key.clone();
            pairs.insert(pair.key.clone(), Arc::new(pair));
        }
        if !page.more || last.is_empty() {
            return Ok((View::new(revision, pairs), cluster));
        }
        let range = shared.client.range(after(&last)).range_end(&end);
        page = range.limit(PAGE).revision(revision).await?;
    }
}

/// The smallest key greater than `key`.
fn after(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}

/// Puts a freshly read view in place and reports the difference.
fn install(shared: &Shared, mut view: View, other_cluster: bool) {
    let revision = view.revision();
    let mut current = shared.view.write();
    view.set_step(current.step() + 1);
    let reset = other_cluster || revision < current.revision();
    let changes = current.difference(&view, reset);
    *current = view;
    let first = !shared.progress.borrow().ready;
    if !first && (reset || !changes.changes.is_empty()) {
        // No subscriber is no error.
        let _ = shared.changes.send(Arc::new(changes));
    }
    shared.progress.send_modify(|progress| {
        progress.revision = revision;
        progress.resets += u64::from(reset);
        progress.ready = true;
    });
}

/// Follows the watch until it cannot go on and the copy must be read anew.
async fn watch(shared: &Shared, cluster: u64) -> Result<(), Error> {
    let from = shared.view.read().revision() + 1;
    let options = WatchOptions::prefix(&shared.prefix)
        .start_revision(from)
        .progress_notify();
    let mut stream = shared.client.watch(options);
    loop {
        tokio::select! {
            report = stream.next() => match report {
                Some(Ok(WatchEvent::Resumed { .. })) => {
                    if is_other_data(shared, cluster).await? {
                        return Ok(());
                    }
                }
                Some(Ok(WatchEvent::Compacted { .. })) | None => return Ok(()),
                Some(Ok(event)) => take_in(shared, event),
                Some(Err(error)) => return Err(error),
            },
            () = shared.nudge.notified() => stream.request_progress(),
            () = pause() => WatchStream::request_progress(&stream),
        }
    }
}

async fn pause() {
    tokio::time::sleep(PROGRESS_INTERVAL.mul_f64(rand::random_range(0.8..=1.2))).await;
}

fn take_in(shared: &Shared, event: WatchEvent) {
    let mut view = shared.view.write();
    match event {
        WatchEvent::Events { revision, events } => {
            let changes = view.take_in(revision, events);
            if !changes.changes.is_empty() {
                let _ = shared.changes.send(Arc::new(changes));
            }
        }
        WatchEvent::Progress { revision } => view.advance(revision),
        _ => return,
    }
    let revision = view.revision();
    shared
        .progress
        .send_modify(|progress| progress.revision = revision);
}

/// Whether the servers lost what this copy has seen: their data came from a backup.
async fn is_other_data(shared: &Shared, cluster: u64) -> Result<bool, Error> {
    let seen = shared.view.read().revision();
    let answer = shared
        .client
        .range(&shared.prefix)
        .prefix()
        .count_only()
        .await?;
    Ok(answer.header.revision < seen || answer.header.cluster_id != cluster)
}
