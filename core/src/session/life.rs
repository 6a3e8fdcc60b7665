//! The life of one lease as this client may count on it.
//!
//! Owns the deadline and the one-way step to lost; knows nothing of calls and tasks. Truth is
//! computed from the clock when asked, never read from a flag another task would have to set.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    beat::Beats,
    state::{Lost, LostReason, State},
};
use crate::clock::Clock;

/// How long finding out who revoked a lease may take.
const EXPLAIN_LIMIT: Duration = Duration::from_secs(1);

/// How a granted TTL is turned into a deadline.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caution {
    /// Bound on the error of the clock rates, as a fraction.
    pub(crate) drift: f64,
    /// Taken off each deadline; `None` is the larger of 50 ms and TTL/20.
    pub(crate) margin: Option<Duration>,
    /// How long before the deadline work should stop; `None` is TTL/4.
    pub(crate) grace: Option<Duration>,
}

impl Caution {
    /// Until when a keepalive sent at `sent` and granted `ttl` is counted on.
    ///
    /// The server counts from when it handled the request, which is later than `sent`, so this
    /// client gives up first.
    pub(crate) fn deadline(&self, sent: Duration, ttl: Duration) -> Duration {
        let margin = self
            .margin
            .unwrap_or((ttl / 20).max(Duration::from_millis(50)));
        sent + ttl.mul_f64(1.0 - self.drift).saturating_sub(margin)
    }

    pub(crate) fn grace(&self, ttl: Duration) -> Duration {
        self.grace.unwrap_or(ttl / 4)
    }
}

/// A reply that came after the deadline: the lease is alive at the server and dead here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLate;

#[derive(Debug)]
struct Inner {
    ttl: Duration,
    deadline: Duration,
    suspended: bool,
    lost: Option<LostReason>,
    /// It is lost, and who has done it may still be found out.
    unexplained: bool,
}

/// The deadline of one lease. Lost is final.
#[derive(Debug)]
pub(crate) struct Life {
    clock: Arc<dyn Clock>,
    caution: Caution,
    pid: u32,
    inner: Mutex<Inner>,
    beats: Option<Arc<Beats>>,
    /// Rings when it is lost, and when the reason is known.
    ended: watch::Sender<()>,
}

