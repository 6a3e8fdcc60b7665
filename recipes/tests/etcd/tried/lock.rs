//! What a lock does, in the kit.

use std::time::Duration;

use handfast::{Error, Handfast, LockGuard, LostReason, core::ErrorKind};
use handfast_kit::{End, Recipe, World, try_out};

use crate::util::queue_of;

try_out!(cycle, Cycle, briefly);
try_out!(a_try, Try, briefly);
try_out!(hand_over, HandOver);
try_out!(timeout, Timeout, briefly);
try_out!(a_break, Break, briefly);

/// A release that was carried out twice cannot tell the second time that it was its own.
pub(super) fn released(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.lost_reason() == Some(&LostReason::Deleted) => Ok(()),
        other => other,
    }
}

/// Another session gets the lock, nobody died who did not, and then nothing is left.
pub(super) async fn nothing_is_left(world: &World, name: &str, end: &End) {
    let guard = world.other.lock(name).acquire().await.unwrap();
    let died = guard.previous_died();
    assert!(!died || matches!(end, End::Failed(_)), "said to have died");
    guard.release().await.unwrap();
    queue_of(&world.client, name, 0).await;
    let record = world.client.get(format!("_handfast/own/{name}")).await;
    assert!(record.unwrap().is_none(), "a record is left");
}

/// Taken and given back three times.
struct Cycle;

impl Recipe for Cycle {
    const STEM: &'static str = "lock";

    async fn set_up(_: &World) -> Self {
        Self
    }

    async fn run(&mut self, hf: &Handfast, world: &World) -> Result<(), Error> {
        let lock = hf.lock(&world.name);
        let first = lock.acquire().await?;
        first.check()?;
        assert!(!first.previous_died());
        let token = first.token();
        released(first.release().await)?;
        let second = lock.acquire().await?;
        second.check()?;
        assert!(second.token() > token && !second.previous_died());
        drop(second);
        let third = lock.acquire().await?;
        released(third.release().await)
    }

    async fn check(self, world: &World, end: &End) {
        nothing_is_left(world, &world.name, end).await;
    }
}

/// Taken without waiting, refused, and taken again.
struct Try;

impl Recipe for Try {
    const STEM: &'static str = "try";

    async fn set_up(_: &World) -> Self {
        Self
    }

    async fn run(&mut self, hf: &Handfast, world: &World) -> Result<(), Error> {
        let lock = hf.lock(&world.name);
        let guard = lock.try_acquire().await?.acquired().expect("it is free");
        let refused = lock.try_acquire().await?;
        guard.check()?;
        assert!(refused.acquired().is_none());
        drop(guard);
        let guard = lock.try_acquire().await?.acquired().expect("it is free");
        assert!(!guard.previous_died());
        released(guard.release().await)
    }

    async fn check(self, world: &World, end: &End) {
        nothing_is_left(world, &world.name, end).await;
    }
}

/// Waited for until the holder lets go.
struct HandOver {
    holder: Option<LockGuard>,
}

impl Recipe for HandOver {
    const STEM: &'static str = "wait";

    async fn set_up(world: &World) -> Self {
        let holder = world.other.lock(&world.name).acquire().await.unwrap();
        Self {
            holder: Some(holder),
        }
    }

    async fn run(&mut self, hf: &Handfast, world: &World) -> Result<(), Error> {
        let lock = hf.lock(&world.name);
        let let_go = async {
            queue_of(&world.client, &world.name, 2).await;
            drop(self.holder.take());
            std::future::pending::<()>().await;
        };
        let guard = tokio::select! {
            biased;
            granted = lock.acquire() => granted?,
            () = let_go => unreachable!("it is pending"),
        };
        guard.check()?;
        assert!(!guard.previous_died());
        released(guard.release().await)
    }

    async fn check(self, world: &World, end: &End) {
        drop(self.holder);
        nothing_is_left(world, &world.name, end).await;
    }
}

/// Waited for in vain.
struct Timeout {
    holder: LockGuard,
}

impl Recipe for Timeout {
    const STEM: &'static str = "timeout";

    async fn set_up(world: &World) -> Self {
        let holder = world.other.lock(&world.name).acquire().await.unwrap();
        Self { holder }
    }

    async fn run(&mut self, hf: &Handfast, world: &World) -> Result<(), Error> {
        let lock = hf.lock(&world.name).timeout(Duration::from_millis(60));
        match lock.acquire().await {
            Ok(guard) => panic!("it was granted beside {:?}: {guard:?}", self.holder),
            Err(Error::Timeout { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn check(self, world: &World, end: &End) {
        queue_of(&world.client, &world.name, 1).await;
        self.holder.release().await.unwrap();
        nothing_is_left(world, &world.name, end).await;
    }
}

/// Taken away from its holder, with a reason.
struct Break {
    holder: LockGuard,
}

impl Recipe for Break {
    const STEM: &'static str = "break";

    async fn set_up(world: &World) -> Self {
        let holder = world.other.lock(&world.name).acquire().await.unwrap();
        Self { holder }
    }

    async fn run(&mut self, hf: &Handfast, world: &World) -> Result<(), Error> {
        let lock = hf.lock(&world.name);
        let broken = lock.break_holder("it hangs").await?;
        // Carried out twice it finds the place empty the second time.
        assert!(broken.is_none_or(|broken| broken.token == self.holder.token()));
        Ok(())
    }

    /// A grant of a lease that the network doubles finds its own lease the second time.
    fn may_fail(error: &Error) -> bool {
        matches!(error, Error::Client(error) if error.kind() == ErrorKind::LeaseExists)
    }

    async fn check(self, world: &World, end: &End) {
        if let End::Done = end {
            let reason = self.holder.lost().await;
            let told = matches!(&reason, LostReason::Broken { why, .. } if why == "it hangs");
            assert!(told, "{reason:?}");
        }
        drop(self.holder);
        let _ = world.other.lock(&world.name).acquire().await.unwrap();
        queue_of(&world.client, &world.name, 0).await;
    }
}
