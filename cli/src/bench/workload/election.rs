//! Elections whose leaders let their leases run out.
//!
//! Owns the candidates. An operation is one change of leader; its latency is the time from the end
//! of the old leader's lease, counted from its last renewal being sent, to the next leader knowing.

pub(super) mod recipe;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use handfast_proto::etcdserverpb::WatchCreateRequest;
use handfast_proto::mvccpb::event::EventType;
use tokio::sync::Notify;
use tonic::Status;

use super::lease::grant_for;
use super::lock::{Place, revision};
use super::renewal::{Renewals, answer};
use super::stream::Watcher;
use super::{Arena, Worker, workers};

/// Elections at a time, so that a round has some changes of leader to count.
const ELECTIONS: usize = 8;
/// The least a server grants.
const TTL: Duration = Duration::from_secs(2);

/// What the candidates of a round share.
struct Race {
    /// Leases of all that live.
    renewed: RefCell<Vec<i64>>,
    /// Those of whom it is not yet known that they, or all who wait for them, are in their queue.
    missing: Cell<usize>,
    complete: Notify,
    /// When the dead leader's lease ends, election by election.
    ends: [Cell<Option<Instant>>; ELECTIONS],
    undecided: Cell<usize>,
}

pub(super) fn start(arena: &Rc<Arena>) -> Vec<Worker> {
    let candidates = ELECTIONS * arena.args.candidates.max(2);
    let race = Rc::new(Race::new(candidates));
    let mut started = workers(arena, candidates, |arena, index| {
        stand(arena, index, Rc::clone(&race))
    });
    started.extend(workers(arena, 1, |arena, _| {
        keep_alive(arena, Rc::clone(&race))
    }));
    started
}

/// One candidate, until the round is over or its part is done.
async fn stand(arena: Rc<Arena>, index: usize, race: Rc<Race>) -> Result<(), Status> {
    let election = index % ELECTIONS;
    let lease = grant_for(&arena, index, TTL.as_secs() as i64).await?;
    arena.leases.borrow_mut().push(lease);
    race.renewed.borrow_mut().push(lease);
    let place = Place::new(&format!("election/{election}"), index, lease);
    let mut client = arena.kv(index);
    let mut seen = client.txn(place.join()).await?.into_inner();
    let token = revision(&seen);
    let mut watcher = None;
    let mut counted = false;
    while let Some(front) = place.in_front(&seen, token)? {
        let create = WatchCreateRequest {
            key: front,
            start_revision: revision(&seen) + 1,
            ..WatchCreateRequest::default()
        };
        let mut stream = Watcher::watch(watcher.take(), &arena, index, create).await?;
        let own = stream.created().await?;
        if !std::mem::replace(&mut counted, true) {
            race.arrive();
        }
        tokio::select! {
            gone = stream.event(own, EventType::Delete) => gone?,
            () = arena.gauge.over() => return Ok(()),
        }
        stream.cancel(own);
        watcher = Some(stream);
        seen = client.txn(place.verify(token)).await?.into_inner();
    }
    if let Some(end) = race.ends[election].take() {
        return race.decide(&arena, end);
    }
    if !counted {
        race.arrive();
    }
    die(&arena, election, lease, &race).await
}

/// The first leader renews its lease once more when everybody is there, and never again.
async fn die(arena: &Arena, election: usize, lease: i64, race: &Race) -> Result<(), Status> {
    race.wait_for_all().await;
    arena.gauge.begin();
    // Leases that end at different times do not all wait for the same tick of a server.
    tokio::time::sleep(TTL * election as u32 / ELECTIONS as u32).await;
    race.renewed.borrow_mut().retain(|other| *other != lease);
    let sent = Instant::now();
    race.ends[election].set(Some(sent + TTL));
    let mut renewals = Renewals::open(arena, election, lease).await?;
    renewals.answer().await
}

impl Race {
    fn new(missing: usize) -> Race {
        Race {
            renewed: RefCell::default(),
            missing: Cell::new(missing),
            complete: Notify::new(),
            ends: Default::default(),
            undecided: Cell::new(ELECTIONS),
        }
    }

    fn arrive(&self) {
        self.missing.set(self.missing.get() - 1);
        if self.missing.get() == 0 {
            self.complete.notify_waiters();
        }
    }

    async fn wait_for_all(&self) {
        let complete = self.complete.notified();
        if self.missing.get() > 0 {
            complete.await;
        }
    }

    fn decide(&self, arena: &Arena, end: Instant) -> Result<(), Status> {
        let Some(delay) = Instant::now().checked_duration_since(end) else {
            return Err(Status::aborted("a lease ended before its time to live"));
        };
        arena.gauge.record_delay(delay);
        self.undecided.set(self.undecided.get() - 1);
        if self.undecided.get() == 0 {
            arena.gauge.finish();
        }
        Ok(())
    }
}

/// Renews the leases of all candidates that live.
async fn keep_alive(arena: Rc<Arena>, race: Rc<Race>) -> Result<(), Status> {
    let mut ticks = tokio::time::interval(TTL / 4);
    let mut renewals: Option<Renewals> = None;
    while arena.gauge.goes_on() {
        tokio::select! {
            _ = ticks.tick() => {
                let leases = race.renewed.borrow().clone();
                for lease in leases {
                    match &renewals {
                        Some(renewals) => renewals.send(lease),
                        None => renewals = Some(Renewals::open(&arena, 0, lease).await?),
                    }
                }
            }
            answered = answer(&mut renewals) => answered?,
            () = arena.gauge.over() => break,
        }
    }
    Ok(())
}
