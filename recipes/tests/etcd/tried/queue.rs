//! What a queue does, in the kit.

use std::time::Duration;

use handfast::{Claim, Control, Error, Failed, Handfast, LostReason, core::Op};
use handfast_kit::{End, Recipe, World, try_out, util::until};

use crate::queue::{claim, push, rest};

try_out!(a_push, Push);
try_out!(a_claim, Take);
try_out!(an_ack, Ack);
try_out!(an_ack_that_goes_on, Onward);
try_out!(a_nack, Nack);
try_out!(a_release, Release);

/// Everything in the queue is done, once, and nothing is left; tells what was done.
async fn all_gets_done(world: &World) -> usize {
    let queue = world.other.queue(&world.name);
    // Requests that are still under way push nothing from here on.
    queue.control(Control::Drain).await.unwrap();
    let mut worker = queue.worker();
    let mut count = 0;
    while let Some(claim) = worker.next().await.unwrap() {
        claim.ack().commit().await.unwrap();
        count += 1;
    }
    drop(worker);
    until(|| async {
        let rest = rest(&world.client, &world.name).await;
        (rest == ["control"]).then_some(())
    })
    .await;
    count
}

/// Pushed with an id and without.
struct Push {
    sent: usize,
}

impl Recipe for Push {
    const STEM: &'static str = "push";

    async fn set_up(_: &World) -> Self {
        Self { sent: 0 }
    }

    async fn run(&mut self, hf: &Handfast, world: &World) -> Result<(), Error> {
        let queue = hf.queue(&world.name);
        let first = queue.push("1").id("a").send().await?;
        assert!(
            !first.duplicate,
            "its own repetition is taken for another's"
        );
        self.sent = 1;
        assert!(!queue.push("2").send().await?.duplicate);
        self.sent = 2;
        Ok(())
    }

    async fn check(self, world: &World, end: &End) {
        let done = all_gets_done(world).await;
        match end {
            End::Done => assert_eq!(done, 2),
            _ => assert!((self.sent..=2).contains(&done), "{done}"),
        }
    }
}

/// Claimed and given back by dropping; claimed again.
struct Take {
    attempt: u32,
}

impl Recipe for Take {
    const STEM: &'static str = "claim";

    async fn set_up(world: &World) -> Self {
        push(&world.other.queue(&world.name), "a").await;
        Self { attempt: 0 }
    }

    async fn run(&mut self, hf: &Handfast, world: &World) -> Result<(), Error> {
        let queue = hf.queue(&world.name);
        let claim = queue.claim().next().await?.expect("not drained");
        claim.check()?;
        assert_eq!(claim.id(), "a");
        self.attempt = claim.attempt();
        // The first one may have died with the session, at the moment it was granted.
        assert!(self.attempt <= 2);
        Ok(())
    }

    async fn check(self, world: &World, end: &End) {
        // Dropped before it was handed over, no attempt was made; after that, one was.
        let claim = claim(&world.other.queue(&world.name)).await;
        match end {
            End::Done => assert_eq!(claim.attempt(), self.attempt + 1),
            End::Dropped => assert_eq!(claim.attempt(), 1),
            _ => assert!(claim.attempt() <= 3),
        }
        claim.release().await.unwrap();
        assert_eq!(all_gets_done(world).await, 1);
    }
}

async fn one_claim(hf: &Handfast, world: &World) -> Result<Claim, Error> {
    let claim = hf.queue(&world.name).claim().next().await?;
    let claim = claim.expect("not drained");
    claim.check()?;
    Ok(claim)
}

/// Acknowledged with a write of its own, which counts.
struct Ack;

impl Recipe for Ack {
    const STEM: &'static str = "ack";

    async fn set_up(world: &World) -> Self {
        push(&world.other.queue(&world.name), "a").await;
        Self
    }

    async fn run(&mut self, hf: &Handfast, world: &World) -> Result<(), Error> {
        let claim = one_claim(hf, world).await?;
        let out = format!("{}-out", world.name);
        claim.ack().put(out, "x").commit().await?;
        Ok(())
    }

    async fn check(self, world: &World, end: &End) {
        acknowledged_with_its_write(world, end).await;
    }
}

/// Acknowledged with a write of its own, and the next one claimed with it.
struct Onward;

impl Recipe for Onward {
    const STEM: &'static str = "onward";

