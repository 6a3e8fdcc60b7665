//! What an election does, in the kit.

use handfast::{Error, Handfast, Leadership};
use handfast_kit::{End, Recipe, World, try_out};

use super::lock::released;
use crate::util::queue_of;

try_out!(term, Term, briefly);
try_out!(succession, Succession);

/// Somebody else is elected, and then nothing is left.
async fn nothing_is_left(world: &World, end: &End) {
    let election = world.other.election(&world.name).value("next");
    let next = election.campaign().await.unwrap();
    let died = next.previous_died();
    assert!(!died || matches!(end, End::Failed(_)), "said to have died");
    next.resign().await.unwrap();
    queue_of(&world.client, &world.name, 0).await;
}

/// Elected, announced, resigned.
struct Term;

impl Recipe for Term {
    const STEM: &'static str = "term";

    async fn set_up(_: &World) -> Self {
        Self
    }

    async fn run(&mut self, hf: &Handfast, world: &World) -> Result<(), Error> {
        let election = hf.election(&world.name).value("one");
        let leading = election.campaign().await?;
        leading.check()?;
        leading.proclaim("two").await?;
        let seen = world.client.get(leading.key()).await.unwrap();
        // After a loss the key is gone.
        leading.check()?;
        let seen = seen.expect("it leads");
        assert_eq!(
            (&seen.value[..], seen.lease),
            (&b"two"[..], leading.lease())
        );
        released(leading.resign().await)
    }

    async fn check(self, world: &World, end: &End) {
        nothing_is_left(world, end).await;
    }
}

/// Elected when the leader before resigns.
struct Succession {
    leader: Option<Leadership>,
}

impl Recipe for Succession {
    const STEM: &'static str = "succession";

    async fn set_up(world: &World) -> Self {
        let election = world.other.election(&world.name).value("first");
        Self {
            leader: Some(election.campaign().await.unwrap()),
        }
    }

    async fn run(&mut self, hf: &Handfast, world: &World) -> Result<(), Error> {
        let election = hf.election(&world.name).value("second");
        let resign = async {
            queue_of(&world.client, &world.name, 2).await;
            drop(self.leader.take());
            std::future::pending::<()>().await;
        };
        let leading = tokio::select! {
            biased;
            elected = election.campaign() => elected?,
            () = resign => unreachable!("it is pending"),
        };
        leading.check()?;
        assert!(!leading.previous_died());
        released(leading.resign().await)
    }

    async fn check(self, world: &World, end: &End) {
        drop(self.leader);
        nothing_is_left(world, end).await;
    }
}
