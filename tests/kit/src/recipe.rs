//! What a recipe tells the kit of itself.
//!
//! Owns the one trait to be written for a recipe and the surroundings it is given. Knows nothing
//! of what is done to it.

use std::time::Duration;

use handfast::{Error, Handfast, core::Client};

use crate::{
    server::Server,
    util::{client, connect, name},
};

/// The surroundings of one try: a name of its own, and ways around whatever goes wrong.
#[derive(Debug, Clone)]
pub struct World {
    /// Used by this try only.
    pub name: String,
    /// A client with a straight way to the server.
    pub client: Client,
    /// Recipes with a straight way to the server, under another session.
    pub other: Handfast,
}

impl World {
    pub(crate) fn new(server: &Server, other: &Handfast, stem: &str) -> Self {
        Self {
            name: name(stem),
            // A compaction that waits for its sweep can be long on a busy machine.
            client: client(server).with_timeout(Duration::from_mins(1)),
            other: other.clone(),
        }
    }

    pub(crate) fn others(server: &Server) -> Handfast {
        connect(server)
    }
}

/// How the operation ended.
#[derive(Debug)]
pub enum End {
    /// It did what it should.
    Done,
    /// It failed; only where it may: its session was ended, or [`Recipe::may_fail`] says so.
    Failed(Error),
    /// Its future was dropped before the end.
    Dropped,
}

/// One operation of a recipe, to be tried out. Its fields are what the set-up left for it.
///
/// All three parts may panic: what is not as it must be fails the test.
#[expect(
    async_fn_in_trait,
    reason = "tests run these where they are; nobody needs them to be Send"
)]
pub trait Recipe: Sized {
    /// The first word of names and messages.
    const STEM: &'static str;

    /// Makes ready what the operation needs, with [`World::other`] and [`World::client`].
    async fn set_up(world: &World) -> Self;

    /// The operation, with `hf` only: all of its calls may go wrong. Checks what it sees on the
    /// way. Must come to an end by itself, so what it waits for is done here, too, beside it.
    ///
    /// # Errors
    /// What the recipe says. That what it holds is lost is not a mistake when its session was
    /// ended, so it is given back here (`guard.check()?`) and not unwrapped.
    async fn run(&mut self, hf: &Handfast, world: &World) -> Result<(), Error>;

    /// What must hold in the end, whatever happened: others are not kept out, nothing is left
    /// over. The operation's handle is still open.
    async fn check(self, world: &World, end: &End);

    /// Whether the operation may fail with this although only a reply went wrong.
    fn may_fail(_error: &Error) -> bool {
        false
    }
}
