//! What several locks at once do, in the kit.

use handfast::{Error, Handfast, LockGuard};
use handfast_kit::{End, Recipe, World, try_out};

use super::lock::{nothing_is_left, released};
use crate::util::queue_of;

try_out!(together, Together, briefly);
try_out!(a_try, Try, briefly);
try_out!(hand_over, HandOver);

fn names(world: &World) -> [String; 3] {
    ["a", "b", "c"].map(|name| format!("{}/{name}", world.name))
}

async fn nothing_is_left_of_any(world: &World, end: &End) {
    for name in names(world) {
        nothing_is_left(world, &name, end).await;
    }
}

/// Taken and given back twice.
struct Together;

impl Recipe for Together {
    const STEM: &'static str = "multi";

    async fn set_up(_: &World) -> Self {
        Self
    }

    async fn run(&mut self, hf: &Handfast, world: &World) -> Result<(), Error> {
        let locks = hf.multi_lock(names(world));
        let first = locks.acquire().await?;
        first.check()?;
        assert!(!first.previous_died());
        let token = first.token();
        released(first.release().await)?;
        let second = locks.acquire().await?;
        second.check()?;
        assert!(second.token() > token && second.died().is_empty());
        released(second.release().await)
    }

    async fn check(self, world: &World, end: &End) {
        nothing_is_left_of_any(world, end).await;
    }
}

/// Taken without waiting, refused, and taken again.
struct Try;

impl Recipe for Try {
    const STEM: &'static str = "multi-try";

    async fn set_up(_: &World) -> Self {
        Self
    }

    async fn run(&mut self, hf: &Handfast, world: &World) -> Result<(), Error> {
        let names = names(world);
        let locks = hf.multi_lock(&names);
        let guard = locks.try_acquire().await?.acquired().expect("all are free");
        let refused = hf.multi_lock(&names[1..2]).try_acquire().await?;
        guard.check()?;
        assert!(refused.acquired().is_none());
        drop(guard);
        let guard = locks.try_acquire().await?.acquired().expect("all are free");
        assert!(!guard.previous_died());
        released(guard.release().await)
    }

    async fn check(self, world: &World, end: &End) {
        nothing_is_left_of_any(world, end).await;
    }
}

/// Waited for until one and then the other holder lets go.
struct HandOver {
    holders: Vec<LockGuard>,
}

impl Recipe for HandOver {
    const STEM: &'static str = "multi-wait";

    async fn set_up(world: &World) -> Self {
        let [first, _, last] = names(world);
        let mut holders = Vec::new();
        for name in [last, first] {
            holders.push(world.other.lock(name).acquire().await.unwrap());
        }
        Self { holders }
    }

    async fn run(&mut self, hf: &Handfast, world: &World) -> Result<(), Error> {
        let names = names(world);
        let locks = hf.multi_lock(&names);
        let let_go = async {
            queue_of(&world.client, &names[0], 2).await;
            while let Some(holder) = self.holders.pop() {
                holder.release().await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        let guard = tokio::select! {
            biased;
            granted = locks.acquire() => granted?,
            () = let_go => unreachable!("it is pending"),
        };
        guard.check()?;
        assert!(!guard.previous_died());
        released(guard.release().await)
    }

    async fn check(self, world: &World, end: &End) {
        drop(self.holders);
        nothing_is_left_of_any(world, end).await;
    }
}
