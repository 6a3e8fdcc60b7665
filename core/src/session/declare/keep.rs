//! The task that keeps one declared key as it is wished, over the epochs of its session.
//!
//! Owns when the store is told and what its answers mean. What is told is in `txns`.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    super::{
        course::{Phase, Shared},
        declared::{Desired, Standing},
        departure::Departure,
        epoch::Core,
        record::lease_hex,
        state::{LostReason, State},
    },
    txns::{self, Known},
};
use crate::{
    Error, ErrorKind, EventKind, KeyValue, Txn, TxnResponse, WatchEvent, WatchOptions, WatchStream,
    backoff::Backoff,
};

const FIRST_WAIT: Duration = Duration::from_millis(50);
const WAIT_LIMIT: Duration = Duration::from_secs(2);
/// The key is read again this many verify intervals apart, in case an event was lost; that the
/// lease lives is verified by the session more often.
const VERIFY_FACTOR: u32 = 4;

/// A lease that was lost within so many TTLs was lost to a crowd, more often than not.
const SHORT_LIFE: u32 = 3;
/// How often the time over which keys come back is doubled, at most.
const DOUBLINGS: u32 = 3;

/// A put is quick when it takes less than this part of the TTL, half of what a keepalive may take.
const QUICK_SHARE: u32 = 12;
const QUICK_LIMIT: Duration = Duration::from_millis(500);

/// What telling the store came to.
enum Told {
    Present,
    Refused(Arc<KeyValue>),
    LeaseGone,
}

/// Runs until the declaration is withdrawn or the session is over.
pub(super) async fn run(shared: Arc<Shared>, desired: Arc<Desired>) {
    let mut keeper = Keeper {
        shared: &shared,
        desired: &desired,
        mark: 0,
        known: None,
        stored: None,
        doubtful: false,
    };
    let reason = keeper.course().await;
    desired.finish(reason);
    shared.declared.leave(&desired);
}

struct Keeper<'a> {
    shared: &'a Shared,
    desired: &'a Arc<Desired>,
    /// The revision of the mark of an earlier withdrawal; 0 for none.
    mark: i64,
    known: Option<Known>,
    /// The value the store was last seen to have.
    stored: Option<Bytes>,
    /// A put may have been carried out, or still be, without an answer.
    doubtful: bool,
}

