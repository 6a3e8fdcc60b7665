//! What a registration does, in the kit.

use std::time::Duration;

use handfast::{Error, Handfast, Pick, Status};
use handfast_kit::{End, Recipe, World, try_out};

use crate::util::queue_of;

try_out!(cycle, Cycle);
try_out!(drained, Drained);

/// Registered, changed, found and unregistered, twice.
struct Cycle;

impl Recipe for Cycle {
    const STEM: &'static str = "service";

    async fn set_up(_: &World) -> Self {
        Self
    }

    async fn run(&mut self, hf: &Handfast, world: &World) -> Result<(), Error> {
        let service = hf.service(&world.name);
        let first = service.instance("n1", "a:1").register().await?;
        first.update(|entry| entry.weight = 2).await?;
        first.unregister().await;
        let second = service.instance("n1", "b:1").weight(3).register().await?;
        let discovery = hf.discover(&world.name).await?;
        let picked = discovery.pick_when_ready(Pick::Weighted).await;
        assert_eq!((picked.addr(), picked.instance().weight), ("b:1", 3));
        picked.done(true);
        second.unregister().await;
        Ok(())
    }

    async fn check(self, world: &World, _: &End) {
        // Nobody comes back, and the id is free for others. What was on its way when its caller
        // went may still arrive, and is then taken away.
        queue_of(&world.client, &world.name, 0).await;
        let other = world.other.service(&world.name);
        let registering = other
            .instance("n1", "c:1")
            .wait(Duration::from_secs(20))
            .register();
        let registration = registering.await.unwrap();
        registration.unregister().await;
        queue_of(&world.client, &world.name, 0).await;
    }
}

/// Set to draining from outside.
struct Drained {
    registration: handfast::Registration,
}

impl Recipe for Drained {
    const STEM: &'static str = "drained";

    async fn set_up(world: &World) -> Self {
        let register = world.other.service(&world.name).instance("n1", "a:1");
        Self {
            registration: register.weight(4).register().await.unwrap(),
        }
    }

    async fn run(&mut self, hf: &Handfast, world: &World) -> Result<(), Error> {
        let service = hf.service(&world.name);
        let set = service.set_status("n1", Status::Draining).await?;
        assert!(set.is_some());
        Ok(())
    }

    async fn check(self, world: &World, end: &End) {
        let listed = world.other.service(&world.name).list().await.unwrap();
        assert_eq!((listed.len(), listed[0].weight), (1, 4));
        assert!(listed[0].lease != 0, "it would stay for ever");
        if matches!(end, End::Done) {
            assert_eq!(listed[0].status, Status::Draining);
        }
        self.registration.unregister().await;
        queue_of(&world.client, &world.name, 0).await;
    }
}
