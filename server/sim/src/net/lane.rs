//! One direction of a connection: in order, late, and broken when a frame is lost for good.
//!
//! Owns the queue of what is under way. Knows neither messages nor the other direction.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{Net, Place, STALL_MS};

/// Frames that may be under way before the sender has to wait.
const UNDER_WAY: usize = 128;

/// How a lane ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The sender said that there is no more, and everything has arrived.
    Finished,
    /// The receiver is not interested any more.
    Dropped,
    /// The connection broke.
    Broken,
}

pub(super) struct Lane {
    pub(super) net: Net,
    pub(super) from: Place,
    pub(super) to: Place,
    /// Cancelled when the connection is gone as a whole.
    pub(super) broken: CancellationToken,
    pub(super) what: &'static str,
}

struct Frame {
    due: Instant,
    give_up: Instant,
    bytes: Bytes,
}

impl Lane {
    /// Carries what `input` gives to `output` until one of them ends.
    pub(super) async fn run<T>(
        self,
        mut input: impl Stream<Item = Bytes> + Unpin,
        output: mpsc::Sender<T>,
        unpack: impl Fn(Bytes) -> T,
    ) -> End {
        let mut queue: VecDeque<Frame> = VecDeque::new();
        let mut open = true;
        while open || !queue.is_empty() {
            tokio::select! {
                biased;
                () = self.broken.cancelled() => return End::Broken,
                () = output.closed() => return End::Dropped,
                arrived = self.arrival(queue.front()), if !queue.is_empty() => {
                    let frame = queue.pop_front();
                    let (true, Some(frame)) = (arrived, frame) else {
                        return self.break_it();
                    };
                    self.net.note(self.from, self.to, self.what);
                    if output.send(unpack(frame.bytes)).await.is_err() {
                        return End::Dropped;
                    }
                }
                next = input.next(), if open && queue.len() < UNDER_WAY => match next {
                    None => open = false,
                    Some(bytes) => match self.send(bytes, queue.back()) {
                        Some(frame) => queue.push_back(frame),
                        None => return self.break_it(),
                    },
                },
            }
        }
        End::Finished
    }

    /// When the frame arrives, at the earliest and at the latest; `None` when it never will.
    fn send(&self, bytes: Bytes, before: Option<&Frame>) -> Option<Frame> {
        let fortune = self.net.fortune(self.from, self.to);
        let cut = fortune.lost && self.net.draw(|dice, _| dice.per_mille(200));
        if cut {
            return None;
        }
        let patience = self.net.draw(|dice, _| dice.millis(STALL_MS));
        let again = Duration::from_millis(if fortune.lost { 200 } else { 0 });
        let mut due = Instant::now() + fortune.delay + again;
        if let Some(before) = before {
            due = due.max(before.due);
        }
        Some(Frame {
            due,
            give_up: due + patience,
            bytes,
        })
    }

    /// Whether the frame arrived.
    async fn arrival(&self, frame: Option<&Frame>) -> bool {
        let Some(frame) = frame else {
            return std::future::pending().await;
        };
        sleep_until(frame.due).await;
        let passable = self.net.passable(self.from, self.to);
        timeout_at(frame.give_up, passable).await.is_ok()
    }

    fn break_it(&self) -> End {
        self.net.draw(|_, figures| figures.broken += 1);
        self.broken.cancel();
        End::Broken
    }
}
