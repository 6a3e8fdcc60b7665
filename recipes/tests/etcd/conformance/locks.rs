//! The verbs of locks, several locks at once and elections.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicI64, Ordering},
};

use futures::stream::{self, StreamExt};
use handfast::{AcquireOptions, Election, Lock, LockLine, Waiting};
use serde_json::{Value, json};

use super::{
    base::now,
    player::{Player, Verb},
    thing::{Doing, Failed, Guard, NOTHING, Step, Thing, text},
    work::Body,
};

pub(super) const VERBS: &[(&str, Verb)] = &[
    ("lock", take),
    ("try_lock", try_lock),
    ("within", within),
    ("told", told),
    ("check", |play, step, _| {
        let checked = play.held(step).tenure.check();
        now(checked.map(|()| NOTHING).map_err(Failed::from))
    }),
    ("lost", lost),
    ("line", line),
    ("break", break_holder),
    ("crowd", crowd),
    ("multi_lock", multi_lock),
    ("campaign", campaign),
    ("lead", lead),
    ("proclaim", proclaim),
    ("leader", leader),
    ("candidates", candidates),
    ("observe", observe),
];

/// How the step waits and holds; what it is told goes to the list that it names.
fn options(play: &Player, step: &Step) -> AcquireOptions {
    let mut options = AcquireOptions::new();
    if let Some(timeout) = step.seconds("timeout") {
        options = options.timeout(timeout);
    }
    if let Some(limit) = step.seconds("max_hold") {
        options = options.max_hold(limit);
    }
    if let Some(name) = step.find_text("tells") {
        let all = Arc::new(Mutex::new(Vec::new()));
        play.name(name, Thing::Calls(Arc::clone(&all)));
        options = options.on_wait(move |waiting: &Waiting| {
            let token = waiting.holder.as_ref().map(|holder| holder.token);
            let told = json!([text(&waiting.name), waiting.position, token]);
            all.lock().unwrap().push(told);
        });
    }
    options
}

fn told(play: &Player, step: &Step, _: &Body) -> Doing {
    let Thing::Calls(all) = play.on(step) else {
        panic!("nothing is told there");
    };
    let last = all.lock().unwrap().last().cloned();
    now(Ok(last.into()))
}

fn lock(play: &Player, step: &Step) -> Lock {
    let lock = play.client(step).lock(step.text("name"));
    lock.options(options(play, step))
}

fn take(play: &Player, step: &Step, _: &Body) -> Doing {
    let lock = lock(play, step);
    Box::pin(async move {
        let guard = lock.acquire().await?;
        Ok(Thing::held(
            guard.tenure(),
            Some(Guard::Lock(guard)),
            json!({}),
        ))
    })
}

fn try_lock(play: &Player, step: &Step, _: &Body) -> Doing {
    let lock = lock(play, step);
    Box::pin(async move {
        Ok(match lock.try_acquire().await?.acquired() {
            Some(guard) => Thing::held(guard.tenure(), Some(Guard::Lock(guard)), json!({})),
            None => NOTHING,
        })
    })
}

fn within(play: &Player, step: &Step, body: &Body) -> Doing {
    let (lock, body) = (lock(play, step), body.clone());
    Box::pin(async move {
        let guard = lock.acquire().await?;
        let ended = guard.scope(body.run(guard.tenure())).await?;
        let released = guard.release().await;
        ended?;
        released?;
        Ok(NOTHING)
    })
}

fn lost(play: &Player, step: &Step, _: &Body) -> Doing {
    let held = play.held(step);
    Box::pin(async move { Ok(held.tenure.lost().await.code().into()) })
}

fn members(line: &LockLine) -> Thing {
    line.members.len().into()
}

fn line(play: &Player, step: &Step, _: &Body) -> Doing {
    let lock = lock(play, step);
    Box::pin(async move { Ok(members(&lock.look().await?)) })
}

fn break_holder(play: &Player, step: &Step, _: &Body) -> Doing {
    let (lock, why) = (lock(play, step), step.text("why"));
    Box::pin(async move {
        lock.break_holder(&why).await?;
        Ok(NOTHING)
    })
}

fn crowd(play: &Player, step: &Step, _: &Body) -> Doing {
    let lock = lock(play, step);
    let (count, holders) = (step.number("count"), Arc::new(AtomicI64::new(0)));
    let one = move |_| {
        let (lock, holders) = (lock.clone(), Arc::clone(&holders));
        tokio::spawn(async move {
            let guard = lock.acquire().await?;
            assert_eq!(
                holders.fetch_add(1, Ordering::SeqCst),
                0,
                "it is held twice"
            );
            tokio::task::yield_now().await;
            holders.fetch_sub(1, Ordering::SeqCst);
            guard.release().await
        })
    };
    Box::pin(async move {
        let mut done = 0;
        for ended in futures::future::join_all((0..count).map(one)).await {
            ended.map_err(|error| Failed::new("PANIC", error.to_string()))??;
            done += 1;
        }
        Ok(done.into())
    })
}

fn multi_lock(play: &Player, step: &Step, _: &Body) -> Doing {
    let lock = play.client(step).multi_lock(step.texts("names"));
    let lock = lock.options(options(play, step));
    Box::pin(async move {
        let guard = lock.acquire().await?;
        Ok(Thing::held(
            guard.tenure(),
            Some(Guard::Multi(guard)),
            json!({}),
        ))
    })
}

fn election(play: &Player, step: &Step) -> Election {
    let mut election = play.client(step).election(step.text("name"));
    if let Some(value) = step.find_text("value") {
        election = election.value(value);
    }
    let election = election.again(step.is("again"));
    election.options(options(play, step))
}

fn campaign(play: &Player, step: &Step, _: &Body) -> Doing {
    let election = election(play, step);
    Box::pin(async move {
        let term = election.campaign().await?;
        Ok(Thing::held(
            term.tenure(),
            Some(Guard::Leader(term)),
            json!({}),
        ))
    })
}

fn lead(play: &Player, step: &Step, body: &Body) -> Doing {
    let (election, body) = (election(play, step), body.clone());
    Box::pin(async move {
        let work = |term| {
            let body = body.clone();
            async move { body.run(term).await }
        };
        election.run(work).await??;
        Ok(NOTHING)
    })
}

fn proclaim(play: &Player, step: &Step, _: &Body) -> Doing {
    let (held, value) = (play.held(step), step.text("value"));
    Box::pin(async move {
        held.tenure.proclaim(value).await?;
        Ok(NOTHING)
    })
}

fn leader(play: &Player, step: &Step, _: &Body) -> Doing {
    let election = election(play, step);
    Box::pin(async move {
        let leader = election.leader().await?;
        Ok(leader.map(|leader| text(&leader.value)).into())
    })
}

fn candidates(play: &Player, step: &Step, _: &Body) -> Doing {
    let election = election(play, step);
    Box::pin(async move { Ok(members(&election.candidates().await?)) })
}

fn observe(play: &Player, step: &Step, _: &Body) -> Doing {
    let election = election(play, step);
    Box::pin(async move {
        let observer = election.observe().await?;
        let seen = stream::unfold(observer, |mut observer| async move {
            let leader = observer.next().await;
            let value: Value = leader.map(|leader| text(&leader.value)).into();
            Some((Ok(value), observer))
        });
        Ok(Thing::stream(seen.boxed()))
    })
}
