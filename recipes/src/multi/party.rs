//! One place in each of several queues, taken and given up together.
//!
//! Owns the places and giving them up for certain. Knows nothing of waiting and holding.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use handfast_core::{Client, Epoch, ErrorKind, session::Reaped};

use super::txns::{self, Found, Leaving};
use crate::{
    Kind,
    line::{Line, leave::Left, place::Place},
    way::Goal,
};

/// The queues of several names; at least one.
#[derive(Debug)]
pub(super) struct Lines(pub(super) Vec<Arc<Line>>);

impl Goal for Lines {
    fn kind(&self) -> Kind {
        Kind::Lock
    }

    fn shown(&self) -> String {
        let names: Vec<String> = self.0.iter().map(|line| line.shown()).collect();
        names.join(", ")
    }
}

/// A place under each name, all put at one revision.
#[derive(Debug)]
pub(super) struct Party {
    pub(super) places: Vec<Place>,
    /// A request that puts the keys may still be under way.
    pub(super) doubtful: bool,
}

impl Party {
    /// Places that have no keys in the store yet.
    pub(super) fn new(epoch: &Epoch, lines: &Lines) -> Self {
        let lines = lines.0.iter();
        Self {
            places: lines
                .map(|line| Place::new(epoch.clone(), Arc::clone(line), Bytes::new()))
                .collect(),
            doubtful: false,
        }
    }

    pub(super) fn first(&self) -> &Place {
        self.places.first().expect("a lock has a name")
    }

    pub(super) fn put_at(&mut self, revision: i64) {
        for place in &mut self.places {
            place.revision = revision;
        }
    }

    fn free_keys(&self) {
        self.places.iter().for_each(Place::free_key);
    }

    /// Gives up all places in the background, until a server confirmed it or the lease is gone.
    ///
    /// Starts at once; the returned future only tells how it went.
    pub(super) fn leave(self, how: Leaving) -> BoxFuture<'static, Reaped<Left>> {
        let nothing = || Left {
            found: false,
            ahead: Vec::new(),
        };
        if self.first().revision == 0 && !self.doubtful {
            // Nothing was ever sent.
            self.free_keys();
            return std::future::ready(Reaped::Answered(nothing())).boxed();
        }
        let epoch = self.first().epoch.clone();
        let names: Vec<Bytes> = self.places.iter().map(|it| it.line.name.clone()).collect();
        let party = Arc::new(self);
        // An attempt whose answer was lost may have done it.
        let doubt = Arc::new(AtomicBool::new(false));
        let job = move |client: Client| {
            let (party, doubt) = (Arc::clone(&party), Arc::clone(&doubt));
            async move {
                let leave = txns::leave(&client, &party, how).repeatable();
                let answer = match leave.commit().await {
                    Ok(answer) => answer,
                    Err(error) if error.kind() == ErrorKind::LeaseNotFound => {
                        return Ok(nothing());
                    }
                    Err(error) => {
                        doubt.fetch_or(error.in_doubt(), Ordering::Relaxed);
                        return Err(error);
                    }
                };
                let repeated = answer.repeated_in_doubt || doubt.load(Ordering::Relaxed);
                let Found { all, ahead } = txns::left(&party, how, repeated, &answer)?;
                if !party.doubtful {
                    party.free_keys();
                }
                let ahead = match how {
                    Leaving::Waiter(Some(which)) => party.places[which].line.members(&ahead),
                    _ => Vec::new(),
                };
                Ok(Left { found: all, ahead })
            }
        };
        epoch.reap_all(names, job).boxed()
    }
}
