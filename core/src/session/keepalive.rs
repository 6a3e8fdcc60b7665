//! The task that grants, renews and gives up a session's lease.
//!
//! Owns the timing of keepalives and the course of the phases. What the lease is worth at an
//! instant is [`Life`]'s business.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::future::OptionFuture;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::{
    course::{Phase, Shared},
    declare,
    epoch::Core,
    life::{Life, TooLate},
    parked::Parked,
    state::{LostReason, State},
    witness,
};
use crate::{Client, Error, ErrorKind, KeepAlive, backoff::Backoff, chance::Chance, lease};

const FIRST_WAIT: Duration = Duration::from_millis(50);
const FIRST_GRANT_LIMIT: Duration = Duration::from_secs(1);
const GRANT_WAIT_LIMIT: Duration = Duration::from_secs(2);
/// A lease counts from when it was first asked for: an answer after half of its time is given up,
/// for what is left would be lost before it is renewed. Servers have this floor, or a higher one.
const SHORTEST_TTL: Duration = Duration::from_secs(2);
/// The longest a keepalive waits for its answer before the session counts as suspended.
const REPLY_LIMIT: Duration = Duration::from_secs(1);
/// Sleeps are cut to this, since they do not count time in which the machine was suspended.
const TICK: Duration = Duration::from_secs(1);
const RECOVERY_WAIT: Duration = Duration::from_millis(100);
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

type Attempt = Pin<Box<dyn Future<Output = Result<KeepAlive, Error>> + Send>>;

/// How a session is kept until it is closed.
pub(crate) async fn run(shared: Arc<Shared>, runtime: Handle) {
    let mut cluster = None;
    for number in 1.. {
        let granted = tokio::select! {
            biased;
            () = shared.close.cancelled() => None,
            core = grant(&shared, &runtime, number) => Some(core),
        };
        let Some(core) = granted else {
            finish(&shared, None);
            return;
        };
        shared.phase.send_replace(Phase::Live(Arc::clone(&core)));
        publish(&shared, &core);
        runtime.spawn(witness::run(Arc::clone(&core)));
        let reason = Renewal::new(&shared, &core, &mut cluster).run().await;
        tracing::info!(target: "handfast::session", lease = core.lease, %reason, "session ended");
        if reason == LostReason::Closed {
            finish(&shared, close(&shared, &core).await);
            return;
        }
        publish(&shared, &core);
        if reason != LostReason::Forked {
            // An answer that comes late must find the lease ended, not revive it.
            runtime.spawn(revoke_late(Arc::clone(&shared), Arc::clone(&core)));
        }
        if !shared.options.recover || reason == LostReason::Forked {
            shared.phase.send_replace(Phase::Over(reason));
            return;
        }
        shared
            .phase
            .send_replace(Phase::Granting { last_error: None });
        // Those who watch the states shall see the loss, and many clients that lost the same
        // server shall not come back in step.
        let wait = RECOVERY_WAIT.mul_f64(shared.client.chance().factor(0.5, 1.5));
        tokio::select! {
            biased;
            () = shared.close.cancelled() => {}
            () = async {
                tokio::time::sleep(wait).await;
                shared.beats.in_time().await;
            } => {}
        }
        shared.states.send_replace(State::Recovering);
    }
}

fn finish(shared: &Shared, error: Option<Error>) {
    shared.phase.send_replace(Phase::Closed(error));
    shared.states.send_replace(State::Closed);
}

fn publish(shared: &Shared, core: &Core) {
    if core.life.is_unexplained() {
        // The states change once, with the reason.
        return;
    }
    let now = core.life.state();
    shared.states.send_if_modified(|shown| {
        let changed = shown.code() != now.code();
        *shown = now;
        changed
    });
}

