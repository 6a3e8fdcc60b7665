//! Watches: everything they deliver is written down.
//!
//! Owns which watches there are. A watch begins again after a compaction, as a new record would
//! have to; until the end it is expected to heal by itself.

use std::sync::Arc;

use handfast_checker::{Delivery, KeyRange, WatchId, WatchRequest};
use handfast_core::{WatchEvent, WatchOptions};

use super::{KV_PREFIX, LEASE_PREFIX, Patron, convert};

/// A watch to be made.
pub(super) struct Wanted {
    pub(super) request: WatchRequest,
    options: WatchOptions,
}

/// The watches of one client, with their names.
pub(super) fn wanted(patron: &Patron) -> Vec<(String, Wanted)> {
    let mut wanted = Vec::new();
    let mut add = |name: &str, request: WatchRequest, options: WatchOptions| {
        let name = format!("client {}: {name}", patron.number);
        wanted.push((name, Wanted { request, options }));
    };
    let prefix = WatchRequest {
        range: KeyRange::prefix(KV_PREFIX),
        prev_kv: true,
        start_revision: 1,
        ..WatchRequest::default()
    };
    let options = WatchOptions::prefix(KV_PREFIX).prev_kv().start_revision(1);
    add("all keys", prefix, options);
    let one = WatchRequest {
        range: KeyRange::key(format!("{KV_PREFIX}0")),
        ..WatchRequest::default()
    };
    add("one key", one, WatchOptions::key(format!("{KV_PREFIX}0")));
    let deletes = WatchRequest {
        range: KeyRange::prefix(LEASE_PREFIX),
        no_put: true,
        ..WatchRequest::default()
    };
    add("ends", deletes, WatchOptions::prefix(LEASE_PREFIX).no_put());
    wanted
}

/// Writes down what the watch delivers until it has come to where the run ended.
pub(super) async fn follow(patron: Arc<Patron>, wanted: Wanted, id: WatchId) {
    let mut stream = patron.client.watch(wanted.options);
    let mut read_to = patron.read_to.subscribe();
    let mut reached = 0;
    let mut probed = false;
    loop {
        let goal = *read_to.borrow_and_update();
        let _busy = patron.at(format!("a watch at {reached}"));
        if goal > 0 {
            if reached >= goal {
                return;
            }
            if !probed {
                stream.request_progress();
                probed = true;
            }
        }
        let next = tokio::select! {
            biased;
            next = stream.next() => next,
            changed = read_to.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            // A request for progress may be lost with its stream.
            () = tokio::time::sleep(std::time::Duration::from_secs(2)), if probed => {
                probed = false;
                continue;
            }
        };
        let now = patron.now();
        let delivery = match next {
            None => return,
            Some(Err(error)) => Delivery::Cancelled {
                why: error.to_string(),
            },
            Some(Ok(event)) => {
                reached = reached.max(upto(&event));
                delivery(event)
            }
        };
        let over = matches!(
            delivery,
            Delivery::Cancelled { .. } | Delivery::Compacted { .. }
        );
        patron.recorder.delivered(now, id, delivery);
        if over {
            return;
        }
    }
}

/// Up to where nothing is to come any more.
fn upto(event: &WatchEvent) -> i64 {
    match event {
        WatchEvent::Events { revision, .. } | WatchEvent::Progress { revision } => *revision,
        _ => 0,
    }
}

fn delivery(event: WatchEvent) -> Delivery {
    match event {
        WatchEvent::Created { revision } => Delivery::Created { revision },
        WatchEvent::Events { revision, events } => Delivery::Events {
            revision,
            events: events.into_iter().map(convert::event).collect(),
            fragment: false,
        },
        WatchEvent::Progress { revision } => Delivery::Progress { revision },
        WatchEvent::Resumed { revision } => Delivery::Resumed { from: revision },
        WatchEvent::Compacted { compact_revision } => Delivery::Compacted { compact_revision },
        other => Delivery::Cancelled {
            why: format!("unknown: {other:?}"),
        },
    }
}