    async fn set_up(world: &World) -> Self {
        let queue = world.other.queue(&world.name);
        push(&queue, "a").await;
        push(&queue, "b").await;
        Self
    }

    async fn run(&mut self, hf: &Handfast, world: &World) -> Result<(), Error> {
        let mut worker = hf.queue(&world.name).worker();
        let claim = worker.next().await?.expect("not drained");
        claim.check()?;
        assert_eq!(claim.id(), "a");
        let out = format!("{}-out", world.name);
        let ack = claim.ack().put(out, "x");
        let (acked, next) = ack.commit_and_next(&mut worker).await?;
        if let Some(next) = next {
            assert_eq!((next.id(), next.attempt()), ("b", 1));
            assert!(next.token() >= acked.revision);
        }
        Ok(())
    }

    async fn check(self, world: &World, end: &End) {
        acknowledged_with_its_write(world, end).await;
        let done = format!("{}/done/b", world.name);
        assert!(world.client.get(done).await.unwrap().is_some());
    }
}

/// The item `a` is acknowledged at last, with its write or before anybody wrote.
async fn acknowledged_with_its_write(world: &World, end: &End) {
    // An acknowledgement whose caller went may arrive until the item is claimed again.
    let queue = world.other.queue(&world.name);
    until(|| async {
        if rest(&world.client, &world.name).await.is_empty() {
            return Some(());
        }
        let mut worker = queue.claim().timeout(Duration::from_millis(200));
        if let Ok(Some(claim)) = worker.next().await {
            claim.ack().commit().await.unwrap();
        }
        None
    })
    .await;
    // Both at one revision, and written at one.
    let both = ["-out", "/done/a"].map(|key| Op::get(format!("{}{key}", world.name)));
    let both = world.client.txn().then(both).commit().await.unwrap();
    let [out, done] = [0, 1].map(|at| both.range(at).unwrap().kvs.first());
    let done = done.expect("somebody acknowledged it");
    match out {
        Some(out) => assert_eq!((out.version, out.mod_revision), (1, done.mod_revision)),
        None => assert!(!matches!(end, End::Done), "acknowledged without its write"),
    }
}

/// Given back as failed.
struct Nack {
    attempt: u32,
}

impl Recipe for Nack {
    const STEM: &'static str = "nack";

    async fn set_up(world: &World) -> Self {
        push(&world.other.queue(&world.name), "a").await;
        Self { attempt: 1 }
    }

    async fn run(&mut self, hf: &Handfast, world: &World) -> Result<(), Error> {
        let claim = one_claim(hf, world).await?;
        // The first one may have died with the session, at the moment it was granted.
        self.attempt = claim.attempt();
        match claim.nack("no").await {
            Ok(failed) => assert_eq!(failed, Failed::Queued),
            Err(error) if error.lost_reason() == Some(&LostReason::Deleted) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn check(self, world: &World, end: &End) {
        let claim = claim(&world.other.queue(&world.name)).await;
        if let End::Done = end {
            assert_eq!(claim.attempt(), self.attempt + 1);
        }
        assert!(claim.attempt() <= self.attempt + 1);
        claim.release().await.unwrap();
        assert_eq!(all_gets_done(world).await, 1);
    }
}

/// Given back untried.
struct Release {
    attempt: u32,
}

impl Recipe for Release {
    const STEM: &'static str = "release";

    async fn set_up(world: &World) -> Self {
        push(&world.other.queue(&world.name), "a").await;
        Self { attempt: 1 }
    }

    async fn run(&mut self, hf: &Handfast, world: &World) -> Result<(), Error> {
        let claim = one_claim(hf, world).await?;
        // The first one may have died with the session, at the moment it was granted.
        self.attempt = claim.attempt();
        match claim.release().await {
            Err(error) if error.lost_reason() == Some(&LostReason::Deleted) => Ok(()),
            other => other,
        }
    }

    async fn check(self, world: &World, end: &End) {
        let claim = claim(&world.other.queue(&world.name)).await;
        match end {
            End::Failed(_) => assert!(claim.attempt() <= self.attempt + 1),
            _ => assert_eq!(claim.attempt(), self.attempt),
        }
        claim.release().await.unwrap();
        until(|| async {
            let rest = rest(&world.client, &world.name).await;
            (rest == ["items/a", "tickets/a"]).then_some(())
        })
        .await;
        assert_eq!(all_gets_done(world).await, 1);
    }
}
