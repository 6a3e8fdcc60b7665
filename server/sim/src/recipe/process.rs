//! A program that uses the recipes: it can crash, stand still, and have a clock that is wrong.
//!
//! Owns what a program stands on. Knows nothing of what it does.

use std::sync::Arc;
use std::time::Duration;

use handfast::Handfast;
use handfast_checker::recipe::{Claimed, HoldEnd, Story};
use handfast_core::Client;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::world::World;
use crate::clock::MachineClock;
use crate::dice::Dice;
use crate::net::Place;
use crate::subject::Mutation;
use crate::workload::wired;

/// How wrong a clock may go, in millionths; the members' go wrong, too.
const DRIFT_PPM: u64 = 20_000;

/// A program from its start to its end.
pub(crate) struct Process {
    pub(crate) world: Arc<World>,
    /// The seat: one program follows another on it.
    pub(crate) seat: usize,
    /// No other has it.
    pub(crate) name: String,
    pub(crate) handfast: Handfast,
    /// Cancelled when the process is gone.
    pub(crate) life: CancellationToken,
    pub(crate) place: Place,
    clock: MachineClock,
    asleep: watch::Sender<bool>,
    dice: Mutex<Dice>,
}

impl Process {
    /// The `count`th program on a seat.
    pub(crate) fn new(world: &Arc<World>, seat: usize, count: usize) -> Result<Arc<Self>, String> {
        let name = format!("p{seat}.{count}");
        let mut dice = world.dice(&name);
        let place = world.new_place();
        let clock = MachineClock::new(Duration::from_secs(1_000));
        clock.drift(dice.range(0..2 * DRIFT_PPM) as i64 - DRIFT_PPM as i64);
        if world.mutation == Some(Mutation::SlowClock) && seat == 0 {
            clock.drift(-500_000);
        }
        let stage = &world.stage;
        let seed = dice.next();
        let ttl = Duration::from_secs(dice.range(stage.ttl.clone()));
        let drift = stage.expected_drift;
        let (session_clock, net) = (clock.clone(), stage.net.clone());
        let handfast = Handfast::builder()
            .endpoints(stage.endpoints.clone())
            .request_timeout(Duration::from_secs(2))
            .ttl(ttl)
            .app_name(&name)
            .session(|options| options.clock(Arc::new(session_clock)).drift(drift))
            .client(|builder| wired(builder, &net, place, seed))
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Arc::new(Process {
            world: Arc::clone(world),
            seat,
            name,
            handfast,
            life: CancellationToken::new(),
            place,
            clock,
            asleep: watch::Sender::new(false),
            dice: Mutex::new(dice),
        }))
    }

    /// What it does wrong, this time.
    pub(crate) fn errs(&self) -> Option<Mutation> {
        let mutation = self.world.mutation.filter(|_| self.seat == 0)?;
        self.draw(|dice| dice.per_mille(500)).then_some(mutation)
    }

    pub(crate) fn client(&self) -> &Client {
        self.handfast.client()
    }

    /// The lease of its session; 0 if there is none.
    pub(crate) fn lease(&self) -> i64 {
        let session = self.handfast.session().ok();
        session.and_then(|session| session.lease()).unwrap_or(0)
    }

    pub(crate) fn draw<T>(&self, draw: impl FnOnce(&mut Dice) -> T) -> T {
        draw(&mut self.dice.lock())
    }

    pub(crate) fn now(&self) -> u64 {
        self.world.now()
    }

    /// Pauses for some of these milliseconds; false, at once, when the run is over.
    pub(crate) async fn think(&self, millis: std::ops::Range<u64>) -> bool {
        let pause = self.draw(|dice| dice.millis(millis));
        let stop = &self.world.stop;
        let goes_on = stop.run_until_cancelled(sleep(pause)).await.is_some();
        self.awake().await;
        goes_on
    }

    /// The program's own code runs only while it does not stand still.
    pub(crate) async fn awake(&self) {
        // The sender lives as long as `self`.
        let _ = self.asleep.subscribe().wait_for(|asleep| !asleep).await;
    }

    /// Waits for `what`, but not longer than the run lasts.
    pub(crate) async fn until_stop<F: Future>(&self, what: F) -> Option<F::Output> {
        self.world.stop.run_until_cancelled(what).await
    }

    /// The process is gone within one instant; nothing of it reaches the network any more.
    pub(crate) fn crash(&self) {
        self.world
            .stage
            .trace
            .note(format_args!("crash {}", self.name));
        self.world.stage.net.bury(self.place);
        self.end();
        self.life.cancel();
    }

    /// Ends everything that the program has in the story; what it did within the instant of its
    /// crash, too.
    pub(crate) fn end(&self) {
        let now = self.now();
        self.world
            .write(|story| mark_crashed(story, &self.name, now));
    }

    /// Stands still for a while: its clock shows so only when it goes on, before anything reaches
    /// it.
    pub(crate) async fn pause(&self, span: Duration) {
        self.world
            .stage
            .trace
            .note(format_args!("pause {} {span:?}", self.name));
        self.asleep.send_replace(true);
        self.clock.stand_still();
        self.world.stage.net.freeze(self.place);
        sleep(span).await;
        self.wake().await;
    }

    /// Ends every pause.
    pub(crate) async fn wake(&self) {
        self.clock.catch_up();
        self.asleep.send_replace(false);
        // Own code may run before the network's news are read.
        sleep(Duration::from_millis(2)).await;
        self.world.stage.net.thaw(self.place);
    }

    /// Lets the clock run at another rate.
    pub(crate) fn drift(&self) {
        let slow = self.world.mutation == Some(Mutation::SlowClock);
        if slow || *self.asleep.borrow() {
            return;
        }
        let ppm = self.draw(|dice| dice.range(0..2 * DRIFT_PPM)) as i64 - DRIFT_PPM as i64;
        self.clock.drift(ppm);
    }
}

/// Everything that the program had has ended.
fn mark_crashed(story: &mut Story, name: &str, now: u64) {
    for hold in story.holds.iter_mut().filter(|it| it.client == name) {
        hold.ended.get_or_insert(HoldEnd::Crashed(now));
    }
    for call in story.once.iter_mut().filter(|it| it.client == name) {
        if call.answered.is_none() {
            call.ended.get_or_insert(now);
        }
    }
    for queue in &mut story.queues {
        for claim in queue.claims.iter_mut().filter(|it| it.client == name) {
            claim.ended.get_or_insert((now, Claimed::Crashed));
        }
        for wait in queue.waits.iter_mut().filter(|it| it.client == name) {
            wait.span.to = wait.span.to.min(now);
        }
    }
    for service in &mut story.services {
        let own = service.registrations.iter_mut();
        for registration in own.filter(|it| it.client == name && it.left.is_none()) {
            registration.ended.get_or_insert(now);
        }
    }
    for config in &mut story.configs {
        let own = config.subscribers.iter_mut();
        for (_, span) in own.filter(|it| it.0.split(' ').next() == Some(name)) {
            span.to = span.to.min(now);
        }
    }
}
