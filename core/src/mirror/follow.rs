//! The task that keeps a mirror's copy in step with the store.
//!
//! Owns the first read, the watch, and what to do when the watch cannot go on.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{shared::Shared, view::View};
use crate::{Error, ErrorKind, Event, WatchEvent, WatchOptions, backoff::Backoff, prefix_end};

const PAGE: i64 = 1000;
const FIRST_WAIT: Duration = Duration::from_millis(50);
const WAIT_LIMIT: Duration = Duration::from_secs(5);
/// How often the copy is compared with the store, in case an event was lost.
const VERIFY_INTERVAL: Duration = Duration::from_secs(60);
/// How long events may take that a comparison says must come.
const EVENT_LIMIT: Duration = Duration::from_secs(10);

pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = follow(&shared) => {}
    }
}

async fn follow(shared: &Shared) {
    let mut cluster = None;
    let mut backoff = Backoff::new(FIRST_WAIT, WAIT_LIMIT).drawn_by(shared.client.chance());
    loop {
        match load(shared).await {
            Ok((view, id)) => {
                let other = *cluster.get_or_insert(id) != id;
                cluster = Some(id);
                install(shared, view, id, other);
                shared.failure.send_replace(None);
                let begun = Instant::now();
                let ended = watch(shared, id).await;
                shared.cut_off();
                if let Err(error) = ended {
                    shared.failure.send_replace(Some(error));
                }
                if begun.elapsed() > WAIT_LIMIT {
                    backoff.reset();
                }
            }
            Err(error) => {
                tracing::debug!(target: "handfast::mirror", %error, "cannot read");
                shared.cut_off();
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
    let first = shared.range().limit(PAGE).await?;
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
fn install(shared: &Shared, mut view: View, cluster: u64, other_cluster: bool) {
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
        progress.cluster = cluster;
        progress.stale_since = None;
    });
}

/// Follows the watch until it cannot go on and the copy must be read anew.
async fn watch(shared: &Shared, cluster: u64) -> Result<(), Error> {
    let from = shared.view.read().revision() + 1;
    let options = match shared.exact {
        true => WatchOptions::key(&shared.prefix),
        false => WatchOptions::prefix(&shared.prefix),
    };
    let options = options
        .start_revision(from)
        .progress_notify()
        .tell_interruptions();
    let mut stream = shared.client.watch(options);
    // A revision at which the store was seen to be ahead, and when the copy must be there.
    let mut owed: Option<(i64, Instant)> = None;
    let mut next_check = Instant::now() + check_interval(shared);
    let mut is_cut = false;
    loop {
        // Reports first: while they come without a pause there is nothing to look for.
        tokio::select! {
            biased;
            report = stream.next() => match report {
                Some(Ok(WatchEvent::Events { revision, events })) => {
                    take_in(shared, revision, events);
                }
                Some(Ok(WatchEvent::Interrupted)) => {
                    shared.cut_off();
                    is_cut = true;
                    // Reaching it would say nothing of what happens from now on.
                    owed = None;
                }
                Some(Ok(WatchEvent::Resumed { .. })) => {
                    is_cut = false;
                    next_check = Instant::now();
                }
                // It was cut off before it was in place for the first time.
                Some(Ok(WatchEvent::Created { .. })) if is_cut => {
                    is_cut = false;
                    next_check = Instant::now();
                }
                Some(Ok(WatchEvent::Compacted { .. })) | None => return Ok(()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
            },
            () = check_due(shared, next_check) => {
                next_check = Instant::now() + check_interval(shared);
                match check(shared, cluster).await? {
                    Found::Same if is_cut => {}
                    Found::Same => shared.caught_up(),
                    Found::Ahead(revision) => {
                        owed.get_or_insert((revision, Instant::now() + EVENT_LIMIT));
                    }
                    Found::OtherData => return Ok(()),
                }
            }
        }
        if let Some((revision, limit)) = owed {
            if shared.view.read().revision() >= revision {
                owed = None;
                if !is_cut {
                    shared.caught_up();
                }
            } else if Instant::now() > limit {
                return Ok(());
            }
        }
    }
}

fn check_interval(shared: &Shared) -> Duration {
    VERIFY_INTERVAL.mul_f64(shared.client.chance().factor(0.8, 1.2))
}

async fn check_due(shared: &Shared, at: Instant) {
    tokio::select! {
        biased;
        () = shared.nudge.notified() => {}
        () = tokio::time::sleep_until(at) => {}
    }
}

/// What comparing the copy with the store says.
enum Found {
    /// The copy is what the store has now.
    Same,
    /// The store has changed since; events up to this revision are on their way.
    Ahead(i64),
    /// The store lost what the copy has seen: its data came from a backup.
    OtherData,
}

/// Compares without reading all pairs: if none is newer and none is missing, nothing changed.
///
/// Progress reports are no substitute: etcd before 3.4.25 and 3.5.8 sends those that were asked
/// for ahead of changes still under way.
async fn check(shared: &Shared, cluster: u64) -> Result<Found, Error> {
    let (seen, count) = {
        let view = shared.view.read();
        (view.revision(), view.len())
    };
    let newer = shared.range().min_mod_revision(seen + 1);
    let answer = newer.keys_only().limit(1).await?;
    let now = answer.header.revision;
    if now < seen || answer.header.cluster_id != cluster {
        return Ok(Found::OtherData);
    }
    if answer.kvs.is_empty() && usize::try_from(answer.count) == Ok(count) {
        advance(shared, now);
        return Ok(Found::Same);
    }
    Ok(Found::Ahead(now))
}

fn advance(shared: &Shared, revision: i64) {
    let mut view = shared.view.write();
    view.advance(revision);
    let revision = view.revision();
    shared
        .progress
        .send_modify(|progress| progress.revision = revision);
}

/// Takes in whole revisions, each as a step of its own: what one transaction did stays together,
/// and what several did stays apart.
fn take_in(shared: &Shared, revision: i64, events: Vec<Event>) {
    let mut view = shared.view.write();
    let mut events = events.into_iter().peekable();
    while let Some(first) = events.next() {
        let at = first.kv.mod_revision;
        let mut step = vec![first];
        step.extend(std::iter::from_fn(|| {
            events.next_if(|event| event.kv.mod_revision == at)
        }));
        let changes = view.take_in(at, step);
        if !changes.changes.is_empty() {
            // No subscriber is no error.
            let _ = shared.changes.send(Arc::new(changes));
        }
    }
    view.advance(revision);
    let revision = view.revision();
    shared
        .progress
        .send_modify(|progress| progress.revision = revision);
}
