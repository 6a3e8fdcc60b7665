//! The truth about one held key.
//!
//! Owns the one-way step from held to lost, the limits on holding, and the count of running
//! scopes. Knows nothing of who asks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    Grant, Leave,
    gone::{self, Missing},
};
use crate::{Epoch, session::LostReason};

/// How long whoever finds the reason of a loss may still take once the session is lost, too.
const FINDING_LIMIT: Duration = Duration::from_secs(2);

/// What ends a hold although the session lives.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// The longest time it is held.
    pub max_hold: Option<Duration>,
    /// The longest time between two reports of progress.
    pub beat: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Loss {
    Held,
    /// Lost; the reason is still being asked for.
    Going,
    Lost(LostReason),
}

pub(super) struct Hold {
    pub(super) epoch: Epoch,
    pub(super) key: Bytes,
    /// Further keys, put at the same revision.
    pub(super) also: Vec<Bytes>,
    pub(super) token: i64,
    limits: Limits,
    since: Duration,
    last_beat: AtomicU64,
    leave: Mutex<Option<Box<dyn Leave>>>,
    loss: watch::Sender<Loss>,
    scopes: watch::Sender<usize>,
    /// The holder itself is about to delete the key.
    leaving: AtomicBool,
}

impl Hold {
    pub(super) fn new(grant: Grant, also: Vec<Bytes>, leave: Box<dyn Leave>) -> Self {
        let since = grant.epoch.clock().now();
        Self {
            epoch: grant.epoch,
            key: grant.key,
            also,
            token: grant.token,
            limits: grant.limits,
            since,
            last_beat: AtomicU64::new(nanos(since)),
            leave: Mutex::new(Some(leave)),
            loss: watch::Sender::new(Loss::Held),
            scopes: watch::Sender::new(0),
            leaving: AtomicBool::new(false),
        }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.key).chain(&self.also)
    }

    /// Whether it is held at this instant.
    pub(super) fn check(&self) -> Result<(), LostReason> {
        match &*self.loss.borrow() {
            Loss::Held => {}
            Loss::Going => return Err(LostReason::Deleted),
            Loss::Lost(reason) => return Err(reason.clone()),
        }
        if let Err(lost) = self.epoch.check() {
            return Err(match self.epoch.is_unexplained() {
                true => lost.reason,
                false => self.lose(lost.reason),
            });
        }
        match self.limit_left() {
            Some((Duration::ZERO, reason)) => Err(self.lose(reason)),
            _ => Ok(()),
        }
    }

    pub(super) fn remaining(&self) -> Duration {
        if self.check().is_err() {
            return Duration::ZERO;
        }
        let lease = self.epoch.remaining();
        self.limit_left().map_or(lease, |(left, _)| lease.min(left))
    }

    /// The limit that ends first, and how far it is.
    pub(super) fn limit_left(&self) -> Option<(Duration, LostReason)> {
        let now = self.epoch.clock().now();
        let last_beat = Duration::from_nanos(self.last_beat.load(Ordering::Acquire));
        let ends = [
            (self.limits.max_hold, self.since, LostReason::MaxHold),
            (self.limits.beat, last_beat, LostReason::NoBeat),
        ];
        ends.into_iter()
            .filter_map(|(limit, from, reason)| Some(((from + limit?).saturating_sub(now), reason)))
            .min_by_key(|(left, _)| *left)
    }

    pub(super) fn beat(&self) {
        self.last_beat
            .fetch_max(nanos(self.epoch.clock().now()), Ordering::AcqRel);
    }

    /// Makes the loss final; returns the reason that stands.
    pub(super) fn lose(&self, reason: LostReason) -> LostReason {
        let mut stands = reason;
        self.loss.send_if_modified(|loss| match loss {
            Loss::Lost(earlier) => {
                stands = earlier.clone();
                false
            }
            Loss::Held | Loss::Going => {
                *loss = Loss::Lost(stands.clone());
                true
            }
        });
        stands
    }

    /// Ends the hold from here; how to give the key back, unless all was lost before.
    pub(super) fn end(&self, reason: LostReason) -> Option<Box<dyn Leave>> {
        if self.lose(reason.clone()) != reason {
            return None;
        }
        self.leave.lock().take()
    }

    /// A key is not in the store: nothing is held from now on, and then the reason is found.
    /// `at` is the revision at which that is so, or 0.
    pub(super) fn key_is_gone(self: &Arc<Self>, key: &Bytes, at: i64) {
        let first = self.loss.send_if_modified(|loss| {
            let held = *loss == Loss::Held;
            if held {
                *loss = Loss::Going;
            }
            held
        });
        if first {
            let (hold, missing) = (Arc::clone(self), self.missing(key, at));
            // Not the caller's to cancel.
            self.epoch.spawn(async move {
                hold.lose(gone::why_gone(&hold.epoch, &missing).await);
            });
        }
    }

    /// Why the keys are gone, when they were found so at an unknown revision.
    pub(super) async fn why_gone(&self) -> LostReason {
        for key in self.keys() {
            let reason = gone::why_gone(&self.epoch, &self.missing(key, 0)).await;
            if reason != LostReason::Deleted {
                return reason;
            }
        }
        LostReason::Deleted
    }

    fn missing(&self, key: &Bytes, gone_at: i64) -> Missing {
        Missing {
            key: key.clone(),
            created: self.token,
            gone_at,
        }
    }

    /// Waits until it is not held any more.
    pub(super) async fn fired(&self) {
        let mut loss = self.loss.subscribe();
        tokio::select! {
            biased;
            _ = loss.wait_for(|loss| *loss != Loss::Held) => {}
            () = self.epoch.gone() => {}
        }
    }

    /// Waits until it is not held any more and the reason is known.
    pub(super) async fn lost(&self) -> LostReason {
        let mut loss = self.loss.subscribe();
        loop {
            let going = match &*loss.borrow_and_update() {
                Loss::Lost(reason) => return reason.clone(),
                Loss::Going => true,
                Loss::Held => false,
            };
            tokio::select! {
                biased;
                _ = loss.changed() => {}
                reason = self.epoch.lost() => {
                    if !going {
                        return self.lose(reason);
                    }
                    // Who is finding the reason is done by now, unless its runtime has ended.
                    tokio::time::sleep(FINDING_LIMIT).await;
                    self.lose(LostReason::Deleted);
                }
            }
        }
    }

    pub(super) fn leaving(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    pub(super) fn enter_scope(self: &Arc<Self>) -> Running {
        self.scopes.send_modify(|count| *count += 1);
        Running {
            hold: Arc::clone(self),
        }
    }

    /// Waits until no scope runs, for at most `limit`.
    pub(super) async fn scopes_ended(&self, limit: Duration) {
        let mut scopes = self.scopes.subscribe();
        // What outlasts the limit is code that does not await.
        let _ = tokio::time::timeout(limit, scopes.wait_for(|count| *count == 0)).await;
    }

    /// How to give the key back after a limit ended the hold.
    pub(super) fn take_leave(&self) -> Option<Box<dyn Leave>> {
        self.leave.lock().take()
    }
}

/// A scope that runs; dropping it says that it has ended.
pub(super) struct Running {
    hold: Arc<Hold>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.hold.scopes.send_modify(|count| *count -= 1);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