impl Life {
    /// A life that begins with a grant sent at `sent`.
    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        caution: Caution,
        sent: Duration,
        ttl: Duration,
    ) -> Self {
        let deadline = caution.deadline(sent, ttl);
        let inner = Inner {
            ttl,
            deadline,
            suspended: false,
            lost: None,
            unexplained: false,
        };
        Self {
            clock,
            caution,
            pid: std::process::id(),
            inner: Mutex::new(inner),
            beats: None,
            ended: watch::Sender::new(()),
        }
    }

    /// A life that also ends when a report of progress is overdue.
    pub(super) fn with_beats(mut self, beats: Arc<Beats>) -> Self {
        self.beats = Some(beats);
        self
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Whether the lease can be counted on at this instant.
    pub(crate) fn check(&self) -> Result<Duration, Lost> {
        if std::process::id() != self.pid {
            return Err(Lost::new(LostReason::Forked));
        }
        let mut inner = self.inner.lock();
        if let Some(reason) = &inner.lost {
            return Err(Lost::new(reason.clone()));
        }
        let now = self.clock.now();
        let reason = if now >= inner.deadline {
            LostReason::Expired
        } else if self.beats.as_ref().is_some_and(|beats| beats.is_overdue()) {
            LostReason::NoBeat
        } else {
            return Ok(inner.deadline - now);
        };
        inner.lost = Some(reason.clone());
        drop(inner);
        self.ended.send_replace(());
        Err(Lost::new(reason))
    }

    /// How long it can be counted on if nothing more is heard, of servers and of work.
    pub(crate) fn remaining(&self) -> Duration {
        let lease = self.check().unwrap_or(Duration::ZERO);
        let beats = self.beats.as_ref().and_then(|beats| beats.left());
        beats.map_or(lease, |left| lease.min(left))
    }

    /// Takes in the answer to a keepalive sent at `sent`.
    pub(crate) fn renew(&self, sent: Duration, ttl: Duration) -> Result<(), TooLate> {
        if self.check().is_err() {
            return Err(TooLate);
        }
        let mut inner = self.inner.lock();
        if inner.lost.is_some() {
            return Err(TooLate);
        }
        inner.ttl = ttl;
        inner.deadline = inner.deadline.max(self.caution.deadline(sent, ttl));
        inner.suspended = false;
        Ok(())
    }

    pub(crate) fn suspend(&self) {
        self.inner.lock().suspended = true;
    }

    /// Ends the life, or explains its end, unless that is known; returns the reason that stands.
    pub(crate) fn end(&self, reason: LostReason) -> LostReason {
        let mut inner = self.inner.lock();
        if std::mem::take(&mut inner.unexplained) {
            inner.lost = None;
        }
        let stands = inner.lost.get_or_insert(reason).clone();
        drop(inner);
        self.ended.send_replace(());
        stands
    }

    /// Ends the life since a server does not know the lease; the reason is yet to be found, for
    /// which [`ended`](Self::ended) leaves some time.
    pub(crate) fn revoked(&self) {
        let mut inner = self.inner.lock();
        if inner.lost.is_none() {
            inner.lost = Some(LostReason::Revoked);
            inner.unexplained = true;
        }
        drop(inner);
        self.ended.send_replace(());
    }

    /// It is lost, and the reason may still change.
    pub(crate) fn is_unexplained(&self) -> bool {
        self.inner.lock().unexplained
    }

    pub(crate) fn state(&self) -> State {
        let remaining = match self.check() {
            Ok(remaining) => remaining,
            Err(lost) => {
                return State::Lost {
                    reason: lost.reason,
                };
            }
        };
        let inner = self.inner.lock();
        if remaining < self.caution.grace(inner.ttl) {
            State::Expiring { remaining }
        } else if inner.suspended {
            State::Suspended { remaining }
        } else {
            State::Connected
        }
    }

    pub(crate) fn ttl(&self) -> Duration {
        self.inner.lock().ttl
    }

    /// Time until [`State::Expiring`]; zero when it is reached, or all is lost.
    pub(crate) fn until_expiring(&self) -> Duration {
        let grace = self.caution.grace(self.ttl());
        self.check()
            .map_or(Duration::ZERO, |remaining| remaining.saturating_sub(grace))
    }

    /// Waits for the end, and no longer than the clock allows.
    pub(crate) async fn gone(&self) {
        let mut ended = self.ended.subscribe();
        while self.check().is_ok() {
            let remaining = self.remaining();
            tokio::select! {
                biased;
                // The sender lives in `self`, so the channel cannot close.
                _ = ended.changed() => {}
                () = tokio::time::sleep(remaining) => {}
            }
        }
    }

    /// Waits for the end, and for the reason if that can be found soon.
    pub(crate) async fn ended(&self) -> LostReason {
        self.gone().await;
        let mut ended = self.ended.subscribe();
        let explained = async {
            while self.is_unexplained() {
                let _ = ended.changed().await;
            }
        };
        if tokio::time::timeout(EXPLAIN_LIMIT, explained)
            .await
            .is_err()
        {
            return self.end(LostReason::Revoked);
        }
        match self.check() {
            Err(lost) => lost.reason,
            // Not reached: lost is final.
            Ok(_) => LostReason::Revoked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Debug, Default)]
    struct Hand(AtomicU64);

    impl Hand {
        fn set(&self, millis: u64) {
            self.0.store(millis, Ordering::SeqCst);
        }
    }

    impl Clock for Hand {
        fn now(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::SeqCst))
        }
    }

    const TTL: Duration = Duration::from_secs(10);
    const CAUTION: Caution = Caution {
        drift: 0.001,
        margin: None,
        grace: None,
    };

    fn life(hand: &Arc<Hand>) -> Life {
        Life::new(hand.clone(), CAUTION, hand.now(), TTL)
    }

    #[test]
    fn the_deadline_counts_from_the_send_and_stays_short_of_the_ttl() {
        let sent = Duration::from_secs(100);
        let deadline = CAUTION.deadline(sent, TTL);
        assert_eq!(deadline, Duration::from_millis(100_000 + 10_000 - 10 - 500));
        let short = CAUTION.deadline(sent, Duration::from_secs(1));
        assert_eq!(short, Duration::from_millis(100_000 + 1000 - 1 - 50));
    }

    #[test]
    fn trap_03_the_first_check_after_a_pause_says_lost() {
        let hand = Arc::new(Hand::default());
        let life = life(&hand);
        assert_eq!(life.state(), State::Connected);
        hand.set(9_489);
        assert!(life.check().is_ok());
        hand.set(9_490);
        assert_eq!(life.check(), Err(Lost::new(LostReason::Expired)));
    }

    #[test]
    fn trap_08_an_answer_that_comes_too_late_does_not_revive() {
        let hand = Arc::new(Hand::default());
        let life = life(&hand);
        let sent = Duration::from_secs(9);
        hand.set(9_600);
        assert_eq!(life.renew(sent, TTL), Err(TooLate));
        assert_eq!(life.check(), Err(Lost::new(LostReason::Expired)));
        // Even a clock put back cannot undo it.
        hand.set(1_000);
        assert_eq!(life.check(), Err(Lost::new(LostReason::Expired)));
    }

    #[test]
    fn work_that_reports_nothing_ends_it_and_a_late_report_does_not_revive() {
        let hand = Arc::new(Hand::default());
        let beats = Arc::new(Beats::new(hand.clone(), Some(Duration::from_secs(2))));
        let life = life(&hand).with_beats(Arc::clone(&beats));
        hand.set(1_500);
        beats.beat();
        hand.set(3_000);
        assert!(life.check().is_ok());
        assert_eq!(life.remaining(), Duration::from_millis(500));
        // That little is left until the next report is no reason to stop work.
        assert_eq!(life.state(), State::Connected);
        hand.set(3_500);
        assert_eq!(life.check(), Err(Lost::new(LostReason::NoBeat)));
        beats.beat();
        assert_eq!(life.check(), Err(Lost::new(LostReason::NoBeat)));
    }

    #[test]
    fn an_older_answer_never_shortens_the_deadline() {
        let hand = Arc::new(Hand::default());
        let life = life(&hand);
        hand.set(4_000);
        assert_eq!(life.renew(Duration::from_secs(4), TTL), Ok(()));
        let before = life.check();
        assert_eq!(life.renew(Duration::from_secs(3), TTL), Ok(()));
        assert_eq!(life.check(), before);
    }

    #[test]
    fn states_follow_the_clock() {
        let hand = Arc::new(Hand::default());
        let life = life(&hand);
        life.suspend();
        assert!(matches!(life.state(), State::Suspended { .. }));
        assert_eq!(life.until_expiring(), Duration::from_millis(9_490 - 2_500));
        hand.set(7_000);
        assert!(matches!(life.state(), State::Expiring { .. }));
        assert_eq!(life.renew(Duration::from_secs(7), TTL), Ok(()));
        assert_eq!(life.state(), State::Connected);
        assert_eq!(life.end(LostReason::Revoked), LostReason::Revoked);
        assert_eq!(life.end(LostReason::Closed), LostReason::Revoked);
        life.revoked();
        assert!(!life.is_unexplained());
        assert_eq!(
            life.state(),
            State::Lost {
                reason: LostReason::Revoked
            }
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_the_servers_do_not_know_is_lost_at_once_and_explained_soon() {
        let killed = LostReason::Killed {
            by: "me".to_owned(),
            why: "it hangs".to_owned(),
        };
        let hand = Arc::new(Hand::default());
        let life_one = life(&hand);
        life_one.revoked();
        assert_eq!(life_one.check(), Err(Lost::new(LostReason::Revoked)));
        life_one.gone().await;
        let (reason, stands) = tokio::join!(life_one.ended(), async {
            tokio::task::yield_now().await;
            life_one.end(killed.clone())
        });
        assert_eq!((&reason, &stands), (&killed, &killed));
        assert_eq!(life_one.end(LostReason::Closed), killed);
        // Nobody explains this one.
        let life_two = life(&hand);
        life_two.revoked();
        assert_eq!(life_two.ended().await, LostReason::Revoked);
        assert_eq!(life_two.end(killed), LostReason::Revoked);
    }
}
