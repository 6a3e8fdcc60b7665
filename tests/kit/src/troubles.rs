//! Every call of an operation going wrong, one at a time, in every way.
//!
//! Owns the ways and the order of a try. Knows nothing of what is tried.

use std::{sync::Mutex, time::Duration};

use handfast::{Error, Handfast, core::Client};

use crate::{
    End, Recipe, World,
    relay::{Fate, Relay},
    server::{Server, shared},
    util::{LONG, TTL, until},
};

/// More calls than any operation makes.
const MOST: usize = 60;

/// What happens to, or at, one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The request never arrives.
    LostRequest,
    /// It is carried out, the answer is lost.
    LostAnswer,
    /// It is carried out twice; the second answer comes back.
    Double,
    /// It seems lost, and is carried out when the operation is over.
    Late,
    /// The session ends before the request arrives.
    LossBefore,
    /// The request is carried out; the session ends before the answer comes, as after a pause
    /// that outlasted the TTL.
    LossAfter,
    /// All history is compacted before the request arrives.
    CompactedBefore,
    /// All history is compacted before the answer comes.
    CompactedAfter,
    /// The server is killed and started again before the answer comes.
    Restart,
}

/// The ways in which a reply can go wrong while the session lives.
pub const REPLIES: [Trouble; 4] = [
    Trouble::LostRequest,
    Trouble::LostAnswer,
    Trouble::Double,
    Trouble::Late,
];

/// The session ends around a call.
pub const LOSSES: [Trouble; 2] = [Trouble::LossBefore, Trouble::LossAfter];

/// What needs a server of its own.
pub const UPHEAVALS: [Trouble; 3] = [
    Trouble::CompactedBefore,
    Trouble::CompactedAfter,
    Trouble::Restart,
];

impl Trouble {
    fn fate(self) -> Fate {
        match self {
            Self::LostRequest => Fate::LoseRequest,
            Self::LostAnswer => Fate::LoseAnswer,
            Self::Double => Fate::Double,
            Self::Late => Fate::Late,
            Self::LossBefore | Self::CompactedBefore => Fate::HoldRequest,
            Self::LossAfter | Self::CompactedAfter | Self::Restart => Fate::HoldAnswer,
        }
    }

    fn ends_session(self) -> bool {
        LOSSES.contains(&self)
    }
}

/// Plays the operation once for each call it makes and each of [`REPLIES`]: it must do what it
/// should nevertheless.
pub async fn every_reply<R: Recipe>() {
    play_all::<R>(&Place::Shared, &REPLIES).await;
}

/// Plays the operation once for each call it makes and each of [`LOSSES`]: it must fail, or have
/// done what it should, and leave nothing.
pub async fn every_loss<R: Recipe>() {
    play_all::<R>(&Place::Shared, &LOSSES).await;
}

/// Plays the operation once for each call it makes and each of [`UPHEAVALS`]: it must do what it
/// should nevertheless. Left out when the server is not the tests' own.
pub async fn every_upheaval<R: Recipe>() {
    if let Some(server) = Server::own() {
        play_all::<R>(&Place::Own(Mutex::new(server)), &UPHEAVALS).await;
    }
}

enum Place {
    Shared,
    Own(Mutex<Server>),
}

impl Place {
    fn with<T>(&self, see: impl FnOnce(&Server) -> T) -> T {
        match self {
            Self::Shared => see(shared()),
            Self::Own(server) => see(&server.lock().unwrap()),
        }
    }

    fn restart(&self) {
        let Self::Own(server) = self else {
            panic!("the shared server must stay as it is")
        };
        let mut server = server.lock().unwrap();
        server.kill();
        server.start_again();
    }
}

async fn play_all<R: Recipe>(place: &Place, troubles: &[Trouble]) {
    let other = place.with(World::others);
    let mut played = 0;
    for &trouble in troubles {
        let mut end = false;
        for call in 0..MOST {
            end = play::<R>(place, &other, trouble, call).await;
            if end {
                break;
            }
            played += 1;
        }
        assert!(end, "{} makes too many calls", R::STEM);
    }
    assert!(played >= troubles.len(), "only {played} cases: no teeth");
}

