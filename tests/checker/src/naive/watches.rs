//! Watches of a log that deliver what they must, in all the ways they may.
//!
//! Owns the true course of watches: batches, fragments, promises, interruptions.

use super::dice::Dice;
use crate::{
    history::{Delivery, Event, EventLog, KeyRange, WatchRequest},
    recorder::{Recorder, WatchId},
};

/// Some watches of the log.
pub(super) fn record(dice: &mut Dice, log: &EventLog, to: &Recorder, now: u64) {
    for number in 0..4 {
        let ranges = [
            KeyRange::all(),
            KeyRange::prefix("k/"),
            KeyRange::key("k/1"),
        ];
        let request = WatchRequest {
            range: ranges[number % 3].clone(),
            start_revision: if number == 0 {
                1
            } else {
                dice.within(0..log.to + 1)
            },
            prev_kv: dice.percent(50),
            no_put: dice.percent(10),
            no_delete: dice.percent(20),
        };
        let id = to.watch(format!("w{number}"), request.clone());
        let created = dice.within(1..log.to + 1);
        let start = match request.start_revision {
            0 => created + 1,
            start => start,
        };
        to.delivered(now, id, Delivery::Created { revision: created });
        deliver(dice, log, &request, start, &|delivery| {
            to.delivered(now, id, delivery);
        });
        drained(to, id, log.to);
    }
}

fn drained(to: &Recorder, id: WatchId, revision: i64) {
    to.drained(id, revision);
}

fn deliver(
    dice: &mut Dice,
    log: &EventLog,
    request: &WatchRequest,
    start: i64,
    tell: &dyn Fn(Delivery),
) {
    let mut next = start;
    while next <= log.to {
        let last = (next + dice.within(0..4)).min(log.to);
        let events = wanted(log, request, next, last);
        if !events.is_empty() {
            send(dice, events, last, tell);
        }
        next = last + 1;
        match dice.below(10) {
            0 => tell(Delivery::Progress { revision: last }),
            1 => tell(Delivery::Resumed { from: next }),
            2 => {
                // Asked again from where it was sure of, as a client does after a cut fragment.
                tell(Delivery::Resumed { from: last });
                next = last;
                if wanted(log, request, last, last).len() > 1 && dice.percent(50) {
                    let mut events = wanted(log, request, last, last);
                    events.truncate(1);
                    let (revision, fragment) = (last, true);
                    tell(Delivery::Events {
                        revision,
                        events,
                        fragment,
                    });
                    tell(Delivery::Resumed { from: last });
                }
            }
            _ => {}
        }
    }
}

fn wanted(log: &EventLog, request: &WatchRequest, from: i64, to: i64) -> Vec<Event> {
    let mut events = log.events.clone();
    events.retain(|event| (from..=to).contains(&event.revision()) && request.wants(event));
    if !request.prev_kv {
        events.iter_mut().for_each(|event| event.prev_kv = None);
    }
    events
}

fn send(dice: &mut Dice, mut events: Vec<Event>, revision: i64, tell: &dyn Fn(Delivery)) {
    if events.len() > 1 && dice.percent(20) {
        let rest = events.split_off(dice.below(events.len() - 1) + 1);
        let fragment = true;
        tell(Delivery::Events {
            revision,
            events,
            fragment,
        });
        events = rest;
    }
    let fragment = false;
    tell(Delivery::Events {
        revision,
        events,
        fragment,
    });
}
