//! The programs of a run on their seats, and what happens to them.
//!
//! Owns starting them again, and faults that concern programs only. What happens to the members is
//! the nemesis's affair.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use handfast_checker::recipe::HoldKind;
use handfast_core::{Compare, Op};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::process::Process;
use super::world::World;
use crate::dice::Dice;
use crate::keeper::Keeper;

/// How long programs may take to end once nothing new is begun.
const STOP_TIMEOUT: Duration = Duration::from_secs(40);

/// The programs.
pub(crate) struct Crowd {
    world: Arc<World>,
    keeper: Arc<Keeper>,
    running: Mutex<Vec<Arc<Process>>>,
    dice: Mutex<Dice>,
    /// Prefixes of keys that strangers delete now and then.
    prey: Vec<&'static str>,
}

impl Crowd {
    pub(crate) fn new(
        world: &Arc<World>,
        keeper: &Arc<Keeper>,
        prey: &[&'static str],
    ) -> Arc<Crowd> {
        Arc::new(Crowd {
            world: Arc::clone(world),
            keeper: Arc::clone(keeper),
            running: Mutex::default(),
            dice: Mutex::new(world.dice("crowd")),
            prey: prey.to_vec(),
        })
    }

    /// Lets `work` be done by one program after the other on each seat, until the run is over.
    pub(crate) fn seat<F>(
        self: &Arc<Self>,
        seats: usize,
        work: impl Fn(Arc<Process>) -> F + Clone + Send + 'static,
    ) -> JoinSet<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        for seat in 0..seats {
            let (this, work) = (Arc::clone(self), work.clone());
            tasks.spawn(async move {
                for count in 0.. {
                    if !this.one(seat, count, work.clone()).await {
                        return;
                    }
                }
            });
        }
        tasks
    }

    /// One program from its start to its end; whether another shall follow.
    async fn one<F>(&self, seat: usize, count: usize, work: impl Fn(Arc<Process>) -> F) -> bool
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let process = match Process::new(&self.world, seat, count) {
            Ok(process) => process,
            Err(why) => {
                (self.world.stage.problem)(format!("no program: {why}"));
                return false;
            }
        };
        self.running.lock().push(Arc::clone(&process));
        let mut whole = Box::pin(work(Arc::clone(&process)));
        drop(work);
        let ended = process.life.run_until_cancelled(&mut whole).await;
        drop(whole);
        self.running.lock().retain(|it| !Arc::ptr_eq(it, &process));
        match ended {
            Some(()) => {
                // Whether or not a server confirms it, the lease ends.
                let _ = process.handfast.close().await;
                false
            }
            None => {
                process.end();
                let pause = self.draw(|dice| dice.millis(100..3_000));
                !self.world.stop.is_cancelled() && {
                    sleep(pause).await;
                    !self.world.stop.is_cancelled()
                }
            }
        }
    }

    /// Waits until all programs have ended.
    ///
    /// # Errors
    /// When they do not.
    pub(crate) async fn finish(&self, mut tasks: JoinSet<()>) -> Result<(), String> {
        let ended = timeout(STOP_TIMEOUT, async {
            // A panic is reported by the hook that sees it first.
            while tasks.join_next().await.is_some() {}
        });
        ended.await.map_err(|_| {
            let names: Vec<String> = self.programs().iter().map(|it| it.name.clone()).collect();
            format!("{names:?} do not end within {STOP_TIMEOUT:?} after everything was healed")
        })
    }

    /// Lets things happen to programs until it is dropped; then [`heal`](Self::heal) is due.
    pub(crate) async fn trouble(&self) {
        loop {
            let pause = self.draw(|dice| dice.millis(200..2_500));
            sleep(pause).await;
            let programs = self.programs();
            if let Some(leader) = self.leader(&programs)
                && self.draw(|dice| dice.per_mille(300))
            {
                // Mostly for longer than its session lasts.
                let span = self.draw(|dice| dice.millis(2_500..8_000));
                tokio::spawn(async move { leader.pause(span).await });
                continue;
            }
            let Some(victim) = self.draw(|dice| dice.pick(&programs).cloned()) else {
                continue;
            };
            match self.draw(|dice| dice.below(100)) {
                0..22 => victim.crash(),
                22..42 => {
                    let span = self.draw(|dice| dice.millis(300..8_000));
                    // It goes on while other things happen.
                    tokio::spawn(async move { victim.pause(span).await });
                }
                42..60 => self.cut(&victim).await,
                60..72 => self.revoke(&victim).await,
                72..80 => self.steal().await,
                80..88 => programs.iter().for_each(|it| it.drift()),
                _ => self.keeper.compact_close().await,
            }
        }
    }

    /// Takes back what happened to programs.
    pub(crate) async fn heal(&self) {
        for process in self.programs() {
            process.wake().await;
        }
    }

    /// The program that takes itself for the leader.
    fn leader(&self, programs: &[Arc<Process>]) -> Option<Arc<Process>> {
        let leader = self.world.write(|story| {
            let mut latest = story.holds.iter().rev();
            let leader = latest.find(|hold| {
                hold.kind == HoldKind::Election && hold.told.is_some() && hold.ended.is_none()
            });
            leader.map(|hold| hold.client.clone())
        })?;
        programs.iter().find(|it| it.name == leader).cloned()
    }

    fn programs(&self) -> Vec<Arc<Process>> {
        self.running.lock().clone()
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut Dice) -> T) -> T {
        draw(&mut self.dice.lock())
    }

    /// A program loses some members or all.
    async fn cut(&self, victim: &Process) {
        let all = self.draw(|dice| dice.per_mille(500));
        let stage = &self.world.stage;
        for server in &stage.servers {
            if all || self.draw(|dice| dice.per_mille(500)) {
                stage.net.part(&[victim.place], &[*server]);
            }
        }
        let span = self.draw(|dice| dice.millis(300..7_000));
        sleep(span).await;
        stage.net.heal();
    }

    /// An operator ends a program's session.
    async fn revoke(&self, victim: &Process) {
        let lease = victim.lease();
        if lease != 0 {
            self.world.meddle(lease, Bytes::new());
            // In doubt is as good as done.
            let _ = self.world.helper.lease_revoke(lease).await;
        }
    }

    /// A stranger deletes somebody's key.
    async fn steal(&self) {
        let Some(prefix) = self.draw(|dice| dice.pick(&self.prey).copied()) else {
            return;
        };
        let Ok(answer) = self.world.helper.range(prefix).prefix().await else {
            return;
        };
        let Some(pair) = self.draw(|dice| dice.pick(&answer.kvs).cloned()) else {
            return;
        };
        self.world.meddle(0, pair.key.clone());
        let guard = Compare::create_revision(&pair.key).eq(pair.create_revision);
        let txn = self.world.helper.txn().when([guard]);
        let _ = txn.then([Op::delete(&pair.key)]).commit().await;
    }
}