/// One try; whether the operation has no such call.
async fn play<R: Recipe>(place: &Place, other: &Handfast, trouble: Trouble, call: usize) -> bool {
    let case = format!("{}: {trouble:?} at call {call}", R::STEM);
    // Shown only if it fails.
    println!("{case}");
    let in_time = async |what: &str, work: &mut (dyn Future<Output = ()> + Unpin)| {
        let done = tokio::time::timeout(LONG, work).await;
        assert!(done.is_ok(), "{case}: {what} takes too long");
    };
    let relay = Relay::start(place.with(Server::address)).await;
    let world = place.with(|server| World::new(server, other, R::STEM));
    let mut recipe = None;
    let hf = behind(&relay, &world.client).await;
    in_time(
        "the set-up",
        &mut Box::pin(async {
            recipe = Some(R::set_up(&world).await);
        }),
    )
    .await;
    let mut recipe = recipe.expect("it was set up in time");
    relay.plan(move |index| match index == call {
        true => trouble.fate(),
        false => Fate::Pass,
    });
    let mut result = None;
    in_time(
        "the operation",
        &mut Box::pin(async {
            let strike = async {
                relay.held().await;
                strike(trouble, place, &world, &hf).await;
                relay.let_go();
                std::future::pending::<()>().await;
            };
            tokio::select! {
                biased;
                done = recipe.run(&hf, &world) => result = Some(done),
                () = strike => {}
            }
        }),
    )
    .await;
    let over = relay.calls() <= call;
    let late = relay.deliver_late().await;
    assert_eq!(late > 0, trouble == Trouble::Late && !over, "{case}");
    let end = match result.expect("it ended in time") {
        Ok(()) => End::Done,
        Err(error) if may_fail::<R>(trouble, over, &error) => End::Failed(error),
        Err(error) => panic!("{case}: {error}"),
    };
    in_time("the check", &mut Box::pin(recipe.check(&world, &end))).await;
    over
}

fn may_fail<R: Recipe>(trouble: Trouble, over: bool, error: &Error) -> bool {
    let lost = trouble.ends_session() && error.lost_reason().is_some();
    !over && (lost || R::may_fail(error))
}

/// Does what happens while the call is held back.
async fn strike(trouble: Trouble, place: &Place, world: &World, hf: &Handfast) {
    match trouble {
        Trouble::LossBefore | Trouble::LossAfter => end_session(&world.client, hf).await,
        Trouble::CompactedBefore | Trouble::CompactedAfter => {
            let noise = format!("{}.noise", world.name);
            let put = world.client.put(noise, "").await.unwrap();
            let compacted = world.client.compact(put.header.revision, true).await;
            compacted.unwrap();
        }
        Trouble::Restart => place.restart(),
        Trouble::LostRequest | Trouble::LostAnswer | Trouble::Double | Trouble::Late => {}
    }
}

/// Ends the session's lease behind its back, and waits until the session knows.
pub async fn end_session(client: &Client, hf: &Handfast) {
    let session = hf.session().unwrap();
    let lease = session.lease();
    if let Some(lease) = lease {
        client.lease_revoke(lease).await.unwrap();
    }
    until(|| std::future::ready((session.lease() != lease).then_some(()))).await;
}

/// A handle whose calls go through the relay, with its session open and recorded.
pub async fn behind(relay: &Relay, client: &Client) -> Handfast {
    behind_with(relay, client, Duration::from_secs(30)).await
}

/// As [`behind`], with an interval for looking at what an event should have told.
pub async fn behind_with(relay: &Relay, client: &Client, verify: Duration) -> Handfast {
    let hf = Handfast::builder()
        .endpoints(&relay.endpoint)
        .ttl(TTL)
        .session(|options| options.verify_interval(verify))
        .build()
        .unwrap();
    let epoch = hf.session().unwrap().epoch().await.unwrap();
    let key = format!("_handfast/session/{}", epoch.lease_hex());
    until(|| async { client.get(&key).await.unwrap() }).await;
    relay.take_log();
    hf
}
