//! The task that turns changes of the store into changes of the list.
//!
//! Owns telling who left from who died, and the time suspects are held. Knows nothing of picks.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use handfast_core::{
    Backoff, KeyValue, Op,
    mirror::{Change, Changes, Subscription},
    session::left_key,
};
use tokio_util::sync::CancellationToken;

use super::{
    entry::Instance,
    roster::{Roster, Said},
    shared::Shared,
};

/// How many marks one transaction reads.
const MARKS: usize = 100;
const FIRST_WAIT: Duration = Duration::from_millis(50);
const WAIT_LIMIT: Duration = Duration::from_secs(2);
/// Sleeps are cut to this, since they do not count time in which the machine was suspended.
const TICK: Duration = Duration::from_secs(5);

pub(super) async fn run(shared: Arc<Shared>, mut changes: Subscription, stop: CancellationToken) {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = follow(&shared, &mut changes) => {}
    }
}

async fn follow(shared: &Shared, changes: &mut Subscription) {
    let mut asked = false;
    loop {
        // Steps up to here were handed out before it could be read.
        let copy_at = shared.mirror.revision();
        let due = shared.state.lock().roster.next_due();
        let pause = due.map_or(TICK, |due| due.saturating_sub(shared.now()).min(TICK));
        // Steps first: only when none is left the list is as far as the copy.
        tokio::select! {
            biased;
            step = changes.next() => take_in(shared, &step).await,
            () = std::future::ready(()), if asked => {
                asked = false;
                shared.reach(copy_at);
            }
            () = shared.seen.notified() => asked = true,
            () = tokio::time::sleep(pause) => {}
        }
        if due.is_some() {
            shared.change(Roster::due);
        }
    }
}

/// One step of the copy.
async fn take_in(shared: &Shared, step: &Changes) {
    let prefix = shared.mirror.prefix();
    let deleted: Vec<&Arc<KeyValue>> = step
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::Delete { previous } => Some(previous),
            _ => None,
        })
        .filter(|previous| Instance::read(prefix, previous).is_some())
        .collect();
    let marks = marks(shared, &deleted).await;
    let said = step.changes.iter().filter_map(|change| match change {
        Change::Put { pair, previous } => match Instance::read(prefix, pair) {
            Some(instance) => Some(Said::There(instance)),
            // What was an entry is none any more.
            None => previous
                .as_ref()
                .and_then(|previous| gone(prefix, previous, false)),
        },
        Change::Delete { previous } => {
            let mark = marks.get(&previous.key);
            let left = mark.is_some_and(|mark| *mark > previous.mod_revision);
            gone(prefix, previous, left)
        }
        _ => None,
    });
    let said = said.collect();
    shared.change(|roster, now| roster.step(now, said));
    shared.reach(step.revision);
}

fn gone(prefix: &Bytes, previous: &KeyValue, left: bool) -> Option<Said> {
    let id = Instance::read(prefix, previous)?.id;
    Some(Said::Gone { id, left })
}

/// The revisions of the marks that deleted keys have left, by key. Asks until a server answers:
/// as long as none does the list stays as it is.
async fn marks(shared: &Shared, deleted: &[&Arc<KeyValue>]) -> BTreeMap<Bytes, i64> {
    let client = &shared.client;
    let mut found = BTreeMap::new();
    for some in deleted.chunks(MARKS) {
        let mut backoff = Backoff::new(FIRST_WAIT, WAIT_LIMIT).drawn_by(client.chance());
        let reads = || {
            let mark =
                |pair: &&Arc<KeyValue>| Op::get(left_key(&shared.metadata_prefix, &pair.key));
            some.iter().map(mark).collect::<Vec<_>>()
        };
        let answer = loop {
            match client.txn().then(reads()).commit().await {
                Ok(answer) => break answer,
                Err(error) => {
                    tracing::debug!(target: "handfast::service", %error, "marks not read yet");
                    tokio::time::sleep(backoff.next()).await;
                }
            }
        };
        for (index, pair) in some.iter().enumerate() {
            let mark = answer.range(index).ok().and_then(|range| range.kvs.first());
            if let Some(mark) = mark {
                found.insert(pair.key.clone(), mark.mod_revision);
            }
        }
    }
    found
}
