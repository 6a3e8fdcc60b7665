//! Giving up a place for certain.
//!
//! Owns repeating it in the background and what is found then. Knows nothing of why a place is
//! given up.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures::future::{BoxFuture, FutureExt};
use handfast_core::{Client, ErrorKind, session::Reaped};

use super::{
    place::Place,
    txns::{self, Leaving},
};
use crate::Member;

/// What was found on giving up a place.
#[derive(Debug, Clone)]
pub(crate) struct Left {
    /// The key was there, as far as can be told.
    pub(crate) found: bool,
    /// The places before it, if asked for; oldest first, without values and records.
    pub(crate) ahead: Vec<Member>,
}

/// Of what was found, only whether the key was there.
pub(crate) fn was_there(
    left: BoxFuture<'static, Reaped<Left>>,
) -> BoxFuture<'static, Reaped<bool>> {
    left.map(|left| match left {
        Reaped::Answered(Left { found, .. }) => Reaped::Answered(found),
        _ => Reaped::LeaseGone,
    })
    .boxed()
}

impl Place {
    /// Gives up the place in the background, until a server confirmed it or the lease is gone.
    ///
    /// Starts at once; the returned future only tells how it went.
    pub(crate) fn leave(self, how: Leaving) -> BoxFuture<'static, Reaped<Left>> {
        if self.revision == 0 && !self.doubtful {
            // Nothing was ever sent.
            self.free_key();
            return std::future::ready(Reaped::Answered(Left {
                found: false,
                ahead: Vec::new(),
            }))
            .boxed();
        }
        let epoch = self.epoch.clone();
        let name = self.line.name.clone();
        let place = Arc::new(self);
        // An attempt whose answer was lost may have done it.
        let doubt = Arc::new(AtomicBool::new(false));
        let job = move |client: Client| {
            let (place, doubt) = (Arc::clone(&place), Arc::clone(&doubt));
            async move {
                let answer = match txns::leave(&client, &place, how)
                    .repeatable()
                    .commit()
                    .await
                {
                    Ok(answer) => answer,
                    Err(error) if error.kind() == ErrorKind::LeaseNotFound => {
                        return Ok(Left {
                            found: false,
                            ahead: Vec::new(),
                        });
                    }
                    Err(error) => {
                        doubt.fetch_or(error.in_doubt(), Ordering::Relaxed);
                        return Err(error);
                    }
                };
                let repeated = answer.repeated_in_doubt || doubt.load(Ordering::Relaxed);
                let found = match how {
                    _ if place.revision == 0 => false,
                    Leaving::Holder if !answer.succeeded && repeated => {
                        txns::left_before(&place, &answer)?
                    }
                    _ => answer.succeeded,
                };
                let ahead = match how {
                    Leaving::Waiter { report: true } if answer.succeeded => {
                        place.line.members(&answer.range(2)?.kvs)
                    }
                    _ => Vec::new(),
                };
                if !place.doubtful {
                    place.free_key();
                }
                Ok(Left { found, ahead })
            }
        };
        epoch.reap(name, job).boxed()
    }
}
