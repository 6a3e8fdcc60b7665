//! Locks and elections: asked for, held, given back, lost, forgotten.
//!
//! Owns writing down what holders are told, and the clients that do it wrong.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use handfast::{Error, Leadership, LockGuard, Tenure, TryLock};
use handfast_checker::recipe::{Hold, HoldEnd, HoldKind, Told, View};
use handfast_core::session::lease_hex;
use handfast_core::{Compare, Op};
use tokio::time::{sleep, timeout};

use super::process::Process;
use super::world::World;
use crate::subject::Mutation;

/// What is wanted.
pub(super) const LOCKS: [&str; 2] = ["lock/a", "lock/b"];
pub(super) const ELECTIONS: [&str; 1] = ["election/a"];

/// An acquisition in the story.
pub(super) struct Note {
    world: Arc<World>,
    at: usize,
}

impl Note {
    /// It is asked for now.
    pub(super) fn asked(process: &Process, kind: HoldKind, names: &[&'static str]) -> Note {
        let hold = Hold {
            kind,
            names: names
                .iter()
                .map(|name| Bytes::from_static(name.as_bytes()))
                .collect(),
            client: process.name.clone(),
            asked: process.now(),
            until: None,
            told: None,
            ended: None,
        };
        let world = Arc::clone(&process.world);
        let at = world.write(|story| {
            story.holds.push(hold);
            story.holds.len() - 1
        });
        Note { world, at }
    }

    fn edit(&self, edit: impl FnOnce(&mut Hold, u64)) {
        let now = self.world.now();
        self.world
            .write(|story| edit(&mut story.holds[self.at], now));
    }

    /// Waiting ends by itself after `patience`.
    pub(super) fn waits(&self, patience: Duration) {
        let patience = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
        self.edit(|hold, now| hold.until = Some(now + patience));
    }

    /// The holder is told.
    pub(super) fn told(&self, token: i64, lease: i64) {
        self.edit(|hold, at| {
            hold.told = Some(Told {
                at,
                token,
                lease,
                checked: at,
                work: Vec::new(),
            });
        });
    }

    /// A check that began at `at` says that it is held.
    pub(super) fn checked(&self, at: u64) {
        self.edit(|hold, _| {
            if let Some(told) = &mut hold.told {
                told.checked = told.checked.max(at);
            }
        });
    }

    /// Guarded work was confirmed.
    pub(super) fn worked(&self, revision: i64) {
        self.edit(|hold, _| {
            if let Some(told) = &mut hold.told {
                told.work.push(revision);
            }
        });
    }

    pub(super) fn left(&self) {
        self.edit(|hold, now| {
            hold.ended.get_or_insert(HoldEnd::Left(now));
        });
    }

    pub(super) fn lost(&self) {
        self.edit(|hold, now| {
            hold.ended.get_or_insert(HoldEnd::Lost(now));
        });
    }

    /// It came to nothing.
    pub(super) fn failed(&self, error: &Error) {
        match error {
            Error::Lost { .. } | Error::SessionLost { .. } => self.lost(),
            _ => self.left(),
        }
    }
}

/// Acquires and gives back until the run is over.
pub(super) async fn work(process: Arc<Process>, kind: HoldKind) {
    let names: &[&'static str] = match kind {
        HoldKind::Lock => &LOCKS,
        HoldKind::Election => &ELECTIONS,
    };
    let observing = async {
        if kind == HoldKind::Election && process.seat.is_multiple_of(2) {
            observe(&process, ELECTIONS[0]).await;
        }
    };
    let acquiring = async {
        while process.think(30..500).await {
            let Some(&name) = process.draw(|dice| dice.pick(names)) else {
                return;
            };
            match process.errs() {
                Some(Mutation::JumpsQueue) => jump(&process, kind, name).await,
                errs => one(&process, kind, name, errs).await,
            }
        }
    };
    tokio::join!(observing, acquiring);
}

/// Takes each name once more, so that whoever died before is known to have died.
pub(super) async fn last(process: Arc<Process>, names: &[&'static str]) {
    for &name in names {
        let leads = name.starts_with("election");
        let kind = if leads {
            HoldKind::Election
        } else {
            HoldKind::Lock
        };
        let note = Note::asked(&process, kind, &[name]);
        let grip = match leads {
            true => process
                .handfast
                .election(name)
                .campaign()
                .await
                .map(Grip::Leader),
            false => process.handfast.lock(name).acquire().await.map(Grip::Lock),
        };
        match grip {
            Ok(grip) => {
                note.told(grip.tenure().token(), grip.tenure().lease());
                note.left();
                let _ = grip.give_back().await;
            }
            Err(error) => note.failed(&error),
        }
    }
}

/// Either of the two.
enum Grip {
    Lock(LockGuard),
    Leader(Leadership),
}

impl Grip {
    fn tenure(&self) -> Tenure {
        match self {
            Grip::Lock(guard) => guard.tenure(),
            Grip::Leader(leadership) => leadership.tenure(),
        }
    }

    async fn give_back(self) -> Result<(), Error> {
        match self {
            Grip::Lock(guard) => guard.release().await,
            Grip::Leader(leadership) => leadership.resign().await,
        }
    }
}

async fn acquire(process: &Process, name: &str, note: &Note) -> Option<Result<Grip, Error>> {
    let (how, patience) = process.draw(|dice| (dice.below(100), dice.millis(500..9_000)));
    note.waits(patience);
    let waiting = async {
        if name.starts_with("election") {
            let election = process.handfast.election(name).value(process.name.clone());
            return election
                .timeout(patience)
                .campaign()
                .await
                .map(Grip::Leader)
                .map(Some);
        }
        let lock = process.handfast.lock(name).timeout(patience);
        match how {
            0..20 => Ok(match lock.try_acquire().await? {
                TryLock::Acquired(guard) => Some(Grip::Lock(guard)),
                TryLock::Held(_) => None,
            }),
            _ => lock.acquire().await.map(Grip::Lock).map(Some),
        }
    };
    // Some change their mind on the way.
    let mind = match how {
        80.. => process.draw(|dice| dice.millis(0..700)),
        _ => Duration::from_secs(1_000),
    };
    let waited = process.until_stop(timeout(mind, waiting)).await;
    waited.and_then(Result::ok).and_then(Result::transpose)
}

/// One acquisition from the request to the end.
pub(super) async fn one(
    process: &Process,
    kind: HoldKind,
    name: &'static str,
    errs: Option<Mutation>,
) {
    let note = Note::asked(process, kind, &[name]);
    let acquired = acquire(process, name, &note).await;
    process.awake().await;
    let grip = match acquired {
        Some(Ok(grip)) => grip,
        Some(Err(error)) => return note.failed(&error),
        None => return note.left(),
    };
    let tenure = grip.tenure();
    note.told(tenure.token(), tenure.lease());
    if !keep(process, &tenure, &note).await {
        if errs == Some(Mutation::BelievesOn) {
            believe_on(process, &note).await;
        }
        note.lost();
        return;
    }
    note.left();
    match (errs, process.draw(|dice| dice.below(4))) {
        (Some(Mutation::KeepsPlace), _) => std::mem::forget(grip),
        (Some(Mutation::LeavesOther), _) => leave_other(process, name).await,
        (Some(Mutation::KeepsNote), _) => {
            let bar = format!("_handfast/gone/{name}/{}-97", lease_hex(tenure.lease()));
            // In doubt is as good as done.
            let _ = process.client().put(bar, "").await;
            drop(grip.give_back().await);
        }
        (_, 0) => drop(grip),
        // Who does not wait for the answer has left all the same.
        (_, 1) => drop(timeout(Duration::from_millis(1), grip.give_back()).await),
        _ => drop(grip.give_back().await),
    }
}

/// Holds for a while and works under guard; false when it is lost.
pub(super) async fn keep(process: &Process, tenure: &Tenure, note: &Note) -> bool {
    let leads = tenure.kind() == handfast::Kind::Election;
    let span = process.draw(|dice| match leads && dice.per_mille(250) {
        // Long enough to be lost while it is cut off.
        true => dice.range(2_000..7_000),
        false => dice.range(50..1_500),
    });
    let until = process.now() + span * 1_000_000;
    loop {
        process.awake().await;
        let now = process.now();
        if tenure.check().is_err() {
            return false;
        }
        note.checked(now);
        if now >= until {
            return true;
        }
        match process.draw(|dice| dice.below(20)) {
            0..2 => {
                let token = tenure.token().to_string();
                let answer = tenure.txn().put("work", token).commit().await;
                if let Ok(answer) = answer {
                    note.worked(answer.header.revision);
                }
            }
            2 if leads => {
                let value = format!(
                    "{} {}",
                    process.name,
                    process.draw(|dice| dice.below(1_000))
                );
                // Whether it is announced is for observers to see.
                let _ = tenure.proclaim(value).await;
            }
            _ => {
                let pause = process.draw(|dice| dice.millis(5..40));
                sleep(pause).await;
            }
        }
    }
}

/// Writes down whom an observer is shown, until the run is over.
async fn observe(process: &Process, name: &'static str) {
    let election = process.handfast.election(name);
    let mut count = 0;
    while process.think(50..500).await {
        count += 1;
        if process.errs() == Some(Mutation::ShowsLast) {
            show_last(process, name, count).await;
            continue;
        }
        let Some(Ok(mut observer)) = process.until_stop(election.observe()).await else {
            continue;
        };
        let mut left = process.draw(|dice| dice.range(5..60));
        while left > 0 {
            let Some(leader) = process.until_stop(observer.next()).await else {
                return;
            };
            process.awake().await;
            let shown = leader.map(|it| (it.revision, it.token, it.value));
            see(process, name, count, shown.unwrap_or_default());
            left -= 1;
        }
    }
}

type Shown = (i64, i64, Bytes);

fn see(process: &Process, name: &'static str, count: u32, (revision, token, value): Shown) {
    let view = View {
        name: Bytes::from_static(name.as_bytes()),
        observer: format!("{} #{count}", process.name),
        at: process.now(),
        revision,
        token,
        value,
    };
    process.world.write(|story| story.views.push(view));
}

/// Takes a place and holds at once, whoever stands before.
async fn jump(process: &Process, kind: HoldKind, name: &'static str) {
    let lease = process.lease();
    if lease == 0 {
        // The session is opened by this.
        let _ = process
            .until_stop(process.handfast.lock(name).try_acquire())
            .await;
        return;
    }
    let note = Note::asked(process, kind, &[name]);
    let key = format!("{name}/{}-99", lease_hex(lease));
    let Ok(answer) = process.client().put(key.clone(), "").lease(lease).await else {
        return note.left();
    };
    let token = answer.header.revision;
    note.told(token, lease);
    let span = process.draw(|dice| dice.millis(100..800));
    sleep(span).await;
    note.checked(process.now());
    note.left();
    let guard = Compare::create_revision(key.clone()).eq(token);
    let txn = process.client().txn().when([guard]).then([Op::delete(key)]);
    let _ = txn.repeatable().commit().await;
}

/// Deletes whatever stands first.
async fn leave_other(process: &Process, name: &'static str) {
    let prefix = format!("{name}/");
    let Ok(answer) = process.client().range(prefix).prefix().await else {
        return;
    };
    let last = answer.kvs.iter().max_by_key(|pair| pair.create_revision);
    if let Some(pair) = last {
        let _ = process.client().delete(pair.key.clone()).await;
    }
}

async fn believe_on(process: &Process, note: &Note) {
    for _ in 0..30 {
        sleep(Duration::from_millis(100)).await;
        note.checked(process.now());
    }
}

/// Takes whoever came last for the leader.
async fn show_last(process: &Process, name: &'static str, count: u32) {
    let prefix = format!("{name}/");
    let answer = process.client().range(prefix).prefix().await;
    let Ok(answer) = answer else { return };
    let last = answer.kvs.iter().max_by_key(|pair| pair.mod_revision);
    if let Some(pair) = last {
        let shown = (
            answer.header.revision,
            pair.create_revision,
            pair.value.clone(),
        );
        see(process, name, count, shown);
    }
}