impl Keeper<'_> {
    /// The whole course; why it is over.
    async fn course(&mut self) -> LostReason {
        let desired = self.desired;
        let entered = tokio::select! {
            biased;
            () = desired.withdrawn() => false,
            entered = self.enter() => entered,
        };
        if !entered {
            return LostReason::Released;
        }
        let mut last: Option<Arc<Core>> = None;
        let mut losses = 0;
        loop {
            let after = last.as_ref().map_or(0, |core| core.number);
            let next = tokio::select! {
                biased;
                () = desired.withdrawn() => return self.withdraw(last).await,
                next = next_epoch(self.shared, after) => next,
            };
            let core = match next {
                Ok(core) => core,
                Err(reason) => return reason,
            };
            self.shared.declared.note_lease(core.lease);
            let begun = core.life.clock().now();
            last = Some(Arc::clone(&core));
            tokio::select! {
                biased;
                () = desired.withdrawn() => return self.withdraw(last).await,
                () = core.life.gone() => {}
                () = self.live(&core, losses) => {}
            }
            let lasted = core.life.clock().now().saturating_sub(begun);
            losses = match lasted < core.life.ttl() * SHORT_LIFE {
                true => losses + 1,
                false => 1,
            };
            if desired.is_withdrawn() {
                return self.withdraw(last).await;
            }
            self.stands(Standing::Pending { last_error: None });
        }
    }

    /// Waits until no other declaration of the session has the key.
    async fn enter(&mut self) -> bool {
        let mut moves = self.shared.declared.moves();
        while let Err(other) = self.shared.declared.enter(self.desired) {
            if !other.is_withdrawn() {
                let pair = KeyValue {
                    key: other.key.clone(),
                    value: other.wish().0,
                    lease: match &*self.shared.phase.borrow() {
                        Phase::Live(core) => core.lease,
                        _ => 0,
                    },
                    ..Default::default()
                };
                self.stands(Standing::Refused { by: Arc::new(pair) });
            }
            if moves.changed().await.is_err() {
                return false;
            }
        }
        self.stands(Standing::Pending { last_error: None });
        true
    }

    fn stands(&self, standing: Standing) {
        self.desired.standing.send_replace(standing);
        self.shared.declared.moved();
    }

    /// Keeps the key during one epoch; ends when its lease is gone.
    ///
    /// `losses` tells how many leases were lost in a row without lasting for long.
    async fn live(&mut self, core: &Core, losses: u32) {
        let chance = core.client.chance();
        if losses > 0 {
            // All who lost the same servers are back at the same time. If that is too much for
            // them, so that leases are lost again, it has to take longer.
            let window = self.shared.options.redeclare_within_of(core.life.ttl());
            let window = window.saturating_mul(1 << (losses - 1).min(DOUBLINGS));
            tokio::time::sleep(window.mul_f64(chance.factor(0.0, 1.0))).await;
        }
        let mut backoff = Backoff::new(FIRST_WAIT, WAIT_LIMIT).drawn_by(chance);
        loop {
            match self.tell(core).await {
                Told::Present => {
                    self.watch_over(core).await;
                    if self.known.is_some() {
                        backoff.reset();
                        continue;
                    }
                    // Somebody deleted it, and may do so again.
                }
                Told::Refused(by) => {
                    let from = by.mod_revision + 1;
                    self.stands(Standing::Refused { by });
                    let limit = core
                        .options
                        .verify_interval
                        .mul_f64(chance.factor(0.8, 1.2));
                    tokio::select! {
                        biased;
                        _ = Departure::of(&core.client, self.desired.key.clone(), from) => {}
                        () = tokio::time::sleep(limit) => {}
                    }
                }
                Told::LeaseGone => {
                    core.life.revoked();
                    return;
                }
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    /// Tells the store until it has what is wished, or cannot.
    async fn tell(&mut self, core: &Core) -> Told {
        let mut backoff = Backoff::new(FIRST_WAIT, WAIT_LIMIT).drawn_by(core.client.chance());
        loop {
            let (value, version) = self.desired.wish();
            let (key, mark) = (&self.desired.key, (&self.desired.mark, self.mark));
            let doubtful = std::mem::replace(&mut self.doubtful, true);
            let put = txns::put(&core.client, (key, &value), core.lease, self.known, mark);
            let put = self.in_turn(core, put).await;
            let answer = match put {
                Ok(answer) => answer,
                Err(error) => {
                    self.doubtful = doubtful || error.in_doubt();
                    if error.kind() == ErrorKind::LeaseNotFound {
                        return Told::LeaseGone;
                    }
                    tracing::debug!(target: "handfast::session", %error, "declared key not put");
                    let last_error = Some(error);
                    self.stands(Standing::Pending { last_error });
                    tokio::time::sleep(backoff.next()).await;
                    continue;
                }
            };
            self.doubtful = doubtful || answer.repeated_in_doubt;
            if answer.succeeded {
                let revision = answer.header.revision;
                let created = self.known.map_or(revision, |known| known.create_revision);
                self.has(core, created, revision, value, version);
                return Told::Present;
            }
            let (Ok(pairs), Ok(marks)) = (answer.range(0), answer.range(1)) else {
                tokio::time::sleep(backoff.next()).await;
                continue;
            };
            self.mark = marks.kvs.first().map_or(0, |mark| mark.mod_revision);
            match pairs.kvs.first() {
                None => self.known = None,
                Some(pair) if !self.is_own(pair) => {
                    self.known = None;
                    return Told::Refused(Arc::new(pair.clone()));
                }
                Some(pair) => {
                    if self.take_in(core, pair) {
                        return Told::Present;
                    }
                }
            }
        }
    }

    /// Commits at the pace that the servers keep: what keeps the lease alive goes first.
    async fn in_turn(&self, core: &Core, put: Txn) -> Result<TxnResponse, Error> {
        let turn = self.shared.declared.turns.take().await;
        let mut states = self.shared.states.subscribe();
        // The sender lives as long as the session.
        let _ = states.wait_for(|state| !is_overdue(state)).await;
        let begun = core.life.clock().now();
        let put = put.commit().await;
        let took = core.life.clock().now().saturating_sub(begun);
        turn.used(put.is_ok() && took < (core.life.ttl() / QUICK_SHARE).min(QUICK_LIMIT));
        put
    }

    /// Whether it is this session's, of this or an earlier epoch, or has just lost its lease.
    fn is_own(&self, pair: &KeyValue) -> bool {
        let same = |known: Known| known.create_revision == pair.create_revision;
        self.shared.declared.is_own_lease(pair.lease)
            || (pair.lease == 0 && self.known.is_some_and(same))
    }

    /// Takes in what the store has at the key; whether that is what is wished.
    fn take_in(&mut self, core: &Core, pair: &KeyValue) -> bool {
        self.known = Some(Known {
            create_revision: pair.create_revision,
            mod_revision: pair.mod_revision,
        });
        let wished = self.desired.wish().0;
        let others = self.stored.as_ref().is_some_and(|was| *was != pair.value);
        if others && pair.value != wished {
            self.desired.adopt(&pair.value);
        }
        self.stored = Some(pair.value.clone());
        let (value, version) = self.desired.wish();
        let is_wished = pair.lease == core.lease && pair.value == value;
        if is_wished {
            let (created, revision) = (pair.create_revision, pair.mod_revision);
            self.has(core, created, revision, value, version);
        }
        is_wished
    }

    /// The store has this.
    fn has(&mut self, core: &Core, created: i64, revision: i64, value: Bytes, version: u64) {
        self.known = Some(Known {
            create_revision: created,
            mod_revision: revision,
        });
        self.stored = Some(value);
        self.desired.confirm(version);
        self.stands(Standing::Present {
            create_revision: created,
            revision,
            epoch: core.number,
        });
    }

    /// Returns when the store must be told again: the wish changed, or what the store has.
    async fn watch_over(&mut self, core: &Core) {
        while let Some(known) = self.known {
            let from = known.mod_revision + 1;
            let options = WatchOptions::key(&self.desired.key).start_revision(from);
            if !self.follow(core, core.client.watch(options)).await {
                return;
            }
            // A watch that cannot be had is no reason to ask in a hurry.
            let wait = WAIT_LIMIT.mul_f64(core.client.chance().factor(0.5, 1.5));
            tokio::time::sleep(wait).await;
        }
    }

    /// Follows the key's changes; whether all is well and only the watch is over.
    async fn follow(&mut self, core: &Core, mut watch: WatchStream) -> bool {
        loop {
            let verify = core.options.verify_interval * VERIFY_FACTOR;
            let verify = verify.mul_f64(core.client.chance().factor(0.8, 1.2));
            tokio::select! {
                biased;
                () = self.desired.unconfirmed() => return false,
                report = watch.next() => match report {
                    Some(Ok(WatchEvent::Events { events, .. })) => {
                        let seen = self.known.map_or(0, |known| known.mod_revision);
                        let last = events.last().filter(|event| event.kv.mod_revision > seen);
                        let Some(event) = last else { continue };
                        if event.kind == EventKind::Delete {
                            self.known = None;
                            return false;
                        }
                        if !self.is_own(&event.kv) || !self.take_in(core, &event.kv) {
                            return false;
                        }
                    }
                    Some(Ok(WatchEvent::Compacted { .. }) | Err(_)) | None => {
                        return self.look(core).await.unwrap_or(false);
                    }
                    Some(Ok(_)) => {}
                },
                () = tokio::time::sleep(verify) => {
                    if matches!(self.look(core).await, Ok(false)) {
                        return false;
                    }
                }
            }
        }
    }

    /// Reads the key; whether it is as wished.
    async fn look(&mut self, core: &Core) -> Result<bool, Error> {
        let answer = core.client.range(&self.desired.key).await?;
        Ok(match answer.kvs.first() {
            None => {
                self.known = None;
                false
            }
            Some(pair) => self.is_own(pair) && self.take_in(core, pair),
        })
    }

    /// Deletes the key and leaves a mark, until a server answered or the lease is gone for certain.
    async fn withdraw(&mut self, last: Option<Arc<Core>>) -> LostReason {
        let Some(core) = last.filter(|_| self.doubtful || self.known.is_some()) else {
            return LostReason::Released;
        };
        let limit = async {
            core.life.gone().await;
            tokio::time::sleep(core.life.ttl()).await;
        };
        tokio::select! {
            biased;
            () = self.leave(&core) => {}
            () = limit => {}
        }
        LostReason::Released
    }

    async fn leave(&mut self, core: &Core) {
        let mut backoff = Backoff::new(FIRST_WAIT, WAIT_LIMIT).drawn_by(core.client.chance());
        let (key, value) = (&self.desired.key, mark_value(core));
        loop {
            let created = self.known.map_or(0, |known| known.create_revision);
            let outcome = async {
                let lease = self.shared.declared.mark_lease(&core.client).await?;
                let mark = (&self.desired.mark, &value, lease);
                let answer = txns::withdraw(&core.client, key, created, mark)
                    .commit()
                    .await?;
                let found = match answer.succeeded {
                    true => None,
                    false => answer.range(0)?.kvs.first().cloned(),
                };
                Ok::<_, Error>((answer.succeeded, found))
            };
            match outcome.await {
                Ok((true, _)) => return,
                Ok((false, Some(pair))) if self.is_own(&pair) => {
                    self.known = Some(Known {
                        create_revision: pair.create_revision,
                        mod_revision: pair.mod_revision,
                    });
                }
                // A put under way must find the mark.
                Ok((false, None)) if self.doubtful && created != 0 => self.known = None,
                Ok((false, _)) => return,
                Err(error) => {
                    tracing::debug!(target: "handfast::session", %error, "not withdrawn yet");
                    if error.kind() == ErrorKind::LeaseNotFound {
                        self.shared.declared.forget_mark_lease().await;
                    }
                    tokio::time::sleep(backoff.next()).await;
                }
            }
        }
    }
}

/// Whether a keepalive waits for its answer for longer than it should.
fn is_overdue(state: &State) -> bool {
    matches!(state, State::Suspended { .. } | State::Expiring { .. })
}

/// What a mark says: whose key was withdrawn.
pub(super) fn mark_value(core: &Core) -> Bytes {
    let text = serde_json::json!({ "lease": lease_hex(core.lease) }).to_string();
    Bytes::from(text)
}

/// The first live epoch with a number above `after`, or why there is none.
async fn next_epoch(shared: &Shared, after: u64) -> Result<Arc<Core>, LostReason> {
    let mut phase = shared.phase.subscribe();
    loop {
        match &*phase.borrow_and_update() {
            Phase::Live(core) if core.number > after && core.life.check().is_ok() => {
                return Ok(Arc::clone(core));
            }
            Phase::Live(_) | Phase::Granting { .. } => {}
            Phase::Over(reason) => return Err(reason.clone()),
            Phase::Closed(_) => return Err(LostReason::Closed),
        }
        if phase.changed().await.is_err() {
            return Err(LostReason::Closed);
        }
    }
}