/// Grants a lease under an id of this client's choice, so that asking again is harmless.
async fn grant(shared: &Arc<Shared>, runtime: &Handle, number: u64) -> Arc<Core> {
    let options = &shared.options;
    let seconds = i64::try_from(options.whole_ttl().as_secs()).unwrap_or(i64::MAX);
    let chance = shared.client.chance();
    let ttl = options.whole_ttl().max(SHORTEST_TTL);
    // What the lease before held is to move over to this one before servers end it.
    let mut backoff = Backoff::new(FIRST_WAIT, GRANT_WAIT_LIMIT.min(ttl / 4)).drawn_by(chance);
    // Short at first, so that a reason for failing is known soon; a slow server gets more.
    let mut limit = FIRST_GRANT_LIMIT;
    loop {
        limit = limit.min(ttl / 2);
        let client = shared
            .client
            .with_timeout(limit.min(shared.client.timeout()));
        limit = limit.saturating_mul(2);
        let id = chance.lease_id();
        let sent = shared.clock.now();
        match client.lease_grant(seconds, id).await {
            Ok(grant) => {
                let ttl = lease::seconds(grant.ttl);
                // Nobody could rely on the lease before.
                shared.beats.beat();
                let life = Life::new(Arc::clone(&shared.clock), options.caution, sent, ttl);
                return Arc::new(Core {
                    number,
                    lease: grant.id,
                    term: grant.header.raft_term,
                    life: life.with_beats(Arc::clone(&shared.beats)),
                    client: shared.client.clone(),
                    options: Arc::clone(options),
                    runtime: runtime.clone(),
                    parked: Arc::new(Parked::new()),
                    slots: Mutex::default(),
                });
            }
            Err(error) => {
                tracing::debug!(target: "handfast::session", %error, "no lease yet");
                shared.phase.send_replace(Phase::Granting {
                    last_error: Some(error),
                });
            }
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

/// The keepalive loop of one lease.
struct Renewal<'a> {
    shared: &'a Shared,
    core: &'a Core,
    /// Which cluster answered last; another one has other data.
    cluster: &'a mut Option<u64>,
    /// The newest raft term an answer came from.
    term: u64,
    next: Duration,
    sent: Duration,
    attempt: Option<Attempt>,
    backoff: Backoff,
}

impl<'a> Renewal<'a> {
    fn new(shared: &'a Shared, core: &'a Core, cluster: &'a mut Option<u64>) -> Self {
        let now = shared.clock.now();
        let chance = shared.client.chance();
        Self {
            shared,
            core,
            cluster,
            term: core.term,
            // The grant may have taken long.
            next: now + interval(chance, core.life.ttl()).min(core.life.remaining() / 2),
            sent: now,
            attempt: None,
            backoff: retry_backoff(core.life.ttl()).drawn_by(chance),
        }
    }

    async fn run(mut self) -> LostReason {
        loop {
            publish(self.shared, self.core);
            let pause = self.pause();
            tokio::select! {
                biased;
                () = self.shared.close.cancelled() => {
                    return self.core.life.end(LostReason::Closed);
                }
                reason = self.core.life.ended() => return reason,
                Some(answer) = OptionFuture::from(self.attempt.as_mut()) => {
                    self.attempt = None;
                    if let Some(reason) = self.take_in(answer) {
                        if reason != LostReason::Revoked {
                            return self.core.life.end(reason);
                        }
                        self.core.life.revoked();
                        return self.core.life.ended().await;
                    }
                }
                () = tokio::time::sleep(pause) => {}
            }
            let now = self.shared.clock.now();
            if self.attempt.is_none() && now >= self.next {
                self.sent = now;
                self.attempt = Some(self.renew());
            }
        }
    }

    /// Until something is due.
    fn pause(&self) -> Duration {
        let now = self.shared.clock.now();
        let mut pause = TICK;
        if self.attempt.is_none() {
            pause = pause.min(self.next.saturating_sub(now));
        }
        let expiring = self.core.life.until_expiring();
        if !expiring.is_zero() {
            pause = pause.min(expiring);
        }
        pause
    }

    fn renew(&self) -> Attempt {
        let limit = (self.core.life.ttl() / 6).min(REPLY_LIMIT);
        let client: Client = self.shared.client.with_timeout(limit);
        let lease = self.core.lease;
        Box::pin(async move { client.lease_keep_alive_once(lease).await })
    }

    /// What an answer means: the reason the lease is lost, or that it goes on.
    fn take_in(&mut self, answer: Result<KeepAlive, Error>) -> Option<LostReason> {
        match answer {
            Ok(alive) => {
                let id = alive.header.cluster_id;
                if self.cluster.replace(id).is_some_and(|known| known != id) {
                    return Some(LostReason::Restored);
                }
                if alive.header.raft_term < self.term {
                    // A leader that is none any more; another counts the lease's time.
                    self.unanswered();
                    return None;
                }
                self.term = alive.header.raft_term;
                let ttl = lease::seconds(alive.ttl);
                if self.core.life.renew(self.sent, ttl) == Err(TooLate) {
                    return Some(LostReason::Expired);
                }
                self.next = self.sent + interval(self.shared.client.chance(), ttl);
                self.backoff.reset();
                None
            }
            Err(error) if error.kind() == ErrorKind::LeaseNotFound => Some(LostReason::Revoked),
            Err(error) => {
                tracing::debug!(target: "handfast::session", %error, "keepalive unanswered");
                self.unanswered();
                None
            }
        }
    }

    fn unanswered(&mut self) {
        self.core.life.suspend();
        self.next = self.shared.clock.now() + self.backoff.next();
    }
}

/// A third of the TTL, varied so that many sessions do not renew in step.
fn interval(chance: &Chance, ttl: Duration) -> Duration {
    (ttl / 3).mul_f64(chance.factor(0.9, 1.1))
}

fn retry_backoff(ttl: Duration) -> Backoff {
    Backoff::new(FIRST_WAIT, (ttl / 12).min(Duration::from_secs(1)))
}

/// Withdraws what is declared, then gives up the lease.
async fn close(shared: &Shared, core: &Core) -> Option<Error> {
    let limit = core.life.ttl().min(CLOSE_LIMIT);
    let begun = shared.clock.now();
    declare::farewell(shared, core, limit / 2).await;
    let taken = shared.clock.now().saturating_sub(begun);
    revoke_bounded(core, limit.saturating_sub(taken).max(limit / 4)).await
}

async fn revoke_bounded(core: &Core, limit: Duration) -> Option<Error> {
    match core
        .client
        .with_timeout(limit)
        .lease_revoke(core.lease)
        .await
    {
        Ok(_) => None,
        Err(error) if error.kind() == ErrorKind::LeaseNotFound => None,
        Err(error) => Some(error),
    }
}

/// Revokes a lease that is lost here but may live at the servers.
async fn revoke_late(shared: Arc<Shared>, core: Arc<Core>) {
    let mut backoff = Backoff::new(FIRST_WAIT, GRANT_WAIT_LIMIT).drawn_by(core.client.chance());
    // After this the servers have ended it themselves, even with a change of leader between.
    let give_up = core.life.clock().now() + core.life.ttl() * 3;
    if shared.options.recover {
        // Declared keys move over to the next lease in place, and do not seem to die.
        let moved = shared.declared.beyond(core.number);
        let _ = tokio::time::timeout(core.life.ttl(), moved).await;
    }
    while core.life.clock().now() < give_up {
        match core.client.lease_revoke(core.lease).await {
            Ok(_) => return,
            Err(error) if error.kind() == ErrorKind::LeaseNotFound => return,
            Err(_) => tokio::time::sleep(backoff.next()).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::session::beat::Beats;
    use crate::{
        Header, SessionOptions,
        clock::{Clock, TokioClock},
        session::declared::Declarations,
    };

    fn answer(term: u64) -> Result<KeepAlive, Error> {
        Ok(KeepAlive {
            header: Header {
                raft_term: term,
                ..Default::default()
            },
            id: 1,
            ttl: 10,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_of_a_leader_that_was_followed_by_another_does_not_count() {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
        let client = Client::connect("127.0.0.1:1").await.unwrap();
        let options = Arc::new(SessionOptions::new());
        let shared = Shared {
            client: client.clone(),
            clock: Arc::clone(&clock),
            options: Arc::clone(&options),
            phase: watch::Sender::new(Phase::Granting { last_error: None }),
            states: watch::Sender::new(State::Connecting),
            close: CancellationToken::new(),
            pid: std::process::id(),
            beats: Arc::new(Beats::new(Arc::clone(&clock), None)),
            declared: Declarations::new(),
        };
        let ttl = Duration::from_secs(10);
        let core = Core {
            number: 1,
            lease: 1,
            term: 5,
            life: Life::new(Arc::clone(&clock), options.caution, clock.now(), ttl),
            client,
            options,
            runtime: Handle::current(),
            parked: Arc::new(Parked::new()),
            slots: Mutex::default(),
        };
        let mut cluster = None;
        let mut renewal = Renewal::new(&shared, &core, &mut cluster);
        let mut left_after = async |term| {
            tokio::time::sleep(Duration::from_secs(1)).await;
            renewal.sent = clock.now();
            assert_eq!(renewal.take_in(answer(term)), None);
            core.life.check().unwrap()
        };
        let renewed = left_after(5).await;
        assert_eq!(left_after(4).await, renewed - Duration::from_secs(1));
        assert_eq!(left_after(6).await, renewed);
        assert_eq!(left_after(5).await, renewed - Duration::from_secs(1));
        assert!(matches!(core.life.state(), State::Suspended { .. }));
    }

    #[test]
    fn keepalives_come_at_a_third_of_the_ttl_give_or_take_a_tenth() {
        let ttl = Duration::from_secs(9);
        let drawn: Vec<_> = (0..1000)
            .map(|_| interval(&Chance::default(), ttl))
            .collect();
        let within = Duration::from_millis(2_699)..Duration::from_millis(3_301);
        assert!(drawn.iter().all(|wait| within.contains(wait)));
        assert!(drawn.iter().any(|wait| *wait < ttl / 3) && drawn.iter().any(|w| *w > ttl / 3));
    }
}
