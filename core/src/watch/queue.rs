//! What a watch has received and its caller has not taken.
//!
//! Owns the bound: a watch that is full is parked, and told apart from one that is merely behind.
//! Knows nothing of streams.

use std::{
    collections::VecDeque,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

use super::event::WatchEvent;
use crate::Error;

type Item = Result<WatchEvent, Error>;

/// Bytes a change costs beside its keys and values.
const EVENT_OVERHEAD: usize = 128;

#[derive(Debug)]
pub(super) struct Queue {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<(Item, usize)>,
    bytes: usize,
    parked: bool,
    ended: bool,
    waker: Option<Waker>,
}

/// The queue took nothing: the watch is parked until the queue is half empty.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Queue {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            state: Mutex::default(),
        }
    }

    /// Adds `event`. One that is larger than the limit is taken when the queue is empty.
    pub(super) fn push(&self, event: WatchEvent) -> Result<(), Full> {
        let cost = cost(&event);
        let mut state = self.state.lock();
        if cost > 0 && state.bytes > 0 && state.bytes.saturating_add(cost) > self.limit {
            state.parked = true;
            return Err(Full);
        }
        if let Some((Ok(last), _)) = state.items.back_mut()
            && says_all_of(&event, last)
        {
            *last = event;
            return Ok(());
        }
        state.bytes += cost;
        state.items.push_back((Ok(event), cost));
        wake(state);
        Ok(())
    }

    /// Adds the last item. Only the first call has an effect.
    pub(super) fn end(&self, item: Item) {
        let mut state = self.state.lock();
        if !state.ended {
            state.ended = true;
            state.items.push_back((item, 0));
            wake(state);
        }
    }

    /// Says that nothing comes any more.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        wake(state);
    }

    pub(super) fn is_ended(&self) -> bool {
        self.state.lock().ended
    }

    /// The next item, and whether a parked watch can go on now.
    pub(super) fn poll_pop(&self, context: &mut Context<'_>) -> (Poll<Option<Item>>, bool) {
        let mut state = self.state.lock();
        let polled = match state.items.pop_front() {
            Some((item, cost)) => {
                state.bytes -= cost;
                Poll::Ready(Some(item))
            }
            None if state.ended => Poll::Ready(None),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        };
        let drained = state.parked && state.bytes <= self.limit / 2;
        if drained {
            state.parked = false;
        }
        (polled, drained)
    }
}

/// Wakes the caller after the lock is free.
fn wake(mut state: parking_lot::MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Whether `event` makes `last`, which nobody has taken yet, superfluous.
fn says_all_of(event: &WatchEvent, last: &WatchEvent) -> bool {
    matches!(
        (event, last),
        (WatchEvent::Progress { .. }, WatchEvent::Progress { .. })
            | (WatchEvent::Resumed { .. }, WatchEvent::Resumed { .. })
    )
}

fn cost(event: &WatchEvent) -> usize {
    let WatchEvent::Events { events, .. } = event else {
        return 0;
    };
    events
        .iter()
        .map(|event| {
            let previous = event
                .prev_kv
                .as_ref()
                .map_or(0, |pair| pair.key.len() + pair.value.len());
            event.kv.key.len() + event.kv.value.len() + previous + EVENT_OVERHEAD
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, EventKind, KeyValue};

    fn events(revision: i64, bytes: usize) -> WatchEvent {
        let kv = KeyValue {
            value: vec![0; bytes].into(),
            ..Default::default()
        };
        let event = Event {
            kind: EventKind::Put,
            kv,
            prev_kv: None,
        };
        WatchEvent::Events {
            revision,
            events: vec![event],
        }
    }

    fn pop(queue: &Queue) -> (Poll<Option<Item>>, bool) {
        queue.poll_pop(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_full_queue_parks_once_and_goes_on_when_half_empty() {
        let queue = Queue::new(4 * (100 + EVENT_OVERHEAD));
        for revision in 1..=4 {
            queue.push(events(revision, 100)).unwrap();
        }
        assert_eq!(queue.push(events(5, 100)), Err(Full));
        assert!(!pop(&queue).1);
        let (polled, drained) = pop(&queue);
        assert!(drained);
        assert!(matches!(
            polled,
            Poll::Ready(Some(Ok(WatchEvent::Events { revision: 2, .. })))
        ));
        assert!(!pop(&queue).1, "told once only");
    }

    #[test]
    fn an_oversized_event_is_taken_when_nothing_waits() {
        let queue = Queue::new(10);
        queue.push(events(1, 1000)).unwrap();
        assert_eq!(queue.push(events(2, 1)), Err(Full));
        assert!(pop(&queue).1);
        queue.push(events(2, 1000)).unwrap();
    }

    #[test]
    fn progress_reports_merge_and_never_fill_the_queue() {
        let queue = Queue::new(0);
        for revision in 1..100 {
            queue.push(WatchEvent::Progress { revision }).unwrap();
        }
        let (polled, _) = pop(&queue);
        assert!(matches!(
            polled,
            Poll::Ready(Some(Ok(WatchEvent::Progress { revision: 99 })))
        ));
        assert!(pop(&queue).0.is_pending());
    }

    #[test]
    fn nothing_follows_the_last_item() {
        let queue = Queue::new(10);
        queue.end(Ok(WatchEvent::Compacted {
            compact_revision: 3,
        }));
        queue.end(Ok(WatchEvent::Compacted {
            compact_revision: 4,
        }));
        let (polled, _) = pop(&queue);
        assert!(matches!(
            polled,
            Poll::Ready(Some(Ok(WatchEvent::Compacted {
                compact_revision: 3
            })))
        ));
        assert!(matches!(pop(&queue).0, Poll::Ready(None)));
    }
}
