//! Clients that hold locks and lead, as programs do, and observers of elections.
//!
//! What is taken down is what a holder may believe: the end of a tenure is the last moment at
//! which the library said that it is still held.

use std::time::Duration;

use handfast::{Error, Handfast, Tenure};
use handfast_checker::{Ending, Nanos, Observation, Run, TenureEnd};
use tokio::task::JoinSet;

use super::Scene;
use crate::{Result, dice::Dice};

/// Where the recipes write, beside the keys of the record.
pub(super) const PREFIXES: [&str; 3] = ["lock/", "elect/", "_handfast/"];

const LOCK: &str = "lock/jobs";
const ELECTION: &str = "elect/chair";
const HOLDERS: u32 = 3;
const CANDIDATES: u32 = 3;
const OBSERVERS: u32 = 2;
/// Short, so that outages of a trial end sessions.
const TTL: Duration = Duration::from_secs(3);
const WAIT: Duration = Duration::from_secs(5);
const CALL_LIMIT: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(10);
const AFTER_FAILURE: Duration = Duration::from_millis(200);

/// Starts holders, candidates and observers, each a program of its own.
pub(super) fn start(scene: &Scene, dice: &mut Dice, workers: &mut JoinSet<()>) -> Result<()> {
    for number in 0..HOLDERS {
        let program = Program::new(scene, format!("holder-{number}"), dice)?;
        workers.spawn(program.lock());
    }
    for number in 0..CANDIDATES {
        let program = Program::new(scene, format!("candidate-{number}"), dice)?;
        workers.spawn(program.lead());
    }
    for number in 0..OBSERVERS {
        let program = Program::new(scene, format!("observer-{number}"), dice)?;
        workers.spawn(program.observe());
    }
    Ok(())
}

struct Program {
    scene: Scene,
    name: String,
    handfast: Handfast,
    dice: Dice,
}

impl Program {
    fn new(scene: &Scene, name: String, dice: &mut Dice) -> Result<Self> {
        let handfast = Handfast::builder()
            .endpoints(scene.endpoints.to_vec())
            .request_timeout(CALL_LIMIT)
            .ttl(TTL)
            .app_name(name.clone());
        Ok(Self {
            scene: scene.clone(),
            name,
            handfast: handfast.build()?,
            dice: Dice::new(dice.bits()),
        })
    }

    async fn lock(mut self) {
        while !self.scene.is_over() {
            let lock = self.handfast.lock(LOCK).timeout(WAIT);
            let acquired = tokio::select! {
                biased;
                () = self.scene.over() => break,
                acquired = lock.acquire() => acquired,
            };
            if let Ok(guard) = acquired {
                if self.hold(LOCK, &guard).await {
                    let _ = guard.release().await;
                }
            } else {
                self.scene.pause(AFTER_FAILURE).await;
            }
        }
        self.close().await;
    }

    async fn lead(mut self) {
        let mut count = 0;
        while !self.scene.is_over() {
            count += 1;
            let value = format!("{}-{count}", self.name);
            let election = self.handfast.election(ELECTION).value(value).timeout(WAIT);
            let elected = tokio::select! {
                biased;
                () = self.scene.over() => break,
                elected = election.campaign() => elected,
            };
            if let Ok(leadership) = elected {
                if self.hold(ELECTION, &leadership).await {
                    let _ = leadership.resign().await;
                }
            } else {
                self.scene.pause(AFTER_FAILURE).await;
            }
        }
        self.close().await;
    }

    async fn observe(self) {
        while !self.scene.is_over() {
            let ended = tokio::select! {
                biased;
                () = self.scene.over() => break,
                ended = self.follow() => ended,
            };
            if ended.is_err() {
                self.scene.pause(AFTER_FAILURE).await;
            }
        }
        self.close().await;
    }

    async fn follow(&self) -> Result<(), Error> {
        let mut observer = self.handfast.election(ELECTION).observe().await?;
        loop {
            let leader = observer.next().await;
            let observation = Observation {
                name: ELECTION.into(),
                observer: self.name.clone(),
                at: 0,
                token: leader.as_ref().map_or(0, |leader| leader.token),
                revision: leader.as_ref().map_or(0, |leader| leader.revision),
                value: leader.map(|leader| leader.value).unwrap_or_default(),
            };
            self.scene.recorder.observed(self.scene.now(), observation);
        }
    }

    /// Holds for a while; whether it was held to the end.
    async fn hold(&mut self, name: &str, tenure: &Tenure) -> bool {
        let mut last = self.scene.now();
        if tenure.check().is_err() {
            return false;
        }
        let recorder = &self.scene.recorder;
        if tenure.kind() == handfast::Kind::Lock {
            recorder.locked(last, name.as_bytes(), &self.name, tenure.token());
        } else {
            recorder.elected(last, name.as_bytes(), &self.name, tenure.token());
        }
        let enough = last + (20 + self.dice.below(300)) * 1_000_000;
        let how = loop {
            // The clock before the check: it was held at that time, if it still is after.
            let now = self.scene.now();
            if tenure.check().is_err() {
                break Ending::Lost;
            }
            last = now;
            if now > enough || self.scene.is_over() {
                break Ending::Released;
            }
            tokio::time::sleep(LOOK).await;
        };
        let (token, is_lock) = (tenure.token(), tenure.kind() == handfast::Kind::Lock);
        recorder.edit(|run| end(run, is_lock, token, last, how));
        how == Ending::Released
    }

    async fn close(self) {
        // If nobody confirms it, the session ends after its time to live.
        let _ = self.handfast.close().await;
    }
}

/// Ends the tenure with this token at a time that may have passed.
fn end(run: &mut Run, is_lock: bool, token: i64, at: Nanos, how: Ending) {
    let list = if is_lock {
        &mut run.locks
    } else {
        &mut run.leaderships
    };
    if let Some(tenure) = list.iter_mut().rev().find(|it| it.token == token) {
        let at = at.max(tenure.granted);
        tenure.ended = Some(TenureEnd { at, how });
    }
}
